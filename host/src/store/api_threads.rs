//! What the API of an HTTP channel keeps of its conversations: short texts by fingerprint.

use rusqlite::{OptionalExtension, Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};

/// Conversations that nobody went on with for so long are forgotten, in ms: half a year.
const FORGOTTEN: i64 = 183 * DAY;
/// How exactly it is known when one was read, in ms.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// Fingerprints that are kept of all keys; the oldest beyond are forgotten. Each takes some 150 bytes.
const MOST: i64 = 200_000;
/// How many are written between two looks for those to forget.
const BETWEEN: i64 = 256;

impl Central {
    /// What was kept of this fingerprint for the key.
    pub async fn api_thread(
        &self,
        channel: &str,
        key: &str,
        fingerprint: [u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let of = (channel.to_owned(), key.to_owned());
        let found: Option<(String, i64)> = self
            .db
            .read(move |tx| {
                let sql = "SELECT thread, at FROM api_threads WHERE channel = ?1 AND key = ?2 AND fingerprint = ?3";
                let row = params![of.0, of.1, fingerprint];
                Ok(tx.prepare_cached(sql)?.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
            })
            .await?;
        let Some((thread, at)) = found else { return Ok(None) };
        if !(now_ms() - DAY..=now_ms()).contains(&at) {
            self.keep_api_thread(channel, key, fingerprint, &thread).await?;
        }
        Ok(Some(thread))
    }

    /// Keeps a text in the place of what the fingerprint had.
    pub async fn keep_api_thread(
        &self,
        channel: &str,
        key: &str,
        fingerprint: [u8; 32],
        thread: &str,
    ) -> Result<(), StoreError> {
        let (channel, key, thread) = (channel.to_owned(), key.to_owned(), thread.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                // A key that is gone meanwhile keeps nothing.
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO api_threads (channel, key, fingerprint, thread, at)
                     SELECT channel, name, ?3, ?4, ?5 FROM api_keys WHERE channel = ?1 AND name = ?2",
                )?
                .execute(params![channel, key, fingerprint, thread, now_ms()])?;
                forget(tx)
            })
            .await
    }
}

fn forget(tx: &Savepoint<'_>) -> Result<(), StoreError> {
    let due = "SELECT abs(random()) % ?1 = 0";
    if tx.prepare_cached(due)?.query_row([BETWEEN], |row| row.get(0))? {
        tx.prepare_cached("DELETE FROM api_threads WHERE at < ?1")?.execute([now_ms() - FORGOTTEN])?;
        tx.prepare_cached(
            "DELETE FROM api_threads WHERE at < (SELECT at FROM api_threads ORDER BY at DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([MOST])?;
    }
    Ok(())
}
