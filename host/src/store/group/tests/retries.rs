//! Failures that can pass.

use super::*;
use crate::store::group::closing::End;
use crate::store::group::commands::Due;
use crate::store::group::questions::NewQuestion;
use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};
use cofferdam_protocol::admin::ChatOutcome;

fn failed(kind: FailureKind) -> Finish {
    finish(Outcome::Failed(Failure::new(kind, "503 Service Unavailable")), &[])
}

#[tokio::test]
async fn a_message_is_tried_four_times_with_a_notice_each_and_then_ends() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    for (seq, number) in [(1, "(2 of 4)"), (2, "(3 of 4)"), (3, "(4 of 4)")] {
        let claimed = f.claimed(&session, attempt).await.unwrap();
        assert_eq!(claimed.retried, seq > 1);
        let finished = f.finish(&session, attempt, seq, claimed.turn, failed(FailureKind::Upstream)).await.unwrap();
        assert!(matches!(finished.end, End::Again(at) if at > crate::store::now_ms()), "{:?}", finished.end);
        let told = f.all_told().await;
        assert!(told.len() == 1 && told[0].contains(number) && told[0].contains("503"), "{told:?}");
        assert!(f.claim(&session, attempt).await.is_none(), "not before its time");
        assert!(matches!(f.db.due(&session).await.unwrap(), Due::Later(Some(_))));
        f.time_passes().await;
    }
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let finished = f.finish(&session, attempt, 4, turn, failed(FailureKind::Upstream)).await.unwrap();
    assert_eq!(finished.end, End::Done(ChatOutcome::Failed { kind: FailureKind::Upstream }));
    let told = f.all_told().await;
    assert!(told.len() == 1 && told[0].starts_with("The turn failed"), "{told:?}");
    assert_eq!(f.state(finished.messages[0]).await, MessageState::Done);
}

#[tokio::test]
async fn what_waits_for_a_try_keeps_its_chats_order_and_holds_up_no_other_chat() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.accept("2").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("3") }).await;
    f.finish(&session, attempt, 1, turn, failed(FailureKind::Connection)).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((claimed.chat, claimed.messages[0].text.as_str()), (chat(Some("x")), "text of 3"));
    f.finish(&session, attempt, 2, claimed.turn, finish(Outcome::Completed, &["x"])).await;
    assert!(f.claim(&session, attempt).await.is_none(), "2 waits behind 1");
    f.time_passes().await;
    assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 1"], "exactly as the provider had it");
}

#[tokio::test]
async fn another_model_is_chosen_while_a_message_waits_for_its_try() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, failed(FailureKind::RateLimited)).await;
    f.all_told().await;
    f.command("/clear").await;
    f.command("/model other").await;
    assert!(f.claim(&session, attempt).await.is_none());
    let told = f.all_told().await;
    assert!(told.len() == 1 && told[0].contains("other"), "the model at once, the clearing in its place: {told:?}");
    f.time_passes().await;
    assert_eq!(f.claimed(&session, attempt).await.unwrap().options.model.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_turn_that_said_something_is_not_tried_again() {
    for early in [true, false] {
        let f = Fixture::new();
        let session = f.accept("1").await;
        let attempt = f.begin(&session).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        let mut end = failed(FailureKind::Upstream);
        if early {
            f.db.reply(&session, attempt, Seq(1), turn, "so far".into()).await.unwrap();
        } else {
            end.replies = vec!["so far".into()];
        }
        let finished = f.finish(&session, attempt, 2, turn, end).await.unwrap();
        assert!(matches!(finished.end, End::Done(ChatOutcome::Failed { .. })));
        let told = f.all_told().await;
        assert!(told.len() == 2 && told[0] == "so far" && told[1].starts_with("The turn failed"), "{told:?}");
    }
}

#[tokio::test]
async fn a_try_does_not_count_against_a_dying_container() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    for seq in [1, 2] {
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.finish(&session, attempt, seq, turn, failed(FailureKind::ProviderDied)).await;
        f.time_passes().await;
    }
    f.claim(&session, attempt).await.unwrap();
    assert!(matches!(f.end(&session, attempt, false).await, EndedTurn::Requeued(_)), "its first lost container");
}

#[tokio::test]
async fn a_stop_ends_what_waits_for_another_try() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, failed(FailureKind::RateLimited)).await;
    f.told().await;
    let answered = f.command("/stop").await.answered.unwrap();
    assert_eq!(answered.messages.len(), 2);
    assert_eq!(f.db.answers_to(answered.messages[0]).await.unwrap()[0].id, answered.reply, "not the failed turn's");
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_told_at_once() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let mut failure = Failure::new(FailureKind::UsageLimit, "used up");
    failure.resets_at = Some(32_503_680_000);
    let end = finish(Outcome::Failed(failure), &[]);
    let finished = f.finish(&session, attempt, 1, turn, end).await.unwrap();
    assert!(matches!(finished.end, End::Done(_)));
    assert!(f.told().await.contains("used up until 3000-01-01 00:00"));
}

fn silent() -> Finish {
    finish(Outcome::Failed(Failure::new(FailureKind::Silence, "nothing moved for 600 s")), &[])
}

#[tokio::test]
async fn of_several_in_a_silent_turn_only_the_silent_one_ends_in_that() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    f.accept("3").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let finished = f.finish(&session, attempt, 1, turn, silent()).await.unwrap();
    assert!(matches!(finished.end, End::Again(_)));
    assert!(f.told().await.contains("one by one"));
    for (seq, id) in [(2, "1"), (3, "2"), (4, "3")] {
        let (turn, texts) = f.claim(&session, attempt).await.unwrap();
        assert_eq!(texts, [format!("text of {id}")]);
        let end = if id == "2" { silent() } else { finish(Outcome::Completed, &["a"]) };
        f.finish(&session, attempt, seq, turn, end).await.unwrap();
    }
    let told = f.all_told().await;
    assert!(told.len() == 3 && told[1].contains("dead-letter retry demo/1"), "{told:?}");
}

/// Fifty messages, each with ten minutes of silence, would hold up their chat for a day.
#[tokio::test]
async fn when_three_are_silent_by_themselves_the_others_are_given_up_with_the_third() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for id in 2..=9 {
        f.accept(&id.to_string()).await;
    }
    let attempt = f.begin(&session).await;
    let mut turns = 0;
    let mut last = None;
    while let Some((turn, _)) = f.claim(&session, attempt).await {
        turns += 1;
        last = f.finish(&session, attempt, turns, turn, silent()).await;
        assert!(turns < 20);
    }
    assert_eq!(turns, 4, "together, and three by themselves");
    let last = last.unwrap();
    let silence = ChatOutcome::Failed { kind: FailureKind::Silence };
    assert_eq!((last.messages.len(), last.end), (7, End::Done(silence)));
    let told = f.all_told().await;
    assert!(told[3].contains("the 6 messages that wait behind it are not tried"), "{told:?}");
    assert!(told[3].contains("dead letters demo/3 to demo/9"), "{told:?}");
    for message in last.messages {
        assert_eq!(f.db.answers_to(message).await.unwrap().len(), 1, "each is told, once");
    }
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
    // Who has them tried again has each tried again, also where the model is silent still.
    f.db.settle_dead_letters(crate::model::dead_letter::DeadLetterEvent::Retry).await.unwrap();
    let mut again = 0;
    while let Some((turn, _)) = f.claim(&session, attempt).await {
        again += 1;
        f.finish(&session, attempt, turns + again, turn, silent()).await.unwrap();
    }
    assert_eq!(again, 9);
    // What comes after is served as ever.
    f.accept("10").await;
    assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 10"]);
}

#[tokio::test]
async fn some_of_those_that_were_given_up_for_silence_are_each_tried_when_a_person_wants_it() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for id in 2..=6 {
        f.accept(&id.to_string()).await;
    }
    let attempt = f.begin(&session).await;
    let mut seq = 0;
    while let Some((turn, _)) = f.claim(&session, attempt).await {
        seq += 1;
        f.finish(&session, attempt, seq, turn, silent()).await.unwrap();
    }
    assert_eq!(seq, 4);
    for number in [4, 5] {
        f.db.settle_dead_letter(number, crate::model::dead_letter::DeadLetterEvent::Retry).await.unwrap();
    }
    let mut tried = Vec::new();
    while let Some((turn, texts)) = f.claim(&session, attempt).await {
        seq += 1;
        tried.extend(texts);
        f.finish(&session, attempt, seq, turn, silent()).await.unwrap();
    }
    assert_eq!(tried, ["text of 4", "text of 5"]);
}

/// An answer that a silent turn had fetched is no turn of its own.
#[tokio::test]
async fn a_silent_turn_counts_once_whatever_it_had() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for id in 2..=5 {
        f.accept(&id.to_string()).await;
    }
    let attempt = f.begin(&session).await;
    let (mut seq, mut tried) = (0, 0);
    while let Some((turn, _)) = f.claim(&session, attempt).await {
        seq += 1;
        tried += 1;
        if tried > 1 {
            let key = CallKey { session: session.clone(), attempt, turn, call_id: format!("c{seq}") };
            let question = NewQuestion { text: "Which?".into(), options: Vec::new(), timeout_secs: 600 };
            let limits = CallLimits { calls: 1000, posts: 1000 };
            let call = NewCall { key: key.clone(), tool: "ask_user".into(), summary: "s".into(), limits };
            f.db.call(call, Deed::Ask(question)).await.unwrap();
            f.say(Inbound { text: "that one".into(), ..message(&format!("answer {seq}")) }).await;
            f.db.waiting(&key).await.unwrap();
        }
        f.finish(&session, attempt, seq, turn, silent()).await.unwrap();
    }
    assert_eq!(tried, 4, "together, and three by themselves");
}
