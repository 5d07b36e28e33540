//! How a session's MCP servers stand.

use cofferdam_protocol::ids::{Attempt, ReplyId, Seq, SessionId};
use cofferdam_protocol::runner::{McpState, McpStatus};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::attempts::running_turn;
use super::outbox::insert_reply;
use super::turns::{chat_of_turn, hear};
use super::{GroupDb, chat_of};
use crate::model::chat::ChatRef;
use crate::model::notice;
use crate::model::reply::ReplyKind;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The longest error that is kept, in characters: what a program printed can be pages.
const MOST_ERROR: usize = 2000;

impl GroupDb {
    /// Keeps how an MCP server stands. The first failure of a server in an attempt is told in a notice: to the chat of
    /// the running turn, or else where the session began.
    pub async fn mcp_state(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        state: McpState,
    ) -> Result<Option<(ChatRef, ReplyId)>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                if !hear(tx, &session, attempt, seq)? {
                    return Ok(None);
                }
                let failed_before = failed_before(tx, &session, &state.name)?;
                keep(tx, &session, &state)?;
                if state.status != McpStatus::Failed || failed_before {
                    return Ok(None);
                }
                let chat = match running_turn(tx, &session)? {
                    Some(turn) => chat_of_turn(tx, turn)?,
                    None => tx
                        .prepare_cached("SELECT channel, chat_id, thread_id FROM sessions WHERE id = ?1")?
                        .query_row([session.as_str()], |row| chat_of(row, 0))?,
                };
                let text = notice::mcp_failed(&state.name, state.error.as_deref().unwrap_or("no reason was given"));
                let reply = insert_reply(tx, &session, None, &chat, ReplyKind::Notice, &text)?;
                Ok(Some((chat, reply)))
            })
            .await
    }
}

fn failed_before(tx: &Savepoint<'_>, session: &SessionId, name: &str) -> Result<bool, StoreError> {
    let error = tx
        .prepare_cached("SELECT error FROM mcp_servers WHERE session = ?1 AND name = ?2")?
        .query_row([session.as_str(), name], |row| row.get::<_, Option<String>>(0))
        .optional()?;
    Ok(error.flatten().is_some())
}

/// A server keeps its last error while its attempt lasts: by that it is known that the failure was told.
fn keep(tx: &Savepoint<'_>, session: &SessionId, state: &McpState) -> Result<(), StoreError> {
    let failed = state.status == McpStatus::Failed;
    let error =
        failed.then(|| state.error.as_deref().unwrap_or_default().chars().take(MOST_ERROR).collect::<String>());
    tx.prepare_cached(
        "INSERT INTO mcp_servers (session, name, status, error, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (session, name) DO UPDATE
         SET status = excluded.status, error = coalesce(excluded.error, error), at = excluded.at",
    )?
    .execute(params![session.as_str(), state.name, status_text(state.status), error, now_ms()])?;
    Ok(())
}

/// A new attempt begins: what is known is of the one before.
pub(super) fn forget_states(tx: &Savepoint<'_>, session: &SessionId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM mcp_servers WHERE session = ?1")?.execute([session.as_str()])?;
    Ok(())
}

/// How the servers of the session's newest attempt stand, by name.
pub(super) fn states(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<McpState>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT name, status, error FROM mcp_servers WHERE session = ?1 ORDER BY name")?;
    let rows = statement.query_and_then([session.as_str()], |row| {
        let text: String = row.get(1)?;
        let status = match text.as_str() {
            "starting" => McpStatus::Starting,
            "ready" => McpStatus::Ready,
            "failed" => McpStatus::Failed,
            _ => return Err(StoreError::Unknown { what: "MCP server's status", value: text }),
        };
        let error: Option<String> = row.get(2)?;
        Ok(McpState { name: row.get(0)?, status, error: error.filter(|_| status == McpStatus::Failed) })
    })?;
    rows.collect()
}

fn status_text(status: McpStatus) -> &'static str {
    match status {
        McpStatus::Starting => "starting",
        McpStatus::Ready => "ready",
        McpStatus::Failed => "failed",
    }
}
