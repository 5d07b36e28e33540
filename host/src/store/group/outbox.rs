//! ⑤ lease and ⑥ delivered.

use std::path::Path;

use cofferdam_protocol::ids::{ReplyId, SessionId, TurnId};
use rusqlite::{Row, Savepoint, params};
use sha2::{Digest, Sha256};

use super::{GroupDb, chat_of};
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::reply::{Outbound, ReplyEvent, ReplyKind, ReplyState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The next reply of a chat.
#[derive(Debug, Clone)]
pub enum NextReply {
    /// Nothing in the outbox for it.
    None,
    /// The oldest is to be tried again at this time, ms. Those behind it wait: order is kept.
    At(i64),
    /// Leased to the caller.
    Leased(Box<Outbound>),
}

impl GroupDb {
    /// ⑤ Takes the oldest undelivered reply of a chat. There is one worker per chat, so a lease that is found
    /// was lost by a crash, and is taken over.
    pub async fn lease(&self, chat: &ChatRef) -> Result<NextReply, StoreError> {
        let (chat, data) = (chat.clone(), self.data.clone());
        self.db
            .write(Durability::Relaxed, move |tx| {
                let sql = format!(
                    "SELECT {COLUMNS}, next_try_at, state FROM outbox
                     WHERE channel = ?1 AND chat_id = ?2 AND thread_id IS ?3 AND state IN ('pending', 'leased')
                     ORDER BY id LIMIT 1"
                );
                let mut statement = tx.prepare_cached(&sql)?;
                let mut rows = statement.query(params![chat.channel, chat.chat_id, chat.thread_id])?;
                let Some(row) = rows.next()? else { return Ok(NextReply::None) };
                let outbound = outbound(row, &data)?;
                let (next_try_at, state): (i64, String) = (row.get("next_try_at")?, row.get("state")?);
                let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
                if state == ReplyState::Pending && next_try_at > now_ms() {
                    return Ok(NextReply::At(next_try_at));
                }
                let leased = state.next(ReplyEvent::Lease)?;
                tx.prepare_cached("UPDATE outbox SET state = ?1 WHERE id = ?2")?
                    .execute(params![leased.as_str(), outbound.id.0])?;
                Ok(NextReply::Leased(Box::new(outbound)))
            })
            .await
    }

    /// ⑥ The channel took it.
    pub async fn delivered(&self, reply: ReplyId) -> Result<(), StoreError> {
        self.move_reply(reply, ReplyEvent::Delivered, 0, false).await
    }

    /// The channel could not take it; it is due again at `at`, ms. A channel that is just not there does not count
    /// as a `failure`.
    pub async fn retry(&self, reply: ReplyId, at: i64, failure: bool) -> Result<(), StoreError> {
        self.move_reply(reply, ReplyEvent::Retry, at, failure).await
    }

    /// The channel will never take it.
    pub async fn give_up(&self, reply: ReplyId) -> Result<(), StoreError> {
        self.move_reply(reply, ReplyEvent::GiveUp, 0, true).await
    }

    async fn move_reply(
        &self,
        reply: ReplyId,
        event: ReplyEvent,
        at: i64,
        failure: bool,
    ) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let state: String = tx
                    .prepare_cached("SELECT state FROM outbox WHERE id = ?1")?
                    .query_row([reply.0], |row| row.get(0))?;
                let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
                let next = state.next(event)?;
                let delivered_at = (next == ReplyState::Delivered).then(now_ms);
                tx.prepare_cached(
                    "UPDATE outbox SET state = ?1, next_try_at = ?2, tries = tries + ?3, delivered_at = ?4 WHERE id = ?5",
                )?
                .execute(params![next.as_str(), at, failure, delivered_at, reply.0])?;
                Ok(())
            })
            .await
    }

    /// The session's file copies, below the group's data directory, that a chat has yet to be handed.
    pub async fn files_on_their_way(&self, session: &SessionId) -> Result<Vec<String>, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT json_extract(action, '$.file.path') FROM outbox
                     WHERE session = ?1 AND state IN ('pending', 'leased')
                           AND json_type(action, '$.file.path') = 'text'",
                )?;
                let rows = statement.query_map([session.as_str()], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Chats with something in the outbox: what a start has to look at.
    pub async fn due_chats(&self) -> Result<Vec<ChatRef>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT DISTINCT channel, chat_id, thread_id FROM outbox WHERE state IN ('pending', 'leased')",
                )?;
                let rows = statement.query_map([], |row| chat_of(row, 0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }
}

/// The columns that [`outbound`] reads.
pub(super) const COLUMNS: &str =
    "outbox.id, outbox.kind, outbox.text, outbox.tries, outbox.channel, outbox.chat_id,
    outbox.thread_id, outbox.turn, outbox.action, outbox.session, outbox.created_at";

/// A reply of a row with [`COLUMNS`].
pub(super) fn outbound(row: &Row<'_>, data: &Path) -> Result<Outbound, StoreError> {
    let kind: String = row.get(1)?;
    let id = ReplyId(row.get(0)?);
    Ok(Outbound {
        id,
        key: key(&row.get::<_, String>(9)?, id, row.get(10)?),
        chat: chat_of(row, 4)?,
        turn: row.get::<_, Option<i64>>(7)?.map(TurnId),
        kind: ReplyKind::parse(&kind).ok_or(StoreError::Unknown { what: "kind", value: kind })?,
        text: row.get(2)?,
        action: action_of(row.get(8)?, data),
        tries: row.get(3)?,
    })
}

/// A reply's key. The session's id is of one installation only; the time keeps apart what got the same number after an
/// older copy of the database was restored.
fn key(session: &str, reply: ReplyId, created_at: i64) -> String {
    let hash = Sha256::digest(format!("{session}/{}/{created_at}", reply.0));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// A kept action, its paths absolute. One that this version does not know is left out: the text says the same.
fn action_of(kept: Option<String>, data: &Path) -> Option<Action> {
    let mut action = serde_json::from_str(&kept?)
        .inspect_err(|error| tracing::warn!(%error, "a reply's action is not known; its text is shown"))
        .ok()?;
    if let Action::File(file) = &mut action {
        file.path = data.join(&file.path).display().to_string();
    }
    Some(action)
}

/// Puts a reply that is more than its text at the end of the outbox.
pub(super) fn insert_action(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
    action: &Action,
    text: &str,
) -> Result<ReplyId, StoreError> {
    let reply = insert_reply(tx, session, Some(turn), chat, ReplyKind::Reply, text)?;
    let action = serde_json::to_string(action)
        .map_err(|error| StoreError::Unknown { what: "action", value: error.to_string() })?;
    tx.prepare_cached("UPDATE outbox SET action = ?1 WHERE id = ?2")?.execute(params![action, reply.0])?;
    Ok(reply)
}

/// Puts a reply at the end of the outbox.
pub(super) fn insert_reply(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: Option<TurnId>,
    chat: &ChatRef,
    kind: ReplyKind,
    text: &str,
) -> Result<ReplyId, StoreError> {
    let now = now_ms();
    tx.prepare_cached(
        "INSERT INTO outbox (session, turn, channel, chat_id, thread_id, kind, text, state, next_try_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9)",
    )?
    .execute(params![
        session.as_str(),
        turn.map(|t| t.0),
        chat.channel,
        chat.chat_id,
        chat.thread_id,
        kind.as_str(),
        text,
        ReplyState::Pending.as_str(),
        now,
    ])?;
    Ok(ReplyId(tx.last_insert_rowid()))
}
