//! Replies that their chats never got, as the agent is told on its next turn.

use cofferdam_protocol::ids::{SessionId, TurnId};
use rusqlite::{Savepoint, params};

use super::chat_of;
use crate::model::chat::ChatRef;
use crate::store::StoreError;

/// The most that a turn is told of; the newest.
const TOLD: usize = 5;
/// The most characters that are read of a text.
const READ_CHARS: i64 = 200;

/// What a turn is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// The newest, oldest first.
    pub newest: Vec<Lost>,
    /// How many more there are.
    pub more: usize,
}

/// A reply that its chat never got, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where it was to go.
    pub chat: ChatRef,
    /// How it began.
    pub text: String,
    /// When the agent said it, ms.
    pub said_at: i64,
    /// What its channel said.
    pub why: String,
    /// It may have arrived all the same.
    pub doubt: bool,
}

/// Part of ②: a new turn is the one that is told of what nobody was told of yet. Notices are our words, not the agent's.
pub(super) fn tell(tx: &Savepoint<'_>, session: &SessionId, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE outbox SET told = ?1 WHERE session = ?2 AND state = 'dead' AND told IS NULL")?
        .execute(params![turn.0, session.as_str()])?;
    Ok(())
}

/// Part of ②: what an earlier try was told, the turn that takes its messages is told again.
pub(super) fn carry(tx: &Savepoint<'_>, earlier: TurnId, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE outbox SET told = ?1 WHERE told = ?2")?.execute(params![turn.0, earlier.0])?;
    Ok(())
}

/// What a turn is told of. One that a person had tried again since is left out.
pub(super) fn told_to(tx: &Savepoint<'_>, turn: TurnId) -> Result<Undelivered, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT channel, chat_id, thread_id, substr(text, 1, ?2), created_at, coalesce(last_error, ''), doubt > 0
         FROM outbox WHERE told = ?1 AND state = 'dead' AND kind = 'reply' ORDER BY id DESC",
    )?;
    let mut rows = statement.query(params![turn.0, READ_CHARS])?;
    let mut undelivered = Undelivered::default();
    while let Some(row) = rows.next()? {
        if undelivered.newest.len() == TOLD {
            undelivered.more += 1;
            continue;
        }
        undelivered.newest.push(Lost {
            chat: chat_of(row, 0)?,
            text: row.get(3)?,
            said_at: row.get(4)?,
            why: row.get(5)?,
            doubt: row.get(6)?,
        });
    }
    undelivered.newest.reverse();
    Ok(undelivered)
}
