//! What the groups' databases say of the platform's chats.

use std::path::{Path, PathBuf};

use rusqlite::Row;

use crate::rows::snapshot;

/// A message's row.
#[derive(Debug)]
pub struct MessageRow {
    /// Its chat.
    pub chat: String,
    /// The platform's id.
    pub platform_id: String,
    /// Where it is.
    pub state: String,
    /// The newest turn that it was in, with that turn's state.
    pub turn: Option<(i64, String)>,
    /// The notice that it ended in without a turn.
    pub notice: Option<i64>,
}

/// A reply's row.
#[derive(Debug)]
pub struct ReplyRow {
    /// Its place in the outbox.
    pub id: i64,
    /// The turn that it came from.
    pub turn: Option<i64>,
    /// Its chat.
    pub chat: String,
    /// Where it is.
    pub state: String,
    /// How often the platform may have it without our knowing.
    pub doubt: i64,
}

/// One group's rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// Its messages, oldest first.
    pub messages: Vec<MessageRow>,
    /// Its replies, oldest first.
    pub replies: Vec<ReplyRow>,
    /// Sessions and their chats.
    pub sessions: Vec<(String, String)>,
    /// Dead letters of messages and of replies.
    pub dead_letters: (usize, usize),
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
    let texts = |sql: &str, text: fn(&Row<'_>) -> rusqlite::Result<String>| {
        connection.prepare(sql)?.query_map([], text)?.collect::<rusqlite::Result<Vec<String>>>()
    };
    let mut found = texts("PRAGMA integrity_check", |row| row.get(0))?;
    found.retain(|text| text != "ok");
    found.extend(texts("PRAGMA foreign_key_check", |row| {
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
    let messages = connection
        .prepare(
            "SELECT chat_id, platform_id, i.state, i.turn, t.state, i.notice FROM inbox i
             LEFT JOIN turns t ON t.id = i.turn WHERE channel = 'platform' ORDER BY i.id",
        )?
        .query_map([], message)?
        .collect::<rusqlite::Result<_>>()?;
    let replies = connection
        .prepare("SELECT id, turn, chat_id, state, doubt FROM outbox WHERE channel = 'platform' ORDER BY id")?
        .query_map([], reply)?
        .collect::<rusqlite::Result<_>>()?;
    let sessions = connection
        .prepare("SELECT id, chat_id FROM sessions")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let dead_letters =
        connection.query_row("SELECT count(message), count(reply) FROM dead_letters", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(Rows { messages, replies, sessions, dead_letters })
}

fn message(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        chat: row.get(0)?,
        platform_id: row.get(1)?,
        state: row.get(2)?,
        turn: row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<String>>(4)?),
        notice: row.get(5)?,
    })
}

fn reply(row: &Row<'_>) -> rusqlite::Result<ReplyRow> {
    Ok(ReplyRow { id: row.get(0)?, turn: row.get(1)?, chat: row.get(2)?, state: row.get(3)?, doubt: row.get(4)? })
}
