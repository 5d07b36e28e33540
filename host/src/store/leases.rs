//! ⑤ of both kinds of outbox, the groups' and Cofferdam's own: the oldest of a chat is taken, and a lease that a crash lost
//! counts as a doubt.

use cofferdam_protocol::ids::ReplyId;
use rusqlite::Savepoint;

use super::group::outbox::NextReply;
use super::{StoreError, chance, now_ms};
use crate::model::chat::ChatRef;
use crate::model::delivery;
use crate::model::outage;
use crate::model::reply::{Outbound, ReplyEvent, ReplyState};

/// The rows of an outbox.
pub(super) trait Rows {
    /// Their table; it has `doubt`, `lost` and `next_try_at`.
    const TABLE: &'static str;

    /// The oldest of a chat that is not delivered.
    fn oldest(&self, tx: &Savepoint<'_>, chat: &ChatRef) -> Result<Option<Oldest>, StoreError>;

    /// What is looked up for one that is leased.
    fn look_up(&self, _tx: &Savepoint<'_>, _outbound: &mut Outbound) -> Result<(), StoreError> {
        Ok(())
    }

    /// Steps a row's state.
    fn step(tx: &Savepoint<'_>, reply: ReplyId, event: ReplyEvent) -> Result<(), StoreError>;

    /// Makes a dead letter of one that was lost so often, for this reason.
    fn bury_lost(tx: &Savepoint<'_>, reply: ReplyId, why: &str, lost: u32) -> Result<(), StoreError>;
}

/// The oldest of a chat that is not delivered.
pub(super) struct Oldest {
    pub(super) outbound: Outbound,
    pub(super) state: ReplyState,
    pub(super) next_try_at: i64,
}

impl Oldest {
    /// Until when it is not to be tried, ms.
    fn waits_until(&self, now: i64) -> Option<i64> {
        let at = self.next_try_at;
        (self.state == ReplyState::Pending && delivery::is_ahead(at, now)).then_some(at)
    }
}

/// How the oldest of a chat stands. Never [`NextReply::Leased`].
pub(super) fn next<R: Rows>(rows: &R, tx: &Savepoint<'_>, chat: &ChatRef) -> Result<NextReply, StoreError> {
    let Some(oldest) = rows.oldest(tx, chat)? else { return Ok(NextReply::None) };
    Ok(oldest.waits_until(now_ms()).map_or(NextReply::Due, NextReply::At))
}

/// Leases the oldest of a chat. There is one worker per chat, so a lease that is found was lost by a crash. One that crashes took
/// again and again waits ([`outage`]), and is a dead letter in the end.
pub(super) fn take<R: Rows>(rows: &R, tx: &Savepoint<'_>, chat: &ChatRef) -> Result<NextReply, StoreError> {
    while let Some(oldest) = rows.oldest(tx, chat)? {
        if let Some(at) = oldest.waits_until(now_ms()) {
            return Ok(NextReply::At(at));
        }
        let Oldest { mut outbound, state, .. } = oldest;
        if state == ReplyState::Leased {
            outbound.doubts += 1;
            match lost_again::<R>(tx, outbound.id)? {
                Some(at) if at > now_ms() => return Ok(NextReply::At(at)),
                Some(_) => {}
                None => continue,
            }
        }
        R::step(tx, outbound.id, ReplyEvent::Lease)?;
        rows.look_up(tx, &mut outbound)?;
        crate::hooks::crash_point("lease.before_commit");
        return Ok(NextReply::Leased(Box::new(outbound)));
    }
    Ok(NextReply::None)
}

/// A lease was lost, with the daemon that had it. Answers when the reply is handed over again, ms; none: it is dead.
fn lost_again<R: Rows>(tx: &Savepoint<'_>, reply: ReplyId) -> Result<Option<i64>, StoreError> {
    let table = R::TABLE;
    let lost: u32 = tx
        .prepare_cached(&format!(
            "UPDATE {table} SET doubt = doubt + 1, lost = lost + 1 WHERE id = ?1 RETURNING lost"
        ))?
        .query_row([reply.0], |row| row.get(0))?;
    let now = now_ms();
    let next = outage::next(lost, now, chance());
    match next {
        Some(at) if at > now => {
            tracing::warn!(table, %reply, lost, "the daemon ended again and again while it was handed over; it waits");
            R::step(tx, reply, ReplyEvent::Retry)?;
            tx.prepare_cached(&format!("UPDATE {table} SET next_try_at = ?1 WHERE id = ?2"))?
                .execute([at, reply.0])?;
        }
        Some(_) => {}
        None => {
            tracing::error!(table, %reply, lost, "not handed over any more; `cofferdam dead-letter list` has it");
            R::step(tx, reply, ReplyEvent::GiveUp)?;
            R::bury_lost(tx, reply, &outage::words(lost), lost)?;
        }
    }
    Ok(next)
}
