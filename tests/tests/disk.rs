//! The disk misbehaves: full, read-only, or a database on it is damaged.

use std::os::unix::fs::FileExt;
use std::path::Path;

use cofferdam_protocol::admin::{ChatEvent, ErrorKind};
use cofferdam_tests::admin::{Chat, message};
use cofferdam_tests::disk::SmallDisk;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{eventually, rows};
use serde_json::json;

const LARGE: usize = 100_000;
/// What the daemon logs of a turn's end that it cannot write down.
const NOT_KEPT: &str = "the turn's end cannot be kept now";

/// Sends large messages until one is refused; answers those that were accepted, and the text of the one that was not.
async fn until_refused(home: &TestHome, directive: &str) -> (Vec<Chat>, String) {
    let mut accepted = Vec::new();
    for number in 0..400 {
        let text = format!("{directive}\nmessage {number} {}", "x".repeat(LARGE));
        match home.admin().request(&message("demo", &text)).await {
            Ok(chat) => accepted.push(chat),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Disk, "{error:?}");
                assert!(error.hint.is_some_and(|hint| hint.contains("disk")), "{}", error.message);
                return (accepted, format!("message {number} "));
            }
        }
    }
    panic!("the disk takes everything");
}

#[tokio::test]
async fn a_full_disk_refuses_in_words_and_loses_nothing_that_was_accepted() {
    let Some(disk) = SmallDisk::in_memory("96m") else { return };
    let mut home = TestHome::new_in(disk.path());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let admin = home.admin();
    assert_eq!(admin.chat("demo", "before").await.text(), "mock reply to: before\n(turn 1)");
    let ballast = disk.fill();
    // They wait in turns that begin, and end, while there is no room.
    let (accepted, refused) = until_refused(&home, "").await;
    let status = admin.status().await;
    let trouble = status.disk.expect("status says so");
    assert!(Path::new(&trouble.path).starts_with(home.root()) && trouble.free_bytes < 1 << 20, "{trouble:?}");
    let cli = home.cli(&["chat", "demo", &"y".repeat(LARGE)]).await;
    assert_eq!(cli.code, 9, "{cli:?}");
    assert!(cli.stderr.contains("groups/demo/state.db: the disk refused"), "it says on what: {cli:?}");
    let shown = home.cli(&["status"]).await;
    assert!(shown.stdout.contains("disk:") && shown.stdout.contains("KiB free"), "{shown:?}");
    std::fs::remove_file(ballast).expect("room again");
    eventually("status says no more of it", || {
        let admin = admin.clone();
        async move { admin.status().await.disk.is_none().then_some(()) }
    })
    .await;
    let mut replies = Vec::new();
    for chat in accepted {
        replies.push(chat.end().await.text());
    }
    let after = admin.chat("demo", "after").await.text();
    assert!(after.contains("after"), "{after}");
    let all = replies.join("\n") + &after;
    assert!(!all.contains(&refused), "what was refused was not done");
    let path = home.root().join("data/groups/demo/state.db");
    assert_eq!(home.stop().await.code(), Some(0));
    let conn = rusqlite::Connection::open(path).expect("the database");
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a row");
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    assert_eq!(one("SELECT count(*) || '' FROM inbox WHERE state <> 'done'"), "0");
}

#[tokio::test]
async fn a_turn_that_ends_while_the_disk_is_full_is_kept_by_its_runner() {
    let Some(disk) = SmallDisk::in_memory("96m") else { return };
    let mut home = TestHome::new_in(disk.path());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let admin = home.admin();
    let mut turn = admin.send_text("demo", &format!("!wait 12\n{}", "z".repeat(200_000))).await;
    turn.started().await;
    let ballast = disk.fill();
    // Takes the last room of the journal, so that the turn's end has none.
    let (waiting, _) = until_refused(&home, "").await;
    eventually("its end is refused", || async { home.log().contains(NOT_KEPT).then_some(()) }).await;
    turn.until("its words, which no disk is needed for", |event| matches!(event, ChatEvent::Delta { .. })).await;
    std::fs::remove_file(ballast).expect("room again");
    let answer = turn.end().await;
    assert_eq!(answer.replies().len(), 1, "once");
    assert!(answer.text().ends_with("(turn 1)"));
    let words = answer.events.iter().filter(|event| matches!(event, ChatEvent::Delta { .. })).count();
    assert!(words <= 1, "what was shown is not shown again: {words}");
    for chat in waiting {
        chat.end().await.text();
    }
}

#[tokio::test]
async fn an_agent_that_fills_the_disk_ends_its_turn_in_words_and_the_next_one_works() {
    let Some(disk) = SmallDisk::in_memory("96m") else { return };
    let mut home = TestHome::new_in(disk.path());
    home.up().await;
    home.group("demo", &json!({})).await;
    home.write_script("demo", "cat /dev/zero > big; echo \"ended with $?\"\n");
    let admin = home.admin();
    let session = admin.chat("demo", "before").await.finished.session;
    // Its workspace and its codex home are full from here on, in the middle of the turn.
    let turn = admin.send_text("demo", "!run sh ./script.sh 2>&1").await;
    let big = home.folder("demo").join("workspace/big");
    eventually("the disk is full", || async {
        // A few blocks come free again when a journal of Codex's goes.
        let free = rustix::fs::statvfs(disk.path()).expect("a disk").f_bavail;
        (free < 16 && big.exists()).then_some(())
    })
    .await;
    std::fs::remove_file(&big).expect("room again");
    let answer = turn.end().await;
    let said = [answer.replies(), answer.notices()].concat().join("\n");
    assert!(!said.is_empty(), "{:?}", answer.events);
    let after = admin.chat("demo", "after").await;
    assert!(after.text().contains("after"), "{:?}", after.events);
    assert_eq!(after.finished.session, session);
    assert_eq!(home.stop().await.code(), Some(0));
    rows::assert_whole(&rows::of_group(home.root(), "demo"));
    let open = "SELECT platform_id FROM inbox WHERE state <> 'done'";
    let open: Vec<String> = rows::select(&rows::of_group(home.root(), "demo"), open, |row| row.get(0));
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn a_read_only_home_is_refused_with_its_path() {
    let Some(disk) = SmallDisk::in_memory("64m") else { return };
    let mut home = TestHome::new_in(disk.path());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.stop().await;
    disk.read_only();
    let ended = home.cli(&["up"]).await;
    assert_eq!(ended.code, 9, "{ended:?}");
    assert!(ended.stderr.contains(home.root().to_str().expect("a path")), "it names the path: {ended:?}");
    assert!(ended.stderr.to_lowercase().contains("read-only"), "{ended:?}");
}

#[tokio::test]
async fn a_disk_that_fails_under_a_running_daemon_is_told_and_the_daemon_stays() {
    let Some(disk) = SmallDisk::in_a_file() else { return };
    let mut home = TestHome::new_in(disk.path());
    home.log_inside().up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "before").await.text();
    let mut under_way = home.admin().send_text("demo", "!wait 600").await;
    under_way.started().await;
    disk.fails();
    for number in 0..20 {
        let error =
            home.admin().request(&message("demo", &format!("after {number}"))).await.err().expect("refused");
        assert_eq!(error.kind, ErrorKind::Disk, "{error:?}");
    }
    let trouble = home.admin().status().await.disk.expect("status says so");
    assert!(Path::new(&trouble.path).starts_with(home.root()), "{trouble:?}");
    let pid = home.pid();
    assert_eq!(home.admin().pid().await, Some(pid), "it stays");
    // It ends only when it is told to.
    home.stop().await;
}

#[tokio::test]
async fn a_running_daemon_has_its_databases_for_itself() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.admin().chat("demo", "hello").await.text();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", home.pid())).expect("what it has mapped");
    let root = home.root().to_str().expect("a path");
    let mapped: Vec<&str> = maps.lines().filter(|line| line.contains(root)).collect();
    assert!(mapped.is_empty(), "a disk that fails under these would end it: {mapped:?}");
    for path in [rows::central(home.root()), rows::of_group(home.root(), "demo")] {
        let other = rusqlite::Connection::open(&path).expect("a file");
        other.busy_timeout(std::time::Duration::ZERO).expect("no waiting");
        let refused = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        let code = refused.err().and_then(|error| error.sqlite_error_code());
        assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy), "{}", path.display());
    }
    assert_eq!(home.stop().await.code(), Some(0));
    rows::assert_whole(&rows::of_group(home.root(), "demo"));
}

/// Makes the page that has `text` on it unreadable.
fn break_page_with(path: &Path, text: &str) {
    let bytes = std::fs::read(path).expect("the database");
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("the text");
    let file = std::fs::File::options().write(true).open(path).expect("the database");
    file.write_all_at(&[0xff; 4096], (at / 4096 * 4096) as u64).expect("broken");
}

#[tokio::test]
async fn a_damaged_group_is_set_aside_and_restored_from_what_can_be_read() {
    let mut home = TestHome::running().await;
    for group in ["demo", "other"] {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    let admin = home.admin();
    for number in 0..12 {
        admin.chat("demo", &format!("message-{number}-{}", "x".repeat(3000))).await.text();
    }
    home.stop().await;
    let path = home.root().join("data/groups/demo/state.db");
    break_page_with(&path, "message-5-");
    home.up().await;
    assert_eq!(admin.chat("other", "are you there?").await.text(), "mock reply to: are you there?\n(turn 1)");
    // Nobody has read that page yet: the restore's own look over all of it finds the damage.
    let cli = home.cli(&["restore", "demo"]).await;
    assert_eq!(cli.code, 0, "{cli:?}");
    assert!(cli.stdout.contains("group demo is restored") && cli.stdout.contains("inbox"), "{cli:?}");
    let answer = admin.chat("demo", "again").await.text();
    assert_eq!(answer, "mock reply to: again\n(turn 13)", "the conversation goes on");
    let kept = std::fs::read_dir(path.parent().expect("a directory"))
        .expect("a listing")
        .any(|entry| entry.expect("an entry").file_name().to_string_lossy().starts_with("state.db.broken-"));
    assert!(kept, "the damaged file stays");
    home.stop().await;
    let conn = rusqlite::Connection::open(path).expect("the database");
    let found: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(found, "ok");
}

#[tokio::test]
async fn a_group_without_a_readable_database_is_named_everywhere_and_holds_up_nobody() {
    let mut home = TestHome::running().await;
    for group in ["demo", "other"] {
        home.group(group, &json!({"provider": "mock"})).await;
        home.admin().chat(group, "hello").await.text();
    }
    // It waits when the daemon dies, so that the start looks into the group.
    let mut open = home.admin().send_text("demo", "!wait 600").await;
    open.started().await;
    home.crash().await;
    let path = home.root().join("data/groups/demo/state.db");
    for part in ["", "-wal", "-shm"] {
        let part = path.with_file_name(format!("state.db{part}"));
        if part.exists() {
            std::fs::write(part, "no database ".repeat(2000)).expect("damaged");
        }
    }
    home.up().await;
    let admin = home.admin();
    assert_eq!(admin.chat("other", "still there?").await.text(), "mock reply to: still there?\n(turn 2)");
    let cli = home.cli(&["chat", "demo", "hello"]).await;
    assert_eq!(cli.code, 13, "{cli:?}");
    assert!(cli.stderr.contains("cofferdam restore demo"), "{cli:?}");
    let status = home.cli(&["status"]).await;
    assert!(status.stdout.contains("demo is set aside"), "{status:?}");
    let list = home.cli(&["group", "list"]).await;
    assert!(list.stdout.contains("cofferdam restore demo"), "{list:?}");
    let sessions = home.cli(&["session", "list"]).await;
    assert!(sessions.stdout.contains("other"), "{sessions:?}");
    assert!(sessions.stderr.contains("group demo, which is set aside"), "{sessions:?}");
    let nothing = home.cli(&["restore", "demo"]).await;
    assert_eq!(nothing.code, 13, "nothing of it can be read: {nothing:?}");
    let anew = home.cli(&["restore", "demo", "--empty"]).await;
    assert_eq!(anew.code, 0, "{anew:?}");
    assert_eq!(admin.chat("demo", "hello").await.text(), "mock reply to: hello\n(turn 1)");
    let list = home.cli(&["group", "list"]).await;
    assert!(!list.stdout.contains("damaged"), "{list:?}");
}

#[tokio::test]
async fn a_damaged_central_database_is_named_with_what_to_do() {
    let mut home = TestHome::running().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "hello").await.text();
    home.stop().await;
    let path = home.root().join("data/central.db");
    std::fs::write(&path, "no database ".repeat(2000)).expect("damaged");
    let ended = home.cli(&["up"]).await;
    assert_eq!(ended.code, 13, "{ended:?}");
    assert!(ended.stderr.contains("central.db") && ended.stderr.contains("restore --from"), "{ended:?}");
    // What it says works: the group's own state is whole.
    std::fs::rename(&path, path.with_extension("broken")).expect("moved away");
    home.up().await;
    home.admin().put_group("demo").await.expect("registered again");
    assert_eq!(home.admin().chat("demo", "again").await.text(), "mock reply to: again\n(turn 2)");
}

#[tokio::test]
async fn a_newer_database_is_told_apart_from_damage() {
    let mut home = TestHome::running().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.admin().chat("demo", "hello").await.text();
    home.stop().await;
    let path = home.root().join("data/groups/demo/state.db");
    let set = |version: i64| {
        let conn = rusqlite::Connection::open(&path).expect("the database");
        let old: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("its version");
        conn.pragma_update(None, "user_version", version).expect("its version");
        old
    };
    let version = set(99);
    home.up().await;
    let error = home.admin().request(&message("demo", "hello")).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Database, "{error:?}");
    assert!(error.message.contains("newer Cofferdam"), "{error:?}");
    let restore = home.cli(&["restore", "demo"]).await;
    assert!(restore.code == 13 && restore.stderr.contains("run that version"), "{restore:?}");
    home.stop().await;
    set(version);
    home.up().await;
    assert_eq!(home.admin().chat("demo", "again").await.text(), "mock reply to: again\n(turn 2)");
}
