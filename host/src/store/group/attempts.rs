//! Fencing: a session's containers, one after the other.

use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::{ContextMeter, ProviderKind, Thread};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::inbox::Answered;
use super::mcp::forget_states;
use super::outbox::insert_reply;
use super::states::{claimed, step_messages};
use super::turns::{chat_of_turn, end_turn, finish_messages, stop_requested, stopped_elsewhere};
use super::{GroupDb, chat_of, dead_letters, fence, questions, retries};
use crate::hooks;
use crate::model::chat::ChatRef;
use crate::model::dead_letter::Cause;
use crate::model::message::{MAX_TRIES, MessageEvent};
use crate::model::notice;
use crate::model::outage::{self, GoneBy, WantedBy};
use crate::model::reply::ReplyKind;
use crate::model::turn::TurnEvent;
use crate::store::db::Durability;
use crate::store::{StoreError, chance, now_ms};

/// A session as a start or an adoption needs it.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Where its replies go by default.
    pub chat: ChatRef,
    /// Its newest attempt.
    pub attempt: Attempt,
    /// SHA-256 of the newest attempt's token, once `hello` handed it out.
    pub token_hash: Option<Vec<u8>>,
    /// The container of the newest attempt.
    pub container: Option<String>,
    /// The provider's thread.
    pub continuation: Option<String>,
    /// The configuration that the newest attempt started with.
    pub config_hash: Option<String>,
    /// The newest attempt's running turn.
    pub running: Option<TurnId>,
    /// Messages that wait.
    pub waiting: u64,
    /// Who wants its running turn's end.
    pub wanted_end: Option<WantedBy>,
    /// The account that its chat chose.
    pub account: Option<String>,
}

/// What a container's end did to its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedTurn {
    /// None was running.
    None,
    /// Its messages wait again.
    Requeued(TurnId),
    /// These wait until this time, ms: outages ended it again and again. The chat is told.
    Paused(TurnId, Vec<MessageId>, ChatRef, i64),
    /// These of its messages were tried often enough and ended in a notice; the others wait again.
    GaveUp(TurnId, Vec<MessageId>, ChatRef, ReplyId),
    /// A person wanted its end: its messages ended in a notice, and so did stops from other chats.
    Stopped(TurnId, Answered, Vec<Answered>),
}

impl EndedTurn {
    /// The messages that ended with it, by their notices.
    pub(super) fn into_answered(self) -> Vec<Answered> {
        match self {
            Self::None | Self::Requeued(_) | Self::Paused(..) => Vec::new(),
            Self::GaveUp(_, messages, chat, reply) => vec![Answered { messages, chat, reply }],
            Self::Stopped(_, answered, mut elsewhere) => {
                elsewhere.push(answered);
                elsewhere
            }
        }
    }
}

impl GroupDb {
    /// One session's row.
    pub async fn session(&self, session: &SessionId) -> Result<SessionRow, StoreError> {
        let session = session.clone();
        self.db.read(move |tx| read_session(tx, &session)).await
    }

    /// A new attempt: whatever carries an older one is refused from here on.
    pub async fn begin_attempt(
        &self,
        session: &SessionId,
        provider: ProviderKind,
        config_hash: String,
    ) -> Result<Attempt, StoreError> {
        let session = session.clone();
        let provider = provider_text(provider);
        self.db
            .write(Durability::Durable, move |tx| {
                let attempt = tx
                    .prepare_cached(
                        "UPDATE sessions SET attempt = attempt + 1, token_hash = NULL, last_seq = 0, container = NULL,
                                -- Another provider's thread is not ours to resume.
                                continuation = CASE WHEN provider IS ?2 THEN continuation END,
                                start_failures = CASE WHEN config_hash IS ?3 THEN start_failures ELSE 0 END,
                                provider = ?2, config_hash = ?3, active_at = ?4
                         WHERE id = ?1 RETURNING attempt",
                    )?
                    .query_row(params![session.as_str(), provider, config_hash, now_ms()], |row| row.get(0))
                    .optional()?
                    .ok_or_else(|| StoreError::NoSession(session.to_string()))?;
                end_what_was_stopped(tx, &session)?;
                forget_states(tx, &session)?;
                hooks::crash_point("attempt.before_commit");
                Ok(Attempt(attempt))
            })
            .await
    }

    /// Notes which container serves an attempt.
    pub async fn set_container(
        &self,
        session: &SessionId,
        attempt: Attempt,
        container: String,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                fence(tx, &session, attempt)?;
                tx.execute(
                    "UPDATE sessions SET container = ?1 WHERE id = ?2",
                    params![container, session.as_str()],
                )?;
                hooks::crash_point("container.before_commit");
                Ok(())
            })
            .await
    }

    /// The runner's hello: keeps the token's hash, once per attempt, and answers where the conversation stands.
    pub async fn hello(
        &self,
        session: &SessionId,
        attempt: Attempt,
        token_hash: Vec<u8>,
    ) -> Result<Thread, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                fence(tx, &session, attempt)?;
                let taken = tx.execute(
                    "UPDATE sessions SET token_hash = ?1 WHERE id = ?2 AND token_hash IS NULL",
                    params![token_hash, session.as_str()],
                )? == 0;
                if taken {
                    return Err(StoreError::TokenTaken);
                }
                hooks::crash_point("hello.before_commit");
                read_thread(tx, &session)
            })
            .await
    }

    /// Notes who wants the end of the attempt's running turn, before its container is told; or that nobody does any more.
    pub async fn want_end(
        &self,
        session: &SessionId,
        attempt: Attempt,
        by: Option<WantedBy>,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                fence(tx, &session, attempt)?;
                tx.execute(
                    "UPDATE turns SET wanted_end = ?1 WHERE session = ?2 AND state = 'running'",
                    params![by.map(wanted_text), session.as_str()],
                )?;
                Ok(())
            })
            .await
    }

    /// The attempt's container is gone: its turn, if one ran, is abandoned, and its messages wait again or, tried
    /// often enough, become dead letters with `notice`; of several each is tried by itself before that. Only an end of its own
    /// counts as a try; outages are counted apart ([`outage`]). What looks like one is none if the end was wanted.
    pub async fn end_attempt(
        &self,
        session: &SessionId,
        attempt: Attempt,
        by: GoneBy,
        notice: String,
    ) -> Result<EndedTurn, StoreError> {
        let (session, folder) = (session.clone(), self.folder().to_string());
        self.db
            .write(Durability::Durable, move |tx| {
                fence(tx, &session, attempt)?;
                tx.execute(
                    "UPDATE sessions SET container = NULL, token_hash = NULL WHERE id = ?1",
                    [session.as_str()],
                )?;
                let ended = lose_turn(tx, &session, by, (&folder, &notice))?;
                hooks::crash_point("ended.before_commit");
                Ok(ended)
            })
            .await
    }
}

/// What becomes of the session's running turn, if there is one, when no container works on it any more.
pub(super) fn lose_turn(
    tx: &Savepoint<'_>,
    session: &SessionId,
    by: GoneBy,
    told: (&str, &str),
) -> Result<EndedTurn, StoreError> {
    let Some(turn) = running_turn(tx, session)? else { return Ok(EndedTurn::None) };
    if stop_requested(tx, turn)? {
        return stop(tx, session, turn, &notice::stopped());
    }
    match wanted_end(tx, turn)? {
        Some(WantedBy::Person) => stop(tx, session, turn, &notice::interrupted()),
        Some(WantedBy::Daemon) if by == GoneBy::Outage => abandon(tx, session, turn, GoneBy::Plan, told),
        Some(WantedBy::Daemon) | None => abandon(tx, session, turn, by, told),
    }
}

/// Before another attempt: a turn that a person ended, and whose end could not be kept then, does not run again. One that a
/// daemon wanted to end goes on, and nobody wants its end any more.
fn end_what_was_stopped(tx: &Savepoint<'_>, session: &SessionId) -> Result<(), StoreError> {
    let Some(turn) = running_turn(tx, session)? else { return Ok(()) };
    match wanted_end(tx, turn)? {
        Some(WantedBy::Person) => stop(tx, session, turn, &notice::interrupted()).map(drop),
        Some(WantedBy::Daemon) => {
            tx.execute("UPDATE turns SET wanted_end = NULL WHERE id = ?1", [turn.0])?;
            Ok(())
        }
        None => Ok(()),
    }
}

/// Somebody wanted the turn's end, and has it.
fn stop(tx: &Savepoint<'_>, session: &SessionId, turn: TurnId, told: &str) -> Result<EndedTurn, StoreError> {
    let chat = chat_of_turn(tx, turn)?;
    let elsewhere = stopped_elsewhere(tx, session, turn, &chat, told)?;
    end_turn(tx, turn, TurnEvent::Stopped)?;
    questions::turn_ended(tx, session, turn)?;
    let messages = finish_messages(tx, turn)?;
    let reply = insert_reply(tx, session, Some(turn), &chat, ReplyKind::Notice, told)?;
    Ok(EndedTurn::Stopped(turn, Answered { messages, chat, reply }, elsewhere))
}

fn abandon(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    by: GoneBy,
    (folder, why): (&str, &str),
) -> Result<EndedTurn, StoreError> {
    let chat = chat_of_turn(tx, turn)?;
    end_turn(tx, turn, TurnEvent::ContainerGone)?;
    questions::calls_ended(tx, turn)?;
    count_end(tx, turn, by)?;
    let cut_off = notice::cut_off(outage::MOST);
    let why = if by == GoneBy::Outage { &cut_off } else { why };
    let mut given_up: Vec<MessageId> = tx
        .prepare_cached(
            "SELECT id FROM inbox WHERE turn = ?1 AND state = 'claimed' AND (tries >= ?2 OR outages >= ?3) ORDER BY id",
        )?
        .query_map(params![turn.0, MAX_TRIES, outage::MOST], |row| Ok(MessageId(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    step_messages(tx, &given_up, MessageEvent::Finish)?;
    let letters = dead_letters::bury(tx, session, &given_up, Cause::Container, why)?;
    let paused = if by == GoneBy::Outage { pause(tx, turn)? } else { None };
    // They keep the turn: its provider may have them.
    let released = claimed(tx, turn)?;
    step_messages(tx, &released, MessageEvent::Release)?;
    questions::free_answers(tx, turn)?;
    given_up.extend(questions::end_answers(tx, turn)?);
    if given_up.is_empty() {
        let Some((ends, at)) = paused else { return Ok(EndedTurn::Requeued(turn)) };
        let text = notice::cut_off_again(ends, at - now_ms());
        insert_reply(tx, session, Some(turn), &chat, ReplyKind::Notice, &text)?;
        return Ok(EndedTurn::Paused(turn, released, chat, at));
    }
    let reply = insert_reply(
        tx,
        session,
        Some(turn),
        &chat,
        ReplyKind::Notice,
        &notice::with_letters(why, folder, &letters),
    )?;
    Ok(EndedTurn::GaveUp(turn, given_up, chat, reply))
}

/// Counts the end where it belongs. One of several messages may be what ends containers, or the engine: then each goes by
/// itself from here on, so that only that one is given up in the end.
fn count_end(tx: &Savepoint<'_>, turn: TurnId, by: GoneBy) -> Result<(), StoreError> {
    let counted = match by {
        GoneBy::Itself => None,
        GoneBy::Plan => Some("UPDATE inbox SET tries = tries - 1 WHERE turn = ?1 AND state = 'claimed'"),
        GoneBy::Outage => {
            Some("UPDATE inbox SET tries = tries - 1, outages = outages + 1 WHERE turn = ?1 AND state = 'claimed'")
        }
    };
    if let Some(sql) = counted {
        tx.prepare_cached(sql)?.execute([turn.0])?;
    }
    let suspect: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM inbox WHERE turn = ?1 AND state = 'claimed' AND (tries >= ?2 OR outages > ?3))",
        )?
        .query_row(params![turn.0, MAX_TRIES, outage::AT_ONCE], |row| row.get(0))?;
    if suspect { retries::part(tx, turn) } else { Ok(()) }
}

/// After several outages the turn's messages wait for a while. Answers how many there were, and until when.
fn pause(tx: &Savepoint<'_>, turn: TurnId) -> Result<Option<(u32, i64)>, StoreError> {
    let most: Option<u32> = tx
        .prepare_cached("SELECT max(outages) FROM inbox WHERE turn = ?1 AND state = 'claimed'")?
        .query_row([turn.0], |row| row.get(0))?;
    let now = now_ms();
    let Some((ends, at)) = most.and_then(|most| Some((most, outage::next(most, now, chance())?))) else {
        return Ok(None);
    };
    if at <= now {
        return Ok(None);
    }
    tx.prepare_cached("UPDATE inbox SET due_at = ?1 WHERE turn = ?2 AND state = 'claimed'")?
        .execute([at, turn.0])?;
    Ok(Some((ends, at)))
}

/// The session's running turn; at most one.
pub(super) fn running_turn(tx: &Savepoint<'_>, session: &SessionId) -> Result<Option<TurnId>, StoreError> {
    Ok(tx
        .prepare_cached("SELECT id FROM turns WHERE session = ?1 AND state = 'running'")?
        .query_row([session.as_str()], |row| Ok(TurnId(row.get(0)?)))
        .optional()?)
}

/// Where a session's conversation stands.
fn read_thread(tx: &Savepoint<'_>, session: &SessionId) -> Result<Thread, StoreError> {
    Ok(tx
        .prepare_cached(
            "SELECT generation, continuation, since_compaction, last_total FROM sessions WHERE id = ?1",
        )?
        .query_row([session.as_str()], |row| {
            let meter = ContextMeter { since_compaction: row.get(2)?, last_total: row.get(3)? };
            Ok(Thread { generation: row.get(0)?, continuation: row.get(1)?, meter })
        })?)
}

fn read_session(tx: &Savepoint<'_>, session: &SessionId) -> Result<SessionRow, StoreError> {
    let running = running_turn(tx, session)?;
    let wanted_end = running.map_or(Ok(None), |turn| wanted_end(tx, turn))?;
    tx.prepare_cached(
        "SELECT channel, chat_id, thread_id, attempt, token_hash, container, continuation, config_hash,
                (SELECT count(*) FROM inbox WHERE session = sessions.id AND state = 'pending'), account
         FROM sessions WHERE id = ?1",
    )?
    .query_row([session.as_str()], |row| {
        Ok(SessionRow {
            chat: chat_of(row, 0)?,
            attempt: Attempt(row.get(3)?),
            token_hash: row.get(4)?,
            container: row.get(5)?,
            continuation: row.get(6)?,
            config_hash: row.get(7)?,
            running,
            waiting: row.get(8)?,
            wanted_end,
            account: row.get(9)?,
        })
    })
    .optional()?
    .ok_or_else(|| StoreError::NoSession(session.to_string()))
}

fn wanted_end(tx: &Savepoint<'_>, turn: TurnId) -> Result<Option<WantedBy>, StoreError> {
    Ok(tx
        .prepare_cached("SELECT wanted_end FROM turns WHERE id = ?1")?
        .query_row([turn.0], |row| Ok(wanted_of(row.get(0)?)))?)
}

/// Who wants an end, in SQL.
fn wanted_text(by: WantedBy) -> &'static str {
    match by {
        WantedBy::Person => "person",
        WantedBy::Daemon => "daemon",
    }
}

fn wanted_of(text: Option<String>) -> Option<WantedBy> {
    [WantedBy::Person, WantedBy::Daemon].into_iter().find(|by| text.as_deref() == Some(wanted_text(*by)))
}

/// The provider's name in SQL.
pub(super) fn provider_text(provider: ProviderKind) -> &'static str {
    match provider {
        ProviderKind::Codex => "codex",
        ProviderKind::Mock => "mock",
    }
}
