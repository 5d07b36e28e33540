//! ① accept and ② claim.

use cofferdam_protocol::ids::{Attempt, MessageId, SessionId, TurnId};
use cofferdam_protocol::runner::Work;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::{GroupDb, chat_of, fence, session_of};
use crate::model::chat::{ChatRef, Inbound};
use crate::model::message::{MessageEvent, MessageState};
use crate::model::turn::TurnState;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The most messages of one turn.
const BATCH_MESSAGES: usize = 50;
/// The most text of one turn, in bytes; Codex refuses input over 1,048,576 characters. A single longer message
/// still makes a turn of its own.
const BATCH_BYTES: usize = 512 * 1024;

/// What became of an inbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its row.
    pub message: MessageId,
    /// Its session.
    pub session: SessionId,
    /// It had been accepted before; nothing was written.
    pub duplicate: bool,
}

/// A turn as it is handed to a runner.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The turn.
    pub turn: TurnId,
    /// What it is for.
    pub work: Work,
    /// The conversation that it belongs to.
    pub generation: u64,
    /// Some of its messages were given to a runner before.
    pub retried: bool,
    /// The chat that its replies go to.
    pub chat: ChatRef,
    /// Its messages, oldest first.
    pub messages: Vec<ClaimedMessage>,
}

/// A message of a turn.
#[derive(Debug, Clone)]
pub struct ClaimedMessage {
    /// Its row.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: String,
    /// What they wrote.
    pub text: String,
    /// When it was accepted, ms.
    pub accepted_at: i64,
}

impl GroupDb {
    /// ① Puts a message into the inbox, and makes its session if it is the first. Repeats are recognised by the
    /// platform's id. After the answer the message will not be lost.
    pub async fn accept(&self, message: Inbound, session_key: String) -> Result<Accepted, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if let Some(known) = find(tx, &message)? {
                    return Ok(known);
                }
                let now = now_ms();
                let session = session_for(tx, &session_key, &message.chat, now)?;
                tx.prepare_cached(
                    "INSERT INTO inbox (session, channel, chat_id, thread_id, platform_id, sender, text, state, accepted_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    session.as_str(),
                    message.chat.channel,
                    message.chat.chat_id,
                    message.chat.thread_id,
                    message.platform_id,
                    message.sender,
                    message.text,
                    MessageState::Pending.as_str(),
                    now,
                ])?;
                Ok(Accepted { message: MessageId(tx.last_insert_rowid()), session, duplicate: false })
            })
            .await
    }

    /// ② Makes a turn of the oldest waiting messages of one chat, or hands out the attempt's running turn again:
    /// a runner that asks again never got the first answer.
    pub async fn claim(&self, session: &SessionId, attempt: Attempt) -> Result<Option<Claimed>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                fence(tx, &session, attempt)?;
                let running: Option<i64> = tx
                    .prepare_cached("SELECT id FROM turns WHERE session = ?1 AND state = 'running'")?
                    .query_row([session.as_str()], |row| row.get(0))
                    .optional()?;
                match running {
                    Some(turn) => read_turn(tx, &session, TurnId(turn)).map(Some),
                    None => new_turn(tx, &session, attempt),
                }
            })
            .await
    }
}

fn find(tx: &Savepoint<'_>, message: &Inbound) -> Result<Option<Accepted>, StoreError> {
    let row = tx
        .prepare_cached("SELECT id, session FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3")?
        .query_row(params![message.chat.channel, message.chat.chat_id, message.platform_id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    row.map(|(id, session)| Ok(Accepted { message: MessageId(id), session: session_of(session)?, duplicate: true }))
        .transpose()
}

fn session_for(tx: &Savepoint<'_>, key: &str, chat: &ChatRef, now: i64) -> Result<SessionId, StoreError> {
    let known = tx
        .prepare_cached("SELECT id FROM sessions WHERE key = ?1")?
        .query_row([key], |row| row.get::<_, String>(0))
        .optional()?;
    if let Some(id) = known {
        return session_of(id);
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    tx.prepare_cached(
        "INSERT INTO sessions (id, key, channel, chat_id, thread_id, created_at, active_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![id, key, chat.channel, chat.chat_id, chat.thread_id, now])?;
    session_of(id)
}

fn new_turn(tx: &Savepoint<'_>, session: &SessionId, attempt: Attempt) -> Result<Option<Claimed>, StoreError> {
    let (chat, messages, retried) = due(tx, session)?;
    let Some(chat) = chat else { return Ok(None) };
    let now = now_ms();
    tx.prepare_cached("INSERT INTO turns (session, attempt, state, started_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![session.as_str(), attempt.0, TurnState::Running.as_str(), now])?;
    let turn = TurnId(tx.last_insert_rowid());
    let claimed = MessageState::Pending.next(MessageEvent::Claim)?;
    let mut update =
        tx.prepare_cached("UPDATE inbox SET state = ?1, turn = ?2, tries = tries + 1 WHERE id = ?3")?;
    for message in &messages {
        update.execute(params![claimed.as_str(), turn.0, message.id.0])?;
    }
    tx.prepare_cached("UPDATE sessions SET active_at = ?1 WHERE id = ?2")?
        .execute(params![now, session.as_str()])?;
    let generation = generation_of(tx, session)?;
    Ok(Some(Claimed { turn, work: Work::Answer, generation, retried, chat, messages }))
}

/// The oldest waiting messages that may share a turn: of one chat, since a turn answers in one place.
/// The last part of the answer says whether one of them was tried before.
fn due(
    tx: &Savepoint<'_>,
    session: &SessionId,
) -> Result<(Option<ChatRef>, Vec<ClaimedMessage>, bool), StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, sender, text, accepted_at, channel, chat_id, thread_id, tries
         FROM inbox WHERE session = ?1 AND state = 'pending' ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![session.as_str(), BATCH_MESSAGES])?;
    let (mut chat, mut messages, mut bytes, mut retried) = (None, Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let here = chat_of(row, 4)?;
        let message = claimed_message(row)?;
        // A message that already cost a container goes alone, so that it cannot take its neighbours with it.
        let alone = row.get::<_, i64>(7)? > 0;
        bytes += message.text.len();
        let fits = chat.as_ref().is_none_or(|chat| *chat == here && bytes <= BATCH_BYTES && !alone);
        if !fits {
            break;
        }
        chat = Some(here);
        messages.push(message);
        if alone {
            retried = true;
            break;
        }
    }
    Ok((chat, messages, retried))
}

fn generation_of(tx: &Savepoint<'_>, session: &SessionId) -> Result<u64, StoreError> {
    Ok(tx
        .prepare_cached("SELECT generation FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))?)
}

fn read_turn(tx: &Savepoint<'_>, session: &SessionId, turn: TurnId) -> Result<Claimed, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, sender, text, accepted_at, channel, chat_id, thread_id FROM inbox WHERE turn = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([turn.0])?;
    let (mut chat, mut messages) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        chat = Some(chat_of(row, 4)?);
        messages.push(claimed_message(row)?);
    }
    let chat = chat.ok_or(StoreError::Unknown { what: "turn without messages", value: turn.to_string() })?;
    // Its runner may have begun it.
    Ok(Claimed { turn, work: Work::Answer, generation: generation_of(tx, session)?, retried: true, chat, messages })
}

fn claimed_message(row: &rusqlite::Row<'_>) -> rusqlite::Result<ClaimedMessage> {
    Ok(ClaimedMessage {
        id: MessageId(row.get(0)?),
        sender: row.get(1)?,
        text: row.get(2)?,
        accepted_at: row.get(3)?,
    })
}
