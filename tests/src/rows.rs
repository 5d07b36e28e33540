//! The databases of a home, seen from outside.
//!
//! A running daemon lets nobody else open them, so what is read is a copy. What is changed is changed while none runs,
//! or behind the daemon's back.

use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};
use tempfile::TempDir;

/// A group's database.
pub fn of_group(root: &Path, group: &str) -> PathBuf {
    root.join("data/groups").join(group).join("state.db")
}

/// The database of what spans groups.
pub fn central(root: &Path) -> PathBuf {
    root.join("data/central.db")
}

/// A copy of a database, of one moment.
pub struct Snapshot {
    conn: Connection,
    dir: TempDir,
}

impl Deref for Snapshot {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

/// Copies a database that a daemon may be writing. Its journal is copied after it: so whatever is half in the copied file is
/// whole in the journal, unless the journal was begun anew meanwhile, which its head tells.
pub fn snapshot(database: &Path) -> rusqlite::Result<Snapshot> {
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy.db");
    loop {
        let before = journal_head(database);
        if let Err(error) = std::fs::copy(database, &copy) {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
            return Err(rusqlite::Error::SqliteFailure(code, Some(format!("{}: {error}", database.display()))));
        }
        let journal = with(&copy, "-wal");
        // One that went away is told by its head.
        let _ = std::fs::remove_file(&journal);
        let _ = std::fs::copy(with(database, "-wal"), &journal);
        if before == journal_head(database) {
            return Ok(Snapshot { conn: Connection::open(&copy)?, dir });
        }
    }
}

/// What changes whenever SQLite begins a journal anew: its salts, 16 bytes in. Empty of none.
fn journal_head(database: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(file) = std::fs::File::open(with(database, "-wal")) {
        let _ = file.take(32).read_to_end(&mut head);
    }
    head
}

fn with(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}

/// Puts a changed copy in the place of a database that a daemon has open: it goes on with the file that it has, and the next
/// one finds the copy.
pub fn put_changed(database: &Path, sql: &str) {
    let Snapshot { conn, dir } = snapshot(database).expect("a copy");
    conn.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    // Brings its journal into it.
    conn.close().expect("closed");
    let beside = with(database, ".changed");
    std::fs::copy(dir.path().join("copy.db"), &beside).expect("beside it");
    let _ = std::fs::remove_file(with(database, "-wal"));
    std::fs::rename(beside, database).expect("in its place");
}

/// The rows of a query.
pub fn select<T>(database: &Path, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let conn = snapshot(database).unwrap_or_else(|error| panic!("{}: {error}", database.display()));
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement.query_map([], read).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Changes rows while no daemon runs.
pub fn execute(database: &Path, sql: &str) {
    let conn = Connection::open(database).unwrap_or_else(|error| panic!("{}: {error}", database.display()));
    conn.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Fails unless SQLite finds the database whole.
pub fn assert_whole(database: &Path) {
    let found: Vec<String> = select(database, "PRAGMA integrity_check", |row| row.get(0));
    assert_eq!(found, ["ok"], "{}", database.display());
}

/// Fails when a journal or a socket is left below the home: the daemon did not end in order.
pub fn assert_tidy(root: &Path) {
    let mut left = Vec::new();
    let mut dirs = vec![root.join("run"), root.join("data/groups"), root.join("data")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            let name = entry.file_name().to_string_lossy().into_owned();
            // What lies below is the agent's, but for the doors.
            if kind.is_dir() && (dir.ends_with("groups") || dir.starts_with(root.join("run"))) {
                dirs.push(path);
            } else if name.ends_with("-wal") || name.ends_with("-shm") || name.ends_with(".sock") {
                left.push(path);
            }
        }
    }
    assert!(left.is_empty(), "left behind: {left:?}");
}
