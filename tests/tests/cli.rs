//! `cofferdam chat` with and without a daemon, and the stable exit codes.

use std::collections::BTreeSet;
use std::process::Stdio;

use cofferdam_protocol::admin::{ChatOutcome, SessionState};
use cofferdam_tests::home::{Ended, TestHome};
use cofferdam_tests::{engine, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn said(home: &TestHome, text: &str) -> Value {
    let ended = home.cli(&["chat", "demo", text, "--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()
}

#[tokio::test]
async fn chat_says_the_same_with_a_daemon_and_without() {
    let mut home = TestHome::new();
    home.write_group("demo", &json!({"provider": "mock"}));
    home.write_group("other", &json!({"provider": "mock"}));
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    let alone = said(&home, "hello").await;
    let container = alone["container"].as_str().expect("a container").to_owned();
    engine::gone(&container).await;
    home.up().await;
    let served = said(&home, "hello").await;
    assert_eq!(keys(&alone), keys(&served));
    assert_eq!(keys(&alone["timings_ms"]), keys(&served["timings_ms"]));
    for key in ["replies", "notices", "group", "session", "turn", "attempt", "container", "timings_ms"] {
        assert!(keys(&alone).contains(key), "{key}: {alone}");
    }
    assert_eq!(alone["replies"], json!(["mock reply to: hello\n(turn 1)"]));
    assert_eq!(served["replies"], json!(["mock reply to: hello\n(turn 2)"]), "the same conversation");
    assert_eq!((&alone["session"], &alone["group"]), (&served["session"], &served["group"]));
    home.stop().await;
    let again = said(&home, "hello").await;
    assert_eq!(again["replies"], json!(["mock reply to: hello\n(turn 3)"]));
}

#[tokio::test]
async fn codex_answers_without_a_daemon_too_and_its_thread_goes_on() {
    let home = TestHome::new();
    home.write_group("demo", &json!({}));
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    said(&home, "My first message.").await;
    let second = said(&home, "My second message.").await;
    let text = second["replies"][0].as_str().expect("a reply");
    assert!(text.contains("My first message.") && text.contains("My second message."), "{text}");
}

#[tokio::test]
async fn chat_exits_with_the_codes_of_how_it_ended() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let chat = async |words: &[&str]| -> Ended {
        let all: Vec<&str> = std::iter::once("chat").chain(words.iter().copied()).collect();
        home.cli(&all).await
    };
    assert_eq!(chat(&["demo", "hello"]).await.code, 0);
    let failed = chat(&["demo", "!fail", "--json"]).await;
    assert_eq!(failed.code, 10, "{failed:?}");
    let object = failed.json();
    assert_eq!((&object["replies"], object["notices"].as_array().map(Vec::len)), (&json!([]), Some(1)), "{object}");
    assert_eq!(chat(&["demo", " "]).await.code, 2);
    assert_eq!(chat(&["../demo", "hello"]).await.code, 2);
    assert_eq!(chat(&["nobody", "hello"]).await.code, 4);
    assert_eq!(home.cli(&["session", "show", "0123456789abcdef0123456789abcdef"]).await.code, 4);
    assert_eq!(home.cli(&["nonsense"]).await.code, 2);
}

#[tokio::test]
async fn a_chat_that_is_told_to_end_takes_its_container_with_it_and_loses_nothing() {
    let home = TestHome::new();
    home.write_group("demo", &json!({"provider": "mock"}));
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    let words = ["chat", "demo", "first\n!wait 8", "--json"];
    let waiting = home.command().args(words).stdout(Stdio::piped()).spawn().expect("started");
    let admin = home.admin();
    let container = eventually("the turn runs", || async {
        // Its socket is there when it hosts the daemon.
        admin.pid().await?;
        let sessions = admin.sessions(Some("demo")).await;
        sessions.into_iter().find(|session| session.state == SessionState::Busy)?.container
    })
    .await;
    let pid = waiting.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("a pid");
    kill_process(pid, Signal::TERM).expect("signalled");
    let output = waiting.wait_with_output().await.expect("its end");
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    engine::gone(&container).await;
    let next = said(&home, "second").await;
    assert_eq!(next["earlier"], json!(["mock reply to: first\n(turn 1)"]), "{next}");
    assert_eq!(next["replies"], json!(["mock reply to: second\n(turn 2)"]));
}

#[tokio::test]
async fn chat_exits_with_11_when_the_turn_is_interrupted() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let waiting = home.cli(&["chat", "demo", "!silent", "--json"]);
    let stopping = async {
        let admin = home.admin();
        let session = eventually("the turn runs", || async {
            let sessions = admin.sessions(Some("demo")).await;
            sessions.into_iter().find(|session| session.state == SessionState::Busy)
        })
        .await;
        home.cli(&["session", "stop", session.id.as_str()]).await
    };
    let (chat, stop) = tokio::join!(waiting, stopping);
    assert_eq!((chat.code, stop.code), (11, 0), "{chat:?} {stop:?}");
    assert_eq!(chat.json()["outcome"], "interrupted");
}

#[tokio::test]
async fn listings_are_json_and_the_same_with_a_daemon_and_without() {
    let mut home = TestHome::new();
    home.write_group("demo", &json!({"provider": "mock"}));
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    let session = said(&home, "hello").await["session"].as_str().expect("an id").to_owned();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let listings = [
            home.cli(&["group", "list", "--json"]).await,
            home.cli(&["group", "show", "demo", "--json"]).await,
            home.cli(&["session", "list", "--json"]).await,
            home.cli(&["session", "show", &session, "--json"]).await,
        ];
        assert!(listings.iter().all(|listing| listing.code == 0), "{listings:?}");
        seen.push(listings.map(|listing| listing.json()));
        let logs = home.cli(&["session", "logs", &session]).await;
        assert!(logs.code == 0 && logs.stdout.contains("turn ends"), "{logs:?}");
        assert_eq!(home.cli(&["status", "--json"]).await.code, 0);
        if seen.len() == 1 {
            home.up().await;
        }
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_removed_group_takes_its_containers_and_state_and_leaves_its_folder() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "hello").await;
    let mut running = home.admin().send_text("demo", "!wait 600").await;
    running.started().await;
    let waiting = home.admin().send_text("demo", "waits behind it").await;
    let removed = home.cli(&["group", "remove", "demo", "--yes"]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    engine::gone(answer.container()).await;
    assert!(!home.root().join("data/groups/demo").exists());
    assert_eq!(home.admin().status().await.places.running, 0, "what waited does not start it again");
    assert_eq!(running.end().await.finished.outcome, ChatOutcome::Interrupted);
    let told = waiting.end().await;
    assert!(told.notices().iter().any(|notice| notice.contains("removed")), "{:?}", told.notices());
    assert!(home.container_json("demo").exists());
    assert_eq!(home.cli(&["chat", "demo", "hello"]).await.code, 4);
}
