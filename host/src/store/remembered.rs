//! Tables whose rows are remembered for a while: each row has its owner, and in `at` the time that counts.

use rusqlite::{Savepoint, params};

use super::{StoreError, now_ms};

/// How many rows are written between two looks for those to forget.
const BETWEEN: i64 = 256;

/// What is remembered in a table, and what is forgotten.
pub(super) struct Remembered {
    pub(super) table: &'static str,
    /// The column that says whose a row is, besides `channel`.
    pub(super) owner: &'static str,
    /// For how long, in ms.
    pub(super) time: i64,
    /// How many rows of one owner; the oldest beyond are forgotten, so that one owner's push none of another's out.
    pub(super) most: i64,
}

impl Remembered {
    /// Forgets what there is to forget, now and then; to be called with each row that is written.
    pub(super) fn forget(&self, tx: &Savepoint<'_>, of: (&str, &str)) -> Result<(), StoreError> {
        let due = "SELECT abs(random()) % ?1 = 0";
        if tx.prepare_cached(due)?.query_row([BETWEEN], |row| row.get(0))? {
            self.forget_now(tx, of, now_ms())?;
        }
        Ok(())
    }

    fn forget_now(&self, tx: &Savepoint<'_>, (channel, owner): (&str, &str), now: i64) -> Result<(), StoreError> {
        let Self { table, owner: column, time, most } = self;
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE at < ?1"))?.execute([now - time])?;
        let beyond = format!(
            "DELETE FROM {table} WHERE channel = ?1 AND {column} = ?2 AND at <
                 (SELECT at FROM {table} WHERE channel = ?1 AND {column} = ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3)"
        );
        tx.prepare_cached(&beyond)?.execute(params![channel, owner, most])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_is_old_is_forgotten_and_the_oldest_of_one_owner_and_no_other_ones() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE things (channel TEXT, whose TEXT, at INTEGER)").unwrap();
        let tx = conn.savepoint().unwrap();
        for (channel, whose) in [("http", "a"), ("http", "b"), ("other", "a")] {
            for at in 0..6_i64 {
                tx.execute("INSERT INTO things VALUES (?1, ?2, ?3)", params![channel, whose, at]).unwrap();
            }
        }
        let things = Remembered { table: "things", owner: "whose", time: 100, most: 2 };
        things.forget_now(&tx, ("http", "a"), 101).unwrap();
        let left = |channel: &str, whose: &str| -> Vec<i64> {
            let sql = "SELECT at FROM things WHERE channel = ?1 AND whose = ?2 ORDER BY at";
            let mut statement = tx.prepare(sql).unwrap();
            statement.query_map([channel, whose], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(left("http", "a"), [3, 4, 5]);
        assert_eq!(left("http", "b"), [1, 2, 3, 4, 5]);
        assert_eq!(left("other", "a"), [1, 2, 3, 4, 5]);
    }
}
