//! What the API of an HTTP channel keeps of its conversations: short texts by fingerprint.

use rusqlite::{OptionalExtension, Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};

/// Conversations that nobody went on with for so long are forgotten, in ms: half a year.
const FORGOTTEN: i64 = 183 * DAY;
/// How exactly it is known when one was read, in ms.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// Fingerprints that are kept of one key; the oldest beyond are forgotten. Each takes some 200 bytes.
const MOST: i64 = 100_000;
/// How many are written between two looks for those to forget.
const BETWEEN: i64 = 256;

impl Central {
    /// What was kept of this fingerprint for the key with this chat.
    pub async fn api_thread(
        &self,
        channel: &str,
        chat_id: &str,
        fingerprint: [u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let of = (channel.to_owned(), chat_id.to_owned());
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
            self.keep_api_thread(channel, chat_id, fingerprint, &thread).await?;
        }
        Ok(Some(thread))
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
                // A key that is gone meanwhile keeps nothing.
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO api_threads (channel, key, fingerprint, thread, at)
                     SELECT channel, chat_id, ?3, ?4, ?5 FROM api_keys WHERE channel = ?1 AND chat_id = ?2",
                )?
                .execute(params![channel, chat_id, fingerprint, thread, now_ms()])?;
                forget(tx, &channel, &chat_id)
            })
            .await
    }
}

/// One key's conversations push none of another's out.
fn forget(tx: &Savepoint<'_>, channel: &str, chat_id: &str) -> Result<(), StoreError> {
    let due = "SELECT abs(random()) % ?1 = 0";
    if tx.prepare_cached(due)?.query_row([BETWEEN], |row| row.get(0))? {
        tx.prepare_cached("DELETE FROM api_threads WHERE at < ?1")?.execute([now_ms() - FORGOTTEN])?;
        forget_beyond(tx, (channel, chat_id), MOST)?;
    }
    Ok(())
}

fn forget_beyond(tx: &Savepoint<'_>, (channel, chat_id): (&str, &str), most: i64) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM api_threads WHERE channel = ?1 AND key = ?2 AND at <
             (SELECT at FROM api_threads WHERE channel = ?1 AND key = ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![channel, chat_id, most])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::schema::Kind;

    #[test]
    fn the_oldest_conversations_of_one_key_are_forgotten_and_no_other_ones() {
        let mut conn = Connection::open_in_memory().unwrap();
        Kind::Central.migrations().to_latest(&mut conn).unwrap();
        let tx = conn.savepoint().unwrap();
        tx.execute_batch(
            "INSERT INTO channels (name, kind, settings, created_at) VALUES ('http', 'http', '{}', 0)",
        )
        .unwrap();
        for key in ["key/a", "key/b"] {
            for at in 0..5_i64 {
                let sql = "INSERT INTO api_threads (channel, key, fingerprint, thread, at)
                           VALUES ('http', ?1, CAST(?2 AS BLOB), 't', ?2)";
                tx.execute(sql, params![key, at]).unwrap();
            }
        }
        forget_beyond(&tx, ("http", "key/a"), 2).unwrap();
        let left = |key: &str| -> Vec<i64> {
            let mut statement = tx.prepare("SELECT at FROM api_threads WHERE key = ?1 ORDER BY at").unwrap();
            statement.query_map([key], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!((left("key/a"), left("key/b").len()), (vec![2, 3, 4], 5));
    }
}
