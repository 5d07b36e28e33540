//! ① accept, and what waits.

use cofferdam_protocol::ids::{MessageId, ReplyId, SessionId, TurnId};
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::commands::stop;
use super::outbox::insert_reply;
use super::questions::FETCHED;
use super::states::step_messages;
use super::{GroupDb, answers, chat_of, files, session_of};
use crate::hooks;
use crate::model::chat::{ChatRef, Inbound};
use crate::model::command::{Command, MessageKind};
use crate::model::message::{MessageEvent, MessageState};
use crate::model::reply::ReplyKind;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The most messages of one session that wait. They wait on the disk and cost no memory; but at fifty a turn these are two
/// hundred turns, which nobody reads any more, and with the largest messages 2.5 GB.
pub const MOST_WAITING: u64 = 10_000;

/// What became of an inbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its row.
    pub message: MessageId,
    /// Its session.
    pub session: SessionId,
    /// It had been accepted before; nothing was written.
    pub duplicate: bool,
    /// What it ended at once: a `/stop` and what waited.
    pub answered: Option<Answered>,
    /// A chat with something new in the outbox: what it answered is changed there.
    pub news: Option<Box<ChatRef>>,
}

/// Messages of one chat that ended in a notice, without a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The messages.
    pub messages: Vec<MessageId>,
    /// Their chat.
    pub chat: ChatRef,
    /// The notice.
    pub reply: ReplyId,
}

impl GroupDb {
    /// ① Puts a message into the inbox, and makes its session if it is the first. Repeats are recognised by the
    /// platform's id. After the answer the message will not be lost. Of the commands only `/stop` is done here: it must
    /// not wait for the turn that it is to end. With [`MOST_WAITING`] before it a message is refused
    /// ([`StoreError::Full`]), but a `/stop` is not.
    pub async fn accept(
        &self,
        message: Inbound,
        session_key: String,
        command: Option<Command>,
    ) -> Result<Accepted, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if let Some(known) = find(tx, &message)? {
                    return Ok(known);
                }
                let now = now_ms();
                let session = session_for(tx, &session_key, &message.chat, now)?;
                let kind = command.as_ref().map_or(MessageKind::Message, Command::kind);
                if kind != MessageKind::Stop {
                    room_for_one(tx, &session)?;
                }
                let id = insert(tx, &session, &message, kind, now)?;
                files::attach(tx, id, &message.files)?;
                let takes = kind == MessageKind::Message && message.output_schema.is_none();
                let is_answer = takes && answers::take_answer(tx, &session, id, &message)?;
                let answered =
                    if kind == MessageKind::Stop { stop(tx, &session, id, &message.chat)? } else { None };
                hooks::crash_point("accept.before_commit");
                let news = is_answer.then(|| Box::new(message.chat));
                Ok(Accepted { message: id, session, duplicate: false, answered, news })
            })
            .await
    }

    /// ① Puts a message into the inbox that Cofferdam answered itself, with the answer. A repeated one changes nothing.
    pub async fn accept_answered(
        &self,
        message: Inbound,
        session_key: String,
        words: String,
    ) -> Result<Accepted, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if let Some(known) = find(tx, &message)? {
                    return Ok(known);
                }
                let now = now_ms();
                let session = session_for(tx, &session_key, &message.chat, now)?;
                let id = insert(tx, &session, &message, MessageKind::Stop, now)?;
                let answered = answer(tx, &session, &message.chat, vec![id], &words)?;
                let news = Some(Box::new(message.chat));
                Ok(Accepted { message: id, session, duplicate: false, answered: Some(answered), news })
            })
            .await
    }
}

impl GroupDb {
    /// Whether anything is here that was written on a channel, or is for one of its chats.
    pub async fn has_of_channel(&self, channel: &str) -> Result<bool, StoreError> {
        let channel = channel.to_owned();
        self.db
            .read(move |tx| {
                let sql = "SELECT EXISTS (SELECT 1 FROM inbox WHERE channel = ?1)
                               OR EXISTS (SELECT 1 FROM context WHERE channel = ?1)
                               OR EXISTS (SELECT 1 FROM outbox WHERE channel = ?1)";
                Ok(tx.query_row(sql, [channel], |row| row.get(0))?)
            })
            .await
    }
}

pub(super) fn room_for_one(tx: &Savepoint<'_>, session: &SessionId) -> Result<(), StoreError> {
    let waiting: u64 = tx
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM inbox WHERE session = ?1 AND state = 'pending' LIMIT ?2)",
        )?
        .query_row(params![session.as_str(), MOST_WAITING], |row| row.get(0))?;
    if waiting < MOST_WAITING { Ok(()) } else { Err(StoreError::Full(waiting)) }
}

pub(super) fn insert(
    tx: &Savepoint<'_>,
    session: &SessionId,
    message: &Inbound,
    kind: MessageKind,
    now: i64,
) -> Result<MessageId, StoreError> {
    tx.prepare_cached(
        "INSERT INTO inbox (session, channel, chat_id, thread_id, platform_id, sender, text, state, accepted_at, kind,
                            output_schema, sender_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        session.as_str(),
        message.chat.channel,
        message.chat.chat_id,
        message.chat.thread_id,
        message.platform_id,
        message.sender,
        message.whole(),
        MessageState::Pending.as_str(),
        now,
        kind.as_str(),
        message.output_schema,
        message.sender_id,
    ])?;
    Ok(MessageId(tx.last_insert_rowid()))
}

pub(super) fn find(tx: &Savepoint<'_>, message: &Inbound) -> Result<Option<Accepted>, StoreError> {
    let row = tx
        .prepare_cached("SELECT id, session FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3")?
        .query_row(params![message.chat.channel, message.chat.chat_id, message.platform_id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    row.map(|(id, session)| {
        let (message, session) = (MessageId(id), session_of(session)?);
        Ok(Accepted { message, session, duplicate: true, answered: None, news: None })
    })
    .transpose()
}

pub(super) fn session_for(
    tx: &Savepoint<'_>,
    key: &str,
    chat: &ChatRef,
    now: i64,
) -> Result<SessionId, StoreError> {
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

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: MessageId,
    pub(super) chat: ChatRef,
    pub(super) kind: MessageKind,
    pub(super) sender: String,
    pub(super) text: String,
    pub(super) accepted_at: i64,
    /// The newest turn that it was in, or that it was offered to.
    pub(super) turn: Option<TurnId>,
    pub(super) output_schema: Option<String>,
    /// It shares no turn.
    pub(super) apart: bool,
    /// A turn that had it may be lost.
    pub(super) offered: bool,
}

/// Shows the waiting messages of a session that are `wanted` in order, until `visit` has enough; of the others no text is
/// read, however many wait. A chat whose oldest message is not due
/// is left out but for what [`MessageKind::overtakes`]: its order is kept, and the other chats go on. Answers that were
/// given are left out: they go with the messages of their turn. Answers when the first that is not due is due, in ms.
pub(super) fn walk(
    tx: &Savepoint<'_>,
    session: &SessionId,
    wanted: impl Fn(MessageId, &ChatRef) -> bool,
    mut visit: impl FnMut(Waiting) -> bool,
) -> Result<Option<i64>, StoreError> {
    let sql = format!(
        "SELECT id, channel, chat_id, thread_id, kind, sender, text, accepted_at, turn, output_schema, due_at, apart,
                offered
         FROM inbox WHERE session = ?1 AND state = 'pending' AND id NOT IN ({FETCHED}) ORDER BY id"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([session.as_str()])?;
    let (now, mut held, mut next) = (now_ms(), Vec::new(), None::<i64>);
    while let Some(row) = rows.next()? {
        let (chat, kind, due_at) = (chat_of(row, 1)?, kind_of(row, 4)?, row.get::<_, i64>(10)?);
        if !wanted(MessageId(row.get(0)?), &chat) || (held.contains(&chat) && !kind.overtakes()) {
            continue;
        }
        if due_at > now {
            next = Some(next.map_or(due_at, |next| next.min(due_at)));
            held.push(chat);
        } else if !visit(waiting(row, chat, kind)?) {
            break;
        }
    }
    Ok(next)
}

fn kind_of(row: &Row<'_>, column: usize) -> Result<MessageKind, StoreError> {
    let kind: String = row.get(column)?;
    MessageKind::parse(&kind).ok_or(StoreError::Unknown { what: "message kind", value: kind })
}

fn waiting(row: &Row<'_>, chat: ChatRef, kind: MessageKind) -> Result<Waiting, StoreError> {
    Ok(Waiting {
        id: MessageId(row.get(0)?),
        chat,
        kind,
        sender: row.get(5)?,
        text: row.get(6)?,
        accepted_at: row.get(7)?,
        turn: row.get::<_, Option<i64>>(8)?.map(TurnId),
        output_schema: row.get(9)?,
        apart: row.get(11)?,
        offered: row.get(12)?,
    })
}

/// Ends waiting messages of one chat in a notice.
pub(super) fn answer(
    tx: &Savepoint<'_>,
    session: &SessionId,
    chat: &ChatRef,
    messages: Vec<MessageId>,
    text: &str,
) -> Result<Answered, StoreError> {
    let reply = insert_reply(tx, session, None, chat, ReplyKind::Notice, text)?;
    step_messages(tx, &messages, MessageEvent::Answer)?;
    let mut update = tx.prepare_cached("UPDATE inbox SET turn = NULL, notice = ?1 WHERE id = ?2")?;
    for message in &messages {
        update.execute([reply.0, message.0])?;
    }
    Ok(Answered { messages, chat: chat.clone(), reply })
}
