//! Which message of its chat a reply answers, by the platform's id. It is looked up in the rows whenever a reply goes out, so that
//! it is the same after a restart.

use cofferdam_protocol::ids::{ReplyId, TurnId};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::GroupDb;
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;
use crate::store::StoreError;

/// How many of a session's newest messages are looked through for the one that a notice without a turn ended.
const NEWEST: usize = 200;

impl GroupDb {
    /// The message of a chat that a turn's words answer, by the platform's id.
    pub async fn reply_to(&self, turn: TurnId, chat: &ChatRef) -> Result<Option<String>, StoreError> {
        let chat = chat.clone();
        self.db.read(move |tx| of_turn(tx, turn, &chat)).await
    }
}

/// The message that a reply answers. What changes a message, or reacts to one, stands there already.
pub(super) fn of(tx: &Savepoint<'_>, reply: &Outbound) -> Result<Option<String>, StoreError> {
    match (&reply.action, reply.turn) {
        (Some(Action::Edit { .. } | Action::React { .. } | Action::Close(_)), _) => Ok(None),
        (Some(Action::File(_) | Action::Question(_)) | None, Some(turn)) => of_turn(tx, turn, &reply.chat),
        (Some(Action::File(_) | Action::Question(_)) | None, None) => of_notice(tx, reply.id, &reply.chat),
    }
}

/// The newest that the turn has of the chat; before those that it was only offered, and before answers to its own questions,
/// which may be presses. It is looked for among the turn's, which are few, and not among all of the chat's (the signs say so).
pub(super) const OF_TURN: &str = "SELECT platform_id FROM inbox
     WHERE turn = ?1 AND +channel = ?2 AND +chat_id = ?3 AND thread_id IS ?4 AND kind <> 'stop'
     ORDER BY state = 'pending', id IN (SELECT message FROM questions WHERE turn = ?1 AND message IS NOT NULL),
              id DESC
     LIMIT 1";

fn of_turn(tx: &Savepoint<'_>, turn: TurnId, chat: &ChatRef) -> Result<Option<String>, StoreError> {
    let mut statement = tx.prepare_cached(OF_TURN)?;
    let found = params![turn.0, chat.channel, chat.chat_id, chat.thread_id];
    Ok(statement.query_row(found, |row| row.get(0)).optional()?)
}

/// The newest of those that ended in the notice, such as a command.
const OF_NOTICE: &str = "SELECT platform_id FROM (
         SELECT platform_id, notice, channel, chat_id, thread_id FROM inbox
         WHERE session = (SELECT session FROM outbox WHERE id = ?1) ORDER BY id DESC LIMIT ?2
     )
     WHERE notice = ?1 AND channel = ?3 AND chat_id = ?4 AND thread_id IS ?5 LIMIT 1";

fn of_notice(tx: &Savepoint<'_>, notice: ReplyId, chat: &ChatRef) -> Result<Option<String>, StoreError> {
    let mut statement = tx.prepare_cached(OF_NOTICE)?;
    let found = params![notice.0, NEWEST, chat.channel, chat.chat_id, chat.thread_id];
    Ok(statement.query_row(found, |row| row.get(0)).optional()?)
}
