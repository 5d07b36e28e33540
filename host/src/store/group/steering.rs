//! What changes while a turn runs: a stop, and messages that go into it.

use cofferdam_protocol::ids::{Attempt, MessageId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{ControlRequest, Work};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::attempts::running_turn;
use super::claim::{BATCH_BYTES, BATCH_MESSAGES, ClaimedMessage, goes_apart, work_of};
use super::inbox::walk;
use super::states::{message_state, step_message};
use super::turns::{chat_of_turn, hear, stop_requested};
use super::{GroupDb, chat_of, fence, files, questions};
use crate::model::chat::ChatRef;
use crate::model::command::MessageKind;
use crate::model::message::MessageEvent;
use crate::store::StoreError;
use crate::store::db::Durability;

/// What the runner has to be told of its turn.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Interrupt it.
    pub interrupt: bool,
    /// Offer these to it.
    pub steer: Vec<ClaimedMessage>,
}

impl Orders {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        !self.interrupt && self.steer.is_empty()
    }
}

impl GroupDb {
    /// What the runner does not know yet of its turn. Messages are offered to it only if `steer`, and stay in the inbox
    /// until [`GroupDb::steered`]; the turn is noted at them, since from here on the provider may have them.
    pub async fn orders(
        &self,
        session: &SessionId,
        request: ControlRequest,
        steer: bool,
    ) -> Result<Orders, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                fence(tx, &session, request.attempt)?;
                if running_turn(tx, &session)? != Some(request.turn) {
                    return Ok(Orders::default());
                }
                if stop_requested(tx, request.turn)? {
                    return Ok(Orders { interrupt: !request.interrupted, steer: Vec::new() });
                }
                if !steer || request.interrupted || !can_be_steered(tx, request.turn)? {
                    return Ok(Orders::default());
                }
                let mut steer = offer(tx, &session, &request)?;
                files::fill(tx, &mut steer)?;
                Ok(Orders { interrupt: false, steer })
            })
            .await
    }

    /// Somebody asked for the end of the session's running turn.
    pub async fn stop_requested(&self, session: &SessionId) -> Result<bool, StoreError> {
        let session = session.clone();
        self.db.read(move |tx| running_turn(tx, &session)?.map_or(Ok(false), |turn| stop_requested(tx, turn))).await
    }

    /// The provider has these messages in the running turn: they are the turn's. Answers those that were not before;
    /// a repeated event, and messages that are not the turn's to take, change nothing.
    pub async fn steered(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<MessageId>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let mut taken = Vec::new();
                if !hear(tx, &session, attempt, seq)? || running_turn(tx, &session)? != Some(turn) {
                    return Ok(taken);
                }
                let chat = chat_of_turn(tx, turn)?;
                for message in messages {
                    if take(tx, &session, turn, &chat, message)? {
                        taken.push(message);
                    }
                }
                Ok(taken)
            })
            .await
    }
}

/// A turn that compacts, whose answer must follow a schema, or whose message goes apart, is about that one alone.
fn can_be_steered(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    let schema: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox WHERE turn = ?1 AND output_schema IS NOT NULL)")?
        .query_row([turn.0], |row| row.get(0))?;
    Ok(!schema && !goes_apart(tx, turn)? && work_of(tx, turn)? == Work::Answer)
}

/// The messages to offer: the turn's chat's oldest that wait, up to the first that must not go before its turn.
fn offer(
    tx: &Savepoint<'_>,
    session: &SessionId,
    request: &ControlRequest,
) -> Result<Vec<ClaimedMessage>, StoreError> {
    let chat = chat_of_turn(tx, request.turn)?;
    // The agent gets these when it asks again.
    let answers = questions::answers(tx, session)?;
    let (mut steer, mut bytes) = (Vec::new(), 0);
    // Those that were offered before are not read again with each message that comes.
    let wanted = |message, of: &ChatRef| *of == chat && !request.offered.contains(&message);
    walk(tx, session, wanted, |row| {
        let earlier = row.offered || row.turn.is_some_and(|turn| turn != request.turn);
        if row.kind != MessageKind::Message || row.output_schema.is_some() || earlier || answers.contains(&row.id.0)
        {
            return false;
        }
        bytes += row.text.len();
        let room = request.offered.len() + steer.len() < BATCH_MESSAGES && bytes <= BATCH_BYTES;
        if room {
            steer.push(ClaimedMessage::from(row));
        }
        room
    })?;
    let mut note = tx.prepare_cached("UPDATE inbox SET turn = ?1 WHERE id = ?2 AND state = 'pending'")?;
    for message in &steer {
        note.execute(params![request.turn.0, message.id.0])?;
    }
    Ok(steer)
}

fn take(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
    message: MessageId,
) -> Result<bool, StoreError> {
    let row = tx
        .prepare_cached(
            "SELECT kind, channel, chat_id, thread_id FROM inbox WHERE id = ?1 AND session = ?2 AND turn = ?3",
        )?
        .query_row(params![message.0, session.as_str(), turn.0], |row| {
            Ok((row.get::<_, String>(0)?, chat_of(row, 1)?))
        })
        .optional()?;
    if row.is_none_or(|(kind, its)| kind != MessageKind::Message.as_str() || its != *chat) {
        tracing::warn!(%message, %turn, "the runner took a message that it was not offered");
        return Ok(false);
    }
    let before = message_state(tx, message)?;
    if step_message(tx, message, MessageEvent::Steer)? == before {
        return Ok(false);
    }
    tx.prepare_cached("UPDATE inbox SET tries = tries + 1 WHERE id = ?1")?.execute([message.0])?;
    Ok(true)
}
