//! What a turn found in its thread, and the chat has already.

use super::*;
use crate::model::dead_letter::DeadLetterEvent;
use crate::store::group::earlier::Said;

fn found(outcome: Outcome, replies: &[&str], found: usize) -> Finish {
    Finish { found, ..finish(outcome, replies) }
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::UsageLimit, "used up"))
}

impl Fixture {
    async fn retry_all(&self) {
        self.db.settle_dead_letters(DeadLetterEvent::Retry).await.unwrap();
    }
}

#[tokio::test]
async fn a_retried_letter_says_only_what_its_earlier_turns_did_not() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.db.reply(&session, attempt, Seq(1), turn, "early".into()).await.unwrap();
    f.finish(&session, attempt, 2, turn, finish(failed(), &["I look."])).await.unwrap();
    assert_eq!(f.all_told().await.len(), 3);
    f.retry_all().await;
    let second = f.claimed(&session, attempt).await.unwrap();
    assert_eq!(second.said, Said { newest: vec!["early".into(), "I look.".into()], more: 0 });
    f.finish(&session, attempt, 3, second.turn, found(failed(), &["early", "I look.", "new"], 2)).await.unwrap();
    let told = f.all_told().await;
    assert!(told.len() == 2 && told[0] == "new", "{told:?}");
    f.retry_all().await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let end = found(Outcome::Completed, &["early", "I look.", "new", "lost", "new"], 4);
    f.finish(&session, attempt, 4, turn, end).await.unwrap();
    assert_eq!(f.all_told().await, ["lost", "new"], "the last is an answer of its own");
}

#[tokio::test]
async fn a_turn_whose_whole_answer_was_said_before_ends_in_words_that_say_so() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(failed(), &["the answer"])).await.unwrap();
    f.all_told().await;
    f.retry_all().await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 2, turn, found(Outcome::Completed, &["the answer"], 1)).await.unwrap();
    assert_eq!(
        f.all_told().await,
        ["The agent finished; what it said is in this chat already, from an earlier try."]
    );
}

#[tokio::test]
async fn what_was_said_at_once_before_a_crash_is_said_once_and_what_was_lost_then_is_said_after() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let first = f.begin(&session).await;
    let (turn, _) = f.claim(&session, first).await.unwrap();
    f.db.reply(&session, first, Seq(1), turn, "one".into()).await.unwrap();
    f.end(&session, first, false).await;
    let second = f.begin(&session).await;
    let (turn, _) = f.claim(&session, second).await.unwrap();
    // Its app-server, too, dies after that.
    f.db.reply(&session, second, Seq(1), turn, "three".into()).await.unwrap();
    let end = found(Outcome::Completed, &["one", "two", "three", "three", "end"], 4);
    f.finish(&session, second, 2, turn, end).await.unwrap();
    assert_eq!(f.all_told().await, ["one", "three", "two", "three", "end"]);
}

#[tokio::test]
async fn what_never_reached_the_chat_is_said_again() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(failed(), &["the answer"])).await.unwrap();
    let reply = f.leased().await.unwrap();
    f.db.missed(reply.id, Miss::Refused, "blocked".into()).await.unwrap();
    f.all_told().await;
    f.db.settle_dead_letter(1, DeadLetterEvent::Retry).await.unwrap();
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 2, turn, found(Outcome::Completed, &["the answer"], 1)).await.unwrap();
    assert_eq!(f.all_told().await, ["the answer"]);
}

#[tokio::test]
async fn the_answer_to_another_message_is_nothing_that_was_said_to_one_that_was_only_offered() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.accept("2").await;
    let request =
        cofferdam_protocol::runner::ControlRequest { attempt, turn, interrupted: false, offered: Vec::new() };
    assert_eq!(f.db.orders(&session, request, true).await.unwrap().steer.len(), 1);
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["to one"])).await.unwrap();
    f.all_told().await;
    let second = f.claimed(&session, attempt).await.unwrap();
    assert!(second.retried && second.said == Said::default());
    f.finish(&session, attempt, 2, second.turn, finish(Outcome::Completed, &[])).await.unwrap();
    assert_eq!(f.all_told().await, ["The agent finished without a reply."]);
}
