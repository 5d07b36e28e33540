//! Copies of databases for backups, and what makes a copy a home's own again. All of it blocks.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofferdam_protocol::ids::Folder;
use rusqlite::{Connection, OpenFlags, ffi, params};

use super::central::{GroupRow, group_row};
use super::db::{connect, not_hollow, open};
use super::schema::Kind;
use super::wirings::{self, Wiring, wiring_row};
use super::{StoreError, now_ms};
use crate::model::turn::TurnState;

/// How far the numbers of a restored database begin beyond its own. The original went on after the copy was made, and
/// what it did then is in the threads beside it: a message of ours must never have the number of one of its.
pub(super) const NUMBERS_BEYOND: i64 = 100_000;

/// Where a database that is to be used comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Another moment: the original went on.
    Backup,
    /// What could be read of this group's own.
    Salvage,
}

/// Why a database was not copied, and whose fault that is.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read: it is damaged, or nobody may, or its disk fails.
    #[error(transparent)]
    Source(StoreError),
    /// Its copy cannot be written.
    #[error(transparent)]
    Target(StoreError),
}

impl CopyError {
    /// Of a statement that reads one database and writes another.
    fn of(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code);
        let read = matches!(code, Some(ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ));
        let error = StoreError::from(error);
        if error.is_disk() && !read { Self::Target(error) } else { Self::Source(error) }
    }
}

/// Copies a database as it is at one moment into the new file `to`, over a connection of its own: the database's writer
/// goes on. Answers the copy's schema version.
pub fn copy(from: &Path, to: &Path) -> Result<usize, CopyError> {
    let opened = open(from, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let unopened = |source: rusqlite::Error| StoreError::Open { path: from.to_owned(), source: source.into() };
    let conn = opened.map_err(|error| CopyError::Source(unopened(error)))?;
    // Its journal is opened only now.
    let version = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| CopyError::Source(unopened(error)))?;
    let refused = |error| CopyError::Target(failed(to, error));
    let target = to.to_str().ok_or_else(|| refused(std::io::ErrorKind::InvalidFilename.into()))?;
    conn.execute("VACUUM INTO ?1", [target]).map_err(CopyError::of)?;
    let sync = || {
        std::fs::set_permissions(to, Permissions::from_mode(0o600))?;
        File::open(to)?.sync_all()
    };
    sync().map_err(refused)?;
    Ok(version)
}

/// Copies `central.db` without its accounts; with `only`, without what it has of other groups.
pub fn copy_central(from: &Path, to: &Path, only: Option<&[Folder]>) -> Result<usize, CopyError> {
    let version = copy(from, to)?;
    leave_out(to, only).map_err(CopyError::Target)?;
    Ok(version)
}

fn leave_out(path: &Path, only: Option<&[Folder]>) -> Result<(), StoreError> {
    let conn = open(path, OpenFlags::default())?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // A credential belongs into no copy, also not sealed; and an old login that is used again ends the living one. That there was
    // a secret is kept, so that it is asked for again; a webhook's callback is given again with it. One that is not sealed yet
    // may have a token in it.
    conn.execute_batch(
        "INSERT OR IGNORE INTO lost_secrets (purpose, name)
         SELECT purpose, name FROM secrets WHERE purpose IN ('channel', 'hook');
         UPDATE hooks SET callback = 'https://not-in-a-backup.invalid/…' WHERE callback NOT LIKE '%/…';
         DELETE FROM accounts; DELETE FROM secrets; DELETE FROM pairings; DELETE FROM meta WHERE key = 'account';",
    )?;
    if let Some(only) = only {
        let kept = serde_json::to_string(only).unwrap_or_default();
        conn.execute("DELETE FROM groups WHERE folder NOT IN (SELECT value FROM json_each(?1))", [kept])?;
        conn.execute_batch(LEAVE_OUT_OTHERS)?;
    }
    conn.execute_batch("VACUUM;")?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed(path, error))
}

/// What is not of the groups that are still there: what was dropped, said or read may be of anybody's chats. A channel stays
/// with its settings where one of their chats is on it, and people with their roles in these groups alone.
const LEAVE_OUT_OTHERS: &str = "
    DELETE FROM drops; DELETE FROM posts; DELETE FROM answered; DELETE FROM late;
    DELETE FROM chat_moves; DELETE FROM gone_programs;
    DELETE FROM approvals WHERE folder IS NULL;
    DELETE FROM roles WHERE folder IS NULL;
    DELETE FROM people WHERE id NOT IN (SELECT person FROM roles);
    DELETE FROM chats WHERE (channel, chat_id) NOT IN (SELECT channel, chat_id FROM wirings);
    DELETE FROM moved_chats WHERE (channel, now_id) NOT IN (SELECT channel, chat_id FROM wirings);
    DELETE FROM channels WHERE name NOT IN (SELECT channel FROM wirings);
    UPDATE channels SET cursor = NULL;
    DELETE FROM channel_identities WHERE channel NOT IN (SELECT name FROM channels);
    DELETE FROM hooks WHERE (channel, chat_id) NOT IN (SELECT channel, chat_id FROM wirings);
    DELETE FROM api_keys WHERE (channel, chat_id) NOT IN (SELECT channel, chat_id FROM wirings);
    DELETE FROM api_threads WHERE (channel, key) NOT IN (SELECT channel, chat_id FROM api_keys);
    DELETE FROM lost_secrets WHERE purpose = 'channel' AND name NOT IN (SELECT name FROM channels);
    DELETE FROM lost_secrets WHERE purpose = 'hook' AND name NOT IN (SELECT channel || '/' || name FROM hooks);
";

/// What a copy of `central.db` has of groups. It is brought up to date for that: give a copy of the copy.
pub fn read_central(path: &Path) -> Result<(Vec<GroupRow>, Vec<Wiring>), StoreError> {
    let conn = connect(path, Kind::Central).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let groups = conn
        .prepare("SELECT folder, config, config_hash, registered_at, set_aside FROM groups ORDER BY folder")?
        .query_and_then([], group_row)?
        .collect::<Result<_, _>>()?;
    let wirings = conn
        .prepare(&format!("SELECT {} FROM wirings ORDER BY channel, chat_id, folder", wirings::COLUMNS))?
        .query_and_then([], wiring_row)?
        .collect::<Result<_, _>>()?;
    Ok((groups, wirings))
}

/// Makes a group's database one to go on with: brings its schema up to date, looks through all of it, and puts it ahead of
/// whatever its original, or a container of before, may still do.
pub fn renew(path: &Path, origin: Origin) -> Result<(), StoreError> {
    let mut conn =
        connect(path, Kind::Group).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    integrity(&conn, path)?;
    let tx = conn.transaction()?;
    // No container of before acts for a session again.
    tx.execute_batch(
        "UPDATE sessions SET attempt = attempt + 1, token_hash = NULL, container = NULL, last_seq = 0",
    )?;
    offer_again(&tx)?;
    if origin == Origin::Backup {
        // The original may have handed them over since.
        tx.execute_batch("UPDATE outbox SET doubt = doubt + 1 WHERE state IN ('pending', 'leased')")?;
    }
    tx.execute("UPDATE sqlite_sequence SET seq = seq + ?1", [NUMBERS_BEYOND])?;
    for table in ["inbox", "turns", "outbox", "questions"] {
        tx.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
            params![table, NUMBERS_BEYOND],
        )?;
    }
    tx.commit()?;
    conn.close().map_err(|(_, error)| error)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed(path, error))
}

/// Refuses a group's database that is not whole. It must not be open.
pub fn check(path: &Path) -> Result<(), StoreError> {
    let conn = not_hollow(path, Kind::Group)
        .and_then(|()| connect(path, Kind::Group))
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    integrity(&conn, path)
}

fn integrity(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Unsound { path: path.to_owned(), why: found }) }
}

/// Gives each message that waits a turn that ended with its container: so its runner looks into the thread whether it was
/// answered after the copy was made, before it asks the model. One turn each, as nobody knows which went together.
fn offer_again(tx: &Connection) -> Result<(), StoreError> {
    let waiting: Vec<(i64, String)> = tx
        .prepare("SELECT id, session FROM inbox WHERE state = 'pending' AND kind = 'message' AND turn IS NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (message, session) in waiting {
        tx.execute(
            "INSERT INTO turns (session, attempt, state, started_at, finished_at)
             SELECT id, attempt, ?3, ?2, ?2 FROM sessions WHERE id = ?1",
            params![session, now_ms(), TurnState::Abandoned.as_str()],
        )?;
        tx.execute("UPDATE inbox SET turn = ?1 WHERE id = ?2", [tx.last_insert_rowid(), message])?;
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Open { path: path.to_owned(), source: source.into() }
}
