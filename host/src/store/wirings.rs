//! Which chats reach which groups, and the chats themselves.

use cofferdam_protocol::ids::Folder;
use rusqlite::{Row, Savepoint, params};

use super::central::folder_of;
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::chat::{ChatKind, ChatRef, SessionMode};
use crate::model::engage::{EngageMode, Others};
use crate::model::people::UnknownPolicy;

/// A wiring's row: this chat reaches this group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// The group.
    pub folder: Folder,
    /// How.
    pub terms: Terms,
}

/// How a chat reaches a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Which messages share a session.
    pub session_mode: SessionMode,
    /// Which messages wake the agent.
    pub engage: EngageMode,
    /// A regular expression, with [`EngageMode::Pattern`] and only then.
    pub pattern: Option<String>,
    /// A thread in which one did goes on without being asked again.
    pub sticky: bool,
    /// What becomes of the others.
    pub others: Others,
    /// Whether the chat is shown what the agent does while it works.
    pub progress: bool,
}

impl Terms {
    /// Where nobody said otherwise: in a direct chat everything is for the agent; among others only what speaks to it.
    pub fn of(kind: ChatKind) -> Self {
        let engage = match kind {
            ChatKind::Direct => EngageMode::Always,
            ChatKind::Group => EngageMode::Mention,
        };
        Self {
            session_mode: SessionMode::Shared,
            engage,
            pattern: None,
            sticky: false,
            others: Others::Drop,
            progress: true,
        }
    }

    /// The same for a program's chat, whose threads are conversations of their own.
    pub fn of_program() -> Self {
        Self { session_mode: SessionMode::PerThread, ..Self::of(ChatKind::Direct) }
    }
}

/// A chat, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRow {
    /// What sort it is.
    pub kind: ChatKind,
    /// Its name, for people.
    pub title: Option<String>,
    /// What becomes of senders that nobody knows; none is the kind's.
    pub unknown: Option<UnknownPolicy>,
}

/// Threads that sticky wirings remember; the oldest are forgotten.
const MOST_THREADS: i64 = 10_000;

pub(super) const COLUMNS: &str =
    "channel, chat_id, folder, session_mode, engage, pattern, sticky, others, progress";

impl Central {
    /// Wires a chat to a group. One that is wired to it already gets these terms. Answers whether there is such a group.
    pub async fn wire(&self, wiring: Wiring) -> Result<bool, StoreError> {
        self.db.write(Durability::Durable, move |tx| put(tx, &wiring, true)).await
    }

    /// Wires a chat to a group unless it is, and answers whether it is now.
    pub async fn wire_once(&self, wiring: Wiring) -> Result<bool, StoreError> {
        self.db.write(Durability::Durable, move |tx| put(tx, &wiring, false)).await
    }

    /// Ends a wiring, or all of a chat. Answers how many there were.
    pub async fn unwire(&self, channel: &str, chat_id: &str, folder: Option<&Folder>) -> Result<usize, StoreError> {
        let key = (channel.to_owned(), chat_id.to_owned(), folder.map(|folder| folder.as_str().to_owned()));
        self.db
            .write(Durability::Durable, move |tx| {
                let ended = tx.execute(
                    "DELETE FROM wirings WHERE channel = ?1 AND chat_id = ?2 AND (?3 IS NULL OR folder = ?3)",
                    params![key.0, key.1, key.2],
                )?;
                tx.execute(
                    "DELETE FROM engaged_threads WHERE channel = ?1 AND chat_id = ?2 AND (?3 IS NULL OR folder = ?3)",
                    params![key.0, key.1, key.2],
                )?;
                Ok(ended)
            })
            .await
    }

    /// The wirings of a chat, by group.
    pub async fn wirings_of(&self, channel: &str, chat_id: &str) -> Result<Vec<Wiring>, StoreError> {
        let (channel, chat_id) = (channel.to_owned(), chat_id.to_owned());
        self.db.read(move |tx| wirings_of(tx, &channel, &chat_id)).await
    }

    /// All wirings, by channel and chat.
    pub async fn wirings(&self) -> Result<Vec<Wiring>, StoreError> {
        self.db
            .read(|tx| {
                let sql = format!("SELECT {COLUMNS} FROM wirings ORDER BY channel, chat_id, folder");
                let mut statement = tx.prepare_cached(&sql)?;
                let rows = statement.query_and_then([], wiring_row)?;
                rows.collect()
            })
            .await
    }

    /// A chat, as far as it is known.
    pub async fn chat(&self, channel: &str, chat_id: &str) -> Result<Option<ChatRow>, StoreError> {
        let (channel, chat_id) = (channel.to_owned(), chat_id.to_owned());
        self.db.read(move |tx| known_chat(tx, &channel, &chat_id)).await
    }

    /// Notes what a chat is. Its policy for unknown senders changes only when one is given.
    pub async fn put_chat(&self, channel: &str, chat_id: &str, row: ChatRow) -> Result<(), StoreError> {
        let (channel, chat_id) = (channel.to_owned(), chat_id.to_owned());
        self.db.write(Durability::Durable, move |tx| put_chat(tx, &channel, &chat_id, &row)).await
    }

    /// Notes that a thread goes on with a sticky wiring's group.
    pub async fn engage(&self, chat: &ChatRef, folder: &Folder) -> Result<(), StoreError> {
        let Some(thread) = chat.thread_id.clone() else { return Ok(()) };
        let (chat, folder) = (chat.clone(), folder.as_str().to_owned());
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.execute(
                    "INSERT OR REPLACE INTO engaged_threads (channel, chat_id, thread_id, folder, at)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![chat.channel, chat.chat_id, thread, folder, now_ms()],
                )?;
                tx.execute(
                    "DELETE FROM engaged_threads WHERE at < (SELECT at FROM engaged_threads ORDER BY at DESC
                         LIMIT 1 OFFSET ?1)",
                    [MOST_THREADS],
                )?;
                Ok(())
            })
            .await
    }
}

/// The wirings of a chat, by group.
pub(super) fn wirings_of(tx: &Savepoint<'_>, channel: &str, chat_id: &str) -> Result<Vec<Wiring>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM wirings WHERE channel = ?1 AND chat_id = ?2 ORDER BY folder");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_and_then([channel, chat_id], wiring_row)?;
    rows.collect()
}

/// A chat, as far as it is known.
pub(super) fn known_chat(tx: &Savepoint<'_>, channel: &str, chat_id: &str) -> Result<Option<ChatRow>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT kind, title, unknown FROM chats WHERE channel = ?1 AND chat_id = ?2")?;
    let mut rows = statement.query_and_then([channel, chat_id], chat_row)?;
    rows.next().transpose()
}

pub(super) fn put(tx: &Savepoint<'_>, wiring: &Wiring, renew: bool) -> Result<bool, StoreError> {
    let Wiring { channel, chat_id, folder, terms } = wiring;
    let verb = if renew { "REPLACE" } else { "IGNORE" };
    let sql = format!(
        "INSERT OR {verb} INTO wirings ({COLUMNS})
         SELECT ?1, ?2, folder, ?4, ?5, ?6, ?7, ?8, ?9 FROM groups WHERE folder = ?3"
    );
    tx.execute(
        &sql,
        params![
            channel,
            chat_id,
            folder.as_str(),
            terms.session_mode.as_str(),
            terms.engage.as_str(),
            terms.pattern,
            terms.sticky,
            terms.others.as_str(),
            terms.progress,
        ],
    )?;
    let there = "SELECT EXISTS (SELECT 1 FROM wirings WHERE channel = ?1 AND chat_id = ?2 AND folder = ?3)";
    Ok(tx.query_row(there, params![channel, chat_id, folder.as_str()], |row| row.get(0))?)
}

pub(super) fn put_chat(tx: &Savepoint<'_>, channel: &str, chat_id: &str, row: &ChatRow) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO chats (channel, chat_id, kind, title, unknown) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET kind = excluded.kind, title = coalesce(excluded.title, title),
             unknown = coalesce(excluded.unknown, unknown)",
    )?
    .execute(params![
        channel,
        chat_id,
        row.kind.as_str(),
        row.title,
        row.unknown.map(UnknownPolicy::as_str)
    ])?;
    Ok(())
}

fn chat_row(row: &Row<'_>) -> Result<ChatRow, StoreError> {
    let (kind, unknown): (String, Option<String>) = (row.get(0)?, row.get(2)?);
    let policy = |text: String| {
        UnknownPolicy::parse(&text).ok_or(StoreError::Unknown { what: "policy for unknown senders", value: text })
    };
    Ok(ChatRow {
        kind: ChatKind::parse(&kind).ok_or(StoreError::Unknown { what: "chat kind", value: kind })?,
        title: row.get(1)?,
        unknown: unknown.map(policy).transpose()?,
    })
}

/// A wiring of a row with [`COLUMNS`].
pub(super) fn wiring_row(row: &Row<'_>) -> Result<Wiring, StoreError> {
    let (mode, engage, others): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(7)?);
    let terms = Terms {
        session_mode: SessionMode::parse(&mode).ok_or(StoreError::Unknown { what: "session_mode", value: mode })?,
        engage: EngageMode::parse(&engage).ok_or(StoreError::Unknown { what: "engage mode", value: engage })?,
        pattern: row.get(5)?,
        sticky: row.get(6)?,
        others: Others::parse(&others).ok_or(StoreError::Unknown { what: "others", value: others })?,
        progress: row.get(8)?,
    };
    Ok(Wiring { channel: row.get(0)?, chat_id: row.get(1)?, folder: folder_of(row.get(2)?)?, terms })
}
