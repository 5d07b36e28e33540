//! Which calls of webhooks were let in before.

use rusqlite::{OptionalExtension, params};

use super::db::Durability;
use super::remembered::Remembered;
use super::{Central, StoreError, now_ms};
use crate::model::channel::Came;

/// Signatures are remembered for 90 days: where the time is signed it is refused long before that. Each takes some 200 bytes.
const CALLS: Remembered =
    Remembered { table: "hook_calls", owner: "hook", time: 90 * 24 * 60 * 60 * 1000, most: 100_000 };

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
                CALLS.forget(tx, (&channel, &hook))?;
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
