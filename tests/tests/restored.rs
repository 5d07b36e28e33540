//! Who waits for an answer while the group is restored.

use cofferdam_protocol::admin::ChatEvent;
use cofferdam_tests::admin::message;
use cofferdam_tests::home::TestHome;
use serde_json::json;

#[tokio::test]
async fn who_waits_while_a_group_is_restored_is_let_go_and_taken_in_anew_when_it_sends_again() {
    let home = TestHome::running().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "one").await;
    let place = tempfile::tempdir().expect("a place");
    let backup = place.path().join("backup").display().to_string();
    assert_eq!(home.cli(&["backup", &backup]).await.code, 0);
    let request = message("demo", "!silent");
    let mut waits = home.admin().request(&request).await.expect("accepted");
    waits.started().await;
    let restored = home.cli(&["restore", "--from", &backup, "demo", "--stop"]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    let told = waits.drain().await;
    assert!(!told.iter().any(|event| matches!(event, ChatEvent::Finished(_))), "{told:?}");
    let mut again = home.admin().request(&request).await.expect("accepted");
    again.started().await;
    let session = again.session();
    home.admin().stop(&session).await;
    let told = again.drain().await;
    assert!(matches!(told.first(), Some(ChatEvent::Accepted { duplicate: false, .. })), "{told:?}");
}
