//! Failures that can pass: tried again by themselves, with a word for each try.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::{Answer, Chat, message};
use cofferdam_tests::home::TestHome;
use serde_json::json;

async fn mock() -> TestHome {
    TestHome::with_demo(&json!({"provider": "mock"})).await
}

async fn retrying(chat: &mut Chat) {
    chat.until("another try is announced", |event| matches!(event, ChatEvent::Retrying { .. })).await;
}

fn assert_answered_at_the_second_try(answer: &Answer) {
    assert_eq!(answer.text(), "mock reply to: hello\n(turn 2)");
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("(2 of 4)"), "{notices:?}");
}

#[tokio::test]
async fn a_vendors_trouble_is_told_and_the_message_answered_when_it_is_over() {
    let home = mock().await;
    let mut chat = home.admin().send_text("demo", "!fail upstream 2\nhello").await;
    retrying(&mut chat).await;
    let behind = home.admin().send_text("demo", "next").await;
    let answer = chat.end().await;
    assert_answered_at_the_second_try(&answer);
    assert!(answer.notices()[0].contains("mock failure"), "{:?}", answer.notices());
    assert_eq!(behind.end().await.replies().last(), Some(&"mock reply to: next\n(turn 3)"), "in their order");
}

#[tokio::test]
async fn a_try_that_is_due_while_no_daemon_runs_is_made_by_the_next_one() {
    let mut home = mock().await;
    let request = message("demo", "!fail rate_limited 2\nhello");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    retrying(&mut chat).await;
    home.crash().await;
    chat.drain().await;
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: hello\n(turn 2)");
}

#[tokio::test]
async fn a_stop_ends_the_waiting_for_another_try() {
    let home = mock().await;
    let mut chat = home.admin().send_text("demo", "!fail connection\nhello").await;
    retrying(&mut chat).await;
    let stop = home.admin().chat("demo", "/stop").await;
    assert!(stop.notices().iter().any(|notice| notice.contains("is not answered")), "{:?}", stop.notices());
    let answer = chat.end().await;
    assert_eq!((answer.finished.outcome, answer.finished.turn), (ChatOutcome::Interrupted, None));
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!(session.waiting, 0);
    assert!(home.admin().chat("demo", "again").await.text().contains("again"));
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_not_tried_again() {
    let home = mock().await;
    let answer = home.admin().chat("demo", "!fail model_not_found").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ModelNotFound });
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("Known are: mock-large, mock-small."), "{notices:?}");
}

#[tokio::test]
async fn a_turn_that_said_something_already_is_not_tried_again() {
    let home = mock().await;
    let answer = home.admin().chat("demo", "!early so far\n!fail upstream").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::Upstream });
    assert_eq!((answer.replies(), answer.notices().len()), (vec!["so far"], 1));
}

/// Over the real provider, which tries some calls again itself first.
#[tokio::test]
async fn codex_is_given_the_message_again_when_the_vendor_recovers() {
    use cofferdam_tests::vendor::{Say, Vendor};
    let mut home = TestHome::new();
    let vendor = Vendor::start().await;
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let overloaded =
        json!({"error": {"code": "server_is_overloaded", "message": "too busy", "type": "server_error"}});
    vendor.script(std::iter::repeat_n(Say::Status(503, overloaded), 100));
    let mut chat = home.admin().send_text("demo", "What is the colour?").await;
    retrying(&mut chat).await;
    vendor.forget_script();
    let answer = chat.end().await;
    assert!(answer.text().contains("vendor answer"), "{:#?}", answer.events);
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("(2 of 4)"), "{notices:?}");
    let last = vendor.calls().last().expect("a call").input();
    assert_eq!(last.matches("What is the colour?").count(), 1, "the model has it once: {last}");
}
