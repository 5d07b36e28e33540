//! What was dropped, counted by chat, sender and reason (invariant 5).

use rusqlite::{Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};

/// Kinds of drops that are told apart; of more the oldest are forgotten, as strangers choose their chats and names.
const MOST: i64 = 10_000;

/// A count of dropped messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRow {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// Who, by the platform's id; empty where it does not matter.
    pub sender: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The newest, ms.
    pub last_at: i64,
}

impl Central {
    /// Counts a dropped message. Answers how many of its kind there are now.
    pub async fn record_drop(
        &self,
        channel: &str,
        chat_id: &str,
        sender: &str,
        reason: &'static str,
    ) -> Result<u64, StoreError> {
        let key = (channel.to_owned(), chat_id.to_owned(), sender.to_owned());
        self.db.write(Durability::Relaxed, move |tx| count(tx, (&key.0, &key.1, &key.2), reason)).await
    }

    /// Dropped messages, the newest first.
    pub async fn drops(&self, most: usize) -> Result<Vec<DropRow>, StoreError> {
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT channel, chat_id, sender, reason, count, last_at FROM drops ORDER BY last_at DESC LIMIT ?1",
                )?;
                let rows = statement.query_map([most], |row| {
                    Ok(DropRow {
                        channel: row.get(0)?,
                        chat_id: row.get(1)?,
                        sender: row.get(2)?,
                        reason: row.get(3)?,
                        count: row.get(4)?,
                        last_at: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }
}

/// Counts a dropped message of a channel's chat and a sender. Answers how many there are.
pub(super) fn count(
    tx: &Savepoint<'_>,
    (channel, chat_id, sender): (&str, &str, &str),
    reason: &str,
) -> Result<u64, StoreError> {
    let count = tx
        .prepare_cached(
            "INSERT INTO drops (channel, chat_id, sender, reason, count, last_at) VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT DO UPDATE SET count = count + 1, last_at = excluded.last_at RETURNING count",
        )?
        .query_row(params![channel, chat_id, sender, reason, now_ms()], |row| row.get(0))?;
    tx.prepare_cached(
        "DELETE FROM drops WHERE last_at < (SELECT last_at FROM drops ORDER BY last_at DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([MOST])?;
    Ok(count)
}
