//! What was said in a chat and not to the agent: stored, shown to it with the next message that wakes it.

use cofferdam_protocol::ids::{SessionId, TurnId};
use rusqlite::{Savepoint, params};

use super::GroupDb;
use super::inbox::session_for;
use crate::model::chat::{ChatRef, Inbound};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The most messages that are kept for one chat until somebody wakes the agent; the oldest go.
const MOST: i64 = 50;
/// The most bytes of one of them: it is background, not the matter.
const MOST_BYTES: usize = 4096;

/// Something that was said besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overheard {
    /// Who said it, as the channel names them.
    pub sender: String,
    /// What.
    pub text: String,
    /// When, ms.
    pub at: i64,
}

impl GroupDb {
    /// Keeps a message that wakes nobody. A repeated one, and one that is in the inbox, changes nothing.
    pub async fn overhear(&self, message: Inbound, session_key: String) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let ChatRef { channel, chat_id, thread_id } = &message.chat;
                let known: bool = tx
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3)",
                    )?
                    .query_row(params![channel, chat_id, message.platform_id], |row| row.get(0))?;
                if known {
                    return Ok(());
                }
                let now = now_ms();
                let session = session_for(tx, &session_key, &message.chat, now)?;
                let whole = message.whole();
                let text = &whole[..whole.floor_char_boundary(MOST_BYTES)];
                tx.prepare_cached(
                    "INSERT OR IGNORE INTO context
                         (session, channel, chat_id, thread_id, platform_id, sender, text, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    session.as_str(),
                    channel,
                    chat_id,
                    thread_id,
                    message.platform_id,
                    message.sender,
                    text,
                    now,
                ])?;
                tx.prepare_cached(
                    "DELETE FROM context WHERE turn IS NULL AND session = ?1 AND channel = ?2 AND chat_id = ?3
                         AND id < (SELECT id FROM context WHERE turn IS NULL AND session = ?1 AND channel = ?2
                                       AND chat_id = ?3 ORDER BY id DESC LIMIT 1 OFFSET ?4)",
                )?
                .execute(params![session.as_str(), channel, chat_id, MOST - 1])?;
                Ok(())
            })
            .await
    }
}

/// Part of ②: a new turn is shown what was said in its chat since the last one.
pub(super) fn show(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE context SET turn = ?1 WHERE turn IS NULL AND session = ?2 AND channel = ?3 AND chat_id = ?4
             AND thread_id IS ?5",
    )?
    .execute(params![turn.0, session.as_str(), chat.channel, chat.chat_id, chat.thread_id])?;
    Ok(())
}

/// Part of ②: what an earlier try was shown, the turn that takes its messages is shown again, and nothing more: the provider may
/// have that input already.
pub(super) fn carry(tx: &Savepoint<'_>, earlier: TurnId, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE context SET turn = ?1 WHERE turn = ?2")?.execute(params![turn.0, earlier.0])?;
    Ok(())
}

/// What a turn is shown.
pub(super) fn of(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<Overheard>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT sender, text, at FROM context WHERE turn = ?1 ORDER BY id")?;
    let rows = statement
        .query_map([turn.0], |row| Ok(Overheard { sender: row.get(0)?, text: row.get(1)?, at: row.get(2)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
