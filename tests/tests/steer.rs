//! Messages that come while a turn runs, where the group lets them into it.

use cofferdam_protocol::admin::ChatEvent;
use cofferdam_tests::admin::message;
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use serde_json::json;

async fn mock() -> TestHome {
    TestHome::with_demo(&json!({"provider": "mock", "during_turn": "steer"})).await
}

#[tokio::test]
async fn a_message_goes_into_the_running_turn_and_both_hear_of_its_end() {
    let home = mock().await;
    let mut first = home.admin().send_text("demo", "one\n!take").await;
    first.started().await;
    let second = home.admin().send_text("demo", "two").await;
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!(first.text(), "mock reply to: one\ntwo\n(turn 1)");
    assert_eq!((second.finished.turn, second.text()), (first.finished.turn, first.text()));
    assert!(second.events.iter().any(|event| matches!(event, ChatEvent::Started { .. })), "{:#?}", second.events);
    let session = home.admin().session(&first.finished.session).await;
    assert_eq!((session.turns, session.waiting), (1, 0));
}

#[tokio::test]
async fn a_message_that_the_turn_does_not_take_forms_the_next_one() {
    let home = mock().await;
    let mut first = home.admin().send_text("demo", "one\n!wait 2").await;
    first.started().await;
    let second = home.admin().send_text("demo", "two").await;
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!(first.text(), "mock reply to: one\n(turn 1)");
    assert_eq!(second.replies().last(), Some(&"mock reply to: two\n(turn 2)"));
}

#[tokio::test]
async fn messages_of_a_turn_whose_container_dies_are_all_answered() {
    let home = mock().await;
    let mut first = home.admin().send_text("demo", "one\n!take\n!wait 3").await;
    let container = first.started().await;
    let mut second = home.admin().send_text("demo", "two").await;
    second.started().await;
    let third = home.admin().send_text("demo", "three").await;
    engine::kill(&container).await;
    let (second, third) = tokio::join!(second.end(), third.end());
    let text = second.text() + &third.text();
    assert!(text.contains("one") && text.contains("two") && text.contains("three"), "{text}");
}

#[tokio::test]
async fn a_steered_message_survives_the_daemons_sudden_death() {
    let mut home = mock().await;
    let (one, two) = (message("demo", "one\n!take\n!wait 3"), message("demo", "two"));
    let mut first = home.admin().request(&one).await.expect("accepted");
    first.started().await;
    let mut second = home.admin().request(&two).await.expect("accepted");
    second.started().await;
    home.crash().await;
    first.drain().await;
    second.drain().await;
    home.up().await;
    let first = home.admin().request(&one).await.expect("accepted");
    let second = home.admin().request(&two).await.expect("accepted");
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!(first.text(), "mock reply to: one\ntwo\n(turn 1)");
    assert_eq!(second.finished.turn, first.finished.turn);
}

#[tokio::test]
async fn a_stop_ends_a_turn_that_was_steered_for_all_its_messages() {
    let home = mock().await;
    let mut first = home.admin().send_text("demo", "one\n!take\n!silent").await;
    first.started().await;
    let mut second = home.admin().send_text("demo", "two").await;
    second.started().await;
    let stop = home.admin().send_text("demo", "/stop").await;
    let (first, second, stop) = tokio::join!(first.end(), second.end(), stop.end());
    assert_eq!(first.finished.turn, second.finished.turn);
    assert_eq!(first.finished.turn, stop.finished.turn);
    assert_eq!(first.notices().len(), 1, "{:?}", first.notices());
}

/// Over the real provider.
#[tokio::test]
async fn codex_takes_a_message_into_its_turn() {
    let home = TestHome::with_demo(&json!({"during_turn": "steer"})).await;
    let script = "!run until [ -e go ]; do sleep 0.05; done; echo went on";
    let mut first = home.admin().send_text("demo", script).await;
    first.until("the command runs", |event| matches!(event, ChatEvent::Activity { .. })).await;
    let mut follow = home.admin().follow(&first.session(), "?attempt=1&offset=0").await;
    let second = home.admin().send_text("demo", "!say Steered.").await;
    follow.until_logged("the running turn is steered").await;
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!(first.finished.turn, second.finished.turn, "{:#?}", second.events);
    assert!(second.text().contains("Steered."), "{}", second.text());
}
