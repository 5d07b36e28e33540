//! ③ ready and ④ finish.

use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Finish, Outcome, Thread};
use rusqlite::{Savepoint, params};

use super::outbox::insert_reply;
use super::{GroupDb, chat_of, fence};
use crate::model::chat::ChatRef;
use crate::model::message::{MessageEvent, MessageState};
use crate::model::notice;
use crate::model::reply::ReplyKind;
use crate::model::turn::{TurnEvent, TurnState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// What a finished turn left to do.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The chat that its replies go to.
    pub chat: ChatRef,
    /// Its replies and notices, in order.
    pub replies: Vec<ReplyId>,
    /// Its messages.
    pub messages: Vec<MessageId>,
}

impl GroupDb {
    /// ③ The provider is ready: keeps its thread. A repeated event changes nothing.
    pub async fn ready(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        generation: u64,
        continuation: String,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                if !is_new(tx, &session, attempt, seq)? {
                    return Ok(());
                }
                // A thread of an older conversation is not the session's any more.
                tx.prepare_cached(
                    "UPDATE sessions SET continuation = CASE WHEN generation = ?4 THEN ?1 ELSE continuation END,
                            last_seq = ?2
                     WHERE id = ?3",
                )?
                .execute(params![continuation, seq.0, session.as_str(), generation])?;
                Ok(())
            })
            .await
    }

    /// ④ The turn's end: messages done, continuation kept and replies in the outbox, in one transaction.
    /// None when the event had been kept before.
    pub async fn finish(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        finish: Finish,
    ) -> Result<Option<Finished>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                if !is_new(tx, &session, attempt, seq)? {
                    return Ok(None);
                }
                let chat = chat_of_turn(tx, turn)?;
                end_turn(tx, turn, TurnEvent::Finish(&finish.outcome))?;
                keep_figures(tx, turn, &finish)?;
                let messages = finish_messages(tx, turn)?;
                let mut replies = Vec::new();
                for (kind, text) in words(&finish) {
                    replies.push(insert_reply(tx, &session, Some(turn), &chat, kind, &text)?);
                }
                keep_thread(tx, &session, finish.thread.as_ref())?;
                tx.prepare_cached("UPDATE sessions SET last_seq = ?1, active_at = ?2 WHERE id = ?3")?
                    .execute(params![seq.0, now_ms(), session.as_str()])?;
                Ok(Some(Finished { chat, replies, messages }))
            })
            .await
    }

    /// Ends the waiting messages of a session in a notice, without a turn that ran: for what only a person can mend.
    pub async fn refuse_waiting(
        &self,
        session: &SessionId,
        text: String,
    ) -> Result<Vec<(ChatRef, ReplyId)>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let mut chats: Vec<ChatRef> = tx
                    .prepare_cached(
                        "SELECT DISTINCT channel, chat_id, thread_id FROM inbox WHERE session = ?1 AND state = 'pending'",
                    )?
                    .query_map([session.as_str()], |row| chat_of(row, 0))?
                    .collect::<Result<_, _>>()?;
                chats.sort();
                tx.prepare_cached("UPDATE inbox SET state = 'done' WHERE session = ?1 AND state = 'pending'")?
                    .execute([session.as_str()])?;
                let mut notices = Vec::new();
                for chat in chats {
                    let reply = insert_reply(tx, &session, None, &chat, ReplyKind::Notice, &text)?;
                    notices.push((chat, reply));
                }
                Ok(notices)
            })
            .await
    }
}

/// What people read of a turn's end: never nothing (invariant 4).
fn words(finish: &Finish) -> Vec<(ReplyKind, String)> {
    let mut words: Vec<_> = finish
        .replies
        .iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| (ReplyKind::Reply, text.clone()))
        .collect();
    match &finish.outcome {
        Outcome::Completed if words.is_empty() => words.push((ReplyKind::Notice, notice::nothing_to_say())),
        Outcome::Completed => {}
        Outcome::Interrupted => words.push((ReplyKind::Notice, notice::interrupted())),
        Outcome::Failed(failure) => words.push((ReplyKind::Notice, notice::turn_failed(failure))),
    }
    words
}

/// Keeps where the conversation stands, unless it was cleared meanwhile.
fn keep_thread(tx: &Savepoint<'_>, session: &SessionId, thread: Option<&Thread>) -> Result<(), StoreError> {
    let Some(thread) = thread else { return Ok(()) };
    tx.prepare_cached(
        "UPDATE sessions SET continuation = coalesce(?1, continuation), since_compaction = ?2, last_total = ?3
         WHERE id = ?4 AND generation = ?5",
    )?
    .execute(params![
        thread.continuation,
        thread.meter.since_compaction,
        thread.meter.last_total,
        session.as_str(),
        thread.generation,
    ])?;
    Ok(())
}

fn is_new(tx: &Savepoint<'_>, session: &SessionId, attempt: Attempt, seq: Seq) -> Result<bool, StoreError> {
    fence(tx, session, attempt)?;
    let last: i64 = tx
        .prepare_cached("SELECT last_seq FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))?;
    Ok(seq.0 > last)
}

/// Moves a turn on, through its one transition function.
pub(super) fn end_turn(tx: &Savepoint<'_>, turn: TurnId, event: TurnEvent<'_>) -> Result<TurnState, StoreError> {
    let now: String =
        tx.prepare_cached("SELECT state FROM turns WHERE id = ?1")?.query_row([turn.0], |row| row.get(0))?;
    let next = TurnState::parse(&now).ok_or(StoreError::Unknown { what: "turn state", value: now })?.next(event)?;
    tx.prepare_cached("UPDATE turns SET state = ?1, finished_at = ?2 WHERE id = ?3")?.execute(params![
        next.as_str(),
        now_ms(),
        turn.0
    ])?;
    Ok(next)
}

fn keep_figures(tx: &Savepoint<'_>, turn: TurnId, finish: &Finish) -> Result<(), StoreError> {
    let failure = match &finish.outcome {
        Outcome::Failed(failure) => Some(failure),
        _ => None,
    };
    let kind = failure.map(|f| serde_json::to_value(f.kind).unwrap_or_default());
    let usage = finish.usage;
    tx.prepare_cached(
        "UPDATE turns SET failure_kind = ?1, failure_message = ?2, input_tokens = ?3, cached_tokens = ?4,
                output_tokens = ?5, reasoning_tokens = ?6, provider_ms = ?7 WHERE id = ?8",
    )?
    .execute(params![
        kind.as_ref().and_then(|k| k.as_str()),
        failure.map(|f| &f.message),
        usage.map(|u| u.input),
        usage.map(|u| u.cached_input),
        usage.map(|u| u.output),
        usage.map(|u| u.reasoning),
        finish.provider_millis,
        turn.0,
    ])?;
    Ok(())
}

fn finish_messages(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let done = MessageState::Claimed.next(MessageEvent::Finish)?;
    let mut statement =
        tx.prepare_cached("UPDATE inbox SET state = ?1 WHERE turn = ?2 AND state = 'claimed' RETURNING id")?;
    let rows = statement.query_map(params![done.as_str(), turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    let mut ids: Vec<_> = rows.collect::<Result<_, _>>()?;
    ids.sort();
    Ok(ids)
}

/// The chat of a turn's messages.
pub(super) fn chat_of_turn(tx: &Savepoint<'_>, turn: TurnId) -> Result<ChatRef, StoreError> {
    Ok(tx
        .prepare_cached("SELECT channel, chat_id, thread_id FROM inbox WHERE turn = ?1 ORDER BY id LIMIT 1")?
        .query_row([turn.0], |row| chat_of(row, 0))?)
}
