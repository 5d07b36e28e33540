//! What was tried for the last time, and what a person decides about it.
//!
//! A group with an open dead letter stays marked as busy, so that `status` and a start find it without looking into all
//! groups.

use cofferdam_protocol::ids::{MessageId, ReplyId, SessionId, TurnId};
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::questions::FETCHED;
use super::states::{step_letter, step_message, step_reply};
use super::{GroupDb, chat_of, session_of};
use crate::model::chat::ChatRef;
use crate::model::dead_letter::{Cause, DeadLetterEvent, DeadLetterState, Letter};
use crate::model::message::MessageEvent;
use crate::model::reply::ReplyEvent;
use crate::store::db::Durability;
use crate::store::letters::{self, parse_state};
use crate::store::{StoreError, now_ms};

/// A dead letter as people look at it. Times are in ms.
#[derive(Debug, Clone)]
pub struct LetterRow {
    /// Its number in the group.
    pub number: i64,
    /// Its session.
    pub session: SessionId,
    /// The chat that it came from, or was to go to.
    pub chat: ChatRef,
    /// What it is about.
    pub letter: Letter,
    /// The newest turn over the message, or the turn that the reply came from.
    pub turn: Option<TurnId>,
    /// The message's or reply's text.
    pub text: String,
    /// How it went wrong.
    pub fate: Fate,
}

/// How a dead letter came to be, and what became of it.
#[derive(Debug, Clone)]
pub struct Fate {
    /// What failed.
    pub cause: Cause,
    /// How it failed the last time.
    pub error: String,
    /// How often it was tried.
    pub tries: u32,
    /// What became of it.
    pub state: DeadLetterState,
    /// Since when it is one.
    pub at: i64,
    /// When a person decided.
    pub settled_at: Option<i64>,
}

/// What a person's decision came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// There is no such dead letter.
    Unknown,
    /// It had been decided before.
    Already(DeadLetterState),
    /// It is done; this has something to do now.
    Done(Woken),
}

/// What has something to do after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken {
    /// Nothing.
    Nobody,
    /// A session: a message waits.
    Session(SessionId),
    /// A chat: a reply waits.
    Chat(ChatRef),
}

impl GroupDb {
    /// The group's newest dead letters, oldest first, with the beginnings of their texts; `open` leaves out those that a
    /// person has decided.
    pub async fn dead_letters(&self, open: bool) -> Result<Vec<LetterRow>, StoreError> {
        self.db.read(move |tx| letters::listed(tx, SELECT, open, letter_row)).await
    }

    /// One dead letter with its whole text.
    pub async fn dead_letter(&self, number: i64) -> Result<Option<LetterRow>, StoreError> {
        self.db.read(move |tx| letters::one(tx, SELECT, number, letter_row)).await
    }

    /// How many wait for a decision.
    pub async fn open_dead_letters(&self) -> Result<u64, StoreError> {
        self.db.read(letters::open).await
    }

    /// Settles one as a person decides: a message or reply that is retried waits again, from its first try.
    pub async fn settle_dead_letter(&self, number: i64, decision: DeadLetterEvent) -> Result<Settled, StoreError> {
        self.db.write(Durability::Durable, move |tx| settle(tx, number, decision)).await
    }

    /// Settles all that are open; answers their numbers and what has something to do now.
    pub async fn settle_dead_letters(&self, decision: DeadLetterEvent) -> Result<Vec<(i64, Woken)>, StoreError> {
        let all = move |tx: &Savepoint<'_>| letters::settle_all(tx, |number| settle(tx, number, decision));
        self.db.write(Durability::Durable, all).await
    }
}

const SELECT: &str = "SELECT letters.id, letters.session, coalesce(inbox.channel, outbox.channel),
            coalesce(inbox.chat_id, outbox.chat_id), coalesce(inbox.thread_id, outbox.thread_id), letters.message,
            letters.reply, coalesce(inbox.turn, outbox.turn), substr(coalesce(inbox.text, outbox.text), 1, ?1),
            letters.cause, letters.error, letters.tries, letters.state, letters.at, letters.settled_at
     FROM dead_letters AS letters LEFT JOIN inbox ON inbox.id = letters.message
          LEFT JOIN outbox ON outbox.id = letters.reply";

fn letter_row(row: &Row<'_>) -> Result<LetterRow, StoreError> {
    let (message, reply): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
    let letter = match (message, reply) {
        (Some(message), _) => Letter::Message(MessageId(message)),
        (None, reply) => Letter::Reply(ReplyId(reply.unwrap_or_default())),
    };
    let (cause, state): (String, String) = (row.get(9)?, row.get(12)?);
    Ok(LetterRow {
        number: row.get(0)?,
        session: session_of(row.get(1)?)?,
        chat: chat_of(row, 2)?,
        letter,
        turn: row.get::<_, Option<i64>>(7)?.map(TurnId),
        text: row.get(8)?,
        fate: Fate {
            cause: Cause::parse(&cause).ok_or(StoreError::Unknown { what: "cause", value: cause })?,
            error: row.get(10)?,
            tries: row.get(11)?,
            state: parse_state(state)?,
            at: row.get(13)?,
            settled_at: row.get(14)?,
        },
    })
}

fn settle(tx: &Savepoint<'_>, number: i64, decision: DeadLetterEvent) -> Result<Settled, StoreError> {
    let row = tx
        .prepare_cached("SELECT session, message, reply, state FROM dead_letters WHERE id = ?1")?
        .query_row([number], |row| {
            let (message, reply): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, String>(0)?, message.map(MessageId), reply.map(ReplyId), row.get::<_, String>(3)?))
        })
        .optional()?;
    let Some((session, message, reply, state)) = row else { return Ok(Settled::Unknown) };
    let state = parse_state(state)?;
    match step_letter(tx, number, decision) {
        Err(StoreError::Illegal(_)) => return Ok(Settled::Already(state)),
        stepped => stepped?,
    };
    tx.prepare_cached("UPDATE dead_letters SET settled_at = ?1 WHERE id = ?2")?.execute([now_ms(), number])?;
    if decision == DeadLetterEvent::Drop {
        return Ok(Settled::Done(Woken::Nobody));
    }
    Ok(Settled::Done(match (message, reply) {
        (Some(message), _) => Woken::Session(revive_message(tx, session_of(session)?, message)?),
        (None, Some(reply)) => Woken::Chat(revive_reply(tx, reply)?),
        (None, None) => Woken::Nobody,
    }))
}

/// A message waits again. One that was in a turn goes by itself, since those that were with it may be done.
fn revive_message(tx: &Savepoint<'_>, session: SessionId, message: MessageId) -> Result<SessionId, StoreError> {
    step_message(tx, message, MessageEvent::Revive)?;
    tx.prepare_cached(
        "UPDATE inbox SET tries = 0, failures = 0, outages = 0, due_at = 0, notice = NULL, apart = turn IS NOT NULL
         WHERE id = ?1",
    )?
    .execute([message.0])?;
    // Its question was asked again meanwhile and had its answer: what was fetched would be no turn's input.
    let sql = format!("UPDATE questions SET message = NULL WHERE message = ?1 AND ?1 IN ({FETCHED})");
    tx.prepare_cached(&sql)?.execute([message.0])?;
    // Whoever has it tried again has mended something.
    super::starts::forget(tx, &session)?;
    Ok(session)
}

fn revive_reply(tx: &Savepoint<'_>, reply: ReplyId) -> Result<ChatRef, StoreError> {
    step_reply(tx, reply, ReplyEvent::Revive)?;
    tx.prepare_cached("UPDATE outbox SET tries = 0, lost = 0, next_try_at = 0 WHERE id = ?1")?
        .execute([reply.0])?;
    Ok(tx
        .prepare_cached("SELECT channel, chat_id, thread_id FROM outbox WHERE id = ?1")?
        .query_row([reply.0], |row| chat_of(row, 0))?)
}

/// Makes dead letters of messages that end now; answers their numbers. Commands are none, as they are said again just as
/// quickly, nor are answers to the agent's questions: nobody asks any more.
pub(super) fn bury(
    tx: &Savepoint<'_>,
    session: &SessionId,
    messages: &[MessageId],
    cause: Cause,
    error: &str,
) -> Result<Vec<i64>, StoreError> {
    let sql = format!(
        "SELECT tries + failures + outages FROM inbox WHERE id = ?1 AND kind = 'message' AND id NOT IN ({FETCHED})"
    );
    let mut letters = Vec::new();
    for message in messages {
        let tries: Option<u32> = tx.prepare_cached(&sql)?.query_row([message.0], |row| row.get(0)).optional()?;
        if let Some(tries) = tries {
            letters.push(insert(tx, session, Letter::Message(*message), cause, error, tries)?);
        }
    }
    Ok(letters)
}

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
