//! How a message stands, for whoever waits for its answer: the same at any time, delivered or not.

use cofferdam_protocol::ids::TurnId;
use cofferdam_protocol::runner::Usage;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::GroupDb;
use super::earlier::TRIES;
use crate::model::chat::ChatRef;
use crate::model::command::MessageKind;
use crate::model::message::MessageState;
use crate::model::stand::{Answer, Stand};
use crate::model::turn::TurnState;
use crate::store::StoreError;

/// What a turn said in the message's chat. What it said before the message came, to others, is left out, unless there is
/// nothing else: then the clock was set back meanwhile.
const TEXTS: &str =
    "SELECT outbox.text, outbox.created_at >= inbox.accepted_at OR turns.started_at >= inbox.accepted_at
     FROM inbox JOIN turns ON turns.id = ?2 JOIN outbox ON outbox.turn = turns.id
     WHERE inbox.id = ?1 AND outbox.kind = ?3
       AND outbox.channel = inbox.channel AND outbox.chat_id = inbox.chat_id AND outbox.thread_id IS inbox.thread_id
       AND json_type(outbox.action, '$.react') IS NULL AND json_type(outbox.action, '$.close') IS NULL
     ORDER BY outbox.id";

impl GroupDb {
    /// How the message with this id of the platform stands, in the chat and its thread.
    pub async fn stand(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, StoreError> {
        let (chat, platform_id) = (chat.clone(), platform_id.to_owned());
        self.db
            .read(move |tx| {
                let found = tx
                    .prepare_cached(
                        "SELECT id, state, kind, turn, notice FROM inbox
                         WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3 AND thread_id IS ?4",
                    )?
                    .query_row(params![chat.channel, chat.chat_id, platform_id, chat.thread_id], |row| {
                        Ok(message(row))
                    })
                    .optional()?;
                found.map_or(Ok(Stand::Unknown), |message| stand(tx, &message?))
            })
            .await
    }
}

struct Message {
    id: i64,
    state: MessageState,
    kind: MessageKind,
    turn: Option<i64>,
    notice: Option<i64>,
}

fn message(row: &Row<'_>) -> Result<Message, StoreError> {
    let (state, kind): (String, String) = (row.get(1)?, row.get(2)?);
    Ok(Message {
        id: row.get(0)?,
        state: MessageState::parse(&state).ok_or(StoreError::Unknown { what: "message state", value: state })?,
        kind: MessageKind::parse(&kind).ok_or(StoreError::Unknown { what: "message kind", value: kind })?,
        turn: row.get(3)?,
        notice: row.get(4)?,
    })
}

fn stand(tx: &Savepoint<'_>, message: &Message) -> Result<Stand, StoreError> {
    match (message.state, message.turn) {
        (MessageState::Pending, _) | (MessageState::Claimed, None) => Ok(Stand::Waiting),
        (MessageState::Claimed, Some(turn)) if asks(tx, message.id, turn)? => {
            let texts = texts(tx, message.id, turn, "reply")?;
            Ok(Stand::Asks(Answer { texts, usage: usage(tx, turn)? }))
        }
        (MessageState::Claimed, Some(turn)) => Ok(Stand::Running(TurnId(turn))),
        (MessageState::Done, turn) => done(tx, message, turn),
    }
}

/// Whether the turn waits for an answer to what it asked in the message's chat after it came.
fn asks(tx: &Savepoint<'_>, message: i64, turn: i64) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM inbox JOIN questions USING (channel, chat_id)
               WHERE inbox.id = ?1 AND questions.turn = ?2 AND questions.state = 'open'
                 AND questions.thread_id IS inbox.thread_id AND questions.asked_at >= inbox.accepted_at)";
    Ok(tx.prepare_cached(sql)?.query_row([message, turn], |row| row.get(0))?)
}

fn done(tx: &Savepoint<'_>, message: &Message, turn: Option<i64>) -> Result<Stand, StoreError> {
    if let Some(notice) = message.notice {
        let text = notice_text(tx, notice)?;
        // What a command did is its answer.
        let command = message.kind != MessageKind::Message;
        return Ok(if command { Stand::Said(vec![text].into()) } else { Stand::Failed(text) });
    }
    let Some(turn) = turn else { return Ok(Stand::Failed("it ended without an answer".to_owned())) };
    let state: String =
        tx.prepare_cached("SELECT state FROM turns WHERE id = ?1")?.query_row([turn], |row| row.get(0))?;
    let notices = texts(tx, message.id, turn, "notice")?;
    if TurnState::parse(&state) != Some(TurnState::Completed) {
        let last = notices.into_iter().next_back();
        return Ok(Stand::Failed(last.unwrap_or_else(|| "the turn ended without an answer".to_owned())));
    }
    let usage = usage(tx, turn)?;
    // An earlier try may have said it all.
    let mut at = Some(turn);
    while let Some(turn) = at {
        let said = texts(tx, message.id, turn, "reply")?;
        if !said.is_empty() {
            return Ok(Stand::Said(Answer { texts: said, usage }));
        }
        at = tx
            .prepare_cached("SELECT earlier FROM turns WHERE id = ?1 AND earlier < id")?
            .query_row([turn], |row| row.get(0))
            .optional()?
            .flatten();
    }
    Ok(Stand::Said(Answer { texts: notices, usage }))
}

/// What the turn and the earlier tries of its messages took. Containers say so: their sums are not left to the database,
/// where they could overflow.
fn usage(tx: &Savepoint<'_>, turn: i64) -> Result<Usage, StoreError> {
    let sql = format!(
        "{TRIES} SELECT coalesce(input_tokens, 0), coalesce(cached_tokens, 0), coalesce(output_tokens, 0),
                        coalesce(reasoning_tokens, 0)
         FROM tries JOIN turns ON turns.id = tries.turn WHERE turns.id = ?1 OR turns.state <> 'completed'"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map([turn], |row| {
        Ok(Usage { input: row.get(0)?, cached_input: row.get(1)?, output: row.get(2)?, reasoning: row.get(3)? })
    })?;
    let mut sum = Usage::default();
    for usage in rows {
        sum = sum.and(usage?);
    }
    Ok(sum)
}

fn notice_text(tx: &Savepoint<'_>, reply: i64) -> Result<String, StoreError> {
    Ok(tx.prepare_cached("SELECT text FROM outbox WHERE id = ?1")?.query_row([reply], |row| row.get(0))?)
}

fn texts(tx: &Savepoint<'_>, message: i64, turn: i64, kind: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = tx.prepare_cached(TEXTS)?;
    let rows = statement.query_map(params![message, turn, kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let all: Vec<(String, bool)> = rows.collect::<Result<_, _>>()?;
    let after = all.iter().any(|(_, after)| *after);
    Ok(all.into_iter().filter(|(_, is)| *is || !after).map(|(text, _)| text).collect())
}
