//! A home's `central.db`, its backup's, and another home's: real files.

use cofferdam_protocol::ids::Folder;
use tempfile::TempDir;

use super::super::approvals::{Asked, NewApproval};
use super::super::backup::{copy_central, read_central};
use super::super::channels::{ChannelRow, SecretOf};
use super::super::ground::Ground;
use super::super::hooks::{HookRow, HookSeals, KeyRow, Put};
use super::super::people::{Known, NewUser};
use super::super::posts::NewPost;
use super::*;
use crate::model::approval::{ApprovalKind, Choice};
use crate::model::channel::KindName;
use crate::model::chat::{ChatKind, ChatRef, Move};
use crate::model::people::{Role, UnknownPolicy};
use crate::store::group::outbox::NextReply;
use crate::store::wirings::{ChatRow, Terms};

struct Place {
    dir: TempDir,
    central: Central,
}

fn folder(name: &str) -> Folder {
    name.parse().unwrap()
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "tg".into(), chat_id: id.into(), thread_id: None }
}

fn user(id: &str, direct: Option<&str>) -> NewUser {
    NewUser {
        channel: "tg".into(),
        user_id: id.into(),
        name: format!("name of {id}"),
        direct: direct.map(Into::into),
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
        Self { dir, central }
    }

    /// A home with two groups, a channel of each kind, people, an approval that waits and words that are on their way.
    async fn lived_in() -> Self {
        let place = Self::new();
        let central = &place.central;
        for group in ["demo", "ops"] {
            central.put_group(&folder(group), "{}".into(), String::new()).await.unwrap();
        }
        for (name, kind) in [("tg", "telegram"), ("http", "http"), ("irc", "exec")] {
            let kind = KindName::of(kind);
            let row = ChannelRow { name: name.into(), kind, settings: "{\"a\":1}".into(), created_at: 0 };
            assert!(central.put_channel(row, (name != "http").then(|| b"sealed".to_vec())).await.unwrap());
        }
        central.keep_cursor("tg", "{\"next\":7,\"at\":1}".into()).await.unwrap();
        for (id, group) in [("-5", "demo"), ("-5", "ops"), ("-6", "ops")] {
            let row = ChatRow { kind: ChatKind::Group, title: None, unknown: Some(UnknownPolicy::Public) };
            central.put_chat("tg", id, row).await.unwrap();
            let terms = Terms::of(ChatKind::Group);
            let wiring = Wiring { channel: "tg".into(), chat_id: id.into(), folder: folder(group), terms };
            assert!(central.wire(wiring).await.unwrap());
        }
        central.put_user(user("1", Some("1")), Some((Role::Owner, None)), "me").await.unwrap();
        central.put_user(user("2", None), Some((Role::Member, Some(folder("demo")))), "me").await.unwrap();
        let hook = HookRow {
            channel: "http".into(),
            name: "ci".into(),
            chat_id: String::new(),
            format: "plain".into(),
            callback: Some("https://a.example/…".into()),
            events: vec![],
        };
        let seals = HookSeals { secret: Some(b"sealed".to_vec()), callback: Some(b"sealed".to_vec()) };
        central.put_hook(hook, (folder("demo"), KindName::of("http")), seals).await.unwrap();
        let key = KeyRow {
            channel: "http".into(),
            name: "laptop".into(),
            chat_id: String::new(),
            model: "demo".into(),
            expires_at: None,
            revoked_at: None,
            used_at: None,
            created_at: 1,
        };
        central.add_key(key, [7; 32], (folder("demo"), KindName::of("http"))).await.unwrap();
        place.ask("9").await;
        central.post(NewPost::new(chat("2"), "on its way")).await.unwrap();
        place
    }

    async fn ask(&self, from: &str) -> Asked {
        let new = NewApproval {
            asker: "666".into(),
            kind: ApprovalKind::Sender,
            chat: chat("-5"),
            user_id: Some(from.into()),
            folder: Some(folder("demo")),
            words: format!("may {from}?"),
            choices: vec![Choice { word: "member".into(), label: "Yes".into() }],
            told: None,
            bare: false,
        };
        self.central.ask(new, format!("m{from}"), "{}".into()).await.unwrap()
    }

    /// Its backup, read as a restore reads it.
    fn backup(&self, only: &[&str]) -> (TempDir, Vec<GroupRow>, Vec<Wiring>, Source) {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("central.db");
        let only: Vec<Folder> = only.iter().map(|name| folder(name)).collect();
        copy_central(&self.dir.path().join("central.db"), &copy, (!only.is_empty()).then_some(&only)).unwrap();
        let (groups, wirings) = read_central(&copy).unwrap();
        (dir, groups, wirings, Source(copy))
    }

    async fn takes_all(&self, backup: &(TempDir, Vec<GroupRow>, Vec<Wiring>, Source)) -> HomeBack {
        let (_, groups, wirings, source) = backup;
        for group in groups.clone() {
            let of = wirings.iter().filter(|wiring| wiring.folder == group.folder).cloned().collect();
            let back = self.central.take_in((group, of), source.clone(), false).await.unwrap();
            assert!(back.elsewhere.is_empty(), "{back:?}");
        }
        self.central.take_home(source.clone()).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.central.db.read(move |tx| Ok(tx.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }
}

async fn known(central: &Central, user: &str) -> Known {
    let chat = ChatRef { channel: "tg".into(), chat_id: user.into(), thread_id: None };
    central.look(&chat, user).await.unwrap().sender
}

#[tokio::test]
async fn a_fresh_home_has_all_that_chats_need_but_the_secrets() {
    let from = Place::lived_in().await;
    let backup = from.backup(&[]);
    let to = Place::new();
    let back = to.takes_all(&backup).await;
    let names: Vec<&str> = back.channels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["http", "irc", "tg"]);
    assert_eq!(back.people, ["name of 1 (owner)", "name of 2 (member of demo)"]);
    assert_eq!((back.approvals, back.posts), (1, 2), "the question to the owner, and what was on its way");
    let central = &to.central;
    assert_eq!(central.wirings_of("tg", "-5").await.unwrap().len(), 2, "both groups listen again");
    assert_eq!(central.chat("tg", "-6").await.unwrap().unwrap().unknown, Some(UnknownPolicy::Public));
    assert_eq!(central.cursor("tg").await.unwrap().as_deref(), Some("{\"next\":7,\"at\":1}"));
    assert_eq!(known(central, "1").await.everywhere(), Some(Role::Owner));
    assert_eq!(central.key("http", [7; 32]).await.unwrap().map(|key| key.name).as_deref(), Some("laptop"));
    let lost = central.lost_secrets().await.unwrap();
    assert_eq!(lost, [SecretOf::channel("irc"), SecretOf::channel("tg"), SecretOf::hook("http", "ci")]);
    assert!(!central.has_sealed().await.unwrap());
    let Some(approval) = central.approvals(false, 9).await.unwrap().pop() else { panic!("it waits") };
    assert_eq!(central.first_held(approval.id).await.unwrap().as_deref(), Some("{}"));
    assert!(central.ask_the_others().await.unwrap().is_empty(), "the owner was asked, and is not again");
    let NextReply::Leased(post) = central.lease_post(&chat("2")).await.unwrap() else { panic!("on its way") };
    assert_eq!((post.text.as_str(), post.doubts), ("on its way", 1), "the original may have handed it over");
    // A secret that is given again is not asked for any more.
    let row =
        ChannelRow { name: "tg".into(), kind: KindName::of("telegram"), settings: "{}".into(), created_at: 0 };
    central.put_channel(row, Some(b"sealed".to_vec())).await.unwrap();
    assert_eq!(central.lost_secrets().await.unwrap().len(), 2);
    assert!(central.cursor("tg").await.unwrap().is_some(), "and it goes on where it stood");
}

#[tokio::test]
async fn a_second_restore_changes_nothing_and_new_numbers_are_nobodys() {
    let from = Place::lived_in().await;
    let backup = from.backup(&[]);
    let to = Place::new();
    to.takes_all(&backup).await;
    let count = "SELECT (SELECT count(*) FROM approvals) * 10000 + (SELECT count(*) FROM posts) * 100
                     + (SELECT count(*) FROM people) * 10 + (SELECT count(*) FROM held)";
    let before = to.count(count).await;
    let back = to.takes_all(&backup).await;
    assert_eq!((back.channels.len(), back.people.len(), back.approvals, back.posts), (0, 0, 0, 0), "{back:?}");
    assert_eq!(to.count(count).await, before);
    let Asked::New(id, _) = to.ask("10").await else { panic!("asked") };
    assert!(id > 1 + NUMBERS_BEYOND - 1, "no button of the original means it: {id}");
}

#[tokio::test]
async fn a_living_home_keeps_what_it_has() {
    let from = Place::lived_in().await;
    let backup = from.backup(&[]);
    // Since the backup: the approval is decided, Eve is no member any more, and the owner's words arrived.
    let central = &from.central;
    central.expire_approvals().await.unwrap();
    let two = known(central, "2").await.person.unwrap();
    central.set_role(two, Some(folder("demo")), None, "me").await.unwrap();
    central.keep_cursor("tg", "later".into()).await.unwrap();
    let id = central.approvals(false, 9).await.unwrap().pop().unwrap().id;
    let event = crate::model::approval::ApprovalEvent::Deny;
    let said = ("deny".to_owned(), "me".to_owned());
    central.decide(id, event, said, super::super::approvals::Effect::default(), None).await.unwrap();
    let posts = from.count("SELECT count(*) FROM posts").await;
    let back = from.takes_all(&backup).await;
    assert_eq!((back.channels.len(), back.kept.len(), back.people.len()), (0, 3, 0), "{back:?}");
    assert_eq!(central.cursor("tg").await.unwrap().as_deref(), Some("later"));
    assert!(known(central, "2").await.roles.is_empty(), "what was taken away stays away");
    assert!(central.approvals(false, 9).await.unwrap().is_empty(), "what was decided is not asked again");
    assert_eq!(from.count("SELECT count(*) FROM posts").await, posts, "and nothing is said again");
}

#[tokio::test]
async fn one_group_brings_its_chats_and_the_roles_of_people_who_are_known() {
    let from = Place::lived_in().await;
    let (_dir, groups, wirings, source) = from.backup(&["demo"]);
    assert_eq!(groups.len(), 1, "the others' are not in it");
    let to = Place::new();
    to.central.put_user(user("2", Some("2")), None, "me").await.unwrap();
    let of = wirings.clone();
    let back = to.central.take_in((groups[0].clone(), of), source.clone(), true).await.unwrap();
    assert_eq!(back.roles, ["name of 2: member"]);
    assert_eq!(back.no_channel, ["http", "tg"], "which are to be added");
    assert!(to.central.chat("tg", "-5").await.unwrap().is_some());
    assert!(to.central.chat("tg", "-6").await.unwrap().is_none(), "another group's");
    assert_eq!(to.central.approvals(false, 9).await.unwrap().len(), 1, "its own");
    assert!(to.central.channels().await.unwrap().is_empty());
    assert_eq!(to.central.people().await.unwrap().len(), 1, "nobody else is let in");
    // It is here now: another restore gives nobody what was taken away since.
    let two = known(&to.central, "2").await.person.unwrap();
    to.central.set_role(two, Some(folder("demo")), None, "me").await.unwrap();
    let back = to.central.take_in((groups[0].clone(), wirings), source, true).await.unwrap();
    assert!(back.roles.is_empty() && known(&to.central, "2").await.roles.is_empty());
}

#[tokio::test]
async fn a_backup_of_before_a_chat_moved_is_taken_where_the_chat_is_now() {
    let from = Place::lived_in().await;
    let (_dir, groups, wirings, source) = from.backup(&["demo"]);
    let moved = Move { channel: "tg".into(), from: "-5".into(), to: "-1005".into() };
    assert!(from.central.chat_moved(moved.clone()).await.unwrap());
    for pending in from.central.pending_moves().await.unwrap() {
        from.central.move_done(pending).await.unwrap();
    }
    let of = wirings.into_iter().filter(|wiring| wiring.channel == "tg").collect();
    from.central.take_in((groups[0].clone(), of), source, true).await.unwrap();
    assert!(from.central.wirings_of("tg", "-5").await.unwrap().is_empty());
    assert_eq!(from.central.wirings_of("tg", "-1005").await.unwrap().len(), 2);
    let pending = from.central.pending_moves().await.unwrap();
    let again: Vec<_> = pending.iter().map(|pending| (&pending.chat, pending.folder.clone())).collect();
    assert_eq!(again, [(&moved, Some(folder("demo")))], "its database has the old id again");
}

#[tokio::test]
async fn a_backup_has_no_callback_and_a_removed_keys_chat_stays_nobodys() {
    let from = Place::lived_in().await;
    let key = from.central.key("http", [7; 32]).await.unwrap().unwrap();
    assert!(from.central.remove_key("http", "laptop").await.unwrap());
    let plain = "INSERT INTO hooks (channel, name, chat_id, format, callback, events, created_at)
                 VALUES ('http', 'old', 'hook/old', 'plain', 'https://a.example/?token=hush', '[]', 0)";
    from.central.db.write(Durability::Durable, move |tx| Ok(tx.execute(plain, []).map(drop)?)).await.unwrap();
    let backup = from.backup(&[]);
    let text = std::fs::read(&backup.3.0).unwrap();
    assert!(!text.windows(4).any(|part| part == b"hush"), "not one that is not sealed yet either");
    let to = Place::new();
    to.takes_all(&backup).await;
    let (hook, seals) = to.central.hook("http", "ci").await.unwrap().unwrap();
    assert_eq!((hook.callback.as_deref(), seals), (Some("https://a.example/…"), HookSeals::default()));
    let lost = to.central.lost_secrets().await.unwrap();
    assert_eq!(lost.iter().filter(|of| of.is_hook()).count(), lost.len() - 2, "{lost:?}");
    let again = to.central.add_key(key, [8; 32], (folder("demo"), KindName::of("http"))).await.unwrap();
    assert_eq!(again, Put::Done("key/laptop/2".into()));
}

#[tokio::test]
async fn a_channel_that_is_another_at_its_platform_gets_nothing_of_its_names_sake() {
    let from = Place::lived_in().await;
    from.central.put_identity("tg", "424242".into()).await.unwrap();
    from.central.put_identity("gone", "7".into()).await.unwrap();
    let backup = from.backup(&[]);
    let fresh = Place::new();
    fresh.takes_all(&backup).await;
    for (name, who) in [("tg", "424242"), ("gone", "7")] {
        assert_eq!(
            fresh.central.identity(name).await.unwrap().as_deref(),
            Some(who),
            "also of one that was taken away"
        );
    }
    let other = Place::new();
    let row =
        ChannelRow { name: "tg".into(), kind: KindName::of("telegram"), settings: "{}".into(), created_at: 0 };
    other.central.put_channel(row, Some(b"sealed".to_vec())).await.unwrap();
    other.central.put_identity("tg", "555555".into()).await.unwrap();
    other.takes_all(&backup).await;
    assert_eq!(other.central.identity("tg").await.unwrap().as_deref(), Some("555555"));
    assert_eq!(known(&other.central, "2").await.person, None, "its people are others");
    let of_one_group = from.backup(&["demo"]);
    let part = Place::new();
    part.takes_all(&of_one_group).await;
    assert_eq!(part.central.identity("gone").await.unwrap(), None, "nobody of that group is there");
}
