//! Webhooks, keys and what is kept of conversations, on a real database.

use super::*;
use crate::model::channel::ChannelKind;
use crate::store::channels::ChannelRow;
use crate::store::ground::Ground;

async fn central() -> (tempfile::TempDir, Central) {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
    for group in ["demo", "other"] {
        central.put_group(&group.parse().unwrap(), "{}".into(), String::new()).await.unwrap();
    }
    for (name, kind) in [("http", ChannelKind::Http), ("tg", ChannelKind::Telegram)] {
        let row = ChannelRow { name: name.into(), kind, settings: "{}".into(), created_at: 0 };
        central.put_channel(row, None).await.unwrap();
    }
    (dir, central)
}

fn hook(channel: &str) -> HookRow {
    HookRow {
        channel: channel.into(),
        name: "ci".into(),
        format: HookFormat::GitHub,
        callback: None,
        events: vec!["issues".into()],
    }
}

fn key(name: &str) -> KeyRow {
    KeyRow {
        channel: "http".into(),
        name: name.into(),
        model: "demo".into(),
        expires_at: Some(9),
        revoked_at: None,
        used_at: None,
        created_at: 1,
    }
}

fn group(name: &str) -> Folder {
    name.parse().unwrap()
}

async fn wired(central: &Central, chat: &str) -> Vec<(Folder, SessionMode)> {
    let wirings = central.wirings_of("http", chat).await.unwrap();
    wirings.into_iter().map(|wiring| (wiring.folder, wiring.terms.session_mode)).collect()
}

#[tokio::test]
async fn a_webhook_reaches_one_group_and_keeps_its_secret_and_terms_when_it_changes() {
    let (_dir, central) = central().await;
    assert_eq!(central.put_hook(hook("tg"), group("demo"), None).await.unwrap(), Put::Nowhere);
    assert_eq!(central.put_hook(hook("http"), group("nobody"), None).await.unwrap(), Put::Nowhere);
    assert!(central.hooks().await.unwrap().is_empty(), "nothing is left of it");
    assert_eq!(central.put_hook(hook("http"), group("demo"), Some(vec![7])).await.unwrap(), Put::Done);
    assert_eq!(wired(&central, "hook/ci").await, [(group("demo"), SessionMode::PerThread)]);
    let chat = central.chat("http", "hook/ci").await.unwrap().unwrap();
    assert_eq!(chat.unknown, Some(UnknownPolicy::Public));
    let closed = ChatRow { unknown: Some(UnknownPolicy::Drop), ..chat };
    central.put_chat("http", "hook/ci", closed.clone()).await.unwrap();
    let changed = HookRow { events: Vec::new(), ..hook("http") };
    assert_eq!(central.put_hook(changed.clone(), group("other"), None).await.unwrap(), Put::Done);
    assert_eq!(wired(&central, "hook/ci").await, [(group("other"), SessionMode::PerThread)]);
    assert_eq!(central.chat("http", "hook/ci").await.unwrap(), Some(closed), "what somebody set stays");
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((changed, Some(vec![7]))));
    assert!(central.remove_hook("http", "ci").await.unwrap());
    assert!(!central.remove_hook("http", "ci").await.unwrap());
    assert!(central.hook("http", "ci").await.unwrap().is_none() && wired(&central, "hook/ci").await.is_empty());
    assert!(!central.has_sealed().await.unwrap());
}

#[tokio::test]
async fn a_copied_call_cannot_get_another_id_and_what_is_known_of_it_goes_with_its_webhook() {
    let (_dir, central) = central().await;
    let admits = async |tag: u8, call: &str| central.admits("http", "ci", [tag; 32], call).await.unwrap();
    assert!(!admits(1, "a").await, "no such webhook");
    central.put_hook(hook("http"), group("demo"), Some(vec![7])).await.unwrap();
    assert!(admits(1, "a").await && admits(1, "a").await && admits(2, "b").await);
    assert!(!admits(1, "b").await);
    central.put_hook(hook("http"), group("other"), None).await.unwrap();
    assert!(!admits(1, "b").await, "a change of the webhook forgets nothing");
    central.remove_hook("http", "ci").await.unwrap();
    central.put_hook(hook("http"), group("demo"), Some(vec![8])).await.unwrap();
    assert!(admits(1, "b").await, "another webhook of its name has other calls");
}

#[tokio::test]
async fn a_key_is_found_by_its_hash_alone_and_revoked_it_stays_known() {
    let (_dir, central) = central().await;
    assert_eq!(central.add_key(key("a"), [1; 32], group("demo")).await.unwrap(), Put::Done);
    assert_eq!(central.add_key(key("a"), [2; 32], group("other")).await.unwrap(), Put::Taken);
    assert_eq!(central.key("http", [1; 32]).await.unwrap(), Some(key("a")));
    for (channel, hash) in [("http", [2; 32]), ("tg", [1; 32])] {
        assert_eq!(central.key(channel, hash).await.unwrap(), None, "{channel}");
    }
    central.key_used("http", "a").await.unwrap();
    assert!(central.revoke_key("http", "a").await.unwrap());
    assert!(!central.revoke_key("http", "a").await.unwrap(), "once");
    let known = central.key("http", [1; 32]).await.unwrap().unwrap();
    assert!(known.revoked_at.is_some() && known.used_at.is_some());
    assert!(central.remove_key("http", "a").await.unwrap());
    assert_eq!((central.key("http", [1; 32]).await.unwrap(), wired(&central, "key/a").await.len()), (None, 0));
}

#[tokio::test]
async fn a_conversation_is_its_keys_and_goes_with_it() {
    let (_dir, central) = central().await;
    for (name, hash) in [("a", [1; 32]), ("b", [2; 32])] {
        central.add_key(key(name), hash, group("demo")).await.unwrap();
    }
    central.keep_api_thread("http", "a", [7; 32], "one").await.unwrap();
    central.keep_api_thread("http", "a", [7; 32], "two").await.unwrap();
    central.keep_api_thread("http", "nobody", [7; 32], "three").await.unwrap();
    let thread = async |key: &str| central.api_thread("http", key, [7; 32]).await.unwrap();
    assert_eq!(thread("a").await.as_deref(), Some("two"));
    assert_eq!((thread("b").await, thread("nobody").await), (None, None));
    central.remove_key("http", "a").await.unwrap();
    assert_eq!(thread("a").await, None);
}

#[tokio::test]
async fn a_channel_goes_with_its_webhooks_and_keys() {
    let (_dir, central) = central().await;
    central.put_hook(hook("http"), group("demo"), Some(vec![7])).await.unwrap();
    central.add_key(key("a"), [1; 32], group("demo")).await.unwrap();
    assert!(central.remove_channel("http").await.unwrap());
    assert!(central.hooks().await.unwrap().is_empty() && central.keys().await.unwrap().is_empty());
    assert!(!central.has_sealed().await.unwrap());
}
