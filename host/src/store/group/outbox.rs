//! ⑤ lease and ⑥ delivered.

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::{ReplyId, SessionId, TurnId};
use rusqlite::{Row, Savepoint, params};
use sha2::{Digest, Sha256};

use super::states::step_reply;
use super::{GroupDb, changes, chat_of, dead_letters, reply_to, session_of};
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::dead_letter::{Cause, Letter};
use crate::model::delivery::{Miss, Next, Tried};
use crate::model::reply::{Outbound, ReplyEvent, ReplyKind, ReplyState};
use crate::store::db::Durability;
use crate::store::leases::{self, Oldest, Rows};
use crate::store::{StoreError, chance, now_ms};

/// The next reply of a chat.
#[derive(Debug, Clone)]
pub enum NextReply {
    /// Nothing in the outbox for it.
    None,
    /// The oldest is to be tried again at this time, ms. Those behind it wait: order is kept.
    At(i64),
    /// The oldest is due.
    Due,
    /// Leased to the caller.
    Leased(Box<Outbound>),
}

impl GroupDb {
    /// How the oldest undelivered reply of a chat stands. Never [`NextReply::Leased`].
    pub async fn next_reply(&self, chat: &ChatRef) -> Result<NextReply, StoreError> {
        let (chat, replies) = (chat.clone(), Replies(self.data.clone()));
        self.db.read(move |tx| leases::next(&replies, tx, &chat)).await
    }

    /// ⑤ Takes the oldest undelivered reply of a chat, as [`leases`] has it. `durable` is for a channel that shows a repeated
    /// reply again: no power cut makes it forget that there is a doubt.
    pub async fn lease(&self, chat: &ChatRef, durable: bool) -> Result<NextReply, StoreError> {
        let (chat, replies) = (chat.clone(), Replies(self.data.clone()));
        let durability = if durable { Durability::Durable } else { Durability::Relaxed };
        self.db.write(durability, move |tx| leases::take(&replies, tx, &chat)).await
    }

    /// The channel took a piece of it; with the last it is ⑥ delivered.
    pub async fn sent(&self, reply: ReplyId, sent: Sent, last: bool) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                keep_sent(tx, reply, &sent)?;
                if last {
                    step_reply(tx, reply, ReplyEvent::Delivered)?;
                    tx.prepare_cached("UPDATE outbox SET delivered_at = ?1 WHERE id = ?2")?
                        .execute([now_ms(), reply.0])?;
                }
                crate::hooks::crash_point("delivered.before_commit");
                Ok(())
            })
            .await
    }

    /// The channel did not take it, or may not have. Answers what becomes of it; a dead one has its dead letter.
    pub async fn missed(&self, reply: ReplyId, miss: Miss, why: String) -> Result<Next, StoreError> {
        // Nobody there: the same is found by the next lease.
        let durability = if miss.is_failure() { Durability::Durable } else { Durability::Relaxed };
        self.db.write(durability, move |tx| keep_miss(tx, reply, miss, &why)).await
    }

    /// The session's file copies, below the group's data directory, that a chat has yet to be handed, or may
    /// be again when a person has a dead letter tried once more.
    pub async fn files_on_their_way(&self, session: &SessionId) -> Result<Vec<String>, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT json_extract(action, '$.file.path') FROM outbox
                     WHERE session = ?1 AND state IN ('pending', 'leased')
                           AND json_type(action, '$.file.path') = 'text'
                     UNION
                     SELECT json_extract(action, '$.file.path')
                     FROM dead_letters JOIN outbox ON outbox.id = dead_letters.reply
                     WHERE dead_letters.state = 'open' AND dead_letters.session = ?1
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

/// A piece of a reply that its channel took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its place among the pieces.
    pub place: usize,
    /// The platform's id of its message, if it has one.
    pub id: Option<String>,
    /// It took the place of what its turn showed.
    pub shown: bool,
}

/// Notes what the platform has; what is of no use later leaves no trace.
fn keep_sent(tx: &Savepoint<'_>, reply: ReplyId, sent: &Sent) -> Result<(), StoreError> {
    let mut ids = sent_of(
        tx.prepare_cached("SELECT sent FROM outbox WHERE id = ?1")?.query_row([reply.0], |row| row.get(0))?,
    );
    ids.resize(sent.place, None);
    ids.push(sent.id.clone());
    if ids.len() > 1 || sent.id.is_some() {
        let ids = serde_json::to_string(&ids).unwrap_or_default();
        tx.prepare_cached("UPDATE outbox SET sent = ?1 WHERE id = ?2")?.execute(params![ids, reply.0])?;
    }
    if sent.shown {
        tx.prepare_cached("DELETE FROM shown WHERE turn = (SELECT turn FROM outbox WHERE id = ?1)")?
            .execute([reply.0])?;
    }
    Ok(())
}

/// Ids that were kept; what is none counts as nothing sent.
pub(in crate::store) fn sent_of(kept: Option<String>) -> Vec<Option<String>> {
    kept.and_then(|ids| serde_json::from_str(&ids).ok()).unwrap_or_default()
}

/// A group's outbox; files are below this directory.
struct Replies(PathBuf);

impl Rows for Replies {
    const TABLE: &'static str = "outbox";

    fn oldest(&self, tx: &Savepoint<'_>, chat: &ChatRef) -> Result<Option<Oldest>, StoreError> {
        // The change of a question's message waits for its next try without holding up what is behind it.
        let sql = format!(
            "SELECT {COLUMNS}, next_try_at, state FROM outbox
             WHERE channel = ?1 AND chat_id = ?2 AND thread_id IS ?3 AND state IN ('pending', 'leased')
                   AND (?4 OR NOT (state = 'pending' AND next_try_at > ?5 AND json_type(action, '$.close') IS NOT NULL))
             ORDER BY id LIMIT 1"
        );
        let mut statement = tx.prepare_cached(&sql)?;
        for any in [false, true] {
            let mut rows = statement.query(params![chat.channel, chat.chat_id, chat.thread_id, any, now_ms()])?;
            let Some(row) = rows.next()? else { continue };
            let state: String = row.get("state")?;
            let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
            let next_try_at = row.get("next_try_at")?;
            return Ok(Some(Oldest { outbound: outbound(row, &self.0)?, state, next_try_at }));
        }
        Ok(None)
    }

    fn look_up(&self, tx: &Savepoint<'_>, outbound: &mut Outbound) -> Result<(), StoreError> {
        outbound.onto = changes::onto(tx, outbound)?;
        outbound.buttons = changes::buttons(tx, outbound, &self.0)?;
        outbound.reply_to = reply_to::of(tx, outbound)?;
        Ok(())
    }

    fn step(tx: &Savepoint<'_>, reply: ReplyId, event: ReplyEvent) -> Result<(), StoreError> {
        step_reply(tx, reply, event).map(drop)
    }

    fn bury_lost(tx: &Savepoint<'_>, reply: ReplyId, why: &str, lost: u32) -> Result<(), StoreError> {
        let Leased { session, tried } = tried(tx, reply)?;
        bury(tx, &session, reply, why, tried.failed.saturating_add(lost))
    }
}

/// Makes a dead letter of a reply that is given up, and the agent is to be told: also of one that a person had tried again,
/// and that it was told of before.
fn bury(tx: &Savepoint<'_>, session: &SessionId, reply: ReplyId, why: &str, tries: u32) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE outbox SET told = NULL, last_error = ?1 WHERE id = ?2")?
        .execute(params![shortened(why), reply.0])?;
    // A button that stays is nothing to decide on.
    if changes::is_close(tx, reply)? {
        return Ok(());
    }
    dead_letters::insert(tx, session, Letter::Reply(reply), Cause::Delivery, &shortened(why), tries)?;
    Ok(())
}

/// How a reply stands that is being handed over.
struct Leased {
    session: SessionId,
    tried: Tried,
}

fn tried(tx: &Savepoint<'_>, reply: ReplyId) -> Result<Leased, StoreError> {
    let mut statement = tx.prepare_cached("SELECT session, tries, doubt FROM outbox WHERE id = ?1")?;
    let (session, failed, doubts): (String, u32, u32) =
        statement.query_row([reply.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Leased { session: session_of(session)?, tried: Tried { failed, doubts } })
}

fn keep_miss(tx: &Savepoint<'_>, reply: ReplyId, miss: Miss, why: &str) -> Result<Next, StoreError> {
    let Leased { session, mut tried } = tried(tx, reply)?;
    tried.failed += u32::from(miss.is_failure());
    tried.doubts += u32::from(miss.is_doubt());
    let next = miss.next(tried, now_ms(), chance());
    let (event, at) = match next {
        Next::At(at) => (ReplyEvent::Retry, at),
        Next::Dead => (ReplyEvent::GiveUp, 0),
    };
    step_reply(tx, reply, event)?;
    let error = miss.is_failure().then(|| shortened(why));
    tx.prepare_cached(
        "UPDATE outbox SET next_try_at = ?1, tries = ?2, doubt = ?3, last_error = coalesce(?4, last_error) WHERE id = ?5",
    )?
    .execute(params![at, tried.failed, tried.doubts, error, reply.0])?;
    if next == Next::Dead {
        bury(tx, &session, reply, why, tried.failed)?;
    }
    Ok(next)
}

/// What a platform said may be a page.
pub(in crate::store) fn shortened(why: &str) -> String {
    const MOST_CHARS: usize = 500;
    why.chars().take(MOST_CHARS).collect()
}

/// The columns that [`outbound`] reads.
pub(super) const COLUMNS: &str =
    "outbox.id, outbox.kind, outbox.text, outbox.tries, outbox.channel, outbox.chat_id,
    outbox.thread_id, outbox.turn, outbox.action, outbox.session, outbox.created_at, outbox.doubt,
    outbox.sent";

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
        buttons: Vec::new(),
        tries: row.get(3)?,
        doubts: row.get(11)?,
        sent: sent_of(row.get(12)?),
        onto: Vec::new(),
        reply_to: None,
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
    set_action(tx, reply, action)?;
    Ok(reply)
}

/// Makes a reply one that is more than its text.
pub(super) fn set_action(tx: &Savepoint<'_>, reply: ReplyId, action: &Action) -> Result<(), StoreError> {
    let action = serde_json::to_string(action)
        .map_err(|error| StoreError::Unknown { what: "action", value: error.to_string() })?;
    tx.prepare_cached("UPDATE outbox SET action = ?1 WHERE id = ?2")?.execute(params![action, reply.0])?;
    Ok(())
}

/// Puts a reply at the end of the outbox.
pub(in crate::store) fn insert_reply(
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
