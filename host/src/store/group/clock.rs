//! What the rows make of a wall clock that was set back.

use rusqlite::{Savepoint, params};

use super::GroupDb;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

impl GroupDb {
    /// Brings due times back that the wall clock had already come near, so that nothing waits longer than its pause.
    /// `by` is how far the clock was seen to go back, in ms; also without that, such as at a start, rows that were written
    /// later than now tell of it. Answers by how many ms; doing it again changes nothing.
    pub async fn clock_set_back(&self, by: i64) -> Result<i64, StoreError> {
        self.db.write(Durability::Relaxed, move |tx| bring_back(tx, by, now_ms())).await
    }

    /// The clock went forward by so many ms, or the machine slept: a person keeps the whole time that a question gave
    /// them. Whatever else is due then is due early, once. A question that was asked after the jump has its time.
    pub async fn clock_set_forward(&self, by: i64) -> Result<(), StoreError> {
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.prepare_cached(
                    "UPDATE questions SET expires_at = expires_at + ?1, asked_at = asked_at + ?1
                     WHERE state = 'open' AND asked_at <= ?2",
                )?
                .execute([by, now_ms() - by])?;
                Ok(())
            })
            .await
    }
}

fn bring_back(tx: &Savepoint<'_>, seen: i64, now: i64) -> Result<i64, StoreError> {
    let newest: Option<i64> =
        tx.prepare_cached("SELECT max(active_at) FROM sessions")?.query_row([], |row| row.get(0))?;
    let by = seen.max(newest.map_or(0, |newest| newest.saturating_sub(now)));
    if by <= 0 {
        return Ok(0);
    }
    // A try that was noted after the jump and before it was seen comes early, once.
    for sql in [
        "UPDATE inbox SET due_at = max(due_at - ?1, 0) WHERE state = 'pending' AND due_at > ?2",
        "UPDATE outbox SET next_try_at = max(next_try_at - ?1, 0) WHERE state IN ('pending', 'leased') AND next_try_at > ?2",
        "UPDATE sessions SET start_again_at = max(start_again_at - ?1, 0) WHERE start_again_at > ?2",
    ] {
        tx.prepare_cached(sql)?.execute(params![by, now])?;
    }
    // A person keeps the whole time that a question gave them.
    tx.prepare_cached(
        "UPDATE questions SET expires_at = ?1 + expires_at - asked_at, asked_at = ?1
         WHERE state = 'open' AND asked_at > ?1",
    )?
    .execute([now])?;
    tx.prepare_cached("UPDATE sessions SET active_at = ?1 WHERE active_at > ?1")?.execute([now])?;
    Ok(by)
}
