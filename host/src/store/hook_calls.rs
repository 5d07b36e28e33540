//! Which calls of webhooks were let in before.

use rusqlite::{Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};

/// How long a signature is remembered, in ms: 90 days. Ours is refused by its time long before that; GitHub's has none.
const REMEMBERED: i64 = 90 * 24 * 60 * 60 * 1000;
/// Signatures that are remembered of all webhooks; the oldest beyond are forgotten. Each takes some 150 bytes.
const MOST: i64 = 200_000;
/// How many are written between two looks for those to forget.
const BETWEEN: i64 = 256;

impl Central {
    /// Whether this signature may come with this call's id: it is new, or came with that id before.
    pub async fn admits(&self, channel: &str, hook: &str, tag: [u8; 32], call: &str) -> Result<bool, StoreError> {
        let (channel, hook, call) = (channel.to_owned(), hook.to_owned(), call.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                // A webhook that is gone meanwhile lets nobody in.
                tx.prepare_cached(
                    "INSERT OR IGNORE INTO hook_calls (channel, hook, tag, call, at)
                     SELECT channel, name, ?3, ?4, ?5 FROM hooks WHERE channel = ?1 AND name = ?2",
                )?
                .execute(params![channel, hook, tag, call, now_ms()])?;
                forget(tx)?;
                let same = "SELECT EXISTS (SELECT 1 FROM hook_calls
                            WHERE channel = ?1 AND hook = ?2 AND tag = ?3 AND call = ?4)";
                Ok(tx.prepare_cached(same)?.query_row(params![channel, hook, tag, call], |row| row.get(0))?)
            })
            .await
    }
}

fn forget(tx: &Savepoint<'_>) -> Result<(), StoreError> {
    let due = "SELECT abs(random()) % ?1 = 0";
    if tx.prepare_cached(due)?.query_row([BETWEEN], |row| row.get(0))? {
        tx.prepare_cached("DELETE FROM hook_calls WHERE at < ?1")?.execute([now_ms() - REMEMBERED])?;
        tx.prepare_cached(
            "DELETE FROM hook_calls WHERE at < (SELECT at FROM hook_calls ORDER BY at DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([MOST])?;
    }
    Ok(())
}
