//! Disks that fill up, files that break, and copies that are made meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use cofferdam_protocol::ids::Folder;
use cofferdam_protocol::runner::ProviderKind;
use rusqlite::Connection;

use super::backup::{Origin, check, copy, renew};
use super::group::models::Inherited;
use super::salvage::salvage;
use super::{Errand, Fault, StoreError, Stores};
use crate::config::home::Home;
use crate::model::chat::{ChatRef, Inbound};

/// A small disk of its own; unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None, said so, where it cannot be mounted: that takes root.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Program::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "cofferdam-test"]).arg(dir.path());
        if rustix::process::geteuid().is_root() && mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: mounting a small disk takes root and `mount`");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn demo() -> Folder {
    "demo".parse().unwrap()
}

async fn stores(root: &Path, groups: &[&str]) -> Stores {
    let stores = Stores::open(Home::new(root).unwrap()).unwrap();
    for group in groups {
        stores.central().put_group(&group.parse().unwrap(), "{}".into(), String::new()).await.unwrap();
    }
    stores
}

async fn accept(stores: &Stores, group: &str, number: usize, text: String) -> Result<i64, StoreError> {
    let chat = ChatRef { channel: "terminal".into(), chat_id: group.into(), thread_id: None };
    let platform_id = format!("id-{number}");
    let message = Inbound {
        chat,
        platform_id,
        sender: "me".into(),
        sender_id: None,
        text,
        quote: None,
        output_schema: None,
        files: Vec::new(),
    };
    let accepted = stores.accept(&group.parse().unwrap(), message, "terminal:main".into(), None).await;
    accepted.map(|(_, accepted)| accepted.message.0)
}

fn count(path: &Path, what: &str) -> i64 {
    Connection::open(path)
        .unwrap()
        .query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0))
        .unwrap()
}

/// Overwrites the page of the file that has `text` on it.
fn break_page_with(path: &Path, text: &str) {
    let bytes = std::fs::read(path).unwrap();
    let at = memchr::memmem::find(&bytes, text.as_bytes()).unwrap();
    File::options().write(true).open(path).unwrap().write_all_at(&[0xff; 4096], (at / 4096 * 4096) as u64).unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_same_connection_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("4m") else { return };
    let stores = stores(disk.path(), &["demo"]).await;
    accept(&stores, "demo", 0, "before".into()).await.unwrap();
    let mut acknowledged = vec!["id-0".to_owned()];
    for round in 0..3 {
        let ballast = disk.fill();
        let mut refused = 0;
        for number in 1..60 {
            let number = 100 * round + number;
            match accept(&stores, "demo", number, "x".repeat(30_000)).await {
                Ok(_) => acknowledged.push(format!("id-{number}")),
                Err(error) => {
                    assert!(error.is_disk(), "{error:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "the disk was never full");
        assert!(stores.disk_note().get().is_some_and(|note| note.path.ends_with("state.db")));
        std::fs::remove_file(ballast).unwrap();
        let number = 100 * round + 99;
        accept(&stores, "demo", number, "after".into()).await.expect("there is room again");
        acknowledged.push(format!("id-{number}"));
        assert_eq!(stores.disk_note().get(), None, "it goes away by itself");
    }
    stores.close().await;
    let path = disk.path().join("data/groups/demo/state.db");
    check(&path).unwrap();
    let conn = Connection::open(path).unwrap();
    let mut statement = conn.prepare("SELECT platform_id FROM inbox ORDER BY id").unwrap();
    let kept: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept, acknowledged, "what was acknowledged is there, and nothing else");
}

#[tokio::test]
async fn a_damaged_group_is_set_aside_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo", "other"]).await;
    for number in 0..200 {
        accept(&open, "demo", number, format!("text-{number}-{}", "x".repeat(500))).await.unwrap();
    }
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    break_page_with(&path, "text-100-");
    let broken = std::fs::read(&path).unwrap();

    let open = stores(dir.path(), &[]).await;
    let store = open.group(&demo()).await.expect("it opens: the page is in the middle");
    let session = store.due_sessions().await.unwrap().remove(0);
    let error = store.refuse_waiting(&session, "over".into()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Damaged, "{error:?}");
    let error = accept(&open, "demo", 1000, "hello".into()).await.unwrap_err();
    assert!(matches!(&error, StoreError::SetAside { folder, .. } if *folder == demo()), "{error:?}");
    accept(&open, "other", 1, "hello".into()).await.expect("the other group goes on");
    while open.central().aside(&demo()).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    open.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), broken, "the damaged file stays as it is");
    let open = stores(dir.path(), &[]).await;
    let error = open.group(&demo()).await.err().expect("also after a restart");
    assert!(matches!(error, StoreError::SetAside { .. }), "{error:?}");
}

#[tokio::test]
async fn a_text_that_is_none_sets_its_group_aside_instead_of_holding_up_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    for number in 0..3 {
        accept(&open, "demo", number, format!("text-{number}")).await.unwrap();
    }
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    let broken = Connection::open(&path).unwrap();
    broken.execute("UPDATE inbox SET text = CAST(x'74fffe' AS TEXT) WHERE id = 2", []).unwrap();
    broken.close().unwrap();

    let open = stores(dir.path(), &[]).await;
    let store = open.group(&demo()).await.expect("SQLite sees no fault");
    let session = store.due_sessions().await.unwrap().remove(0);
    let attempt = store.begin_attempt(&session, ProviderKind::Mock, String::new()).await.unwrap();
    let error = store.claim(&session, attempt, Inherited::default()).await.expect_err("it is no text");
    assert_eq!(error.fault(), Fault::Damaged, "{error:?}");
    let error = accept(&open, "demo", 1000, "hello".into()).await.unwrap_err();
    assert!(matches!(&error, StoreError::SetAside { folder, .. } if *folder == demo()), "{error:?}");
    open.close().await;
    let fresh = dir.path().join("fresh.db");
    let tables = salvage(&path, &fresh).unwrap();
    let inbox = tables.iter().find(|table| table.name == "inbox").unwrap();
    assert_eq!((inbox.saved, inbox.unusable), (2, 1), "{inbox:?}");
}

#[tokio::test]
async fn a_database_that_was_lost_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/groups/demo/state.db");
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.expect("one that never was is made");
    open.close().await;
    std::fs::create_dir_all(path.with_file_name("sessions").join("1")).unwrap();
    let lose: [fn(&Path); 2] =
        [|path| std::fs::write(path, "").unwrap(), |path| std::fs::remove_file(path).unwrap()];
    for lose in lose {
        lose(&path);
        assert!(check(&path).is_err(), "it is not in order");
        let open = stores(dir.path(), &[]).await;
        let error = accept(&open, "demo", 2, "hello".into()).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::SetAside { why, .. } if why.contains("missing or empty")),
            "{error:?}"
        );
        while open.central().aside(&demo()).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        open.put_back(&demo()).await.unwrap();
        open.close().await;
    }
}

#[tokio::test]
async fn a_group_is_not_replaced_while_it_is_copied_and_not_copied_while_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo", "other"]).await;
    let copying = open.copying(&demo()).unwrap();
    let refused = open.hold(&demo(), Errand::Restore).await.err();
    assert!(matches!(refused, Some(StoreError::Copied(_))), "{refused:?}");
    accept(&open, "demo", 1, "hello".into()).await.expect("it is in use all the while");
    drop(copying);
    let hold = open.hold(&demo(), Errand::Restore).await.unwrap();
    let refused = open.copying(&demo()).err();
    assert!(matches!(refused, Some(StoreError::Held { .. })), "{refused:?}");
    open.copying(&"other".parse().unwrap()).expect("another group is");
    drop(hold);
    open.copying(&demo()).expect("again");
}

#[tokio::test]
async fn a_group_is_held_when_what_was_just_being_accepted_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    let accepting = open.busy(&demo()).await.unwrap();
    let (stores, folder) = (open.clone(), demo());
    let mut holding = tokio::spawn(async move { stores.hold(&folder, Errand::Removal).await.map(drop) });
    while open.not_held(&demo()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(futures_util::poll!(&mut holding).is_pending(), "it waits");
    drop(accepting);
    holding.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    let path = dir.path().join("data/groups/demo/state.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "this is a text and no database at all".repeat(300)).unwrap();
    let error = accept(&open, "demo", 1, "hello".into()).await.unwrap_err();
    assert!(matches!(error, StoreError::SetAside { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_is_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let open = stores(dir.path(), &[]).await;
    let error = accept(&open, "demo", 2, "hello".into()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Newer, "{error:?}");
    assert_eq!(open.central().aside(&demo()).await.unwrap(), None, "it is not set aside");
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_database_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    for number in 0..400 {
        accept(&open, "demo", number, format!("text-{number}-{}", "x".repeat(700))).await.unwrap();
    }
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    for text in ["text-100-", "text-300-"] {
        break_page_with(&path, text);
    }
    let fresh = dir.path().join("fresh.db");
    let tables = salvage(&path, &fresh).unwrap();
    let inbox = tables.iter().find(|table| table.name == "inbox").unwrap();
    let lost = inbox.lost.expect("its numbers say how many");
    assert!(inbox.saved >= 380 && lost >= 2, "{inbox:?}");
    assert_eq!(inbox.saved + lost, 400, "every row is accounted for: {inbox:?}");
    assert_eq!(count(&fresh, "inbox"), i64::try_from(inbox.saved).unwrap());
    assert_eq!(count(&fresh, "sessions"), 1);
    assert_eq!(count(&fresh, "pragma_foreign_key_check"), 0);
    renew(&fresh, Origin::Salvage).unwrap();
}

#[tokio::test]
async fn nobody_knows_how_much_a_table_had_whose_root_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    let conn = Connection::open(&path).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'";
    let root: u64 = conn.query_row(root, [], |row| row.get(0)).unwrap();
    let page: u64 = conn.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    drop(conn);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 64], (root - 1) * page).unwrap();
    drop(file);
    let fresh = dir.path().join("fresh.db");
    let tables = salvage(&path, &fresh).unwrap();
    let of = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    assert_eq!((of("sessions").saved, of("sessions").lost), (0, None), "{tables:?}");
    assert_eq!((of("inbox").saved, of("inbox").lost), (1, Some(0)), "{tables:?}");
}

#[tokio::test]
async fn a_newer_database_is_not_salvaged_into_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    let conn = Connection::open(&path).unwrap();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    conn.pragma_update(None, "user_version", version + 1).unwrap();
    drop(conn);
    let fresh = dir.path().join("fresh.db");
    let error = salvage(&path, &fresh).unwrap_err();
    assert_eq!(error.fault(), Fault::Newer, "{error:?}");
    assert!(!fresh.exists(), "nothing is made of it");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
    salvage(&path, &fresh).unwrap();
}

#[tokio::test]
async fn messages_of_a_session_that_was_lost_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = off; DELETE FROM sessions;").unwrap();
    drop(conn);
    let fresh = dir.path().join("fresh.db");
    salvage(&path, &fresh).unwrap();
    assert_eq!((count(&fresh, "sessions"), count(&fresh, "inbox WHERE state = 'pending'")), (1, 1));
}

#[tokio::test]
async fn messages_whose_replies_were_lost_are_not_left_without_words() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    for number in 0..40 {
        accept(&open, "demo", number, format!("text-{number}")).await.unwrap();
    }
    open.close().await;
    let path = dir.path().join("data/groups/demo/state.db");
    // Every second one ended in a notice of its own.
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "INSERT INTO turns (session, attempt, state, started_at) SELECT session, 1, 'completed', 0 FROM inbox;
             INSERT INTO outbox (session, turn, channel, chat_id, kind, text, state, next_try_at, created_at)
             SELECT session, iif(id % 2, id, NULL), channel, chat_id, 'reply', 'reply-' || id || '-' || hex(zeroblob(400)),
                 'delivered', 0, 0 FROM inbox;
             UPDATE inbox SET state = 'done', turn = iif(id % 2, id, NULL), notice = iif(id % 2, NULL, id);",
        )
        .unwrap();
    break_page_with(&path, "reply-20-");
    let fresh = dir.path().join("fresh.db");
    let tables = salvage(&path, &fresh).unwrap();
    let lost = tables.iter().find(|table| table.name == "outbox").unwrap().lost;
    let lost = lost.expect("its numbers say how many");
    assert!(lost >= 2, "{tables:?}");
    let told = "inbox WHERE notice IN (SELECT id FROM outbox WHERE kind = 'notice' AND state = 'pending')";
    assert_eq!(u64::try_from(count(&fresh, told)).unwrap(), lost, "each of them, and no other");
    assert_eq!(count(&fresh, "outbox WHERE kind = 'notice'"), 1, "once in the chat");
    let silent =
        "inbox WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.id = notice OR outbox.turn = inbox.turn)";
    assert_eq!(count(&fresh, silent), 0);
    renew(&fresh, Origin::Salvage).unwrap();
    assert_eq!(count(&fresh, "inbox WHERE state <> 'done'"), 0, "nothing is done twice");
}

#[tokio::test]
async fn a_copy_is_of_one_moment_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    let mut last = 0;
    for number in 0..20 {
        last = accept(&open, "demo", number, "text".into()).await.unwrap();
    }
    let path = dir.path().join("data/groups/demo/state.db");
    let writer = tokio::spawn({
        let open = open.clone();
        async move {
            for number in 20..120 {
                accept(&open, "demo", number, "x".repeat(2000)).await.unwrap();
            }
        }
    });
    let target = dir.path().join("copy.db");
    let (from, to) = (path.clone(), target.clone());
    tokio::task::spawn_blocking(move || copy(&from, &to)).await.unwrap().unwrap();
    writer.await.unwrap();
    let copied = count(&target, "inbox");
    assert!((20..=120).contains(&copied), "{copied}");
    renew(&target, Origin::Backup).unwrap();
    assert_eq!(count(&target, "inbox"), copied);
    assert_eq!(count(&target, "inbox WHERE turn IS NULL"), 0, "each is looked for before it is asked again");
    assert_eq!(count(&target, "turns WHERE state = 'abandoned'"), copied);
    assert_eq!(count(&target, "sessions WHERE attempt = 1 AND token_hash IS NULL"), 1);
    let home = dir.path().join("new/data/groups/demo");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::rename(&target, home.join("state.db")).unwrap();
    let restored = stores(&dir.path().join("new"), &["demo"]).await;
    let next = accept(&restored, "demo", 1000, "new".into()).await.unwrap();
    assert!(next > last + 100, "numbers of the original are not used again: {next}");
}

#[tokio::test]
async fn a_group_that_is_held_takes_nothing_until_it_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    let hold = open.hold(&demo(), Errand::Restore).await.unwrap();
    assert!(matches!(accept(&open, "demo", 2, "hello".into()).await, Err(StoreError::Held { .. })));
    open.group(&demo()).await.expect("what is under way comes to its end");
    hold.close().await;
    assert!(matches!(open.group(&demo()).await.err(), Some(StoreError::Held { .. })));
    assert!(matches!(open.hold(&demo(), Errand::Removal).await.err(), Some(StoreError::Held { .. })));
    drop(hold);
    accept(&open, "demo", 3, "hello".into()).await.expect("it goes on");
}

#[tokio::test]
async fn a_group_that_was_removed_does_not_come_back_by_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let open = stores(dir.path(), &["demo"]).await;
    accept(&open, "demo", 1, "hello".into()).await.unwrap();
    let late = open.group(&demo()).await.unwrap();
    let hold = open.hold(&demo(), Errand::Removal).await.unwrap();
    hold.forget().await.unwrap();
    let data = dir.path().join("data/groups/demo");
    std::fs::remove_dir_all(&data).unwrap();
    drop(hold);
    assert!(matches!(late.due_chats().await, Err(StoreError::Closed)), "who still has a handle finds it closed");
    for _ in 0..2 {
        assert!(matches!(open.group(&demo()).await.err(), Some(StoreError::NoGroup(_))));
        assert!(matches!(accept(&open, "demo", 2, "hello".into()).await, Err(StoreError::NoGroup(_))));
        open.settle(&demo()).await.unwrap();
    }
    assert!(!data.exists(), "nothing of it is made again");
    assert_eq!(open.central().busy_groups().await.unwrap(), []);
    open.central().put_group(&demo(), "{}".into(), String::new()).await.unwrap();
    accept(&open, "demo", 1, "hello".into()).await.expect("registered again it is another");
    assert_eq!(open.central().busy_groups().await.unwrap(), [demo()]);
}
