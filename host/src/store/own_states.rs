//! The only writers of a state in `central.db`, each through its machine's one transition function.

use cofferdam_protocol::ids::ReplyId;
use rusqlite::{Savepoint, params};

use super::{StoreError, now_ms};
use crate::model::approval::{ApprovalEvent, ApprovalState};
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState};
use crate::model::reply::{ReplyEvent, ReplyState};

/// A post's next state.
pub(super) fn step_post(tx: &Savepoint<'_>, post: ReplyId, event: ReplyEvent) -> Result<(), StoreError> {
    let state: String = tx.query_row("SELECT state FROM posts WHERE id = ?1", [post.0], |row| row.get(0))?;
    let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
    tx.execute("UPDATE posts SET state = ?1 WHERE id = ?2", params![state.next(event)?.as_str(), post.0])?;
    Ok(())
}

/// A person's decision about a post's dead letter.
pub(super) fn step_post_letter(tx: &Savepoint<'_>, number: i64, event: DeadLetterEvent) -> Result<(), StoreError> {
    let state: String = tx.query_row("SELECT state FROM dead_letters WHERE id = ?1", [number], |row| row.get(0))?;
    let state =
        DeadLetterState::parse(&state).ok_or(StoreError::Unknown { what: "dead letter's state", value: state })?;
    tx.execute("UPDATE dead_letters SET state = ?1 WHERE id = ?2", params![state.next(event)?.as_str(), number])?;
    Ok(())
}

/// An approval's next state; `decided` is what was chosen and by whom.
pub(super) fn step_approval(
    tx: &Savepoint<'_>,
    id: i64,
    event: ApprovalEvent,
    decided: Option<(&str, &str)>,
) -> Result<ApprovalState, StoreError> {
    let state: String = tx.query_row("SELECT state FROM approvals WHERE id = ?1", [id], |row| row.get(0))?;
    let state = ApprovalState::parse(&state).ok_or(StoreError::Unknown { what: "approval state", value: state })?;
    let next = state.next(event)?;
    let (choice, by) = decided.unzip();
    tx.execute(
        "UPDATE approvals SET state = ?1, choice = ?2, decided_by = ?3, decided_at = ?4 WHERE id = ?5",
        params![next.as_str(), choice, by, now_ms(), id],
    )?;
    Ok(next)
}
