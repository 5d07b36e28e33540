//! What both kinds of dead letters have in common, the groups' and those of Cofferdam's own posts.

use rusqlite::{Row, Savepoint};

use super::StoreError;
use super::group::dead_letters::{Settled, Woken};
use crate::model::dead_letter::DeadLetterState;

/// The most dead letters of one list: the newest.
const MOST_LISTED: i64 = 1000;
/// What a list has of a text, in characters.
const LISTED_CHARS: i64 = 200;

/// The newest, oldest first, with the beginnings of their texts; `open` leaves out those that a person has decided. `select` has
/// `letters` for the table, and ?1 for the most characters of a text.
pub(super) fn listed<T>(
    tx: &Savepoint<'_>,
    select: &str,
    open: bool,
    row: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let which = if open { "WHERE letters.state = 'open'" } else { "" };
    let mut statement = tx.prepare_cached(&format!("{select} {which} ORDER BY letters.id DESC LIMIT ?2"))?;
    let rows = statement.query_and_then([LISTED_CHARS, MOST_LISTED], row)?;
    let mut letters: Vec<_> = rows.collect::<Result<_, _>>()?;
    letters.reverse();
    Ok(letters)
}

/// One with its whole text.
pub(super) fn one<T>(
    tx: &Savepoint<'_>,
    select: &str,
    number: i64,
    row: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = tx.prepare_cached(&format!("{select} WHERE letters.id = ?2"))?;
    statement.query_and_then([i64::MAX, number], row)?.next().transpose()
}

/// How many wait for a decision.
pub(super) fn open(tx: &Savepoint<'_>) -> Result<u64, StoreError> {
    Ok(tx.query_row("SELECT count(*) FROM dead_letters WHERE state = 'open'", [], |row| row.get(0))?)
}

/// Settles all that are open; answers their numbers and what has something to do now.
pub(super) fn settle_all(
    tx: &Savepoint<'_>,
    settle: impl Fn(i64) -> Result<Settled, StoreError>,
) -> Result<Vec<(i64, Woken)>, StoreError> {
    let open: Vec<i64> = tx
        .prepare_cached("SELECT id FROM dead_letters WHERE state = 'open' ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut done = Vec::new();
    for number in open {
        if let Settled::Done(woken) = settle(number)? {
            done.push((number, woken));
        }
    }
    Ok(done)
}

/// A state as it is kept.
pub(super) fn parse_state(text: String) -> Result<DeadLetterState, StoreError> {
    DeadLetterState::parse(&text).ok_or(StoreError::Unknown { what: "dead letter's state", value: text })
}
