//! Silence, not work, is limited; and what was silent goes with its container.

use cofferdam_protocol::admin::ChatOutcome;
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::Answer;
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use serde_json::json;

/// The shortest time-out that a busy machine keeps, in seconds.
const SILENCE: u32 = 8;

async fn with_silence(settings: serde_json::Value) -> TestHome {
    let mut settings = settings;
    settings["timeouts"] = json!({"silence_secs": SILENCE});
    TestHome::with_demo(&settings).await
}

fn assert_silent(answer: &Answer, secs: u32) {
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::Silence }, "{:#?}", answer.events);
    let notices = answer.notices();
    let told = notices.len() == 1 && notices[0].contains(&format!(" {secs} s"));
    assert!(told && notices[0].contains("timeouts.silence_secs"), "told once, with the time-out: {notices:?}");
}

#[tokio::test]
async fn a_build_without_output_outlives_the_time_out_also_where_it_works_apart() {
    let home = with_silence(json!({})).await;
    let busy = |secs| format!("timeout {secs} sh -c 'while :; do :; done'");
    let apart = format!("(setsid {} >/dev/null 2>&1 &); sleep 13", busy(12));
    let answer = home.admin().chat("demo", &format!("!run {}; {apart}; echo built$((6*7))", busy(12))).await;
    assert!(answer.text().contains("built42"), "{}", answer.text());
    assert_eq!(answer.finished.attempt, Attempt(1));
}

#[tokio::test]
async fn a_command_that_only_sleeps_is_interrupted_and_its_container_replaced() {
    let home = with_silence(json!({})).await;
    let admin = home.admin();
    let mut chat = admin.send_text("demo", "My first message.\n!run sleep 7200").await;
    let container = chat.started().await;
    let behind = admin.send_text("demo", "My second message.").await;
    assert_silent(&chat.end().await, SILENCE);
    let behind = behind.end().await;
    engine::gone(&container).await;
    assert_ne!(behind.container(), container, "what hung is gone");
    assert_eq!(behind.finished.attempt, Attempt(2));
    assert_eq!(behind.finished.outcome, ChatOutcome::Replied);
    let text = behind.replies().join("\n");
    assert!(text.contains("My first message."), "the conversation goes on: {text}");
}

/// The mock says nothing of its own silence; the host's limit is half a minute behind the group's.
#[tokio::test]
async fn a_runner_that_does_not_even_say_so_is_ended_by_the_host_and_the_message_not_run_again() {
    let home = TestHome::with_demo(&json!({"provider": "mock", "timeouts": {"silence_secs": 1}})).await;
    let admin = home.admin();
    let mut chat = admin.send_text("demo", "!silent").await;
    let container = chat.started().await;
    let answer = chat.end().await;
    assert_silent(&answer, 1);
    assert_eq!(answer.finished.attempt, Attempt(1), "in its only container");
    engine::gone(&container).await;
    let next = admin.chat("demo", "next").await;
    assert_eq!(next.replies().last(), Some(&"mock reply to: next\n(turn 1)"));
    assert_eq!(next.finished.attempt, Attempt(2));
    assert_eq!(admin.session(&next.finished.session).await.waiting, 0);
}
