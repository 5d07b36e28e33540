//! The databases of a home, seen from outside while no daemon runs.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

/// A group's database.
pub fn of_group(root: &Path, group: &str) -> PathBuf {
    root.join("data/groups").join(group).join("state.db")
}

/// The database of what spans groups.
pub fn central(root: &Path) -> PathBuf {
    root.join("data/central.db")
}

/// The rows of a query.
pub fn select<T>(database: &Path, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .unwrap_or_else(|error| panic!("{}: {error}", database.display()));
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement.query_map([], read).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Changes rows behind the back of a daemon.
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
