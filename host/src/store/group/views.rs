//! What people and recovery look at.

use cofferdam_protocol::admin::{ChatOutcome, Session, SessionState};
use cofferdam_protocol::ids::{Attempt, Folder, MessageId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::{FailureKind, ProviderKind, Usage};
use rusqlite::{OptionalExtension, Row, Savepoint};

use super::outbox::{COLUMNS, outbound};
use super::{GroupDb, chat_of, session_of};
use crate::model::chat::ChatRef;
use crate::model::command::MessageKind;
use crate::model::message::MessageState;
use crate::model::reply::Outbound;
use crate::model::turn::TurnState;
use crate::store::{StoreError, rfc3339};

/// How a message stands.
#[derive(Debug, Clone)]
pub struct MessageView {
    /// Where it is in its life.
    pub state: MessageState,
    /// What it asks for.
    pub kind: MessageKind,
    /// The newest turn that took it.
    pub turn: Option<TurnView>,
}

/// A turn, as a chat client is told.
#[derive(Debug, Clone)]
pub struct TurnView {
    /// The turn.
    pub id: TurnId,
    /// The attempt that ran it.
    pub attempt: Attempt,
    /// How it ended; none while it runs.
    pub outcome: Option<ChatOutcome>,
    /// Its tokens.
    pub usage: Option<Usage>,
    /// The provider's own time, ms.
    pub provider_ms: Option<f64>,
}

impl GroupDb {
    /// All sessions, newest activity first; `state` is what the rows know: stopped.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        let folder = self.folder().clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT id, channel, chat_id, thread_id, attempt, provider, continuation, container, active_at,
                            (SELECT count(*) FROM turns WHERE session = sessions.id),
                            (SELECT count(*) FROM inbox WHERE session = sessions.id AND state = 'pending'),
                            start_failures, start_again_at, start_error
                     FROM sessions ORDER BY active_at DESC",
                )?;
                let rows = statement.query_and_then([], |row| session_view(row, &folder))?;
                rows.collect()
            })
            .await
    }

    /// Sessions whose messages wait, whose turn was running, or whose attempt has not ended: what a start has to look at.
    /// A runner may have spoken though its container could not be noted, such as on a full disk.
    pub async fn due_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT DISTINCT session FROM inbox WHERE state = 'pending'
                     UNION SELECT session FROM turns WHERE state = 'running'
                     UNION SELECT id FROM sessions WHERE container IS NOT NULL OR token_hash IS NOT NULL",
                )?;
                let rows = statement.query_and_then([], |row| session_of(row.get(0)?))?;
                rows.collect()
            })
            .await
    }

    /// Whether anything waits here: messages, turns, containers or replies for us, questions and dead letters for a person.
    pub async fn has_due(&self) -> Result<bool, StoreError> {
        self.db
            .read(|tx| {
                Ok(tx.query_row(
                    "SELECT EXISTS (SELECT 1 FROM inbox WHERE state = 'pending')
                         OR EXISTS (SELECT 1 FROM turns WHERE state = 'running')
                         OR EXISTS (SELECT 1 FROM sessions WHERE container IS NOT NULL OR token_hash IS NOT NULL)
                         OR EXISTS (SELECT 1 FROM outbox WHERE state IN ('pending', 'leased'))
                         OR EXISTS (SELECT 1 FROM questions WHERE state = 'open')
                         OR EXISTS (SELECT 1 FROM dead_letters WHERE state = 'open')",
                    [],
                    |row| row.get(0),
                )?)
            })
            .await
    }

    /// How a message stands.
    pub async fn message(&self, message: MessageId) -> Result<Option<MessageView>, StoreError> {
        self.db
            .read(move |tx| {
                let row = tx
                    .prepare_cached("SELECT state, turn, kind FROM inbox WHERE id = ?1")?
                    .query_row([message.0], |row| {
                        Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
                    })
                    .optional()?;
                let Some((state, turn, kind)) = row else { return Ok(None) };
                let kind =
                    MessageKind::parse(&kind).ok_or(StoreError::Unknown { what: "message kind", value: kind })?;
                let state = MessageState::parse(&state)
                    .ok_or(StoreError::Unknown { what: "message state", value: state })?;
                let turn = turn.map(|turn| turn_view(tx, TurnId(turn))).transpose()?;
                Ok(Some(MessageView { state, kind, turn }))
            })
            .await
    }

    /// What answered a message in its chat, in order, whatever became of it: what its newest turn put into the outbox, or
    /// the notice that it ended in without one.
    pub async fn answers_to(&self, message: MessageId) -> Result<Vec<Outbound>, StoreError> {
        let data = self.data.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM inbox JOIN outbox ON outbox.id = inbox.notice
                                            OR (inbox.notice IS NULL AND outbox.turn = inbox.turn)
                     WHERE inbox.id = ?1 AND outbox.channel = inbox.channel AND outbox.chat_id = inbox.chat_id
                           AND outbox.thread_id IS inbox.thread_id
                     ORDER BY outbox.id"
                ))?;
                let rows = statement.query_and_then([message.0], |row| outbound(row, &data))?;
                rows.collect()
            })
            .await
    }

    /// Replies of a chat that its channel has yet to be handed.
    pub async fn due_of(&self, chat: &ChatRef) -> Result<Vec<ReplyId>, StoreError> {
        let chat = chat.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT id FROM outbox WHERE channel = ?1 AND chat_id = ?2 AND thread_id IS ?3
                                                 AND state IN ('pending', 'leased')",
                )?;
                let rows = statement
                    .query_map((&chat.channel, &chat.chat_id, &chat.thread_id), |row| Ok(ReplyId(row.get(0)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// What a turn put into the outbox and its channel has, in order.
    pub async fn delivered_of(&self, turn: TurnId) -> Result<Vec<Outbound>, StoreError> {
        let data = self.data.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM outbox WHERE turn = ?1 AND state IN ('delivered', 'dead') ORDER BY id"
                ))?;
                let rows = statement.query_and_then([turn.0], |row| outbound(row, &data))?;
                rows.collect()
            })
            .await
    }
}

fn turn_view(tx: &Savepoint<'_>, turn: TurnId) -> Result<TurnView, StoreError> {
    tx.prepare_cached(
        "SELECT attempt, state, failure_kind, input_tokens, cached_tokens, output_tokens, reasoning_tokens, provider_ms
         FROM turns WHERE id = ?1",
    )?
    .query_row([turn.0], |row| {
        let state: String = row.get(1)?;
        let failure: Option<String> = row.get(2)?;
        let outcome = match TurnState::parse(&state) {
            Some(TurnState::Completed) => Some(ChatOutcome::Replied),
            Some(TurnState::Interrupted) => Some(ChatOutcome::Interrupted),
            Some(TurnState::Failed) => Some(ChatOutcome::Failed { kind: failure_kind(failure) }),
            Some(TurnState::Abandoned) => Some(ChatOutcome::Failed { kind: FailureKind::ProviderDied }),
            Some(TurnState::Running) | None => None,
        };
        let usage = row.get::<_, Option<u64>>(3)?.map(|input| -> rusqlite::Result<Usage> {
            Ok(Usage { input, cached_input: row.get(4)?, output: row.get(5)?, reasoning: row.get(6)? })
        });
        Ok(TurnView {
            id: turn,
            attempt: Attempt(row.get(0)?),
            outcome,
            usage: usage.transpose()?,
            provider_ms: row.get(7)?,
        })
    })
    .map_err(Into::into)
}

fn failure_kind(text: Option<String>) -> FailureKind {
    text.and_then(|text| serde_json::from_value(text.into()).ok()).unwrap_or(FailureKind::Other)
}

fn session_view(row: &Row<'_>, folder: &Folder) -> Result<Session, StoreError> {
    let provider: Option<String> = row.get(5)?;
    // What a daemon that does not run just now left to wait.
    let waits = row.get::<_, i64>(11)? > 0 && row.get::<_, u64>(10)? > 0;
    let (again_at, error): (i64, Option<String>) = (row.get(12)?, row.get(13)?);
    Ok(Session {
        id: session_of(row.get(0)?)?,
        group: folder.clone(),
        chat: chat_of(row, 1)?.to_string(),
        state: SessionState::Stopped,
        note: error.filter(|_| waits),
        attempt: Attempt(row.get(4)?),
        provider: provider.and_then(|p| serde_json::from_value::<ProviderKind>(p.into()).ok()),
        continuation: row.get(6)?,
        container: row.get(7)?,
        turns: row.get(9)?,
        waiting: row.get(10)?,
        active_at: rfc3339(row.get(8)?),
        config_changed: false,
        retry_at: waits.then(|| rfc3339(again_at)),
    })
}
