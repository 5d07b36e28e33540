//! What the API of an HTTP channel keeps of its conversations: short texts by fingerprint.

use rusqlite::{OptionalExtension, Savepoint, params};

use super::db::Durability;
use super::remembered::Remembered;
use super::{Central, StoreError, now_ms};

/// How exactly it is known when one was read, in ms.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// Conversations that nobody went on with for half a year are forgotten. A fingerprint takes some 200 bytes.
const THREADS: Remembered = Remembered { table: "api_threads", owner: "key", time: 183 * DAY, most: 100_000 };

/// Whose a text is: the channel, the key's chat, and the fingerprint.
type Of<'a> = (&'a str, &'a str, [u8; 32]);

impl Central {
    /// What was kept of this fingerprint for the key with this chat.
    pub async fn api_thread(
        &self,
        channel: &str,
        chat_id: &str,
        fingerprint: [u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let of = (channel.to_owned(), chat_id.to_owned());
        let found = self.db.read(move |tx| kept(tx, (&of.0, &of.1, fingerprint))).await?;
        let Some((thread, at)) = found else { return Ok(None) };
        if !(now_ms() - DAY..=now_ms()).contains(&at) {
            self.api_thread_was_read((channel, chat_id, fingerprint)).await?;
        }
        Ok(Some(thread))
    }

    async fn api_thread_was_read(&self, (channel, chat_id, fingerprint): Of<'_>) -> Result<(), StoreError> {
        let (channel, chat_id) = (channel.to_owned(), chat_id.to_owned());
        self.db
            .write(Durability::Relaxed, move |tx| {
                // Only the time: it may have another text meanwhile.
                let sql = "UPDATE api_threads SET at = ?4 WHERE channel = ?1 AND key = ?2 AND fingerprint = ?3";
                tx.prepare_cached(sql)?.execute(params![channel, chat_id, fingerprint, now_ms()])?;
                Ok(())
            })
            .await
    }

    /// Keeps a text in the place of what the fingerprint had.
    pub async fn keep_api_thread(
        &self,
        channel: &str,
        chat_id: &str,
        fingerprint: [u8; 32],
        thread: &str,
    ) -> Result<(), StoreError> {
        let (channel, chat_id, thread) = (channel.to_owned(), chat_id.to_owned(), thread.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                keep(tx, "REPLACE", (&channel, &chat_id, fingerprint), &thread)?;
                THREADS.forget(tx, (&channel, &chat_id))
            })
            .await
    }

    /// Keeps a text unless the fingerprint has one; answers what it has then.
    pub async fn keep_first_api_thread(
        &self,
        channel: &str,
        chat_id: &str,
        fingerprint: [u8; 32],
        thread: &str,
    ) -> Result<String, StoreError> {
        let (channel, chat_id, thread) = (channel.to_owned(), chat_id.to_owned(), thread.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                keep(tx, "IGNORE", (&channel, &chat_id, fingerprint), &thread)?;
                let kept = kept(tx, (&channel, &chat_id, fingerprint))?;
                THREADS.forget(tx, (&channel, &chat_id))?;
                Ok(kept.map_or(thread, |(kept, _)| kept))
            })
            .await
    }
}

/// A key that is gone meanwhile keeps nothing.
fn keep(tx: &Savepoint<'_>, or: &str, (channel, chat_id, print): Of<'_>, thread: &str) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT OR {or} INTO api_threads (channel, key, fingerprint, thread, at)
         SELECT channel, chat_id, ?3, ?4, ?5 FROM api_keys WHERE channel = ?1 AND chat_id = ?2"
    );
    tx.prepare_cached(&sql)?.execute(params![channel, chat_id, print, thread, now_ms()])?;
    Ok(())
}

/// What is kept, and since when.
fn kept(tx: &Savepoint<'_>, (channel, chat_id, print): Of<'_>) -> Result<Option<(String, i64)>, StoreError> {
    let sql = "SELECT thread, at FROM api_threads WHERE channel = ?1 AND key = ?2 AND fingerprint = ?3";
    let row = params![channel, chat_id, print];
    Ok(tx.prepare_cached(sql)?.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}
