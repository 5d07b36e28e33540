//! Webhooks, keys and what is kept of conversations, on a real database.

use super::*;
use crate::model::channel::Came;
use crate::model::chat::SessionMode;
use crate::model::people::Role;
use crate::store::channels::ChannelRow;
use crate::store::ground::Ground;
use crate::store::people::NewUser;
use crate::store::schema::Kind;

async fn central() -> (tempfile::TempDir, Central) {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
    for group in ["demo", "other"] {
        central.put_group(&group.parse().unwrap(), "{}".into(), String::new()).await.unwrap();
    }
    for (name, kind) in [("http", "http"), ("tg", "telegram")] {
        let kind = KindName::of(kind);
        let row = ChannelRow { name: name.into(), kind, settings: "{}".into(), created_at: 0 };
        central.put_channel(row, None).await.unwrap();
    }
    (dir, central)
}

fn hook(channel: &str) -> HookRow {
    HookRow {
        channel: channel.into(),
        name: "ci".into(),
        chat_id: "hook/ci".into(),
        format: "github".into(),
        callback: None,
        events: vec!["issues".into()],
    }
}

fn key(name: &str) -> KeyRow {
    KeyRow {
        channel: "http".into(),
        name: name.into(),
        chat_id: format!("key/{name}"),
        model: "demo".into(),
        expires_at: Some(9),
        revoked_at: None,
        used_at: None,
        created_at: 1,
    }
}

fn secret(byte: u8) -> HookSeals {
    HookSeals { secret: Some(vec![byte]), callback: None }
}

fn done(chat_id: &str) -> Put {
    Put::Done(chat_id.to_owned())
}

fn group(name: &str) -> Folder {
    name.parse().unwrap()
}

fn to(name: &str) -> For {
    (group(name), KindName::of("http"))
}

async fn wired(central: &Central, chat: &str) -> Vec<(Folder, SessionMode)> {
    let wirings = central.wirings_of("http", chat).await.unwrap();
    wirings.into_iter().map(|wiring| (wiring.folder, wiring.terms.session_mode)).collect()
}

#[tokio::test]
async fn a_webhook_reaches_one_group_and_keeps_its_secret_and_terms_when_it_changes() {
    let (_dir, central) = central().await;
    assert_eq!(central.put_hook(hook("tg"), to("demo"), HookSeals::default()).await.unwrap(), Put::Nowhere);
    assert_eq!(central.put_hook(hook("http"), to("nobody"), HookSeals::default()).await.unwrap(), Put::Nowhere);
    assert!(central.hooks().await.unwrap().is_empty(), "nothing is left of it");
    assert_eq!(central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap(), done("hook/ci"));
    assert_eq!(wired(&central, "hook/ci").await, [(group("demo"), SessionMode::PerThread)]);
    let chat = central.chat("http", "hook/ci").await.unwrap().unwrap();
    assert_eq!(chat.unknown, Some(UnknownPolicy::Public));
    let closed = ChatRow { unknown: Some(UnknownPolicy::Drop), ..chat };
    central.put_chat("http", "hook/ci", closed.clone()).await.unwrap();
    let mut wiring = central.wirings_of("http", "hook/ci").await.unwrap().remove(0);
    wiring.terms.session_mode = SessionMode::Shared;
    assert!(central.wire(wiring).await.unwrap());
    let changed = HookRow { events: Vec::new(), ..hook("http") };
    let put = central.put_hook(changed.clone(), to("other"), HookSeals::default()).await.unwrap();
    assert_eq!(put, done("hook/ci"));
    assert_eq!(wired(&central, "hook/ci").await, [(group("other"), SessionMode::Shared)]);
    assert_eq!(central.chat("http", "hook/ci").await.unwrap(), Some(closed), "what somebody set stays");
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((changed, secret(7))));
    assert!(central.remove_hook("http", "ci").await.unwrap());
    assert!(!central.remove_hook("http", "ci").await.unwrap());
    assert!(central.hook("http", "ci").await.unwrap().is_none() && wired(&central, "hook/ci").await.is_empty());
    assert!(!central.has_sealed().await.unwrap());
}

#[tokio::test]
async fn a_callback_is_sealed_beside_the_secret_and_goes_with_a_change_that_has_none() {
    let (_dir, central) = central().await;
    let shown = HookRow { callback: Some("https://a.example/…".into()), ..hook("http") };
    let seals = HookSeals { callback: Some(vec![9]), ..secret(7) };
    central.put_hook(shown.clone(), to("demo"), seals.clone()).await.unwrap();
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((shown.clone(), seals)));
    central.put_hook(hook("http"), to("demo"), HookSeals::default()).await.unwrap();
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((hook("http"), secret(7))));
    // One of before they were sealed.
    let plain = HookRow { callback: Some("https://a.example/?token=hush".into()), ..hook("http") };
    central.put_hook(plain.clone(), to("demo"), HookSeals::default()).await.unwrap();
    let shown_now = "https://a.example/…".to_owned();
    let stale = HookRow { callback: Some("https://b.example/?token=old".into()), ..hook("http") };
    central.seal_callback(stale, "https://b.example/…".into(), vec![1]).await.unwrap();
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((plain.clone(), secret(7))), "another by now");
    central.seal_callback(plain, shown_now, vec![2]).await.unwrap();
    let sealed = HookSeals { callback: Some(vec![2]), ..secret(7) };
    assert_eq!(central.hook("http", "ci").await.unwrap(), Some((shown, sealed)));
    central.remove_hook("http", "ci").await.unwrap();
    assert!(!central.has_sealed().await.unwrap());
}

#[tokio::test]
async fn a_copied_call_cannot_get_another_id_and_what_is_known_of_it_goes_with_its_webhook() {
    let (_dir, central) = central().await;
    let came = async |tag: u8, call: &str| central.call_came("http", "ci", [tag; 32], call).await.unwrap();
    let admits = async |tag: u8, call: &str| central.admits("http", "ci", [tag; 32], call).await.unwrap();
    assert!(!admits(1, "a").await, "no such webhook");
    central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap();
    assert_eq!(came(1, "a").await, Came::New);
    assert_eq!(came(1, "a").await, Came::New, "to look is not to come");
    assert!(admits(1, "a").await && admits(1, "a").await && admits(2, "b").await);
    assert!(!admits(1, "b").await);
    assert_eq!((came(1, "a").await, came(1, "b").await), (Came::Again, Came::Copied));
    central.call_taken("http", "ci", [1; 32]).await.unwrap();
    assert_eq!((came(1, "a").await, came(2, "b").await), (Came::Taken, Came::Again));
    let with_event = (came(2, "issues b").await, came(2, "issues c").await);
    assert_eq!(with_event, (Came::Again, Came::Copied), "rows of before have no event");
    assert!(admits(2, "issues b").await && !admits(2, "issues c").await);
    central.put_hook(hook("http"), to("other"), HookSeals::default()).await.unwrap();
    assert_eq!((came(1, "a").await, came(1, "b").await), (Came::Taken, Came::Copied), "a change forgets nothing");
    central.remove_hook("http", "ci").await.unwrap();
    central.put_hook(hook("http"), to("demo"), secret(8)).await.unwrap();
    assert!(admits(1, "b").await, "another webhook of its name has other calls");
}

#[tokio::test]
async fn a_key_is_found_by_its_hash_alone_and_revoked_it_stays_known() {
    let (_dir, central) = central().await;
    assert_eq!(central.add_key(key("a"), [1; 32], to("demo")).await.unwrap(), done("key/a"));
    assert_eq!(central.add_key(key("a"), [2; 32], to("other")).await.unwrap(), Put::Taken);
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
        central.add_key(key(name), hash, to("demo")).await.unwrap();
    }
    central.keep_api_thread("http", "key/a", [7; 32], "one").await.unwrap();
    central.keep_api_thread("http", "key/a", [7; 32], "two").await.unwrap();
    central.keep_api_thread("http", "key/nobody", [7; 32], "three").await.unwrap();
    let thread = async |key: &str| central.api_thread("http", key, [7; 32]).await.unwrap();
    let first =
        async |key: &str, text: &str| central.keep_first_api_thread("http", key, [8; 32], text).await.unwrap();
    // As long as a text may be.
    let all = "x".repeat(129);
    assert_eq!((first("key/a", &all).await, first("key/a", "later").await), (all.clone(), all.clone()));
    assert_eq!(central.api_thread("http", "key/a", [8; 32]).await.unwrap(), Some(all));
    assert_eq!((first("key/nobody", "a").await, first("key/nobody", "b").await), ("a".into(), "b".into()));
    assert_eq!(thread("key/a").await.as_deref(), Some("two"));
    assert_eq!((thread("key/b").await, thread("key/nobody").await), (None, None));
    central.remove_key("http", "a").await.unwrap();
    assert_eq!(thread("key/a").await, None);
}

#[tokio::test]
async fn a_channel_goes_with_its_webhooks_and_keys() {
    let (_dir, central) = central().await;
    central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap();
    central.add_key(key("a"), [1; 32], to("demo")).await.unwrap();
    assert!(central.remove_channel("http").await.unwrap());
    assert!(central.hooks().await.unwrap().is_empty() && central.keys().await.unwrap().is_empty());
    assert!(!central.has_sealed().await.unwrap());
}

fn sender(id: &str) -> NewUser {
    NewUser { channel: "http".into(), user_id: id.into(), name: id.into(), direct: None }
}

#[tokio::test]
async fn one_that_is_made_again_under_its_name_has_another_chat_and_none_of_the_roles() {
    let (_dir, central) = central().await;
    let made = async |hash: u8| central.add_key(key("a"), [hash; 32], to("demo")).await.unwrap();
    assert_eq!(made(1).await, done("key/a"));
    central.put_user(sender("key:a"), Some((Role::Admin, None)), "me").await.unwrap();
    central.put_user(sender("key:b"), Some((Role::Member, None)), "me").await.unwrap();
    assert!(central.remove_key("http", "a").await.unwrap());
    let people: Vec<String> = central.people().await.unwrap().into_iter().map(|person| person.name).collect();
    assert_eq!(people, ["key:b"], "who its sender was is forgotten, and nobody else is");
    assert_eq!(made(2).await, done("key/a/2"));
    assert_eq!(central.key("http", [2; 32]).await.unwrap().unwrap().chat_id, "key/a/2");
    assert_eq!(wired(&central, "key/a/2").await.len(), 1);
    assert!(wired(&central, "key/a").await.is_empty());
    assert!(central.remove_key("http", "a").await.unwrap());
    assert!(!central.remove_key("http", "a").await.unwrap());
    assert_eq!(made(3).await, done("key/a/3"));
    let put = async || central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap();
    assert_eq!((put().await, put().await), (done("hook/ci"), done("hook/ci")), "a change makes none");
    assert!(central.remove_hook("http", "ci").await.unwrap());
    assert_eq!(put().await, done("hook/ci/2"));
}

#[tokio::test]
async fn a_channel_that_is_added_again_has_none_of_the_chats_of_before() {
    let (_dir, central) = central().await;
    central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap();
    central.add_key(key("a"), [1; 32], to("demo")).await.unwrap();
    assert!(central.remove_channel("http").await.unwrap());
    let row = ChannelRow { name: "http".into(), kind: KindName::of("http"), settings: "{}".into(), created_at: 0 };
    central.put_channel(row, None).await.unwrap();
    assert_eq!(central.put_hook(hook("http"), to("demo"), secret(7)).await.unwrap(), done("hook/ci/2"));
    assert_eq!(central.add_key(key("a"), [1; 32], to("demo")).await.unwrap(), done("key/a/2"));
}

#[test]
fn keys_of_before_keep_their_chats_and_what_removed_ones_left_is_nobodys() {
    let mut conn = rusqlite::Connection::open_in_memory().unwrap();
    Kind::Central.migrations().to_version(&mut conn, 11).unwrap();
    conn.execute_batch(
        "INSERT INTO channels (name, kind, settings, created_at) VALUES ('http', 'http', '{}', 0), ('tg', 'telegram', '{}', 0);
         INSERT INTO hooks (channel, name, format, events, created_at) VALUES ('http', 'ci', 'plain', '[]', 0);
         INSERT INTO api_keys (channel, name, hash, model, created_at) VALUES ('http', 'a', x'01', 'demo', 0);
         INSERT INTO api_threads (channel, key, fingerprint, thread, at) VALUES ('http', 'a', x'02', 't', 0);
         INSERT INTO secrets (purpose, name, sealed) VALUES ('hook', 'http/ci', x'03');
         INSERT INTO people (id, name, created_at) VALUES (1, 'x', 0);
         INSERT INTO users (channel, user_id, person, name) VALUES ('http', 'key:left', 1, 'x'), ('http', 'key:a', 1, 'x');
         INSERT INTO drops VALUES ('http', 'key/gone', '', 'wrong-model', 1, 0), ('http', 'key', '', 'no-key', 1, 0),
             ('http', 'hook/ci', '', 'flood', 1, 0), ('tg', 'key/x', '', 'unwired', 1, 0);",
    )
    .unwrap();
    Kind::Central.migrations().to_latest(&mut conn).unwrap();
    let all = |sql: &str| -> Vec<String> {
        conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(all("SELECT chat_id FROM hooks UNION SELECT chat_id FROM api_keys"), ["hook/ci", "key/a"]);
    assert_eq!(all("SELECT key FROM api_threads"), ["key/a"]);
    assert_eq!(all("SELECT name FROM secrets"), ["http/ci"]);
    let gone = all("SELECT channel || ':' || chat_id FROM gone_programs ORDER BY chat_id");
    assert_eq!(gone, ["http:key/gone", "http:key/left"]);
}
