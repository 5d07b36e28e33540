//! Failures that can pass.

use super::*;
use crate::store::group::closing::End;
use crate::store::group::commands::Due;
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
