//! The messages that show what turns do, by the platform's ids, so that a restart leaves none behind.

use cofferdam_protocol::ids::TurnId;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::{GroupDb, chat_of};
use crate::model::chat::ChatRef;
use crate::store::StoreError;
use crate::store::db::Durability;

/// What a turn shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownMessage {
    /// Where.
    pub chat: ChatRef,
    /// The platform's id of the message.
    pub id: String,
}

impl GroupDb {
    /// What a turn shows, if anything.
    pub async fn shown(&self, turn: TurnId) -> Result<Option<ShownMessage>, StoreError> {
        self.db.read(move |tx| read(tx, turn)).await
    }

    /// Notes which message shows what a turn does.
    pub async fn keep_shown(&self, turn: TurnId, shown: ShownMessage) -> Result<(), StoreError> {
        self.db
            .write(Durability::Relaxed, move |tx| {
                let ChatRef { channel, chat_id, thread_id } = &shown.chat;
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO shown (turn, channel, chat_id, thread_id, platform_id)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![turn.0, channel, chat_id, thread_id, shown.id])?;
                Ok(())
            })
            .await
    }

    /// A turn ended. Answers the message that nothing takes the place of: no text of the turn is on its way.
    pub async fn shown_ends(&self, turn: TurnId) -> Result<Option<ShownMessage>, StoreError> {
        self.db
            .write(Durability::Relaxed, move |tx| {
                let Some(shown) = read(tx, turn)? else { return Ok(None) };
                let taken: bool = tx
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM outbox WHERE turn = ?1 AND action IS NULL
                             AND state IN ('pending', 'leased')
                             AND channel = ?2 AND chat_id = ?3 AND thread_id IS ?4)",
                    )?
                    .query_row(
                        params![turn.0, shown.chat.channel, shown.chat.chat_id, shown.chat.thread_id],
                        |row| row.get(0),
                    )?;
                if taken {
                    return Ok(None);
                }
                tx.prepare_cached("DELETE FROM shown WHERE turn = ?1")?.execute([turn.0])?;
                Ok(Some(shown))
            })
            .await
    }
}

fn read(tx: &Savepoint<'_>, turn: TurnId) -> Result<Option<ShownMessage>, StoreError> {
    let shown = tx
        .prepare_cached("SELECT channel, chat_id, thread_id, platform_id FROM shown WHERE turn = ?1")?
        .query_row([turn.0], |row| Ok(ShownMessage { chat: chat_of(row, 0)?, id: row.get(3)? }))
        .optional()?;
    Ok(shown)
}

/// Part of ②: a turn over the same messages goes on with what the earlier one showed.
pub(super) fn carry(tx: &Savepoint<'_>, earlier: TurnId, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE OR REPLACE shown SET turn = ?2 WHERE turn = ?1")?.execute([earlier.0, turn.0])?;
    Ok(())
}
