//! Which calls of webhooks were let in before.

use rusqlite::{OptionalExtension, Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::channel::Came;

/// How long a signature is remembered, in ms: 90 days. Where the time is signed it is refused long before that.
const REMEMBERED: i64 = 90 * 24 * 60 * 60 * 1000;
/// Signatures that are remembered of one webhook; the oldest beyond are forgotten. Each takes some 200 bytes.
const MOST: i64 = 100_000;
/// How many are written between two looks for those to forget.
const BETWEEN: i64 = 256;

/// Whether a row is of the call ?4. Rows of before calls' events were noted have the id alone, which is behind the blank.
const SAME: &str = "(call = ?4 OR call = substr(?4, instr(?4, ' ') + 1))";

impl Central {
    /// How a call stands that has this signature and these words of what it is.
    pub async fn call_came(
        &self,
        channel: &str,
        hook: &str,
        tag: [u8; 32],
        call: &str,
    ) -> Result<Came, StoreError> {
        let (channel, hook, call) = (channel.to_owned(), hook.to_owned(), call.to_owned());
        self.db
            .read(move |tx| {
                let sql =
                    format!("SELECT {SAME}, taken FROM hook_calls WHERE channel = ?1 AND hook = ?2 AND tag = ?3");
                let found = tx
                    .prepare_cached(&sql)?
                    .query_row(params![channel, hook, tag, call], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                Ok(match found {
                    None => Came::New,
                    Some((false, _)) => Came::Copied,
                    Some((true, false)) => Came::Again,
                    Some((true, true)) => Came::Taken,
                })
            })
            .await
    }

    /// Notes that a call comes. Answers whether it may: its signature is new, or came with these words before.
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
                forget(tx, &channel, &hook)?;
                let same = format!(
                    "SELECT EXISTS (SELECT 1 FROM hook_calls WHERE channel = ?1 AND hook = ?2 AND tag = ?3 AND {SAME})"
                );
                Ok(tx.prepare_cached(&same)?.query_row(params![channel, hook, tag, call], |row| row.get(0))?)
            })
            .await
    }

    /// Notes that what a call says was taken. Where that is lost, the inbox knows it all the same.
    pub async fn call_taken(&self, channel: &str, hook: &str, tag: [u8; 32]) -> Result<(), StoreError> {
        let (channel, hook) = (channel.to_owned(), hook.to_owned());
        self.db
            .write(Durability::Relaxed, move |tx| {
                let sql = "UPDATE hook_calls SET taken = 1 WHERE channel = ?1 AND hook = ?2 AND tag = ?3";
                tx.prepare_cached(sql)?.execute(params![channel, hook, tag])?;
                Ok(())
            })
            .await
    }
}

/// One webhook's calls push none of another's out.
fn forget(tx: &Savepoint<'_>, channel: &str, hook: &str) -> Result<(), StoreError> {
    let due = "SELECT abs(random()) % ?1 = 0";
    if tx.prepare_cached(due)?.query_row([BETWEEN], |row| row.get(0))? {
        tx.prepare_cached("DELETE FROM hook_calls WHERE at < ?1")?.execute([now_ms() - REMEMBERED])?;
        forget_beyond(tx, (channel, hook), MOST)?;
    }
    Ok(())
}

fn forget_beyond(tx: &Savepoint<'_>, (channel, hook): (&str, &str), most: i64) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM hook_calls WHERE channel = ?1 AND hook = ?2 AND at <
             (SELECT at FROM hook_calls WHERE channel = ?1 AND hook = ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![channel, hook, most])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::schema::Kind;

    #[test]
    fn the_oldest_calls_of_one_webhook_are_forgotten_and_no_other_ones() {
        let mut conn = Connection::open_in_memory().unwrap();
        Kind::Central.migrations().to_latest(&mut conn).unwrap();
        let tx = conn.savepoint().unwrap();
        tx.execute_batch(
            "INSERT INTO channels (name, kind, settings, created_at) VALUES ('http', 'http', '{}', 0)",
        )
        .unwrap();
        for hook in ["a", "b"] {
            let sql = "INSERT INTO hooks (channel, name, format, events, created_at) VALUES ('http', ?1, 'plain', '[]', 0)";
            tx.execute(sql, [hook]).unwrap();
            for at in 0..5_i64 {
                let sql = "INSERT INTO hook_calls (channel, hook, tag, call, at)
                           VALUES ('http', ?1, CAST(?2 AS BLOB), 'c', ?2)";
                tx.execute(sql, params![hook, at]).unwrap();
            }
        }
        forget_beyond(&tx, ("http", "a"), 2).unwrap();
        let left = |hook: &str| -> Vec<i64> {
            let mut statement = tx.prepare("SELECT at FROM hook_calls WHERE hook = ?1 ORDER BY at").unwrap();
            statement.query_map([hook], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!((left("a"), left("b").len()), (vec![2, 3, 4], 5));
    }
}
