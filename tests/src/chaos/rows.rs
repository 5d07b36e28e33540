//! What the groups' databases say of the platform's chats.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use crate::rows::snapshot;

/// A message's row. Times here and below are in ms since 1970.
#[derive(Debug, Clone, Default)]
pub struct MessageRow {
    /// Its place in the inbox.
    pub id: i64,
    /// Its session.
    pub session: String,
    /// Its chat.
    pub chat: String,
    /// The platform's id.
    pub platform_id: String,
    /// Where it is.
    pub state: String,
    /// The newest turn that it was in.
    pub turn: Option<i64>,
    /// The notice that it ended in without a turn.
    pub notice: Option<i64>,
    /// When it was accepted.
    pub accepted_at: i64,
}

/// A turn's row.
#[derive(Debug, Clone, Default)]
pub struct TurnRow {
    /// Its number.
    pub id: i64,
    /// Its session.
    pub session: String,
    /// The container that it began in.
    pub attempt: i64,
    /// Where it is.
    pub state: String,
    /// What it failed of.
    pub failure: Option<String>,
    /// When it was claimed.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// A reply's row.
#[derive(Debug, Clone, Default)]
pub struct ReplyRow {
    /// Its place in the outbox.
    pub id: i64,
    /// The turn that it came from.
    pub turn: Option<i64>,
    /// Its chat.
    pub chat: String,
    /// Whether it is the agent's, rather than a notice.
    pub agent: bool,
    /// Its text.
    pub text: String,
    /// Where it is.
    pub state: String,
    /// How often the platform may have it without our knowing.
    pub doubt: i64,
    /// When it was put into the outbox.
    pub created_at: i64,
    /// When it was known to be delivered.
    pub delivered_at: Option<i64>,
}

/// A message's dead letter.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Its number in the group.
    pub number: i64,
    /// The message.
    pub message: i64,
    /// What failed: `start`, `provider` or `container`.
    pub cause: String,
}

/// One group's rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// Its messages, oldest first.
    pub messages: Vec<MessageRow>,
    /// Its turns, oldest first.
    pub turns: Vec<TurnRow>,
    /// Its replies, oldest first.
    pub replies: Vec<ReplyRow>,
    /// Sessions and their chats.
    pub sessions: Vec<(String, String)>,
    /// Dead letters of messages.
    pub letters: Vec<Letter>,
    /// How many dead letters of replies there are.
    pub dead_replies: usize,
}

/// All databases below a home's data, the central one first.
pub fn databases(data: &Path) -> Vec<PathBuf> {
    let groups = std::fs::read_dir(data.join("groups")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = groups.map(|group| group.path().join("state.db")).collect();
    found.sort();
    found.insert(0, data.join("central.db"));
    found
}

/// What of a group has no outcome yet, or is not delivered.
pub fn open_ends(database: &Path) -> rusqlite::Result<usize> {
    let sql = "SELECT (SELECT count(*) FROM inbox WHERE state <> 'done')
                    + (SELECT count(*) FROM outbox WHERE state IN ('pending', 'leased'))";
    snapshot(database)?.query_row(sql, [], |row| row.get(0))
}

/// What SQLite finds wrong with a database.
pub fn faults(database: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = snapshot(database)?;
    let mut found: Vec<String> = all(&connection, "PRAGMA integrity_check", |row| row.get(0))?;
    found.retain(|text| text != "ok");
    found.extend(all(&connection, "PRAGMA foreign_key_check", |row| {
        Ok(format!(
            "a row of {} names a row of {} that is not there",
            row.get::<_, String>(0)?,
            row.get::<_, String>(2)?
        ))
    })?);
    Ok(found)
}

/// One group's rows.
pub fn read(database: &Path) -> rusqlite::Result<Rows> {
    let connection = snapshot(database)?;
    let dead_replies =
        connection.query_row("SELECT count(reply) FROM dead_letters", [], |row| row.get::<_, usize>(0))?;
    Ok(Rows {
        messages: all(
            &connection,
            "SELECT id, session, chat_id, platform_id, state, turn, notice, accepted_at FROM inbox
             WHERE channel = 'platform' ORDER BY id",
            message,
        )?,
        turns: all(
            &connection,
            "SELECT id, session, attempt, state, failure_kind, started_at, finished_at FROM turns ORDER BY id",
            turn,
        )?,
        replies: all(
            &connection,
            "SELECT id, turn, chat_id, kind = 'reply', text, state, doubt, created_at, delivered_at FROM outbox
             WHERE channel = 'platform' ORDER BY id",
            reply,
        )?,
        sessions: all(&connection, "SELECT id, chat_id FROM sessions", |row| Ok((row.get(0)?, row.get(1)?)))?,
        letters: all(
            &connection,
            "SELECT id, message, cause FROM dead_letters WHERE message IS NOT NULL ORDER BY id",
            |row| Ok(Letter { number: row.get(0)?, message: row.get(1)?, cause: row.get(2)? }),
        )?,
        dead_replies,
    })
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

fn message(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        id: row.get(0)?,
        session: row.get(1)?,
        chat: row.get(2)?,
        platform_id: row.get(3)?,
        state: row.get(4)?,
        turn: row.get(5)?,
        notice: row.get(6)?,
        accepted_at: row.get(7)?,
    })
}

fn turn(row: &Row<'_>) -> rusqlite::Result<TurnRow> {
    Ok(TurnRow {
        id: row.get(0)?,
        session: row.get(1)?,
        attempt: row.get(2)?,
        state: row.get(3)?,
        failure: row.get(4)?,
        started_at: row.get(5)?,
        finished_at: row.get(6)?,
    })
}

fn reply(row: &Row<'_>) -> rusqlite::Result<ReplyRow> {
    Ok(ReplyRow {
        id: row.get(0)?,
        turn: row.get(1)?,
        chat: row.get(2)?,
        agent: row.get(3)?,
        text: row.get(4)?,
        state: row.get(5)?,
        doubt: row.get(6)?,
        created_at: row.get(7)?,
        delivered_at: row.get(8)?,
    })
}
