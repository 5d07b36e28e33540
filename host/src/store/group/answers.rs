//! Questions as people meet them: which wait, how one is answered from wherever, and what its message shows then.

use cofferdam_protocol::ids::{MessageId, QuestionId, SessionId, TurnId};
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::inbox::{self, Accepted};
use super::outbox::{insert_reply, sent_of, set_action};
use super::questions::join;
use super::states::step_question;
use super::{GroupDb, chat_of, files, session_of};
use crate::model::action::{Action, Asked, Closed, meant};
use crate::model::chat::{ChatRef, Inbound};
use crate::model::command::MessageKind;
use crate::model::notice;
use crate::model::question::{QuestionEvent, QuestionState, ended};
use crate::model::reply::{ReplyKind, ReplyState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// A question of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionRow {
    /// Its number.
    pub id: QuestionId,
    /// The session that asks.
    pub session: SessionId,
    /// Where it was asked.
    pub chat: ChatRef,
    /// What is asked.
    pub text: String,
    /// What can be chosen; none is a free answer.
    pub options: Vec<String>,
    /// How it stands; one that nobody ended yet may be over all the same, see [`QuestionRow::waits`].
    pub state: QuestionState,
    /// What was answered.
    pub answer: Option<String>,
    /// By whom, as their channel names them.
    pub answered_by: Option<String>,
    /// When it was asked, ms.
    pub asked_at: i64,
    /// Until when it waits, ms.
    pub expires_at: i64,
}

/// An answer that does not come as its chat's next message.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The message that it is for the agent. Its chat is the question's.
    pub message: Inbound,
    /// The chat does not see it by itself, and is told.
    pub elsewhere: bool,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// ① It is the answer, or was given before by the same message.
    Now(Accepted),
    /// The question is over, as the row says.
    Over(Box<QuestionRow>),
    /// There is none of that number.
    Unknown,
}

impl QuestionRow {
    /// Whether somebody may still answer.
    pub fn waits(&self) -> bool {
        self.state == QuestionState::Open && self.expires_at > now_ms()
    }

    /// How it ended, in one line.
    pub fn end(&self) -> String {
        ended(self.state, self.answer.as_deref().zip(self.answered_by.as_deref()))
    }
}

const COLUMNS: &str =
    "id, session, channel, chat_id, thread_id, text, options, state, answer, answered_by, asked_at, expires_at";
/// Those that wait.
const WAITS: &str = "state = 'open' AND expires_at > ?1";
/// Those whose time is over and whose turn does not run: nobody else ends them.
const FORGOTTEN: &str =
    "state = 'open' AND expires_at <= ?1 AND (SELECT state FROM turns WHERE id = questions.turn) <> 'running'";

fn row_of(row: &Row<'_>) -> Result<QuestionRow, StoreError> {
    let (options, state): (String, String) = (row.get(6)?, row.get(7)?);
    Ok(QuestionRow {
        id: QuestionId(row.get(0)?),
        session: session_of(row.get(1)?)?,
        chat: chat_of(row, 2)?,
        text: row.get(5)?,
        // Ours, written as JSON; without it the answer is free.
        options: serde_json::from_str(&options).unwrap_or_default(),
        state: QuestionState::parse(&state).ok_or(StoreError::Unknown { what: "question state", value: state })?,
        answer: row.get(8)?,
        answered_by: row.get(9)?,
        asked_at: row.get(10)?,
        expires_at: row.get(11)?,
    })
}

fn find(tx: &Savepoint<'_>, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM questions WHERE id = ?1");
    tx.prepare_cached(&sql)?.query_and_then([id.0], row_of)?.next().transpose()
}

impl GroupDb {
    /// Questions that wait, oldest first; or all, newest first.
    pub async fn questions(&self, all: bool, most: usize) -> Result<Vec<QuestionRow>, StoreError> {
        self.db
            .read(move |tx| {
                let which =
                    if all { "?1 >= 0 ORDER BY id DESC".to_owned() } else { format!("{WAITS} ORDER BY id") };
                let sql = format!("SELECT {COLUMNS} FROM questions WHERE {which} LIMIT ?2");
                let mut statement = tx.prepare_cached(&sql)?;
                let rows = statement.query_and_then(params![now_ms(), most], row_of)?;
                rows.collect()
            })
            .await
    }

    /// How many wait.
    pub async fn open_questions(&self) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM questions WHERE {WAITS}");
        self.db.read(move |tx| Ok(tx.prepare_cached(&sql)?.query_row([now_ms()], |row| row.get(0))?)).await
    }

    /// One question.
    pub async fn question(&self, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        self.db.read(move |tx| find(tx, id)).await
    }

    /// The question whose answer a message is, by the platform's id.
    pub async fn question_answered_by(
        &self,
        chat: &ChatRef,
        platform_id: &str,
    ) -> Result<Option<QuestionId>, StoreError> {
        let (chat, platform_id) = (chat.clone(), platform_id.to_owned());
        self.db
            .read(move |tx| {
                let message = tx
                    .prepare_cached(
                        "SELECT id FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3",
                    )?
                    .query_row(params![chat.channel, chat.chat_id, platform_id], |row| row.get::<_, i64>(0))
                    .optional()?;
                let Some(message) = message else { return Ok(None) };
                let question = tx
                    .prepare_cached("SELECT id FROM questions WHERE message = ?1")?
                    .query_row([message], |row| row.get(0))
                    .optional()?;
                Ok(question.map(QuestionId))
            })
            .await
    }

    /// ① Takes a message as the answer to a question, once; the same message again changes nothing. As for every answer, it is
    /// the asking turn's while that runs, and else waits for the question to be asked again, or for a turn of its own.
    pub async fn answer(&self, question: QuestionId, answer: Answer) -> Result<Given, StoreError> {
        self.db.write(Durability::Durable, move |tx| give(tx, question, &answer)).await
    }

    /// Ends questions that nobody else does: their turn went away with its container, and none took them over in time.
    pub async fn expire_questions(&self) -> Result<(), StoreError> {
        let due = format!("SELECT EXISTS (SELECT 1 FROM questions WHERE {FORGOTTEN})");
        let any: bool =
            self.db.read(move |tx| Ok(tx.prepare_cached(&due)?.query_row([now_ms()], |row| row.get(0))?)).await?;
        if !any {
            return Ok(());
        }
        self.db
            .write(Durability::Durable, |tx| {
                let sql = format!("SELECT id FROM questions WHERE {FORGOTTEN}");
                let due: Vec<i64> =
                    tx.prepare(&sql)?.query_map([now_ms()], |row| row.get(0))?.collect::<Result<_, _>>()?;
                due.into_iter().try_for_each(|question| end(tx, question, QuestionEvent::Expire))
            })
            .await
    }
}

fn give(tx: &Savepoint<'_>, question: QuestionId, answer: &Answer) -> Result<Given, StoreError> {
    let Some(row) = find(tx, question)? else { return Ok(Given::Unknown) };
    let message = Inbound { chat: row.chat.clone(), ..answer.message.clone() };
    if let Some(known) = inbox::find(tx, &message)? {
        return Ok(Given::Now(known));
    }
    if !row.waits() {
        return Ok(Given::Over(Box::new(row)));
    }
    inbox::room_for_one(tx, &row.session)?;
    let id = inbox::insert(tx, &row.session, &message, MessageKind::Message, now_ms())?;
    settle(tx, question, id, &message)?;
    if answer.elsewhere {
        let words = notice::answered_elsewhere(&row.text, meant(&row.options, &message.text), &message.sender);
        let turn: Option<i64> =
            tx.prepare_cached("SELECT turn FROM inbox WHERE id = ?1")?.query_row([id.0], |row| row.get(0))?;
        insert_reply(tx, &row.session, turn.map(TurnId), &row.chat, ReplyKind::Notice, &words)?;
    }
    let news = Some(Box::new(row.chat));
    Ok(Given::Now(Accepted { message: id, session: row.session, duplicate: false, answered: None, news }))
}

/// Part of ①: takes a new message as the answer to the chat's oldest question that waits, if there is one.
pub(super) fn take_answer(
    tx: &Savepoint<'_>,
    session: &SessionId,
    id: MessageId,
    message: &Inbound,
) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT id FROM questions WHERE {WAITS} AND session = ?2 AND channel = ?3 AND chat_id = ?4 AND thread_id IS ?5
         ORDER BY id LIMIT 1"
    );
    let ChatRef { channel, chat_id, thread_id } = &message.chat;
    let question: Option<i64> = tx
        .prepare_cached(&sql)?
        .query_row(params![now_ms(), session.as_str(), channel, chat_id, thread_id], |row| row.get(0))
        .optional()?;
    let Some(question) = question else { return Ok(false) };
    settle(tx, QuestionId(question), id, message)?;
    Ok(true)
}

/// Makes a message in the inbox a question's answer. It joins the turn that asked, when that still runs; else it waits, and
/// the turn that takes the question over takes it too.
fn settle(tx: &Savepoint<'_>, question: QuestionId, id: MessageId, message: &Inbound) -> Result<(), StoreError> {
    let (options, turn, running): (String, i64, bool) = tx
        .prepare_cached(
            "SELECT options, turn, (SELECT state = 'running' FROM turns WHERE id = questions.turn) FROM questions
             WHERE id = ?1",
        )?
        .query_row([question.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let options: Vec<String> = serde_json::from_str(&options).unwrap_or_default();
    let mut answer = meant(&options, &message.text).to_owned();
    for file in files::of_message(tx, id)? {
        answer += &format!("\n[file {}]", file.path);
    }
    tx.prepare_cached("UPDATE questions SET answer = ?1, message = ?2, answered_by = ?3 WHERE id = ?4")?
        .execute(params![answer, id.0, message.sender, question.0])?;
    end(tx, question.0, QuestionEvent::Answer)?;
    if running { join(tx, id, TurnId(turn)) } else { Ok(()) }
}

/// Ends a question; its message is to show how.
pub(super) fn end(tx: &Savepoint<'_>, question: i64, event: QuestionEvent) -> Result<(), StoreError> {
    step_question(tx, question, event)?;
    tx.prepare_cached("UPDATE questions SET ended_at = ?1 WHERE id = ?2")?.execute([now_ms(), question])?;
    let Some(row) = find(tx, QuestionId(question))? else { return Ok(()) };
    close(tx, row)
}

/// Puts the change of a question's message into the outbox. Nothing where it had no buttons, or its platform names no
/// messages.
fn close(tx: &Savepoint<'_>, row: QuestionRow) -> Result<(), StoreError> {
    let asked: Option<(i64, String, Option<String>)> = tx
        .prepare_cached(
            "SELECT outbox.id, outbox.state, outbox.sent FROM questions JOIN outbox ON outbox.id = questions.reply
             WHERE questions.id = ?1",
        )?
        .query_row([row.id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((reply, state, sent)) = asked.filter(|_| !row.options.is_empty()) else { return Ok(()) };
    let shows = match ReplyState::parse(&state) {
        Some(ReplyState::Delivered) => sent_of(sent).pop().flatten().is_some(),
        Some(ReplyState::Dead) | None => false,
        // Behind it in the outbox.
        Some(ReplyState::Pending | ReplyState::Leased) => true,
    };
    if !shows {
        return Ok(());
    }
    let line = row.end();
    // No turn's words: nobody waits for them, and they are nothing that the agent said.
    let change = insert_reply(tx, &row.session, None, &row.chat, ReplyKind::Notice, &line)?;
    let asked = Asked { id: row.id, question: row.text, options: row.options, expires_at: row.expires_at };
    let reply = cofferdam_protocol::ids::ReplyId(reply);
    set_action(tx, change, &Action::Close(Closed { reply, asked }))
}
