//! What was tried for the last time: starts, poison, a vendor; and what a person does about it.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, SessionState};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::{Chat, message};
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::{Value, json};

/// Tries that end soon enough to wait for.
const QUICK: &str = "[retries]\nstart_tries = 2\nstart_first_secs = 1\nstart_longest_secs = 1\n";
const NO_IMAGE: &str = "cofferdam-test/none:such";

async fn home_with(config: &str, settings: &Value) -> TestHome {
    let mut home = TestHome::new();
    home.configure(config);
    home.up().await;
    home.group("demo", settings).await;
    home
}

fn mend(home: &TestHome) {
    std::fs::write(home.container_json("demo"), r#"{"provider": "mock"}"#).expect("mended");
}

async fn letters(home: &TestHome, words: &[&str]) -> Vec<Value> {
    let list = home.cli(&[&["--json", "dead-letter", "list"], words].concat()).await;
    assert_eq!(list.code, 0, "{list:?}");
    list.json().as_array().expect("a list").clone()
}

async fn blocked(chat: &mut Chat) {
    chat.until("it says why it waits", |event| matches!(event, ChatEvent::Blocked { .. })).await;
}

#[tokio::test]
async fn a_container_that_never_starts_ends_in_a_dead_letter_that_is_answered_when_it_is_mended() {
    let home = home_with(QUICK, &json!({"provider": "mock", "image": NO_IMAGE})).await;
    let request = message("demo", "hello");
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ProviderStart });
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains(NO_IMAGE), "{notices:?}");
    assert!(notices[0].contains("cofferdam dead-letter retry demo/1"), "{notices:?}");
    let open = letters(&home, &["demo"]).await;
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0]["reference"], &open[0]["cause"]), (&json!("demo/1"), &json!("start")));
    assert_eq!((&open[0]["tries"], &open[0]["text"]), (&json!(2), &json!("hello")));
    let status = home.cli(&["status"]).await;
    assert!(status.stdout.contains("1 in demo"), "{status:?}");

    mend(&home);
    let retried = home.cli(&["dead-letter", "retry", "demo/1"]).await;
    assert_eq!((retried.code, retried.stdout.trim()), (0, "demo/1 is tried again now"));
    // The same id is the same message: its second outcome.
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!((answer.text().as_str(), answer.notices().len()), ("mock reply to: hello\n(turn 1)", 0));
    assert!(letters(&home, &[]).await.is_empty());
    let again = home.cli(&["dead-letter", "retry", "demo/1"]).await;
    assert_eq!(again.code, 5, "{again:?}");
    assert!(again.stderr.contains("was retried before"), "{again:?}");
    assert_eq!(letters(&home, &["--all"]).await[0]["state"], json!("retried"));
}

#[tokio::test]
async fn a_restart_goes_on_counting_and_waiting_where_it_was() {
    let config = "[retries]\nstart_tries = 2\nstart_first_secs = 600\nstart_longest_secs = 600\n";
    let mut home = home_with(config, &json!({"provider": "mock", "image": NO_IMAGE})).await;
    let request = message("demo", "hello");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    blocked(&mut chat).await;
    let session = chat.session();
    let attempt = home.admin().session(&session).await.attempt;
    home.crash().await;
    chat.drain().await;

    let status = home.cli(&["--json", "status"]).await.json();
    let waits = &status["sessions"][0];
    assert!(waits["note"].as_str().is_some_and(|note| note.contains(NO_IMAGE)), "{status}");
    assert!(waits["retry_at"].is_string(), "{status}");

    home.up().await;
    let note = eventually("it waits on", || async {
        let status = home.admin().status().await;
        let note = status.sessions.into_iter().find(|seen| seen.id == session)?.note?;
        // First it waits for the engine's list of containers.
        note.contains(NO_IMAGE).then_some(note)
    })
    .await;
    assert!(note.contains("start 1 of 2 failed"), "{note}");
    assert_eq!(home.admin().session(&session).await.attempt, attempt, "the restart tried nothing");

    // Somebody who writes has it tried at once, and a configuration that is mended begins anew.
    mend(&home);
    let text = home.admin().chat("demo", "again").await.text().to_owned();
    assert!(text.contains("hello") && text.contains("again"), "{text}");
}

#[tokio::test]
async fn one_poison_message_among_several_is_the_only_one_that_is_not_answered() {
    let home = home_with("", &json!({"provider": "mock", "image": NO_IMAGE})).await;
    // They wait for each other, so that they share a turn.
    let mut chats = Vec::new();
    for text in ["one", "!exit 7", "three"] {
        chats.push(home.admin().send_text("demo", text).await);
    }
    mend(&home);
    let last = home.admin().send_text("demo", "four").await;
    let mut ends = Vec::new();
    for chat in chats {
        ends.push(chat.end().await);
    }
    let [one, poison, three] = &ends[..] else { panic!("three") };
    assert!(one.text().contains("one") && !one.text().contains("three"), "by itself: {}", one.text());
    assert!(three.text().contains("three"), "{}", three.text());
    assert!(matches!(poison.finished.outcome, ChatOutcome::Failed { .. }), "{:?}", poison.finished);
    assert!(poison.notices().iter().any(|notice| notice.contains("demo/1")), "{:?}", poison.notices());
    assert!(last.end().await.text().contains("four"), "what came behind it is answered");
    let open = letters(&home, &["demo"]).await;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0]["cause"], &open[0]["text"]), (&json!("container"), &json!("!exit 7")));
    let shown = home.cli(&["dead-letter", "show", "demo/1"]).await;
    assert!(shown.stdout.contains("!exit 7") && shown.stdout.contains("exit code 7"), "{shown:?}");

    let dropped = home.cli(&["dead-letter", "drop", "--all", "demo"]).await;
    assert_eq!((dropped.code, dropped.stdout.trim()), (0, "demo/1 is dropped"));
    let retried = home.cli(&["dead-letter", "retry", "demo/1"]).await;
    assert!(retried.code == 5 && retried.stderr.contains("was dropped before"), "{retried:?}");
    assert!(home.admin().status().await.dead_letters.is_empty());
}

#[tokio::test]
async fn what_a_person_decides_without_a_daemon_is_done_by_the_next_one() {
    let mut home = home_with("", &json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "!fail usage_limit 2\nhello").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::UsageLimit });
    assert!(answer.notices()[0].contains("demo/1"), "{:?}", answer.notices());
    home.stop().await;

    let unknown = home.cli(&["dead-letter", "show", "demo/2"]).await;
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert_eq!(home.cli(&["dead-letter", "retry", "demo/1", "demo/2"]).await.code, 4, "the second is unknown");
    assert_eq!(letters(&home, &["--all"]).await[0]["state"], json!("retried"), "the first was done");
    assert_eq!(home.cli(&["--json", "status"]).await.json()["dead_letters"], json!([]));

    home.up().await;
    let session = answer.finished.session.clone();
    let turns = eventually("the next daemon answers it", || async {
        let session = home.admin().session(&session).await;
        (session.waiting == 0 && session.turns == 2 && session.state == SessionState::Idle).then_some(session.turns)
    })
    .await;
    assert_eq!(turns, 2);
    assert!(letters(&home, &[]).await.is_empty(), "the second try answered it");
}

#[tokio::test]
async fn a_wait_for_the_engine_is_told_in_the_chat_once_and_costs_no_try() {
    let mut home = TestHome::new();
    home.configure("[retries]\nstart_tries = 1\ntell_after_secs = 1\n");
    let real = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let Some(real) = real.strip_prefix("unix://") else { panic!("this test needs an engine on a Unix socket") };
    let link = home.root().join("engine.sock");
    home.env("DOCKER_HOST", &format!("unix://{}", link.display()));
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let request = message("demo", "hello");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let told = |event: &ChatEvent| matches!(event, ChatEvent::Notice { text, .. } if text.contains("is kept"));
    chat.until("it is told that it waits", told).await;
    home.stop().await;
    chat.drain().await;
    home.up().await;
    std::os::unix::fs::symlink(real, &link).expect("the engine is back");
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: hello\n(turn 1)");
    assert!(answer.notices().is_empty(), "told once: {:?}", answer.notices());
    assert!(letters(&home, &[]).await.is_empty());
}

#[tokio::test]
async fn a_key_of_the_tries_that_nobody_knows_is_named() {
    let home = TestHome::new();
    home.configure("[retries]\nstart_trys = 2\n");
    let up = home.cli(&["up"]).await;
    assert_eq!(up.code, 3, "{up:?}");
    assert!(up.stderr.contains("start_trys") && up.stderr.contains("cofferdam.toml"), "{up:?}");
}

#[tokio::test]
async fn what_is_retried_after_other_messages_is_what_codex_is_asked() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let error = json!({"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}});
    vendor.script([Say::Status(429, error)]);
    let first = message("demo", "the FIRST question");
    let failed = home.admin().request(&first).await.expect("accepted").end().await;
    assert!(matches!(failed.finished.outcome, ChatOutcome::Failed { .. }), "{failed:?}");
    home.admin().chat("demo", "the SECOND question").await.text();
    let asked = vendor.calls().len();
    assert_eq!(home.cli(&["dead-letter", "retry", "demo/1"]).await.code, 0);
    let answer = home.admin().request(&first).await.expect("accepted").end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
    let call = vendor.calls()[asked].body["input"].clone();
    let asks = |item: &&Value| item["role"] == "user" && item.to_string().contains("question");
    let last = call.as_array().expect("items").iter().rfind(asks).expect("a question");
    assert!(last.to_string().contains("the FIRST question"), "{last}");
}
