//! Starts of a session's container that fail: counted here, so that a restart of the daemon begins no new row of tries.

use std::collections::BTreeMap;

use cofferdam_protocol::ids::{MessageId, ReplyId, SessionId};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::attempts::lose_turn;
use super::dead_letters::insert;
use super::inbox::Answered;
use super::outbox::insert_reply;
use super::questions::FETCHED;
use super::states::step_messages;
use super::{GroupDb, chat_of};
use crate::model::backoff::Backoff;
use crate::model::chat::ChatRef;
use crate::model::dead_letter::{Cause, Letter};
use crate::model::message::MessageEvent;
use crate::model::notice;
use crate::model::outage::GoneBy;
use crate::model::reply::ReplyKind;
use crate::store::db::Durability;
use crate::store::{StoreError, chance, now_ms};

/// Starts that failed in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedStarts {
    /// How many.
    pub count: u32,
    /// When the next is due, ms.
    pub again_at: i64,
    /// Why the last failed.
    pub error: String,
}

/// What a failed start means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartEnd {
    /// Another try.
    Again(FailedStarts),
    /// That was the last: the messages that waited ended, each chat's in one notice.
    GaveUp(Vec<Answered>),
}

impl GroupDb {
    /// How the session's starts stand.
    pub async fn failed_starts(&self, session: &SessionId) -> Result<FailedStarts, StoreError> {
        let session = session.clone();
        self.db.read(move |tx| read(tx, &session)).await
    }

    /// A start that began at `begun` (ms) failed. One before its time, because somebody wrote, costs no try. After the
    /// last the messages that wait become dead letters, and the next message begins anew.
    pub async fn start_failed(
        &self,
        session: &SessionId,
        begun: i64,
        backoff: Backoff,
        error: String,
    ) -> Result<StartEnd, StoreError> {
        let (session, folder) = (session.clone(), self.folder().to_string());
        self.db
            .write(Durability::Durable, move |tx| {
                let before = read(tx, &session)?;
                if before.count > 0 && backoff.ahead(before.again_at, begun) > 0 {
                    return Ok(StartEnd::Again(FailedStarts { error, ..before }));
                }
                let count = before.count.saturating_add(1);
                if let Some(again_at) = backoff.next(count, now_ms(), chance()) {
                    tx.prepare_cached(
                        "UPDATE sessions SET start_failures = ?1, start_again_at = ?2, start_error = ?3 WHERE id = ?4",
                    )?
                    .execute(params![count, again_at, error, session.as_str()])?;
                    return Ok(StartEnd::Again(FailedStarts { count, again_at, error }));
                }
                forget(tx, &session)?;
                let words = notice::not_started(&error, count);
                Ok(StartEnd::GaveUp(give_up(tx, &session, &folder, &words, &error, count)?))
            })
            .await
    }

    /// The messages that wait become dead letters at once, each chat's told `words`: only a person can mend it.
    pub async fn give_up_waiting(
        &self,
        session: &SessionId,
        words: String,
        error: String,
    ) -> Result<Vec<Answered>, StoreError> {
        let (session, folder) = (session.clone(), self.folder().to_string());
        self.db
            .write(Durability::Durable, move |tx| {
                forget(tx, &session)?;
                give_up(tx, &session, &folder, &words, &error, 1)
            })
            .await
    }

    /// Tells each chat with messages that wait, once until the next turn: `words`. Answers what was told where.
    pub async fn tell_waiting(
        &self,
        session: &SessionId,
        words: String,
    ) -> Result<Vec<(ChatRef, ReplyId)>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let chats: Vec<ChatRef> = waiting(tx, &session)?.into_keys().collect();
                let told: bool = tx
                    .prepare_cached("SELECT wait_told FROM sessions WHERE id = ?1")?
                    .query_row([session.as_str()], |row| row.get(0))?;
                if told || chats.is_empty() {
                    return Ok(Vec::new());
                }
                tx.prepare_cached("UPDATE sessions SET wait_told = 1 WHERE id = ?1")?
                    .execute([session.as_str()])?;
                let tell = |chat: ChatRef| {
                    let reply = insert_reply(tx, &session, None, &chat, ReplyKind::Notice, &words)?;
                    Ok((chat, reply))
                };
                chats.into_iter().map(tell).collect()
            })
            .await
    }

    /// Nothing waits for a start any more: what failed is forgotten.
    pub async fn forget_starts(&self, session: &SessionId) -> Result<(), StoreError> {
        let session = session.clone();
        self.db.write(Durability::Relaxed, move |tx| forget(tx, &session)).await
    }
}

fn read(tx: &Savepoint<'_>, session: &SessionId) -> Result<FailedStarts, StoreError> {
    tx.prepare_cached(
        "SELECT start_failures, start_again_at, coalesce(start_error, '') FROM sessions WHERE id = ?1",
    )?
    .query_row([session.as_str()], |row| {
        Ok(FailedStarts { count: row.get(0)?, again_at: row.get(1)?, error: row.get(2)? })
    })
    .optional()?
    .ok_or_else(|| StoreError::NoSession(session.to_string()))
}

/// Starts are counted from the first again.
pub(super) fn forget(tx: &Savepoint<'_>, session: &SessionId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE sessions SET start_failures = 0, start_again_at = 0, start_error = NULL, wait_told = 0 WHERE id = ?1",
    )?
    .execute([session.as_str()])?;
    Ok(())
}

/// The messages that need a container, by their chats.
fn waiting(tx: &Savepoint<'_>, session: &SessionId) -> Result<BTreeMap<ChatRef, Vec<MessageId>>, StoreError> {
    let rows: Vec<(MessageId, ChatRef)> = tx
        .prepare_cached(
            "SELECT id, channel, chat_id, thread_id FROM inbox
             WHERE session = ?1 AND state = 'pending' AND kind IN ('message', 'compact') ORDER BY id",
        )?
        .query_map([session.as_str()], |row| Ok((MessageId(row.get(0)?), chat_of(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let mut chats: BTreeMap<ChatRef, Vec<MessageId>> = BTreeMap::new();
    for (message, chat) in rows {
        chats.entry(chat).or_default().push(message);
    }
    Ok(chats)
}

fn give_up(
    tx: &Savepoint<'_>,
    session: &SessionId,
    folder: &str,
    words: &str,
    error: &str,
    tries: u32,
) -> Result<Vec<Answered>, StoreError> {
    // A turn is left when its container's end could not be written down. Its messages end with those that wait.
    let mut ended = lose_turn(tx, session, GoneBy::Plan, (folder, error))?.into_answered();
    let is_letter = format!("SELECT kind = 'message' AND id NOT IN ({FETCHED}) FROM inbox WHERE id = ?1");
    for (chat, messages) in waiting(tx, session)? {
        let mut letters = Vec::new();
        for message in &messages {
            if tx.prepare_cached(&is_letter)?.query_row([message.0], |row| row.get(0))? {
                letters.push(insert(tx, session, Letter::Message(*message), Cause::Start, error, tries)?);
            }
        }
        let text = notice::with_letters(words, folder, &letters);
        let reply = insert_reply(tx, session, None, &chat, ReplyKind::Notice, &text)?;
        // Its turn stays noted: the provider may have it from then.
        step_messages(tx, &messages, MessageEvent::Answer)?;
        let mut update = tx.prepare_cached("UPDATE inbox SET notice = ?1 WHERE id = ?2")?;
        for message in &messages {
            update.execute([reply.0, message.0])?;
        }
        ended.push(Answered { messages, chat, reply });
    }
    Ok(ended)
}
