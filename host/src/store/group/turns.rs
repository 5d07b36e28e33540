//! ③ ready, replies on the way, and what every end of a turn does.

use std::collections::BTreeMap;

use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::Model;
use rusqlite::{Savepoint, params};

use super::attempts::{lose_turn, running_turn};
use super::detail::SHOWN_CHARS;
use super::inbox::{Answered, answer};
use super::models::keep_models;
use super::outbox::insert_reply;
use super::states::{claimed, step_message, step_messages, step_turn};
use super::{GroupDb, chat_of, fence};
use crate::hooks;
use crate::model::chat::ChatRef;
use crate::model::message::MessageEvent;
use crate::model::outage::GoneBy;
use crate::model::reply::ReplyKind;
use crate::model::turn::{TurnEvent, TurnState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The newest turns of a session whose diffs are kept.
const MOST_DIFFS: usize = 50;

/// The provider is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The conversation that the thread belongs to.
    pub generation: u64,
    /// The provider's thread.
    pub continuation: String,
    /// The models that it knows; empty leaves what is known.
    pub models: Vec<Model>,
}

impl GroupDb {
    /// ③ The provider is ready: keeps its thread and models. A repeated event changes nothing. After a power cut the thread
    /// is where the runner looks for what it was given, so that it must be known by then; a start takes far longer than
    /// the sync.
    pub async fn ready(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        ready: Ready,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                if !hear(tx, &session, attempt, seq)? {
                    return Ok(());
                }
                keep_models(tx, &ready.models)?;
                // A thread of an older conversation is not the session's any more.
                tx.prepare_cached("UPDATE sessions SET continuation = ?1 WHERE id = ?2 AND generation = ?3")?
                    .execute(params![ready.continuation, session.as_str(), ready.generation])?;
                hooks::crash_point("ready.before_commit");
                Ok(())
            })
            .await
    }

    /// Puts what the agent says before its turn ends into the outbox. None when it was there already, or is nothing.
    pub async fn reply(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        text: String,
    ) -> Result<Option<(ChatRef, ReplyId)>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let new = hear(tx, &session, attempt, seq)?;
                if !new || text.trim().is_empty() || running_turn(tx, &session)? != Some(turn) {
                    return Ok(None);
                }
                let chat = chat_of_turn(tx, turn)?;
                let reply = insert_reply(tx, &session, Some(turn), &chat, ReplyKind::Reply, &text)?;
                Ok(Some((chat, reply)))
            })
            .await
    }

    /// Ends the waiting messages of a session in a notice for each chat, when no container will work on them. So do those
    /// of a turn that is left because its container's end could not be written down.
    pub async fn refuse_waiting(&self, session: &SessionId, text: String) -> Result<Vec<Answered>, StoreError> {
        let (session, folder) = (session.clone(), self.folder().to_string());
        self.db
            .write(Durability::Durable, move |tx| {
                let mut ended = lose_turn(tx, &session, GoneBy::Plan, (&folder, &text))?.into_answered();
                let waiting: Vec<(MessageId, ChatRef)> = tx
                    .prepare_cached(
                        "SELECT id, channel, chat_id, thread_id FROM inbox WHERE session = ?1 AND state = 'pending'
                         ORDER BY id",
                    )?
                    .query_map([session.as_str()], |row| Ok((MessageId(row.get(0)?), chat_of(row, 1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut chats: BTreeMap<ChatRef, Vec<MessageId>> = BTreeMap::new();
                for (message, chat) in waiting {
                    chats.entry(chat).or_default().push(message);
                }
                for (chat, messages) in chats {
                    ended.push(answer(tx, &session, &chat, messages, &text)?);
                }
                Ok(ended)
            })
            .await
    }
}

/// Hears an event of an attempt: refused from a stale one, and false when it was heard before.
pub(super) fn hear(
    tx: &Savepoint<'_>,
    session: &SessionId,
    attempt: Attempt,
    seq: Seq,
) -> Result<bool, StoreError> {
    fence(tx, session, attempt)?;
    let heard = tx
        .prepare_cached("UPDATE sessions SET last_seq = ?1, active_at = ?2 WHERE id = ?3 AND last_seq < ?1")?
        .execute(params![seq.0, now_ms(), session.as_str()])?;
    Ok(heard > 0)
}

/// Moves a turn on, through its one transition function.
pub(super) fn end_turn(tx: &Savepoint<'_>, turn: TurnId, event: TurnEvent<'_>) -> Result<TurnState, StoreError> {
    let next = step_turn(tx, turn, event)?;
    tx.prepare_cached("UPDATE turns SET finished_at = max(?1, started_at) WHERE id = ?2")?
        .execute([now_ms(), turn.0])?;
    forget_much(tx, turn)?;
    Ok(next)
}

/// Lets go of what grows with every turn: a call's answer is said again only while its turn runs, and people look at
/// its beginning and at the newest diffs.
fn forget_much(tx: &Savepoint<'_>, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE tool_calls SET answer = substr(answer, 1, ?2) WHERE turn = ?1 AND length(answer) > ?2",
    )?
    .execute(params![turn.0, SHOWN_CHARS])?;
    // Each end moves the bound by one turn, so that there are never many behind it.
    tx.prepare_cached(
        "UPDATE turns SET diff = NULL WHERE diff IS NOT NULL AND id IN (
             SELECT id FROM turns WHERE session = (SELECT session FROM turns WHERE id = ?1)
             ORDER BY id DESC LIMIT 10 OFFSET ?2)",
    )?
    .execute(params![turn.0, MOST_DIFFS])?;
    Ok(())
}

/// A turn's messages are done.
pub(super) fn finish_messages(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let ids = claimed(tx, turn)?;
    step_messages(tx, &ids, MessageEvent::Finish)?;
    Ok(ids)
}

/// Whether somebody asked for the turn's end.
pub(super) fn stop_requested(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT stop_requested FROM turns WHERE id = ?1")?
        .query_row([turn.0], |row| row.get(0))?)
}

/// Ends the stops that were asked for from elsewhere than where the turn answers, each in a notice in its own chat.
pub(super) fn stopped_elsewhere(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
    text: &str,
) -> Result<Vec<Answered>, StoreError> {
    let stops: Vec<(MessageId, ChatRef)> = tx
        .prepare_cached(
            "SELECT id, channel, chat_id, thread_id FROM inbox
             WHERE turn = ?1 AND state = 'claimed' AND kind = 'stop' ORDER BY id",
        )?
        .query_map([turn.0], |row| Ok((MessageId(row.get(0)?), chat_of(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let mut ended: Vec<Answered> = Vec::new();
    for (message, other) in stops.into_iter().filter(|(_, other)| other != chat) {
        step_message(tx, message, MessageEvent::Finish)?;
        match ended.iter_mut().find(|ended| ended.chat == other) {
            Some(ended) => ended.messages.push(message),
            None => {
                let reply = insert_reply(tx, session, Some(turn), &other, ReplyKind::Notice, text)?;
                ended.push(Answered { messages: vec![message], chat: other, reply });
            }
        }
    }
    Ok(ended)
}

/// The chat of a turn's messages.
pub(super) fn chat_of_turn(tx: &Savepoint<'_>, turn: TurnId) -> Result<ChatRef, StoreError> {
    Ok(tx
        .prepare_cached("SELECT channel, chat_id, thread_id FROM inbox WHERE turn = ?1 ORDER BY id LIMIT 1")?
        .query_row([turn.0], |row| chat_of(row, 0))?)
}
