//! Who may have a container, and for how long.

use cofferdam_protocol::admin::{ChatEvent, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_tests::admin::Chat;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{engine, eventually};
use serde_json::json;

async fn one_place() -> TestHome {
    let mut home = TestHome::new();
    home.configure("max_sessions = 1\n");
    home.up().await;
    for group in ["first", "second", "third"] {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    home
}

async fn is_queued(chat: &mut Chat) -> String {
    let queued =
        |event: &ChatEvent| matches!(event, ChatEvent::State { state: SessionState::Queued, note: Some(_) });
    match chat.until("it waits for a place", queued).await {
        ChatEvent::State { note: Some(note), .. } => note,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_that_wakes_at_the_limit_waits_says_so_and_is_served_in_turn() {
    let home = one_place().await;
    let admin = home.admin();
    let mut first = admin.send_text("first", "one\n!wait 8").await;
    first.started().await;
    let mut second = admin.send_text("second", "two").await;
    let note = is_queued(&mut second).await;
    assert!(note.contains("max_sessions"), "{note}");
    let mut third = admin.send_text("third", "three").await;
    let note = is_queued(&mut third).await;
    assert!(note.contains("max_sessions") && note.contains('1'), "one is before it: {note}");
    let status = admin.status().await;
    assert_eq!((status.places.running, status.places.queued, status.places.max_sessions), (1, 2, 1));
    let waiting = status.sessions.iter().filter(|session| session.state == SessionState::Queued);
    assert!(waiting.clone().count() == 2 && waiting.clone().all(|session| session.note.is_some()), "{status:?}");
    let (first, second, third) = tokio::join!(first.end(), second.end(), third.end());
    assert_eq!(first.text(), "mock reply to: one\n(turn 1)");
    assert_eq!(second.text(), "mock reply to: two\n(turn 1)");
    assert_eq!(third.text(), "mock reply to: three\n(turn 1)");
    let queued = |answer: &cofferdam_tests::admin::Answer| answer.finished.timings_ms.queued.expect("it waited");
    assert!(queued(&second) < queued(&third), "the oldest was first: {} {}", queued(&second), queued(&third));
}

#[tokio::test]
async fn an_idle_container_makes_room_and_its_session_goes_on_later() {
    let home = one_place().await;
    let admin = home.admin();
    let first = admin.chat("first", "one").await;
    let second = admin.chat("second", "two").await;
    second.text();
    engine::gone(first.container()).await;
    let again = admin.chat("first", "three").await;
    assert_eq!(again.replies(), ["mock reply to: three\n(turn 2)"], "it goes on where it was");
    assert_eq!(again.finished.attempt, Attempt(2));
}

#[tokio::test]
async fn never_are_there_more_containers_than_the_limit() {
    let mut home = TestHome::new();
    home.configure("max_sessions = 2\n");
    home.up().await;
    let groups: Vec<String> = (0..6).map(|number| format!("g{number}")).collect();
    for group in &groups {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    let admin = home.admin();
    let install = admin.status().await.install;
    let all = futures_util::future::join_all(groups.iter().map(|group| admin.chat(group, "hello")));
    tokio::pin!(all);
    let answers = loop {
        tokio::select! {
            answers = &mut all => break answers,
            running = engine::owned(&install) => {
                let running = running.iter().filter(|c| c.state == Some(bollard::models::ContainerSummaryStateEnum::RUNNING));
                assert!(running.count() <= 2);
            }
        }
    };
    for answer in answers {
        assert_eq!(answer.text(), "mock reply to: hello\n(turn 1)");
    }
}

#[tokio::test]
async fn an_idle_session_stops_after_its_time_out_and_starts_again_and_its_log_stays() {
    let home = TestHome::with_demo(&json!({"timeouts": {"idle_secs": 1}})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "My first message.").await;
    let session = first.finished.session.clone();
    engine::gone(first.container()).await;
    eventually("the session counts as stopped", || async {
        (admin.session(&session).await.state == SessionState::Stopped).then_some(())
    })
    .await;
    let log = admin.logs(&session, None).await.expect("a log");
    assert!(log.contains("turn begins") && log.contains("turn ends"), "{log}");
    let second = admin.chat("demo", "My second message.").await;
    assert_eq!(second.finished.attempt, Attempt(2));
    let text = second.text();
    assert!(text.contains("My first message."), "the conversation goes on: {text}");
    let old = admin.logs(&session, Some(1)).await.expect("the first attempt's log");
    assert!(old.starts_with(&log), "it is still there");
    assert!(admin.logs(&session, Some(9)).await.is_err());
}
