//! Every step of a row's state: read, through its machine's one transition function, written. An illegal one is an error
//! and writes nothing. No other file of the store writes a state, live or in recovery; a test holds that.

use cofferdam_protocol::ids::{MessageId, ReplyId, TurnId};
use rusqlite::{Savepoint, ToSql, params};

use crate::model::IllegalTransition;
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState};
use crate::model::message::{MessageEvent, MessageState};
use crate::model::question::{QuestionEvent, QuestionState};
use crate::model::reply::{ReplyEvent, ReplyState};
use crate::model::tool_call::{CallEvent, CallState};
use crate::model::turn::{TurnEvent, TurnState};
use crate::store::StoreError;

/// A machine's place in SQL.
struct Kept<S: 'static> {
    /// For errors.
    what: &'static str,
    read: &'static str,
    write: &'static str,
    parse: fn(&str) -> Option<S>,
    text: fn(S) -> &'static str,
}

impl<S: Copy> Kept<S> {
    fn read(&self, tx: &Savepoint<'_>, key: &[&dyn ToSql]) -> Result<S, StoreError> {
        let text: String = tx.prepare_cached(self.read)?.query_row(key, |row| row.get(0))?;
        (self.parse)(&text).ok_or(StoreError::Unknown { what: self.what, value: text })
    }

    fn step(
        &self,
        tx: &Savepoint<'_>,
        key: &[&dyn ToSql],
        next: impl FnOnce(S) -> Result<S, IllegalTransition>,
    ) -> Result<S, StoreError> {
        let state = next(self.read(tx, key)?)?;
        let mut all: Vec<&dyn ToSql> = key.to_vec();
        let text = (self.text)(state);
        all.push(&text);
        tx.prepare_cached(self.write)?.execute(all.as_slice())?;
        Ok(state)
    }
}

const MESSAGE: Kept<MessageState> = Kept {
    what: "message state",
    read: "SELECT state FROM inbox WHERE id = ?1",
    write: "UPDATE inbox SET state = ?2 WHERE id = ?1",
    parse: MessageState::parse,
    text: MessageState::as_str,
};

const TURN: Kept<TurnState> = Kept {
    what: "turn state",
    read: "SELECT state FROM turns WHERE id = ?1",
    write: "UPDATE turns SET state = ?2 WHERE id = ?1",
    parse: TurnState::parse,
    text: TurnState::as_str,
};

const REPLY: Kept<ReplyState> = Kept {
    what: "reply state",
    read: "SELECT state FROM outbox WHERE id = ?1",
    write: "UPDATE outbox SET state = ?2 WHERE id = ?1",
    parse: ReplyState::parse,
    text: ReplyState::as_str,
};

const LETTER: Kept<DeadLetterState> = Kept {
    what: "dead letter's state",
    read: "SELECT state FROM dead_letters WHERE id = ?1",
    write: "UPDATE dead_letters SET state = ?2 WHERE id = ?1",
    parse: DeadLetterState::parse,
    text: DeadLetterState::as_str,
};

const QUESTION: Kept<QuestionState> = Kept {
    what: "question state",
    read: "SELECT state FROM questions WHERE id = ?1",
    write: "UPDATE questions SET state = ?2 WHERE id = ?1",
    parse: QuestionState::parse,
    text: QuestionState::as_str,
};

const CALL: Kept<CallState> = Kept {
    what: "call state",
    read: "SELECT state FROM tool_calls WHERE turn = ?1 AND call_id = ?2",
    write: "UPDATE tool_calls SET state = ?3 WHERE turn = ?1 AND call_id = ?2",
    parse: CallState::parse,
    text: CallState::as_str,
};

/// Where a message is.
pub(super) fn message_state(tx: &Savepoint<'_>, id: MessageId) -> Result<MessageState, StoreError> {
    MESSAGE.read(tx, params![id.0])
}

/// A message's step.
pub(super) fn step_message(
    tx: &Savepoint<'_>,
    id: MessageId,
    event: MessageEvent,
) -> Result<MessageState, StoreError> {
    MESSAGE.step(tx, params![id.0], |state| state.next(event))
}

/// The same step of several messages; an illegal one of any fails all.
pub(super) fn step_messages(tx: &Savepoint<'_>, ids: &[MessageId], event: MessageEvent) -> Result<(), StoreError> {
    ids.iter().try_for_each(|id| step_message(tx, *id, event).map(drop))
}

/// A turn's end.
pub(super) fn step_turn(tx: &Savepoint<'_>, id: TurnId, event: TurnEvent<'_>) -> Result<TurnState, StoreError> {
    TURN.step(tx, params![id.0], |state| state.next(event))
}

/// A reply's step.
pub(super) fn step_reply(tx: &Savepoint<'_>, id: ReplyId, event: ReplyEvent) -> Result<ReplyState, StoreError> {
    REPLY.step(tx, params![id.0], |state| state.next(event))
}

/// A person's decision about a dead letter.
pub(super) fn step_letter(
    tx: &Savepoint<'_>,
    id: i64,
    event: DeadLetterEvent,
) -> Result<DeadLetterState, StoreError> {
    LETTER.step(tx, params![id], |state| state.next(event))
}

/// A question's end.
pub(super) fn step_question(
    tx: &Savepoint<'_>,
    id: i64,
    event: QuestionEvent,
) -> Result<QuestionState, StoreError> {
    QUESTION.step(tx, params![id], |state| state.next(event))
}

/// The end of a call that waited.
pub(super) fn step_call(
    tx: &Savepoint<'_>,
    turn: TurnId,
    call_id: &str,
    event: CallEvent,
) -> Result<CallState, StoreError> {
    CALL.step(tx, params![turn.0, call_id], |state| state.next(event))
}

/// The messages that a running turn has, in order.
pub(super) fn claimed(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT id FROM inbox WHERE turn = ?1 AND state = 'claimed' ORDER BY id")?;
    let rows = statement.query_map([turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
