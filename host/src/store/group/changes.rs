//! What a reply has besides its text when it is handed over: buttons, and the messages that it changes.

use std::path::Path;

use cofferdam_protocol::ids::{QuestionId, ReplyId};
use rusqlite::{OptionalExtension, Savepoint};

use super::outbox::sent_of;
use crate::model::action::Action;
use crate::model::button::{self, Button};
use crate::model::reply::{Labelled, Outbound};
use crate::store::StoreError;

/// The options of a question that waits. Its group's data directory has the group's name.
pub(super) fn buttons(tx: &Savepoint<'_>, reply: &Outbound, data: &Path) -> Result<Vec<Labelled>, StoreError> {
    let Some(Action::Question(asked)) = &reply.action else { return Ok(Vec::new()) };
    let folder = data.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let Some(group) = folder.map(|folder| button::tag(&folder)) else { return Ok(Vec::new()) };
    if is_over(tx, asked.id)? {
        return Ok(Vec::new());
    }
    let labelled = |(option, label): (usize, &String)| Labelled {
        label: label.clone(),
        data: Button::Option { group: group.clone(), question: asked.id, option }.data(),
    };
    Ok(asked.options.iter().enumerate().map(labelled).collect())
}

fn is_over(tx: &Savepoint<'_>, question: QuestionId) -> Result<bool, StoreError> {
    let over = tx
        .prepare_cached("SELECT state <> 'open' FROM questions WHERE id = ?1")?
        .query_row([question.0], |row| row.get(0))
        .optional()?;
    Ok(over.unwrap_or(false))
}

/// The messages that a reply changes: those of the one that it edits; of a question only the last, which has the buttons.
pub(super) fn onto(tx: &Savepoint<'_>, reply: &Outbound) -> Result<Vec<String>, StoreError> {
    match &reply.action {
        Some(Action::Edit { reply: target }) => {
            Ok(sent(tx, "SELECT sent FROM outbox WHERE id = ?1", *target)?.into_iter().flatten().collect())
        }
        Some(Action::Close(closed)) => {
            // One that was cut off has no buttons yet.
            let whole = "SELECT sent FROM outbox WHERE id = ?1 AND state = 'delivered'";
            Ok(sent(tx, whole, closed.reply)?.pop().flatten().into_iter().collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn sent(tx: &Savepoint<'_>, sql: &str, reply: ReplyId) -> Result<Vec<Option<String>>, StoreError> {
    let kept = tx.prepare_cached(sql)?.query_row([reply.0], |row| row.get::<_, Option<String>>(0)).optional()?;
    Ok(sent_of(kept.flatten()))
}

/// Whether a reply only changes how a question's message looks.
pub(super) fn is_close(tx: &Savepoint<'_>, reply: ReplyId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT json_type(action, '$.close') IS NOT NULL FROM outbox WHERE id = ?1")?
        .query_row([reply.0], |row| row.get(0))?)
}
