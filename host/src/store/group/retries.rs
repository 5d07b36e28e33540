//! A turn that failed in a way that can pass: its messages wait for another try.

use cofferdam_protocol::ids::{MessageId, TurnId};
use cofferdam_protocol::runner::Failure;
use jiff::tz::TimeZone;
use rusqlite::{Savepoint, params};

use super::models::read_models;
use super::questions::FETCHED;
use super::states::{claimed, step_messages};
use crate::model::failure::{MOST_SILENT, may_be_one_of_several, next_try};
use crate::model::message::MessageEvent;
use crate::model::notice::{self, Known};
use crate::model::outage;
use crate::store::{StoreError, chance, now_ms};

/// Another try of a turn's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retry {
    /// When, in ms.
    pub(super) at: i64,
    /// Each of its messages by itself.
    pub(super) apart: bool,
    /// The words of its notice.
    pub(super) text: String,
}

/// Whether a failed turn is tried again, and when. One that has told the chat something is not: it would say it twice.
/// Nor is one that has a question, also of an earlier try: its answer is given, or lost to another try.
pub(super) fn plan(
    tx: &Savepoint<'_>,
    turn: TurnId,
    failure: &Failure,
    zone: &TimeZone,
) -> Result<Option<Retry>, StoreError> {
    if has_replied(tx, turn)? || has_asked(tx, turn)? {
        return Ok(None);
    }
    let before: u32 = tx
        .prepare_cached("SELECT coalesce(max(failures), 0) FROM inbox WHERE turn = ?1 AND state = 'claimed'")?
        .query_row([turn.0], |row| row.get(0))?;
    let (failed, now) = (before.saturating_add(1), now_ms());
    if let Some(at) = next_try(failure, failed, now, chance()) {
        let text = notice::tried_again(failure, &notice::clock(at, now, zone), failed);
        return Ok(Some(Retry { at, apart: false, text }));
    }
    // One of several may be what it fails of: then only that one fails in the end.
    let several = count(tx, turn)?;
    let apart = may_be_one_of_several(failure.kind) && several > 1;
    Ok(apart.then(|| Retry { at: now, apart, text: notice::one_by_one(failure, several) }))
}

/// The messages that wait to be tried one by one as this turn's was, after a turn over all of them was silent: once
/// [`MOST_SILENT`] of them were silent by themselves, these are given up too. What a person has tried again neither counts
/// nor is given up untried.
pub(super) fn silent_rest(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    // A turn may have other rows too, such as an answer to its question.
    let sql = format!(
        "SELECT count(DISTINCT turns.id) FROM turns JOIN inbox ON inbox.turn = turns.id
         WHERE turns.failure_kind = 'silence' AND turns.earlier = (SELECT earlier FROM turns WHERE id = ?1)
               AND kind = 'message' AND inbox.id NOT IN ({FETCHED}) AND NOT {TRIED_AGAIN}"
    );
    let silent: u32 = tx.prepare_cached(&sql)?.query_row([turn.0], |row| row.get(0))?;
    if silent < MOST_SILENT {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT id FROM inbox WHERE turn = (SELECT earlier FROM turns WHERE id = ?1) AND state = 'pending' AND apart
                AND kind = 'message' AND id NOT IN ({FETCHED}) AND NOT {TRIED_AGAIN} ORDER BY id"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map([turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a person has a message of the inbox tried again.
const TRIED_AGAIN: &str =
    "EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message = inbox.id AND dead_letters.state = 'retried')";

/// A turn's own messages: those that its provider was given or offered, without answers to questions of it.
const OWN: &str = "turn = ?1 AND state IN ('claimed', 'pending') AND kind = 'message'
     AND id NOT IN (SELECT message FROM questions WHERE turn = ?1 AND message IS NOT NULL)";

fn count(tx: &Savepoint<'_>, turn: TurnId) -> Result<usize, StoreError> {
    let sql = format!("SELECT count(*) FROM inbox WHERE {OWN} AND id NOT IN ({FETCHED})");
    Ok(tx.prepare_cached(&sql)?.query_row([turn.0], |row| row.get(0))?)
}

/// From here on each message of a turn goes by itself, from its first try; a turn with one message is left as it is. Outages
/// stay counted, as they are bounded for all together, and each message has one more by itself.
pub(super) fn part(tx: &Savepoint<'_>, turn: TurnId) -> Result<(), StoreError> {
    if count(tx, turn)? < 2 {
        return Ok(());
    }
    let sql = format!("UPDATE inbox SET apart = 1 WHERE {OWN} AND id NOT IN ({FETCHED})");
    tx.prepare_cached(&sql)?.execute([turn.0])?;
    tx.prepare_cached(
        "UPDATE inbox SET tries = 0, failures = 0, outages = min(outages, ?2)
         WHERE turn = ?1 AND state IN ('claimed', 'pending')",
    )?
    .execute(params![turn.0, outage::MOST - 1])?;
    Ok(())
}

/// Whether a turn has told the chat something of the agent's.
fn has_replied(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE turn = ?1 AND kind = 'reply')")?
        .query_row([turn.0], |row| row.get(0))?)
}

/// Whether a turn has a question, its own or one that it took over.
fn has_asked(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM questions WHERE turn = ?1)")?
        .query_row([turn.0], |row| row.get(0))?)
}

/// Whether a turn has answered in its chat: a question alone is no answer.
pub(super) fn has_spoken(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE turn = ?1 AND kind = 'reply'
                            AND (action IS NULL OR json_type(action, '$.file') IS NOT NULL))",
        )?
        .query_row([turn.0], |row| row.get(0))?)
}

/// Puts a turn's messages back until its next try. The end of a provider is not their fault, and counts apart.
pub(super) fn release(tx: &Savepoint<'_>, turn: TurnId, retry: &Retry) -> Result<Vec<MessageId>, StoreError> {
    let ids = claimed(tx, turn)?;
    step_messages(tx, &ids, MessageEvent::Release)?;
    let mut update = tx
        .prepare_cached("UPDATE inbox SET due_at = ?1, failures = failures + 1, tries = tries - 1 WHERE id = ?2")?;
    for id in &ids {
        update.execute([retry.at, id.0])?;
    }
    if retry.apart {
        part(tx, turn)?;
    }
    Ok(ids)
}

/// What the notice of a failure can say besides the failure.
pub(super) fn known(tx: &Savepoint<'_>, failure: &Failure, zone: &TimeZone) -> Result<Known, StoreError> {
    let resets = failure.resets_at.and_then(|secs| i64::try_from(secs).ok()?.checked_mul(1000));
    let models = read_models(tx)?.into_iter().map(|model| model.name).collect();
    Ok(Known { resets: resets.map(|at| notice::clock(at, now_ms(), zone)), models })
}
