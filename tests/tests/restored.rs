//! Who waits for an answer while the group is restored.

use cofferdam_protocol::admin::{ChatEvent, SessionState};
use cofferdam_tests::admin::message;
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use serde_json::json;
use tempfile::TempDir;

/// A home whose group `demo` has answered one message, and its backup in `backup`.
async fn backed_up() -> (TestHome, TempDir) {
    let home = TestHome::running().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "one").await;
    let place = tempfile::tempdir().expect("a place");
    let backup = place.path().join("backup").display().to_string();
    assert_eq!(home.cli(&["backup", &backup]).await.code, 0);
    (home, place)
}

#[tokio::test]
async fn who_waits_while_a_group_is_restored_is_told_that_its_message_is_not_in_it() {
    let (home, place) = backed_up().await;
    let backup = place.path().join("backup").display().to_string();
    let request = message("demo", "!silent");
    let mut waits = home.admin().request(&request).await.expect("accepted");
    waits.started().await;
    let restored = home.cli(&["restore", "--from", &backup, "demo", "--stop"]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    let told = waits.drain().await;
    assert!(!told.iter().any(|event| matches!(event, ChatEvent::Finished(_))), "{told:?}");
    assert!(matches!(told.last(), Some(ChatEvent::Restored)), "{told:?}");
    // Nothing of it runs by itself, and whoever sends it again has it taken in anew.
    assert_eq!(home.admin().sessions(Some("demo")).await.len(), 1);
    let mut again = home.admin().request(&request).await.expect("accepted");
    again.started().await;
    let session = again.session();
    home.admin().stop(&session).await;
    let told = again.drain().await;
    assert!(matches!(told.first(), Some(ChatEvent::Accepted { duplicate: false, .. })), "{told:?}");
}

#[tokio::test]
async fn the_command_that_waits_ends_with_words_and_does_not_send_its_message_again() {
    let (home, place) = backed_up().await;
    let backup = place.path().join("backup").display().to_string();
    let mut watch = home.admin().request(&message("demo", "two")).await.expect("accepted");
    let session = watch.session();
    watch.until("it ends", |event| matches!(event, ChatEvent::Finished(_))).await;
    let waits = home.cli(&["chat", "demo", "!silent"]);
    let restore = async {
        eventually("it runs", || async {
            (home.admin().session(&session).await.state == SessionState::Busy).then_some(())
        })
        .await;
        home.cli(&["restore", "--from", &backup, "demo", "--stop"]).await
    };
    let (waited, restored) = tokio::join!(waits, restore);
    assert_eq!((waited.code, restored.code), (5, 0), "{waited:?} {restored:?}");
    assert!(waited.stderr.contains("was restored") && waited.stderr.contains("send it again"), "{waited:?}");
    assert_ne!(home.admin().session(&session).await.state, SessionState::Busy, "nothing of it runs again");
}
