//! Backups of a running home, and their way back, also into another home.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use cofferdam::hooks::{OF_BACKUP, OF_RESTORE};
use cofferdam_tests::disk::SmallDisk;
use cofferdam_tests::home::{Ended, TestHome};
use cofferdam_tests::rows;
use cofferdam_tests::vendor::Vendor;
use rusqlite::Connection;
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use serde_json::json;

async fn back_up(home: &TestHome, dir: &Path) -> Ended {
    let ended = home.cli(&["--json", "backup", dir.to_str().expect("a path")]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended
}

async fn restore(home: &TestHome, dir: &Path, words: &[&str]) -> Ended {
    let words = [&["restore", "--from", dir.to_str().expect("a path")], words].concat();
    home.cli(&words).await
}

fn database(home: &TestHome, group: &str) -> PathBuf {
    home.root().join("data/groups").join(group).join("state.db")
}

fn texts(path: &Path, sql: &str) -> Vec<String> {
    let conn = rows::snapshot(path).expect("the database");
    let mut statement = conn.prepare(sql).expect("a statement");
    statement.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect()
}

#[tokio::test]
async fn what_was_accepted_before_a_backup_has_one_outcome_in_another_home() {
    let from = TestHome::running().await;
    for group in ["demo", "other"] {
        from.group(group, &json!({"provider": "mock"})).await;
    }
    for group in ["demo", "other"] {
        assert_eq!(from.admin().chat(group, "first").await.text(), "mock reply to: first\n(turn 1)");
    }
    let admin = from.admin();
    let flow = tokio::spawn(async move {
        let mut chats = Vec::new();
        for number in 0..60 {
            let group = if number % 2 == 0 { "demo" } else { "other" };
            let text = if number % 6 == 0 { format!("!wait 0.3\nn{number}") } else { format!("n{number}") };
            chats.push(admin.send_text(group, &text).await);
        }
        for chat in chats {
            chat.end().await.text();
        }
    });
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let report = back_up(&from, &dir).await.json();
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(2), "{report}");
    flow.await.expect("the original goes on");

    let mut to = TestHome::new();
    let restored = restore(&to, &dir, &[]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    to.up().await;
    let ids = [from.admin().status().await.install, to.admin().status().await.install];
    assert_ne!(ids[0], ids[1], "a home keeps its own installation id");
    for group in ["demo", "other"] {
        // The last of the chat: what waited before it is done.
        let last = to.admin().chat(group, "last").await.text();
        assert!(last.contains("last"), "{last}");
        let copied: i64 =
            texts(&dir.join("groups").join(group).join("state.db"), "SELECT count(*) || '' FROM inbox")[0]
                .parse()
                .expect("a count");
        let path = database(&to, group);
        let inbox = texts(&path, "SELECT platform_id FROM inbox WHERE state = 'done' ORDER BY id");
        assert_eq!(i64::try_from(inbox.len()).expect("a count"), copied + 1, "each message is done, once");
        let unanswered = "SELECT platform_id FROM inbox WHERE turn IS NULL
            OR NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.turn = inbox.turn)";
        assert_eq!(texts(&path, unanswered), Vec::<String>::new(), "each has words");
        let doubled = "SELECT text FROM outbox WHERE kind = 'reply' GROUP BY turn HAVING count(*) > 1";
        assert_eq!(texts(&path, doubled), Vec::<String>::new(), "no turn has two answers");
        assert_eq!(texts(&path, "PRAGMA integrity_check"), ["ok"]);
    }
}

#[tokio::test]
async fn codex_remembers_in_another_home() {
    let vendor = Vendor::start().await;
    let mut from = TestHome::new();
    vendor.serve(&mut from);
    from.up().await;
    from.group("demo", &json!({})).await;
    from.admin().chat("demo", "The colour is teal.").await.text();
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    // With its container alive, whose databases are open.
    back_up(&from, &dir).await;
    let mut to = TestHome::new();
    vendor.serve(&mut to);
    let restored = restore(&to, &dir, &[]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    to.up().await;
    let answer = to.admin().chat("demo", "Which colour?").await;
    assert!(answer.notices().is_empty(), "the thread is found: {:?}", answer.notices());
    let call = vendor.calls().last().expect("a call").input();
    assert!(call.contains("The colour is teal.") && call.contains("Which colour?"), "{call}");
}

#[tokio::test]
async fn an_answer_that_came_while_the_files_were_copied_is_not_asked_for_again() {
    let vendor = Vendor::start().await;
    let mut from = TestHome::new();
    vendor.serve(&mut from);
    from.up().await;
    from.group("demo", &json!({})).await;
    from.admin().chat("demo", "The colour is teal.").await.text();
    let place = tempfile::tempdir().expect("a place");
    let (older, newer) = (place.path().join("older"), place.path().join("newer"));
    // A message that waits in the database of one moment, and is answered in the files of a later one.
    let session = from.admin().sessions(Some("demo")).await.remove(0).id;
    from.admin().stop(&session).await;
    from.stop().await;
    let conn = Connection::open(database(&from, "demo")).expect("the database");
    conn.execute_batch(
        "INSERT INTO inbox (session, channel, chat_id, thread_id, platform_id, sender, text, state, accepted_at)
         SELECT session, channel, chat_id, thread_id, 'waiting', sender, 'Which colour was it?', 'pending', accepted_at
         FROM inbox LIMIT 1;
         INSERT INTO outbox (session, channel, chat_id, thread_id, kind, text, state, next_try_at, created_at)
         SELECT session, channel, chat_id, thread_id, 'notice', 'waits', 'delivered', 0, 0 FROM inbox LIMIT 1;",
    )
    .expect("a message that waits");
    drop(conn);
    back_up(&from, &older).await;
    let central = Connection::open(from.root().join("data/central.db")).expect("the database");
    central.execute("INSERT OR IGNORE INTO busy_groups (folder) VALUES ('demo')", []).expect("due");
    drop(central);
    from.up().await;
    from.admin().chat("demo", "And now?").await.text();
    back_up(&from, &newer).await;
    from.stop().await;
    let codex = |dir: &Path| dir.join("groups/demo/data/sessions").join(session.as_str()).join("codex");
    std::fs::remove_dir_all(codex(&older)).expect("the older files");
    std::fs::rename(codex(&newer), codex(&older)).expect("the later files");

    let asked = vendor.calls().iter().filter(|call| call.input().ends_with("Which colour was it?\n")).count();
    let mut to = TestHome::new();
    vendor.serve(&mut to);
    assert_eq!(restore(&to, &older, &[]).await.code, 0);
    to.up().await;
    let calls = vendor.calls().len();
    to.admin().chat("demo", "Hello again.").await.text();
    assert_eq!(vendor.calls().len(), calls + 1, "one call, for the new message: {asked} before");
    let done = texts(&database(&to, "demo"), "SELECT state FROM inbox WHERE platform_id = 'waiting'");
    assert_eq!(done, ["done"]);
}

#[tokio::test]
async fn a_restored_group_replaces_nothing_for_good() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.admin().chat("demo", "one").await.text();
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    back_up(&home, &dir).await;
    std::fs::write(home.folder("demo").join("workspace/new"), "new").expect("a file");
    home.admin().chat("demo", "two").await.text();
    let mut running = home.admin().send_text("demo", "!wait 600").await;
    running.started().await;
    let refused = restore(&home, &dir, &["demo"]).await;
    assert_eq!(refused.code, 5, "while it works: {refused:?}");
    assert!(refused.stderr.contains("--stop"), "{refused:?}");
    let done = restore(&home, &dir, &["demo", "--stop"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(home.folder("demo").join("workspace/new").exists(), "its folder stays");
    assert_eq!(home.admin().chat("demo", "again").await.text(), "mock reply to: again\n(turn 2)", "as it was then");
    let done = home.cli(&["restore", "--from", dir.to_str().expect("a path"), "--folder", "--json"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!home.folder("demo").join("workspace/new").exists(), "the backup's folder");
    let aside = done.json()["groups"][0]["aside"].clone();
    let aside: Vec<PathBuf> = serde_json::from_value(aside).expect("paths");
    assert!(aside.len() == 2 && aside.iter().all(|path| path.exists()), "{aside:?}");
    assert!(aside.iter().any(|path| path.join("workspace/new").exists()), "{aside:?}");
}

#[tokio::test]
async fn one_group_is_copied_without_the_others_and_nothing_hostile_is_followed() {
    let home = TestHome::running().await;
    for group in ["demo", "other"] {
        home.group(group, &json!({"provider": "mock"})).await;
        home.admin().chat(group, "hello").await.text();
    }
    let workspace = home.folder("demo").join("workspace");
    std::fs::write(home.root().join(".env"), "OPENAI_API_KEY=geheim").expect("a key");
    symlink("../../../.env", workspace.join("key")).expect("a link");
    symlink("/", workspace.join("root")).expect("a link");
    let pipe =
        rustix::fs::mknodat(rustix::fs::CWD, workspace.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0);
    pipe.expect("a pipe");
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let ended = home.cli(&["--json", "backup", dir.to_str().expect("a path"), "--group", "demo"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = ended.json();
    assert_eq!(report["groups"][0]["left_out"], 1, "{report}");
    assert!(!dir.join("groups/other").exists());
    assert_eq!(texts(&dir.join("central.db"), "SELECT folder FROM groups"), ["demo"]);
    let copied = dir.join("groups/demo/folder/workspace");
    assert!(copied.join("key").is_symlink() && copied.join("root").is_symlink());
    let mode =
        |path: &Path| std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
    assert_eq!(mode(&dir) & 0o777, 0o700);
    assert_eq!(mode(&dir.join("groups/demo/state.db")) & 0o777, 0o600);
    assert_eq!(mode(&dir.join("manifest.json")) & 0o777, 0o600);
    let again = home.cli(&["backup", dir.to_str().expect("a path")]).await;
    assert_eq!(again.code, 5, "a place that has something is refused: {again:?}");
    let inside = home.root().join("data/backup");
    let inside = home.cli(&["backup", inside.to_str().expect("a path")]).await;
    assert_eq!(inside.code, 5, "{inside:?}");
    let nowhere = home.cli(&["backup", place.path().join("none/such").to_str().expect("a path")]).await;
    assert!(nowhere.code == 4 && nowhere.stderr.contains("hint: make it"), "{nowhere:?}");
    let other = restore(&home, &dir, &["other"]).await;
    assert!(other.code == 4 && other.stderr.contains("it has demo"), "{other:?}");
}

#[tokio::test]
async fn half_a_backup_and_a_changed_one_are_refused() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.admin().chat("demo", "hello").await.text();
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    back_up(&home, &dir).await;
    let left: Vec<_> = std::fs::read_dir(place.path()).expect("a listing").collect();
    assert_eq!(left.len(), 1, "nothing else is left");
    let database = dir.join("groups/demo/state.db");
    let mut bytes = std::fs::read(&database).expect("the copy");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&database, bytes).expect("changed");
    let changed = restore(&home, &dir, &["demo"]).await;
    assert_eq!(changed.code, 4, "{changed:?}");
    assert!(changed.stderr.contains("not the file that was copied"), "{changed:?}");
    assert_eq!(home.admin().chat("demo", "again").await.text(), "mock reply to: again\n(turn 2)", "untouched");
    std::fs::remove_file(dir.join("manifest.json")).expect("half a backup");
    let half = restore(&home, &dir, &["demo"]).await;
    assert_eq!(half.code, 4, "{half:?}");
    assert!(half.stderr.contains("manifest.json is missing"), "{half:?}");
}

#[tokio::test]
async fn without_a_daemon_it_works_the_same() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.admin().chat("demo", "one").await.text();
    home.stop().await;
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    back_up(&home, &dir).await;
    let to = TestHome::new();
    assert_eq!(restore(&to, &dir, &[]).await.code, 0);
    let cli = to.cli(&["chat", "demo", "two"]).await;
    assert!(cli.stdout.contains("mock reply to: two\n(turn 2)"), "{cli:?}");
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_old_or_the_new_and_nothing_is_lost() {
    for (point, next) in OF_RESTORE.iter().zip(["(turn 3)", "(turn 2)"]) {
        let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
        home.admin().chat("demo", "one").await.text();
        let place = tempfile::tempdir().expect("a place");
        let dir = place.path().join("backup");
        back_up(&home, &dir).await;
        home.admin().chat("demo", "two").await.text();
        home.stop().await;
        home.env("COFFERDAM_CRASH_AT", point);
        home.up().await;
        assert_ne!(restore(&home, &dir, &["demo"]).await.code, 0, "{point}");
        assert_eq!(home.ended().await.signal(), Some(Signal::KILL.as_raw()), "{point}: reached, and killed there");
        home.unset("COFFERDAM_CRASH_AT");
        home.up().await;
        let answer = home.admin().chat("demo", "three").await.text();
        assert_eq!(answer, format!("mock reply to: three\n{next}"), "{point}");
        let done = restore(&home, &dir, &["demo", "--stop"]).await;
        assert_eq!(done.code, 0, "{point}: it can be done again: {done:?}");
        let answer = home.admin().chat("demo", "four").await.text();
        assert_eq!(answer, "mock reply to: four\n(turn 2)", "{point}");
        home.stop().await;
        let names = |name: &str| name.starts_with('.') || name.contains("aside");
        let beside = std::fs::read_dir(home.root().join("data/groups")).expect("a listing");
        let beside: Vec<PathBuf> = beside
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| names(&path.file_name().expect("a name").to_string_lossy()))
            .collect();
        assert!(!beside.is_empty() && beside.iter().all(|path| path.join("state.db").exists()), "{beside:?}");
        let two = |path: &PathBuf| {
            texts(&path.join("state.db"), "SELECT text FROM inbox").iter().any(|text| text.contains("two"))
        };
        assert!(beside.iter().any(two), "{point}: what was there is kept: {beside:?}");
    }
}

#[tokio::test]
async fn a_backup_that_is_killed_is_none_and_the_next_one_removes_what_it_left() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_CRASH_AT", OF_BACKUP[0]);
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "one").await.text();
    let place = tempfile::tempdir().expect("a place");
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    assert_ne!(home.cli(&["backup", first.to_str().expect("a path")]).await.code, 0);
    assert_eq!(home.ended().await.signal(), Some(Signal::KILL.as_raw()), "reached, and killed there");
    let left = || -> Vec<PathBuf> {
        std::fs::read_dir(place.path()).expect("a listing").map(|entry| entry.expect("an entry").path()).collect()
    };
    assert!(!first.exists() && left().len() == 1, "{:?}", left());
    home.unset("COFFERDAM_CRASH_AT");
    home.up().await;
    back_up(&home, &second).await;
    assert_eq!(left(), [second]);
}

/// Makes so many directories, each in the one before.
fn deep(place: &Path, count: usize) {
    let mut at = rustix::fs::open(place, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("a directory");
    for _ in 0..count {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("a directory");
        at = rustix::fs::openat(&at, "d", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("it");
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_named_and_costs_nothing_else() {
    let home = TestHome::running().await;
    for group in ["bare", "demo", "other"] {
        home.group(group, &json!({"provider": "mock"})).await;
        home.admin().chat(group, "hello").await.text();
    }
    let workspace = home.folder("demo").join("workspace");
    deep(&workspace, 200);
    std::fs::create_dir(workspace.join("store")).expect("a directory");
    std::fs::write(workspace.join("store/a"), "x".repeat(100_000)).expect("a file");
    for name in ["b", "c", "two\nlines"] {
        std::fs::hard_link(workspace.join("store/a"), workspace.join(name)).expect("another name");
    }
    std::fs::rename(home.folder("bare"), home.root().join("elsewhere")).expect("its folder is gone");
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let path = dir.to_str().expect("a path");
    let ended = home.cli(&["--json", "backup", path]).await;
    assert_eq!(ended.code, 14, "{ended:?}");
    let report = ended.json();
    let failed: Vec<_> = [0, 1, 2].map(|index| report["groups"][index]["failed"].clone()).into();
    assert_eq!(failed, [1, 1, 0], "{report}");
    let named = report["groups"][1]["named"][0].as_str().expect("a name");
    assert!(named.starts_with("workspace/d/d/") && named.ends_with(": too deep"), "{named}");
    assert_eq!(report["groups"][0]["database"], true, "{report}");
    let shown = home.cli(&["backup", place.path().join("again").to_str().expect("a path")]).await;
    assert_eq!(shown.code, 14, "{shown:?}");
    assert!(shown.stdout.contains("bare: left out ") && shown.stdout.contains("No such file"), "{shown:?}");
    assert!(shown.stdout.contains("the backup is "), "{shown:?}");

    let to = TestHome::new();
    let restored = restore(&to, &dir, &["--json"]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    let restored = restored.json();
    assert!(restored["groups"][1]["files"].as_u64().is_some_and(|files| files >= 4), "{restored}");
    for workspace in [dir.join("groups/demo/folder/workspace"), to.folder("demo").join("workspace")] {
        let links = |name: &str| workspace.join(name).metadata().expect("there").nlink();
        assert_eq!(["store/a", "b", "c", "two\nlines"].map(links), [4; 4], "one file: {}", workspace.display());
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_read_is_told_and_the_others_are_copied() {
    let mut home = TestHome::running().await;
    for group in ["demo", "other"] {
        home.group(group, &json!({"provider": "mock"})).await;
        home.admin().chat(group, "hello").await.text();
    }
    home.stop().await;
    let database = database(&home, "demo");
    std::fs::rename(&database, database.with_extension("kept")).expect("moved");
    std::fs::create_dir(&database).expect("no file");
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let ended = home.cli(&["--json", "backup", dir.to_str().expect("a path")]).await;
    assert_eq!(ended.code, 13, "{ended:?}");
    let report = ended.json();
    let missing = report["groups"][0]["missing"].as_str().expect("why");
    assert!(missing.contains("state.db"), "{missing}");
    assert_eq!(report["groups"][1]["database"], true, "{report}");
    let to = TestHome::new();
    let all = restore(&to, &dir, &[]).await;
    assert!(all.code == 13 && all.stderr.contains("name the groups"), "{all:?}");
    let other = restore(&to, &dir, &["other"]).await;
    assert_eq!(other.code, 0, "{other:?}");
}

#[tokio::test]
async fn a_full_disk_under_the_backup_ends_it_and_leaves_nothing() {
    let Some(disk) = SmallDisk::in_memory("4m") else { return };
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.admin().chat("demo", "hello").await.text();
    let large = home.folder("demo").join("workspace/large");
    std::fs::write(&large, vec![1; 8 << 20]).expect("a file");
    let dir = disk.path().join("backup");
    let ended = home.cli(&["backup", dir.to_str().expect("a path")]).await;
    assert_eq!(ended.code, 9, "{ended:?}");
    assert!(ended.stderr.contains("workspace/large") && ended.stderr.contains("No space left"), "{ended:?}");
    assert_eq!(std::fs::read_dir(disk.path()).expect("a listing").count(), 0, "the room is free again");
    // One whose first file, the small database of all groups, does not fit.
    let ballast = disk.fill();
    let ended = home.cli(&["backup", dir.to_str().expect("a path")]).await;
    assert!(ended.code == 9 && ended.stderr.contains(disk.path().to_str().expect("a path")), "{ended:?}");
    std::fs::remove_file(ballast).expect("room again");
    std::fs::remove_file(large).expect("it fits");
    back_up(&home, &dir).await;
}

#[tokio::test]
async fn what_all_groups_share_comes_with_all_of_them() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let shared = |home: &TestHome| home.root().join("groups/global/AGENTS.md");
    std::fs::create_dir_all(shared(&home).parent().expect("a folder")).expect("a folder");
    std::fs::write(shared(&home), "of then").expect("a file");
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let report = back_up(&home, &dir).await.json();
    assert_eq!(report["shared"]["files"], 1, "{report}");
    std::fs::write(shared(&home), "of now").expect("a file");
    let read = |home: &TestHome| std::fs::read_to_string(shared(home)).ok();
    let to = TestHome::new();
    for (home, words, text) in [
        (&to, &["demo"][..], None),
        (&to, &[], Some("of then")),
        (&home, &[], Some("of now")),
        (&home, &["--folder"], Some("of then")),
    ] {
        let restored = restore(home, &dir, words).await;
        assert_eq!(restored.code, 0, "{restored:?}");
        assert_eq!(read(home).as_deref(), text, "{words:?}");
    }
}
