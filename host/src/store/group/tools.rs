//! Calls of the host's tools: each done once, by the newest attempt's running turn only.

use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::ToolAnswer;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::outbox::{insert_action, insert_reply};
use super::questions::{self, NewQuestion};
use super::states::step_call;
use super::turns::chat_of_turn;
use super::{GroupDb, fence};
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::reply::ReplyKind;
use crate::model::tool_call::{CallEvent, CallState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// Whose call it is, and which.
#[derive(Debug, Clone)]
pub struct CallKey {
    /// The session.
    pub session: SessionId,
    /// The caller's attempt.
    pub attempt: Attempt,
    /// The turn that calls.
    pub turn: TurnId,
    /// The provider's id of the call.
    pub call_id: String,
}

/// A call that is to be done.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// Whose it is.
    pub key: CallKey,
    /// The tool.
    pub tool: String,
    /// What it was called with, for people.
    pub summary: String,
    /// What one turn may do.
    pub limits: CallLimits,
}

/// What one turn may do.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// Calls.
    pub calls: i64,
    /// Replies, files and questions.
    pub posts: i64,
}

/// What a call does. It is done in the transaction that notes the call.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Nothing: it cannot be followed, for this reason.
    Fail(String),
    /// Nothing but answer.
    Answer(String),
    /// A reply for the chat, at once.
    Post {
        /// The text, or what the action says in words.
        text: String,
        /// What the channel does instead of showing the text.
        action: Option<Action>,
    },
    /// An earlier reply's new text.
    Edit {
        /// Which.
        reply: ReplyId,
        /// To what.
        text: String,
    },
    /// A reaction.
    React {
        /// To which message; none is the turn's newest.
        message: Option<MessageId>,
        /// With what.
        emoji: String,
    },
    /// A question; the call waits for its answer.
    Ask(NewQuestion),
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is new, and its turn runs in this chat.
    New(ChatRef),
    /// It was done before.
    Done(ToolAnswer),
    /// It waits for a person.
    Waiting,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// For the runner.
    pub answer: ToolAnswer,
    /// The reply that it put into the outbox.
    pub posted: Option<(ChatRef, ReplyId)>,
}

impl Called {
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { answer: failed(text), posted: None }
    }
}

pub(super) fn failed(text: impl Into<String>) -> ToolAnswer {
    ToolAnswer::Done { success: false, text: text.into() }
}

fn done(text: impl Into<String>) -> ToolAnswer {
    ToolAnswer::Done { success: true, text: text.into() }
}

impl GroupDb {
    /// How a call stands, before anything is done for it.
    pub async fn known_call(&self, key: &CallKey) -> Result<Known, StoreError> {
        let key = key.clone();
        self.db
            .read(move |tx| match earlier(tx, &key)? {
                Some(known) => Ok(known),
                None => Ok(Known::New(chat_of_turn(tx, key.turn)?)),
            })
            .await
    }

    /// Does a call, or answers what came of it when it was done before.
    pub async fn call(&self, call: NewCall, deed: Deed) -> Result<Called, StoreError> {
        // A reply that the agent was told of must not be lost.
        let durability = match deed {
            Deed::Fail(_) | Deed::Answer(_) => Durability::Relaxed,
            _ => Durability::Durable,
        };
        self.db
            .write(durability, move |tx| {
                match earlier(tx, &call.key)? {
                    Some(Known::Done(answer)) => return Ok(Called { answer, posted: None }),
                    Some(_) => return Ok(Called { answer: ToolAnswer::Pending, posted: None }),
                    None => {}
                }
                if let Some(over) = over_limit(tx, &call, &deed)? {
                    return Ok(over);
                }
                let called = perform(tx, &call.key, deed)?;
                note(tx, &call, &called.answer)?;
                Ok(called)
            })
            .await
    }
}

/// What is known of the call; a call of a turn that does not run (any more) is answered so.
pub(super) fn earlier(tx: &Savepoint<'_>, key: &CallKey) -> Result<Option<Known>, StoreError> {
    fence(tx, &key.session, key.attempt)?;
    let running: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM turns WHERE id = ?1 AND session = ?2 AND attempt = ?3 AND state = 'running')",
        )?
        .query_row(params![key.turn.0, key.session.as_str(), key.attempt.0], |row| row.get(0))?;
    if !running {
        return Ok(Some(Known::Done(failed("this turn is over"))));
    }
    let row: Option<(String, Option<String>)> = tx
        .prepare_cached("SELECT state, answer FROM tool_calls WHERE turn = ?1 AND call_id = ?2")?
        .query_row(params![key.turn.0, key.call_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((state, answer)) = row else { return Ok(None) };
    let text = answer.unwrap_or_default();
    let done = |success| Known::Done(ToolAnswer::Done { success, text });
    match CallState::parse(&state) {
        Some(CallState::Waiting) => Ok(Some(Known::Waiting)),
        Some(CallState::Done) => Ok(Some(done(true))),
        Some(CallState::Failed) => Ok(Some(done(false))),
        None => Err(StoreError::Unknown { what: "call state", value: state }),
    }
}

/// Why the turn may not do this too. A call over the first limit leaves no row: rows are what it limits.
fn over_limit(tx: &Savepoint<'_>, call: &NewCall, deed: &Deed) -> Result<Option<Called>, StoreError> {
    let CallLimits { calls: most_calls, posts: most_posts } = call.limits;
    let (calls, posts): (i64, i64) = tx
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE state <> 'failed'
                    AND tool IN ('chat_reply', 'chat_send_file', 'ask_user'))
             FROM tool_calls WHERE turn = ?1",
        )?
        .query_row([call.key.turn.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if calls >= most_calls {
        let words = format!("a turn can call the host's tools {most_calls} times; end the turn with what you have");
        return Ok(Some(Called::failed(words)));
    }
    if posts >= most_posts && matches!(deed, Deed::Post { .. } | Deed::Ask(_)) {
        let words = format!("a turn can send {most_posts} messages; put the rest into your last message");
        let called = Called::failed(words);
        note(tx, call, &called.answer)?;
        return Ok(Some(called));
    }
    Ok(None)
}

fn note(tx: &Savepoint<'_>, call: &NewCall, answer: &ToolAnswer) -> Result<(), StoreError> {
    let now = now_ms();
    let (state, text, finished_at) = match answer {
        ToolAnswer::Done { success, text } => {
            (CallState::Waiting.next(CallEvent::of(*success))?, Some(text), Some(now))
        }
        ToolAnswer::Pending => (CallState::Waiting, None, None),
    };
    let CallKey { session, turn, call_id, .. } = &call.key;
    tx.prepare_cached(
        "INSERT INTO tool_calls (turn, call_id, session, tool, summary, state, answer, called_at, finished_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        turn.0,
        call_id,
        session.as_str(),
        call.tool,
        call.summary,
        state.as_str(),
        text,
        now,
        finished_at
    ])?;
    Ok(())
}

/// Notes the answer of a call that waited.
pub(super) fn settle(tx: &Savepoint<'_>, key: &CallKey, answer: &ToolAnswer) -> Result<(), StoreError> {
    let ToolAnswer::Done { success, text } = answer else { return Ok(()) };
    end_call(tx, key.turn, &key.call_id, CallEvent::of(*success), text)
}

/// Ends a call that waits.
pub(super) fn end_call(
    tx: &Savepoint<'_>,
    turn: TurnId,
    call_id: &str,
    event: CallEvent,
    answer: &str,
) -> Result<(), StoreError> {
    step_call(tx, turn, call_id, event)?;
    tx.prepare_cached(
        "UPDATE tool_calls SET answer = ?1, finished_at = max(?2, called_at) WHERE turn = ?3 AND call_id = ?4",
    )?
    .execute(params![answer, now_ms(), turn.0, call_id])?;
    Ok(())
}

fn perform(tx: &Savepoint<'_>, key: &CallKey, deed: Deed) -> Result<Called, StoreError> {
    let chat = chat_of_turn(tx, key.turn)?;
    let post = |text: &str, action: Option<&Action>| match action {
        None => insert_reply(tx, &key.session, Some(key.turn), &chat, ReplyKind::Reply, text),
        Some(action) => insert_action(tx, &key.session, key.turn, &chat, action, text),
    };
    match deed {
        Deed::Fail(text) => Ok(Called::failed(text)),
        Deed::Answer(text) => Ok(Called { answer: done(text), posted: None }),
        Deed::Post { text, action } => {
            let reply = post(&text, action.as_ref())?;
            Ok(Called { answer: done(format!("Sent as reply {reply}.")), posted: Some((chat, reply)) })
        }
        Deed::Edit { reply, text } => {
            if !is_own_reply(tx, &key.session, &chat, reply)? {
                return Ok(Called::failed(format!(
                    "you sent no message {reply} to this chat that could be changed"
                )));
            }
            let edit = post(&text, Some(&Action::Edit { reply }))?;
            Ok(Called { answer: done(format!("Reply {reply} is changed.")), posted: Some((chat, edit)) })
        }
        Deed::React { message, emoji } => {
            let Some((message, platform_id)) = reactable(tx, key, &chat, message)? else {
                return Ok(Called::failed("there is no such message in this chat"));
            };
            let action = Action::React { message, platform_id, emoji: emoji.clone() };
            let reply = post(&emoji, Some(&action))?;
            Ok(Called { answer: done(format!("Reacted to message {message}.")), posted: Some((chat, reply)) })
        }
        Deed::Ask(question) => questions::ask(tx, key, &chat, &question),
    }
}

/// Whether it is a text that the agent sent to this chat.
fn is_own_reply(
    tx: &Savepoint<'_>,
    session: &SessionId,
    chat: &ChatRef,
    reply: ReplyId,
) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE id = ?1 AND session = ?2 AND channel = ?3 AND chat_id = ?4
                            AND thread_id IS ?5 AND kind = 'reply' AND action IS NULL)",
        )?
        .query_row(params![reply.0, session.as_str(), chat.channel, chat.chat_id, chat.thread_id], |row| {
            row.get(0)
        })?)
}

/// The message to react to, if it is one of this chat.
fn reactable(
    tx: &Savepoint<'_>,
    key: &CallKey,
    chat: &ChatRef,
    message: Option<MessageId>,
) -> Result<Option<(MessageId, String)>, StoreError> {
    let row = |row: &rusqlite::Row<'_>| Ok((MessageId(row.get(0)?), row.get::<_, String>(1)?));
    let found = match message {
        None => tx
            .prepare_cached("SELECT id, platform_id FROM inbox WHERE turn = ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([key.turn.0], row),
        Some(message) => tx
            .prepare_cached(
                "SELECT id, platform_id FROM inbox WHERE id = ?1 AND session = ?2 AND channel = ?3 AND chat_id = ?4
                 AND thread_id IS ?5",
            )?
            .query_row(params![message.0, key.session.as_str(), chat.channel, chat.chat_id, chat.thread_id], row),
    };
    Ok(found.optional()?)
}
