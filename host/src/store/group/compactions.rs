//! Compactions of a session's conversation, as its runner reports them.

use cofferdam_protocol::ids::{Attempt, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Compaction, CompactionCause, CompactionOutcome, ContextMeter};
use rusqlite::{Row, Savepoint, params};

use super::GroupDb;
use super::attempts::running_turn;
use super::turns::hear;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// A compaction, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionView {
    /// When it ended, ms.
    pub at: i64,
    /// Why it ran.
    pub cause: CompactionCause,
    /// Why it failed; none when it did not.
    pub failure: Option<String>,
    /// Input tokens since the compaction before it.
    pub tokens_before: u64,
    /// How long it took, ms.
    pub millis: u64,
}

impl GroupDb {
    /// Keeps a compaction and what the conversation's meter shows after it. A repeated event changes nothing.
    pub async fn compacted(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        compaction: Compaction,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                if hear(tx, &session, attempt, seq)? { keep(tx, &session, &compaction) } else { Ok(()) }
            })
            .await
    }
}

fn keep(tx: &Savepoint<'_>, session: &SessionId, compaction: &Compaction) -> Result<(), StoreError> {
    let failure = match &compaction.outcome {
        CompactionOutcome::Completed => None,
        CompactionOutcome::Failed { message } => Some(message),
    };
    tx.prepare_cached(
        "INSERT INTO compactions (session, cause, failure, tokens_before, millis, at, turn)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        session.as_str(),
        cause_text(compaction.cause),
        failure,
        compaction.before,
        compaction.millis,
        now_ms(),
        running_turn(tx, session)?.map(|turn| turn.0),
    ])?;
    // A cleared conversation has no meter of before.
    tx.prepare_cached(
        "UPDATE sessions SET since_compaction = ?1, last_total = ?2 WHERE id = ?3 AND continuation IS NOT NULL",
    )?
    .execute(params![compaction.meter.since_compaction, compaction.meter.last_total, session.as_str()])?;
    Ok(())
}

/// A session's newest compactions, newest first.
pub(super) fn newest(
    tx: &Savepoint<'_>,
    session: &SessionId,
    most: usize,
) -> Result<Vec<CompactionView>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT at, cause, failure, tokens_before, millis FROM compactions WHERE session = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![session.as_str(), most], view)?;
    rows.collect()
}

/// The compaction that a `/compact` turn asked for, once it was reported.
pub(super) fn by_hand(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
) -> Result<Option<Compaction>, StoreError> {
    let view = tx
        .prepare_cached(
            "SELECT at, cause, failure, tokens_before, millis FROM compactions
             WHERE session = ?1 AND cause = 'by_hand' AND turn = ?2
             ORDER BY id DESC LIMIT 1",
        )?
        .query_and_then(params![session.as_str(), turn.0], view)?
        .next()
        .transpose()?;
    Ok(view.map(|view| Compaction {
        cause: view.cause,
        outcome: match view.failure {
            Some(message) => CompactionOutcome::Failed { message },
            None => CompactionOutcome::Completed,
        },
        before: view.tokens_before,
        meter: ContextMeter::default(),
        millis: view.millis,
    }))
}

fn view(row: &Row<'_>) -> Result<CompactionView, StoreError> {
    let cause: String = row.get(1)?;
    Ok(CompactionView {
        at: row.get(0)?,
        cause: match cause.as_str() {
            "threshold" => CompactionCause::Threshold,
            "by_hand" => CompactionCause::ByHand,
            "automatic" => CompactionCause::Automatic,
            _ => return Err(StoreError::Unknown { what: "compaction's cause", value: cause }),
        },
        failure: row.get(2)?,
        tokens_before: row.get(3)?,
        millis: row.get(4)?,
    })
}

fn cause_text(cause: CompactionCause) -> &'static str {
    match cause {
        CompactionCause::Threshold => "threshold",
        CompactionCause::ByHand => "by_hand",
        CompactionCause::Automatic => "automatic",
    }
}
