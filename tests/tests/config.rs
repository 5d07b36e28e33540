//! Settings that are wrong, and settings that change.

use cofferdam_protocol::admin::{ChatOutcome, ErrorKind};
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use serde_json::json;

/// Ten files that cannot be used, with what the error must name: the key or place, and the mend.
const BAD: &[(&str, &[&str])] = &[
    (r#"{"modle": "x"}"#, &["modle", "`model`"]),
    (r#"{"limits": {"memory": 1}}"#, &["limits.memory", "memory_mb"]),
    ("{\n  \"provider\": \"codexx\"\n}", &[":2:", "provider", "codex"]),
    (r#"{"limits": {"memory_mb": "lots"}}"#, &["limits.memory_mb", "whole number"]),
    (r#"{"limits": {"memory_mb": 1}}"#, &["limits.memory_mb", "64"]),
    (r#"{"limits": {"cpus": -1}}"#, &["limits.cpus", "0.05"]),
    (r#"{"timeouts": {"idle_secs": 0}}"#, &["timeouts.idle_secs", "1"]),
    (r#"{"environment": {"OPENAI_API_KEY": "x"}}"#, &["OPENAI_API_KEY", "host"]),
    ("{\n  \"model\": \"a\",\n}", &[":3:", "comma"]),
    ("", &["empty", "{}"]),
];

#[tokio::test]
async fn a_bad_container_json_is_refused_at_registration_with_the_key_and_the_mend() {
    let home = TestHome::running().await;
    for (at, (text, words)) in BAD.iter().enumerate() {
        let group = format!("bad{at}");
        home.write_group(&group, &json!({}));
        std::fs::write(home.container_json(&group), text).expect("written");
        let added = home.cli(&["group", "add", &group]).await;
        assert_eq!(added.code, 3, "{text}: {added:?}");
        assert!(added.stderr.contains("container.json"), "{text}: {added:?}");
        for word in *words {
            assert!(added.stderr.contains(word), "{text} must name {word}: {}", added.stderr);
        }
        assert_eq!(std::fs::read_to_string(home.container_json(&group)).expect("there"), *text, "left as it is");
    }
    assert_eq!(home.admin().status().await.groups, 0, "none is registered");
}

#[tokio::test]
async fn a_file_that_became_bad_ends_messages_in_a_notice_and_loses_nothing() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "one").await;
    let session = first.finished.session.clone();
    for (text, words) in BAD {
        admin.stop(&session).await;
        std::fs::write(home.container_json("demo"), text).expect("written");
        let answer = admin.chat("demo", "two").await;
        assert!(matches!(answer.finished.outcome, ChatOutcome::Failed { .. }), "{text}: {answer:?}");
        let notices = answer.notices();
        assert_eq!(notices.len(), 1, "{text}: {notices:?}");
        assert!(notices[0].contains("cannot start"), "{text}: {notices:?}");
        for word in *words {
            assert!(notices[0].contains(word), "{text} must name {word}: {notices:?}");
        }
        let shown = admin.group("demo").await;
        assert!(shown.config_error.is_some(), "{text}: {shown:?}");
        assert_eq!(shown.config["provider"], "mock", "the parsed copy stays as it was");
    }
    std::fs::write(home.container_json("demo"), r#"{"provider": "mock"}"#).expect("written");
    assert_eq!(admin.chat("demo", "three").await.replies(), ["mock reply to: three\n(turn 2)"], "it goes on");
}

#[tokio::test]
async fn a_set_that_would_break_the_file_is_refused_and_changes_nothing() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let before = std::fs::read_to_string(home.container_json("demo")).expect("there");
    for (key, value, word) in [
        ("modle", "x", "`model`"),
        ("limits.memory_mb", "lots", "memory_mb"),
        ("limits.memory_mb", "1", "64"),
        ("limits.cpus", "0", "0.05"),
        ("limits", "3", "limits"),
        ("provider", "codx", "codex"),
        ("effort", "hihg", "high"),
        ("timeouts.idle_secs", "-1", "idle_secs"),
        ("environment.PATH", "/x", "PATH"),
        ("model.name", "x", "model"),
    ] {
        let set = home.cli(&["group", "set", "demo", key, value]).await;
        assert_eq!(set.code, 3, "{key} {value}: {set:?}");
        assert!(set.stderr.contains(word), "{key} {value} must name {word}: {}", set.stderr);
        assert_eq!(std::fs::read_to_string(home.container_json("demo")).expect("there"), before);
    }
}

#[tokio::test]
async fn a_running_session_keeps_its_settings_until_its_next_start_and_status_says_so() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "one").await;
    let session = first.finished.session.clone();
    assert!(!admin.session(&session).await.config_changed);
    let set = home.cli(&["group", "set", "demo", "limits.memory_mb", "777"]).await;
    assert_eq!(set.code, 0, "{set:?}");
    let status = admin.status().await;
    assert!(
        status.notes.iter().any(|note| note.contains("next start") && note.contains(session.as_str())),
        "{status:?}"
    );
    assert!(admin.session(&session).await.config_changed);
    let second = admin.chat("demo", "two").await;
    assert_eq!(second.container(), first.container(), "the running one goes on");
    admin.stop(&session).await;
    let third = admin.chat("demo", "three").await;
    let memory = engine::inspect(third.container()).await.and_then(|seen| seen.host_config?.memory);
    assert_eq!(memory, Some(777 << 20));
    assert!(admin.status().await.notes.is_empty());
}

#[tokio::test]
async fn a_running_session_goes_on_while_its_file_is_bad() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "one").await;
    std::fs::write(home.container_json("demo"), r#"{"modle": 1}"#).expect("written");
    let second = admin.chat("demo", "two").await;
    assert_eq!((second.container(), second.replies()), (first.container(), vec!["mock reply to: two\n(turn 2)"]));
    let notes = admin.status().await.notes;
    assert!(notes.iter().any(|note| note.contains("modle")), "{notes:?}");
}

#[tokio::test]
async fn a_file_replaced_by_a_link_or_a_directory_is_refused() {
    let home = TestHome::running().await;
    home.write_group("demo", &json!({}));
    let path = home.container_json("demo");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    let error = home.admin().put_group("demo").await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Config, "{error:?}");
}

#[tokio::test]
async fn a_daemon_with_a_bad_configuration_does_not_start_and_names_the_key() {
    let home = TestHome::new();
    for (text, word) in [
        ("max_session = 3\n", "max_sessions"),
        ("max_sessions = 0\n", "max_sessions"),
        ("account = \"opnai\"\n", "openai"),
        ("docker_host = \"nowhere\"\n", "docker_host"),
    ] {
        home.configure(text);
        let up = home.cli(&["up"]).await;
        assert_eq!(up.code, 3, "{text}: {up:?}");
        assert!(up.stderr.contains(word), "{text} must name {word}: {}", up.stderr);
    }
}
