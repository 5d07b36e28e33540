//! What was tried for the last time.

use cofferdam_protocol::ids::SessionId;
use rusqlite::{Savepoint, params};

use crate::model::dead_letter::{Cause, DeadLetterState, Letter};
use crate::store::{StoreError, now_ms};

/// Notes that something was tried for the last time. Answers the dead letter's number in its group.
pub(super) fn insert(
    tx: &Savepoint<'_>,
    session: &SessionId,
    letter: Letter,
    cause: Cause,
    error: &str,
    tries: u32,
) -> Result<i64, StoreError> {
    let (message, reply) = match letter {
        Letter::Message(message) => (Some(message.0), None),
        Letter::Reply(reply) => (None, Some(reply.0)),
    };
    tx.prepare_cached(
        "INSERT INTO dead_letters (session, message, reply, cause, error, tries, state, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        session.as_str(),
        message,
        reply,
        cause.as_str(),
        error,
        tries,
        DeadLetterState::Open.as_str(),
        now_ms(),
    ])?;
    Ok(tx.last_insert_rowid())
}
