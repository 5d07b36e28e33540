//! What is killed, and what survives it.

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome};
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::message;
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_message_whose_container_was_killed_is_tried_again_in_another() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 8").await;
    let first = chat.started().await;
    engine::kill(&first).await;
    let second = chat.started().await;
    assert_ne!(first, second);
    let answer = chat.end().await;
    assert_eq!(answer.finished.attempt, Attempt(2));
    assert_eq!(answer.text(), "mock reply to: hold on\n(turn 1)");
}

#[tokio::test]
async fn a_message_whose_container_is_killed_every_time_ends_in_a_notice() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 600").await;
    for _ in 0..2 {
        let container = chat.started().await;
        engine::kill(&container).await;
    }
    let answer = chat.end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ProviderDied });
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("container ended"), "{notices:?}");
    assert_eq!(home.admin().chat("demo", "next").await.replies().len(), 1, "and the next message is answered");
}

#[tokio::test]
async fn a_runner_that_crashes_in_a_turn_costs_no_other_message() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "!exit 7").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ProviderDied });
    assert!(answer.notices()[0].contains("exit code 7"), "{:?}", answer.notices());
    home.admin().chat("demo", "next").await.text();
}

#[tokio::test]
async fn a_turn_survives_the_daemons_sudden_death_in_its_container() {
    let mut home = TestHome::with_demo(&json!({})).await;
    let request = message("demo", "!say Begun.\n!run sleep 3; echo survived");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    let running = |event: &ChatEvent| matches!(event, ChatEvent::Activity { .. });
    chat.until("the command runs", running).await;
    home.crash().await;
    chat.drain().await;
    assert!(engine::inspect(&container).await.is_some(), "the container goes on alone");
    home.up().await;
    let again = home.admin().request(&request).await.expect("accepted");
    assert!(again.accepted().2, "the message is known");
    let answer = again.end().await;
    let text = answer.text();
    assert!(text.contains("survived"), "{text}");
    assert_eq!(answer.finished.attempt, Attempt(1), "no second attempt");
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.container.as_deref(), session.turns), (Some(container.as_str()), 1), "the same container");
    let log = home.admin().logs(&session.id, None).await.expect("a log");
    assert_eq!(log.matches("turn begins").count(), 1, "its log has no gap and no repeat: {log}");
}

#[tokio::test]
async fn an_idle_container_is_adopted_by_the_next_daemon() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut held = home.admin().send_text("demo", "one\n!wait 5").await;
    let container = held.started().await;
    home.crash().await;
    held.drain().await;
    home.up().await;
    let answer = home.admin().chat("demo", "two").await;
    assert_eq!(answer.container(), container);
    assert_eq!(answer.replies(), ["mock reply to: one\n(turn 1)", "mock reply to: two\n(turn 2)"]);
}

#[tokio::test]
async fn messages_that_waited_when_daemon_and_container_died_are_answered_by_the_next() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "waited");
    let mut held = home.admin().send_text("demo", "held\n!wait 8").await;
    let container = held.started().await;
    let waited = home.admin().request(&request).await.expect("accepted");
    home.crash().await;
    held.drain().await;
    waited.drain().await;
    engine::kill(&container).await;
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    let text = answer.text();
    assert!(text.contains("held") && text.contains("waited"), "{text}");
    assert_eq!(answer.finished.attempt, Attempt(2));
}

#[tokio::test]
async fn a_turn_survives_the_daemons_death_also_when_its_settings_became_bad_meanwhile() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "hold on\n!wait 2");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    home.crash().await;
    chat.drain().await;
    std::fs::write(home.container_json("demo"), r#"{"modle": 1}"#).expect("written");
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: hold on\n(turn 1)");
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!(session.container, Some(container));
}

#[tokio::test]
async fn a_graceful_stop_lets_the_running_turn_end_and_leaves_no_container() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "let me finish\n!wait 1.5").await;
    let container = chat.started().await;
    home.signal(Signal::TERM);
    let answer = chat.end().await;
    assert_eq!(answer.text(), "mock reply to: let me finish\n(turn 1)");
    assert!(home.ended().await.success());
    engine::gone(&container).await;
    assert!(!home.root().join("run/admin.sock").exists());
}

#[tokio::test]
async fn a_second_signal_cuts_the_turn_off_and_the_next_daemon_runs_it_again() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "again\n!wait 10");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    home.signal(Signal::TERM);
    cofferdam_tests::eventually("it ends", || async { home.log().contains("a second signal").then_some(()) }).await;
    home.signal(Signal::TERM);
    assert!(home.ended().await.success());
    chat.drain().await;
    engine::gone(&container).await;
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: again\n(turn 1)");
    assert_eq!(answer.finished.attempt, Attempt(2));
}

#[tokio::test]
async fn a_second_daemon_on_the_home_is_refused_and_told_whose_it_is() {
    let home = TestHome::running().await;
    let second = home.cli(&["up"]).await;
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains(&home.pid().to_string()), "{second:?}");
    assert_eq!(home.admin().status().await.pid, home.pid(), "the first is unharmed");
}

#[tokio::test]
async fn a_start_removes_stale_containers_of_its_own_and_no_others() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "hello").await;
    let seen = engine::inspect(answer.container()).await.expect("it runs");
    let (install, image) = (home.admin().status().await.install, seen.image.expect("an image"));
    assert!(home.stop().await.success());
    let session = answer.finished.session.to_string();
    let own = create(&image, &install, &session, "1").await;
    let gone_group = create(&image, &install, "0123456789abcdef0123456789abcdef", "1").await;
    let other = create(&image, "another-install", &session, "1").await;
    home.up().await;
    // The daemon does not wait for it.
    engine::gone(&own).await;
    engine::gone(&gone_group).await;
    let left = engine::inspect(&other).await;
    remove(&other).await;
    assert!(left.is_some(), "another installation's");
}

async fn create(image: &str, install: &str, session: &str, attempt: &str) -> String {
    let labels = [("install", install), ("group", "demo"), ("session", session), ("attempt", attempt)];
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["sleep".to_owned(), "600".to_owned()]),
        labels: Some(labels.map(|(name, value)| (format!("cofferdam.{name}"), value.to_owned())).into()),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let docker = engine::engine().await;
    let name = format!("cofferdam-test-{}-{install}-{session}-{attempt}", std::process::id());
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let made = docker.create_container(Some(options), body).await.expect("created");
    docker.start_container(&made.id, None).await.expect("started");
    made.id
}

async fn remove(id: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let _ = engine::engine().await.remove_container(id, Some(options)).await;
}
