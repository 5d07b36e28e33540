//! The agent's questions, and the messages that answer them.
//!
//! A question outlives its turn's container: the turn that runs the same messages again takes it over when it asks the
//! same, with the answer that came meanwhile.

use cofferdam_protocol::ids::{MessageId, QuestionId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::ToolAnswer;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::outbox::{insert_action, insert_reply};
use super::states::{message_state, step_message, step_messages};
use super::tools::{self, CallKey, Called, Known};
use super::turns::chat_of_turn;
use super::{GroupDb, answers};
use crate::model::action::{Action, Asked, question_words};
use crate::model::chat::ChatRef;
use crate::model::message::{MessageEvent, MessageState};
use crate::model::notice;
use crate::model::question::{QuestionEvent, QuestionState};
use crate::model::reply::ReplyKind;
use crate::model::tool_call::CallEvent;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// A question that is to be asked.
#[derive(Debug, Clone)]
pub struct NewQuestion {
    /// What.
    pub text: String,
    /// What can be chosen; none is a free answer.
    pub options: Vec<String>,
    /// How long an answer is waited for, in seconds.
    pub timeout_secs: i64,
}

/// How a waiting call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Until this time, ms.
    Until(i64),
    /// Not any more; a notice about it may have gone into the outbox.
    Over(ToolAnswer, Option<(ChatRef, ReplyId)>),
}

/// The messages whose answer a call was given: they are part of what their turn knows, and no input of any other.
pub(super) const FETCHED: &str = "SELECT questions.message FROM questions JOIN tool_calls USING (turn, call_id)
     WHERE questions.message IS NOT NULL AND tool_calls.state = 'done'";

struct Row {
    id: i64,
    state: QuestionState,
    answer: Option<String>,
    message: Option<i64>,
    asked_at: i64,
    expires_at: i64,
}

const COLUMNS: &str = "id, state, answer, message, asked_at, expires_at";

fn question_row(row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    let state: String = row.get(1)?;
    Ok(Row {
        id: row.get(0)?,
        state: QuestionState::parse(&state).ok_or(StoreError::Unknown { what: "question state", value: state })?,
        answer: row.get(2)?,
        message: row.get(3)?,
        asked_at: row.get(4)?,
        expires_at: row.get(5)?,
    })
}

impl GroupDb {
    /// How a call that asked stands; ends it when it is answered or its time is over.
    pub async fn waiting(&self, key: &CallKey) -> Result<Waiting, StoreError> {
        let key = key.clone();
        self.db
            .write(Durability::Durable, move |tx| match tools::earlier(tx, &key)? {
                Some(Known::Done(answer)) => Ok(Waiting::Over(answer, None)),
                Some(Known::Waiting) => look(tx, &key),
                _ => Ok(Waiting::Over(tools::failed("this was never asked"), None)),
            })
            .await
    }
}

/// Part of ②: a question in the turn's chat that the turn should know: the one that its messages answer, though no
/// call got the answer, or else the one that the session's last turn left without an answer.
pub(super) fn unanswered(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
) -> Result<Option<String>, StoreError> {
    let sql = format!(
        "SELECT text, options FROM questions
         WHERE session = ?1 AND turn <> ?2 AND channel = ?3 AND chat_id = ?4 AND thread_id IS ?5
           AND CASE WHEN state = 'answered'
                    THEN message IN (SELECT id FROM inbox WHERE turn = ?2) AND message NOT IN ({FETCHED})
                    ELSE turn = (SELECT max(id) FROM turns WHERE session = ?1 AND state <> 'running') END
         ORDER BY state = 'answered' DESC, id DESC LIMIT 1"
    );
    let row: Option<(String, String)> = tx
        .prepare_cached(&sql)?
        .query_row(params![session.as_str(), turn.0, chat.channel, chat.chat_id, chat.thread_id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(row.map(|(text, options)| {
        let options: Vec<String> = serde_json::from_str(&options).unwrap_or_default();
        question_words(&text, &options)
    }))
}

/// The waiting messages that answered a question and were not fetched.
pub(super) fn answers(tx: &Savepoint<'_>, session: &SessionId) -> Result<Vec<i64>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT inbox.id FROM questions JOIN inbox ON inbox.id = questions.message
         WHERE inbox.session = ?1 AND inbox.state = 'pending'",
    )?;
    let rows = statement.query_map([session.as_str()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Asks, or takes over what an earlier try of this turn asked.
pub(super) fn ask(
    tx: &Savepoint<'_>,
    key: &CallKey,
    chat: &ChatRef,
    new: &NewQuestion,
) -> Result<Called, StoreError> {
    let now = now_ms();
    let expires_at = now + new.timeout_secs * 1000;
    if let Some(known) = left_behind(tx, key, chat, &new.text, now)? {
        return take_over(tx, key, &known, expires_at);
    }
    let options = serde_json::to_string(&new.options).unwrap_or_default();
    tx.prepare_cached(
        "INSERT INTO questions (session, turn, call_id, channel, chat_id, thread_id, text, options, state, asked_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        key.session.as_str(),
        key.turn.0,
        key.call_id,
        chat.channel,
        chat.chat_id,
        chat.thread_id,
        new.text,
        options,
        QuestionState::Open.as_str(),
        now,
        expires_at,
    ])?;
    let asked = Asked {
        id: QuestionId(tx.last_insert_rowid()),
        question: new.text.clone(),
        options: new.options.clone(),
        expires_at,
    };
    let words = question_words(&new.text, &new.options);
    let id = asked.id;
    let reply = insert_action(tx, &key.session, key.turn, chat, &Action::Question(asked), &words)?;
    tx.prepare_cached("UPDATE questions SET reply = ?1 WHERE id = ?2")?.execute([reply.0, id.0])?;
    Ok(Called { answer: ToolAnswer::Pending, posted: Some((chat.clone(), reply)) })
}

/// The same question of an earlier try: since it was asked, no message has ended with a turn of the session.
fn left_behind(
    tx: &Savepoint<'_>,
    key: &CallKey,
    chat: &ChatRef,
    text: &str,
    now: i64,
) -> Result<Option<Row>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM questions
         WHERE turn > coalesce((SELECT max(id) FROM turns
                                WHERE session = ?1 AND id < ?2 AND state <> 'abandoned'
                                      AND EXISTS (SELECT 1 FROM inbox WHERE turn = turns.id AND state = 'done')), 0)
           AND turn < ?2 AND session = ?1 AND text = ?3 AND channel = ?4 AND chat_id = ?5 AND thread_id IS ?6
           AND (state = 'answered' OR (state = 'open' AND expires_at > ?7))
         ORDER BY id DESC LIMIT 1"
    );
    tx.prepare_cached(&sql)?
        .query_and_then(
            params![key.session.as_str(), key.turn.0, text, chat.channel, chat.chat_id, chat.thread_id, now],
            question_row,
        )?
        .next()
        .transpose()
}

fn take_over(tx: &Savepoint<'_>, key: &CallKey, known: &Row, expires_at: i64) -> Result<Called, StoreError> {
    tx.prepare_cached("UPDATE questions SET turn = ?1, call_id = ?2, expires_at = ?3 WHERE id = ?4")?
        .execute(params![key.turn.0, key.call_id, expires_at, known.id])?;
    let answer = match &known.answer {
        Some(answer) if known.state == QuestionState::Answered => {
            if let Some(message) = known.message {
                join(tx, MessageId(message), key.turn)?;
            }
            ToolAnswer::Done { success: true, text: answer.clone() }
        }
        _ => ToolAnswer::Pending,
    };
    Ok(Called { answer, posted: None })
}

fn look(tx: &Savepoint<'_>, key: &CallKey) -> Result<Waiting, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM questions WHERE turn = ?1 AND call_id = ?2");
    let row = tx
        .prepare_cached(&sql)?
        .query_and_then(params![key.turn.0, key.call_id], question_row)?
        .next()
        .transpose()?;
    let Some(row) = row else { return Ok(Waiting::Over(tools::failed("this was never asked"), None)) };
    let (answer, told) = match (row.state, row.answer) {
        (QuestionState::Answered, Some(text)) => (ToolAnswer::Done { success: true, text }, None),
        (QuestionState::Open, _) if row.expires_at > now_ms() => return Ok(Waiting::Until(row.expires_at)),
        (QuestionState::Open, _) => {
            answers::end(tx, row.id, QuestionEvent::Expire)?;
            let secs = (row.expires_at - row.asked_at) / 1000;
            let chat = chat_of_turn(tx, key.turn)?;
            let text = notice::unanswered(secs);
            let reply = insert_reply(tx, &key.session, Some(key.turn), &chat, ReplyKind::Notice, &text)?;
            (tools::failed(format!("no answer within {secs} s")), Some((chat, reply)))
        }
        _ => (tools::failed("the question was withdrawn"), None),
    };
    tools::settle(tx, key, &answer)?;
    Ok(Waiting::Over(answer, told))
}

/// Makes a waiting message one of a running turn's. One that a turn has already is left there.
pub(super) fn join(tx: &Savepoint<'_>, message: MessageId, turn: TurnId) -> Result<(), StoreError> {
    if message_state(tx, message)? != MessageState::Pending {
        return Ok(());
    }
    step_message(tx, message, MessageEvent::Claim)?;
    tx.prepare_cached("UPDATE inbox SET turn = ?1, tries = tries + 1 WHERE id = ?2")?
        .execute([turn.0, message.0])?;
    Ok(())
}

/// The ids that a statement over a turn finds.
fn found(tx: &Savepoint<'_>, sql: &str, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Part of ④: the session's questions are withdrawn, and a message whose answer the turn never fetched waits again, as
/// an ordinary one.
pub(super) fn turn_ended(tx: &Savepoint<'_>, session: &SessionId, turn: TurnId) -> Result<(), StoreError> {
    let unfetched = "SELECT id FROM inbox WHERE turn = ?1 AND state = 'claimed' AND id IN
               (SELECT message FROM questions JOIN tool_calls USING (turn, call_id)
                WHERE questions.turn = ?1 AND questions.state = 'answered' AND tool_calls.state = 'waiting')";
    for message in found(tx, unfetched, turn)? {
        step_message(tx, message, MessageEvent::Release)?;
        tx.prepare_cached("UPDATE inbox SET turn = NULL, tries = tries - 1 WHERE id = ?1")?.execute([message.0])?;
    }
    let open: Vec<i64> = tx
        .prepare_cached("SELECT id FROM questions WHERE session = ?1 AND state = 'open'")?
        .query_map([session.as_str()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for question in open {
        answers::end(tx, question, QuestionEvent::Withdraw)?;
    }
    calls_ended(tx, turn)
}

/// Messages whose answers a lost turn never fetched do not go with its others when those are tried again: they were
/// never its input. They wait for the question to be asked again, or else for a turn of their own.
pub(super) fn free_answers(tx: &Savepoint<'_>, turn: TurnId) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE inbox SET turn = NULL WHERE turn = ?1 AND state = 'pending' AND id NOT IN ({FETCHED})
                AND id IN (SELECT message FROM questions WHERE turn = ?1 AND message IS NOT NULL)"
    );
    tx.prepare_cached(&sql)?.execute([turn.0])?;
    Ok(())
}

/// Part of ②: answers that an earlier try fetched end with the turn that takes its messages.
pub(super) fn carry_answers(tx: &Savepoint<'_>, earlier: TurnId, turn: TurnId) -> Result<(), StoreError> {
    let sql = format!("SELECT id FROM inbox WHERE turn = ?1 AND state = 'pending' AND id IN ({FETCHED})");
    found(tx, &sql, earlier)?.into_iter().try_for_each(|message| join(tx, message, turn))
}

/// Answers that a lost turn fetched end with it when none of its messages is tried again.
pub(super) fn end_answers(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let sql = format!(
        "SELECT id FROM inbox WHERE turn = ?1 AND state = 'pending' AND id IN ({FETCHED})
                AND NOT EXISTS (SELECT 1 FROM inbox AS input WHERE input.turn = ?1 AND input.state = 'pending'
                                AND input.id NOT IN ({FETCHED}))"
    );
    let ended = found(tx, &sql, turn)?;
    step_messages(tx, &ended, MessageEvent::Answer)?;
    Ok(ended)
}

/// The calls of a turn that is over wait for nothing.
pub(super) fn calls_ended(tx: &Savepoint<'_>, turn: TurnId) -> Result<(), StoreError> {
    let waiting: Vec<String> = tx
        .prepare_cached("SELECT call_id FROM tool_calls WHERE turn = ?1 AND state = 'waiting'")?
        .query_map([turn.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    waiting.iter().try_for_each(|call| tools::end_call(tx, turn, call, CallEvent::Fail, "the turn ended first"))
}
