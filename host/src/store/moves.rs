//! Chats that their platform gave another id: what `central.db` has of them moves at once, and the rest is noted, so that it
//! moves once and for all, also when the daemon dies between.
//!
//! ```text
//!  told ─▶ moved_chats, wirings, people's answers … in one commit ─▶ chat_moves: one for each group, one for our posts
//!                                                                     └─▶ each in one commit, then its note goes
//! ```
//! Whatever still comes under the old id, such as a message that was read before, is of the new one ([`Central::moves_of`]).

use std::sync::atomic::Ordering;

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::central::folder_of;
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::hooks;
use crate::model::chat::Move;

/// Rows that are yet to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which chat.
    pub chat: Move,
    /// The group whose they are; none are Cofferdam's own posts.
    pub folder: Option<Folder>,
}

/// What is known of a chat's moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// The chat has another id now.
    pub gone: Option<Move>,
    /// What of it, or of the one that it was, is yet to be moved.
    pub pending: Vec<Pending>,
}

impl Central {
    /// A chat has another id. What is here moves now, the rest is noted. Nothing is done for a chat that nobody knows. Answers
    /// whether something is yet to be moved.
    pub async fn chat_moved(&self, chat: Move) -> Result<bool, StoreError> {
        let has_moves = self.has_moves.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                // In the thread in which others find that there are none.
                has_moves.store(true, Ordering::Release);
                let begun = begin(tx, &chat)?;
                hooks::crash_point("move.before_commit");
                Ok(begun)
            })
            .await
            .inspect(|begun| {
                if *begun {
                    hooks::crash_point("move.after_commit");
                }
            })
    }

    /// What is known of a chat's moves.
    pub async fn moves_of(&self, channel: &str, chat_id: &str) -> Result<Moves, StoreError> {
        if !self.has_moves.load(Ordering::Acquire) {
            return Ok(Moves::default());
        }
        let (channel, chat_id) = (channel.to_owned(), chat_id.to_owned());
        let has_moves = self.has_moves.clone();
        self.db
            .read(move |tx| {
                if !tx.query_row("SELECT EXISTS (SELECT 1 FROM moved_chats)", [], |row| row.get::<_, bool>(0))? {
                    has_moves.store(false, Ordering::Release);
                    return Ok(Moves::default());
                }
                let gone = now_of(tx, &channel, &chat_id)?;
                let to = gone.as_ref().map_or(&chat_id, |gone| &gone.to);
                let sql = format!("{PENDING} WHERE chat_moves.channel = ?1 AND moved_chats.now_id = ?2");
                let mut statement = tx.prepare_cached(&sql)?;
                let rows = statement.query_and_then([&channel, to], pending_row)?;
                let pending = rows.collect::<Result<_, _>>()?;
                Ok(Moves { gone, pending })
            })
            .await
    }

    /// All that is yet to be moved.
    pub async fn pending_moves(&self) -> Result<Vec<Pending>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(PENDING)?;
                let rows = statement.query_and_then([], pending_row)?;
                rows.collect()
            })
            .await
    }

    /// Moves Cofferdam's own posts of a chat. Nobody may be handing one over.
    pub async fn move_posts(&self, chat: Move) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute(
                    "UPDATE posts SET chat_id = ?3,
                         sent = CASE WHEN json_valid(sent) THEN (SELECT json_group_array(NULL) FROM json_each(posts.sent)) END WHERE channel = ?1 AND chat_id = ?2",
                    [&chat.channel, &chat.from, &chat.to],
                )?;
                done(tx, &chat, "")
            })
            .await
    }

    /// Whoever's rows these were, they are moved.
    pub async fn move_done(&self, pending: Pending) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                done(tx, &pending.chat, pending.folder.as_ref().map_or("", Folder::as_str))
            })
            .await
    }
}

const PENDING: &str = "SELECT chat_moves.channel, chat_moves.chat_id, moved_chats.now_id, folder FROM chat_moves
     JOIN moved_chats ON moved_chats.channel = chat_moves.channel AND moved_chats.chat_id = chat_moves.chat_id";

fn pending_row(row: &Row<'_>) -> Result<Pending, StoreError> {
    let folder: String = row.get(3)?;
    Ok(Pending {
        chat: Move { channel: row.get(0)?, from: row.get(1)?, to: row.get(2)? },
        folder: if folder.is_empty() { None } else { Some(folder_of(folder)?) },
    })
}

fn done(tx: &Savepoint<'_>, chat: &Move, folder: &str) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM chat_moves WHERE channel = ?1 AND chat_id = ?2 AND folder = ?3",
        [&chat.channel, &chat.from, folder],
    )?;
    Ok(())
}

/// The chat that this one is now, if it has another id.
pub(super) fn now_of(tx: &Savepoint<'_>, channel: &str, chat_id: &str) -> Result<Option<Move>, StoreError> {
    let now: Option<String> = tx
        .prepare_cached("SELECT now_id FROM moved_chats WHERE channel = ?1 AND chat_id = ?2")?
        .query_row([channel, chat_id], |row| row.get(0))
        .optional()?;
    Ok(now.map(|to| Move { channel: channel.to_owned(), from: chat_id.to_owned(), to }))
}

fn begin(tx: &Savepoint<'_>, told: &Move) -> Result<bool, StoreError> {
    // One that moved on since is where it is now.
    let to = now_of(tx, &told.channel, &told.to)?.map_or_else(|| told.to.clone(), |further| further.to);
    let chat = Move { to, ..told.clone() };
    if chat.from == chat.to || !is_known(tx, &chat)? {
        return Ok(false);
    }
    let Move { channel, from, to } = &chat;
    tx.execute(
        "INSERT OR REPLACE INTO moved_chats (channel, chat_id, now_id, at) VALUES (?1, ?2, ?3, ?4)",
        params![channel, from, to, now_ms()],
    )?;
    tx.execute("UPDATE moved_chats SET now_id = ?3 WHERE channel = ?1 AND now_id = ?2", [channel, from, to])?;
    note(tx, &chat)?;
    here(tx, &chat)?;
    Ok(true)
}

/// Whether anything is known of a chat: strangers may put the bot into as many as they like.
fn is_known(tx: &Savepoint<'_>, chat: &Move) -> Result<bool, StoreError> {
    for table in ["wirings", "chats", "approvals", "posts", "moved_chats"] {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE channel = ?1 AND chat_id = ?2)");
        if tx.query_row(&sql, [&chat.channel, &chat.from], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Groups that the chat reaches, and those that may have something on its way to it.
fn note(tx: &Savepoint<'_>, chat: &Move) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR IGNORE INTO chat_moves (channel, chat_id, folder)
         SELECT ?1, ?2, '' UNION SELECT ?1, ?2, folder FROM busy_groups
         UNION SELECT ?1, ?2, folder FROM wirings WHERE channel = ?1 AND chat_id IN (?2, ?3)",
        [&chat.channel, &chat.from, &chat.to],
    )?;
    Ok(())
}

/// Notes that a group, which comes from a backup, may have the old ids of chats that moved since.
pub(super) fn note_for_group(tx: &Savepoint<'_>, folder: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR IGNORE INTO chat_moves (channel, chat_id, folder) SELECT channel, chat_id, ?1 FROM moved_chats",
        [folder],
    )?;
    Ok(())
}

/// Moves what `central.db` has. What is there under the new id already stays, and the old one's goes.
fn here(tx: &Savepoint<'_>, chat: &Move) -> Result<(), StoreError> {
    let Move { channel, from, to } = chat;
    let ids = [channel, from, to];
    for table in ["wirings", "engaged_threads", "approvals"] {
        tx.execute(&format!("UPDATE OR IGNORE {table} SET chat_id = ?3 WHERE channel = ?1 AND chat_id = ?2"), ids)?;
    }
    // What somebody said of unknown senders holds on.
    tx.execute(
        "UPDATE chats SET unknown = coalesce(unknown, (SELECT unknown FROM chats AS old WHERE old.channel = ?1
             AND old.chat_id = ?2)) WHERE channel = ?1 AND chat_id = ?3",
        ids,
    )?;
    tx.execute("UPDATE OR IGNORE chats SET chat_id = ?3 WHERE channel = ?1 AND chat_id = ?2", ids)?;
    for table in ["wirings", "engaged_threads", "chats"] {
        tx.execute(&format!("DELETE FROM {table} WHERE channel = ?1 AND chat_id = ?2"), [channel, from])?;
    }
    // See `Move::message`.
    for table in ["answered", "late"] {
        let sql = format!(
            "UPDATE OR IGNORE {table} SET chat_id = ?3, platform_id = ?2 || '/' || platform_id
             WHERE channel = ?1 AND chat_id = ?2"
        );
        tx.execute(&sql, ids)?;
    }
    // What waits is known, and changed by who wrote it, by the same names.
    for table in ["late", "held"] {
        let sql = format!(
            "UPDATE {table} SET arrival = json_set(arrival, '$.chat.chat_id', ?3,
                 '$.platform_id', ?2 || '/' || json_extract(arrival, '$.platform_id'))
             WHERE json_valid(arrival) AND json_extract(arrival, '$.chat.channel') = ?1
                   AND json_extract(arrival, '$.chat.chat_id') = ?2"
        );
        tx.execute(&sql, ids)?;
    }
    tx.execute("UPDATE users SET direct = ?3 WHERE channel = ?1 AND direct = ?2", ids)?;
    Ok(())
}

#[cfg(test)]
mod tests;
