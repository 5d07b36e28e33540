//! A session in depth, for people. Only reads; every list is bounded.

use std::collections::HashMap;

use cofferdam_protocol::admin::{
    CompactionRecord, DeliveryState, HardDelivery, OpenQuestion, ToolCallRecord, ToolCallState, TurnDiff,
    TurnFailure,
};
use cofferdam_protocol::ids::{Attempt, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::{CompactionOutcome, FailureKind, McpState};
use rusqlite::{OptionalExtension, Row, Savepoint, params};
use serde::de::DeserializeOwned;

use super::compactions::{self, CompactionView};
use super::models::{Inherited, chosen, effort_setting, model_setting, read_models};
use super::{GroupDb, chat_of, mcp, session_of};
use crate::model::reply::ReplyState;
use crate::model::setting::Setting;
use crate::store::{StoreError, now_ms, rfc3339};

/// The most that is shown of each list.
const SHOWN: usize = 20;
/// The most characters that are shown of an answer or a failure.
pub(super) const SHOWN_CHARS: i64 = 300;

/// A session in depth: what is known besides what every listing shows.
#[derive(Debug, Clone)]
pub struct Detail {
    /// Its model.
    pub model: Setting,
    /// Its effort.
    pub effort: Setting,
    /// Counts its conversations from 0.
    pub generation: u64,
    /// Input tokens since the last compaction.
    pub since_compaction: u64,
    /// Its lists.
    pub lists: Lists,
}

/// The lists of a [`Detail`], newest first.
#[derive(Debug, Clone)]
pub struct Lists {
    /// Compactions.
    pub compactions: Vec<CompactionRecord>,
    /// MCP servers, by name.
    pub mcp_servers: Vec<McpState>,
    /// Calls of the host's tools.
    pub tool_calls: Vec<ToolCallRecord>,
    /// Questions that wait.
    pub questions: Vec<OpenQuestion>,
    /// Turns that failed.
    pub failures: Vec<TurnFailure>,
    /// Replies that did not simply arrive.
    pub deliveries: Vec<HardDelivery>,
}

impl GroupDb {
    /// One session in depth. `inherited` is what it has when nobody chose in its chat.
    pub async fn detail(&self, session: &SessionId, inherited: Inherited) -> Result<Detail, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                let (generation, since_compaction) = tx
                    .prepare_cached("SELECT generation, since_compaction FROM sessions WHERE id = ?1")?
                    .query_row([session.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?
                    .ok_or_else(|| StoreError::NoSession(session.to_string()))?;
                let (models, chosen) = (read_models(tx)?, chosen(tx, &session)?);
                Ok(Detail {
                    model: model_setting(&models, &chosen, &inherited),
                    effort: effort_setting(&models, &chosen, &inherited),
                    generation,
                    since_compaction,
                    lists: lists(tx, &session)?,
                })
            })
            .await
    }

    /// What a turn of the session changed in files; without a number the newest that changed any. None when the session
    /// has no such turn.
    pub async fn diff(&self, session: &SessionId, turn: Option<TurnId>) -> Result<Option<TurnDiff>, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                let sql = match turn {
                    Some(_) => "SELECT id, finished_at, diff FROM turns WHERE session = ?1 AND id = ?2",
                    None => {
                        "SELECT id, finished_at, diff FROM turns WHERE session = ?1 AND diff IS NOT NULL AND ?2 IS NULL
                         ORDER BY id DESC LIMIT 1"
                    }
                };
                let found = tx
                    .prepare_cached(sql)?
                    .query_row(params![session.as_str(), turn.map(|turn| turn.0)], |row| {
                        Ok(TurnDiff {
                            turn: Some(TurnId(row.get(0)?)),
                            at: row.get::<_, Option<i64>>(1)?.map(rfc3339),
                            diff: row.get::<_, Option<String>>(2)?.filter(|diff| !diff.is_empty()),
                        })
                    })
                    .optional()?;
                Ok(found)
            })
            .await
    }

    /// Sessions whose messages wait for another try, and when the first of them is due.
    pub async fn retries(&self) -> Result<HashMap<SessionId, String>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT session, min(due_at) FROM inbox WHERE state = 'pending' AND due_at > ?1 GROUP BY session",
                )?;
                let rows =
                    statement.query_and_then([now_ms()], |row| Ok((session_of(row.get(0)?)?, rfc3339(row.get(1)?))))?;
                rows.collect()
            })
            .await
    }
}

fn lists(tx: &Savepoint<'_>, session: &SessionId) -> Result<Lists, StoreError> {
    let compactions = compactions::newest(tx, session, SHOWN)?;
    Ok(Lists {
        compactions: compactions.into_iter().map(compaction).collect(),
        mcp_servers: mcp::states(tx, session)?,
        tool_calls: tool_calls(tx, session)?,
        questions: questions(tx, session)?,
        failures: failures(tx, session)?,
        deliveries: deliveries(tx, session)?,
    })
}

fn compaction(view: CompactionView) -> CompactionRecord {
    CompactionRecord {
        cause: view.cause,
        outcome: view.failure.map_or(CompactionOutcome::Completed, |message| CompactionOutcome::Failed { message }),
        before: view.tokens_before,
        millis: view.millis,
        at: rfc3339(view.at),
    }
}

fn tool_calls(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<ToolCallRecord>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT turn, tool, summary, state, substr(answer, 1, ?3), called_at, finished_at FROM tool_calls
         WHERE session = ?1 ORDER BY called_at DESC, call_id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![session.as_str(), SHOWN, SHOWN_CHARS], |row| {
        Ok(ToolCallRecord {
            turn: TurnId(row.get(0)?),
            tool: row.get(1)?,
            summary: row.get(2)?,
            state: word::<ToolCallState>(row, 3, "tool call state")?,
            answer: row.get(4)?,
            called_at: rfc3339(row.get(5)?),
            finished_at: row.get::<_, Option<i64>>(6)?.map(rfc3339),
        })
    })?;
    rows.collect()
}

fn questions(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<OpenQuestion>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT turn, text, options, asked_at, expires_at, channel, chat_id, thread_id FROM questions
         WHERE session = ?1 AND state = 'open' ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![session.as_str(), SHOWN], |row| {
        let options: String = row.get(2)?;
        let options =
            serde_json::from_str(&options).map_err(|_| StoreError::Unknown { what: "options", value: options })?;
        Ok(OpenQuestion {
            turn: TurnId(row.get(0)?),
            chat: chat_of(row, 5)?.to_string(),
            text: row.get(1)?,
            options,
            asked_at: rfc3339(row.get(3)?),
            expires_at: rfc3339(row.get(4)?),
        })
    })?;
    rows.collect()
}

fn failures(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<TurnFailure>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, attempt, failure_kind, coalesce(substr(failure_message, 1, ?3), 'the container ended'),
                coalesce(finished_at, started_at)
         FROM turns WHERE session = ?1 AND state IN ('failed', 'abandoned') ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![session.as_str(), SHOWN, SHOWN_CHARS], |row| {
        let kind: Option<String> = row.get(2)?;
        Ok(TurnFailure {
            turn: TurnId(row.get(0)?),
            attempt: Attempt(row.get(1)?),
            // Without one the container went away under it.
            kind: kind.map_or(FailureKind::ProviderDied, |kind| {
                parse_word(kind, "failure_kind").unwrap_or(FailureKind::Other)
            }),
            message: row.get(3)?,
            at: rfc3339(row.get(4)?),
        })
    })?;
    rows.collect()
}

fn deliveries(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<HardDelivery>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, channel, chat_id, thread_id, state, tries, doubt, substr(last_error, 1, ?3), next_try_at FROM outbox
         WHERE session = ?1 AND (tries > 0 OR doubt > 0) ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![session.as_str(), SHOWN, SHOWN_CHARS], |row| {
        let state: String = row.get(4)?;
        let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
        let at: i64 = row.get(8)?;
        Ok(HardDelivery {
            reply: ReplyId(row.get(0)?),
            chat: chat_of(row, 1)?.to_string(),
            state: match state {
                ReplyState::Pending | ReplyState::Leased => DeliveryState::Waiting,
                ReplyState::Delivered => DeliveryState::Delivered,
                ReplyState::Dead => DeliveryState::Dead,
            },
            tries: row.get(5)?,
            doubts: row.get(6)?,
            error: row.get(7)?,
            again_at: (state == ReplyState::Pending && at > now_ms()).then(|| rfc3339(at)),
        })
    })?;
    rows.collect()
}

/// A word of the protocol in a column.
fn word<T: DeserializeOwned>(row: &Row<'_>, at: usize, what: &'static str) -> Result<T, StoreError> {
    parse_word(row.get(at)?, what)
}

fn parse_word<T: DeserializeOwned>(value: String, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_value(value.clone().into()).map_err(|_| StoreError::Unknown { what, value })
}
