//! The question of an approval, as it is posted to those who decide.

use rusqlite::Savepoint;

use super::StoreError;
use super::approvals::{ApprovalRow, COLUMNS, row_of};
use super::posts::{self, NewPost};
use crate::model::approval::{Choice, DENY};
use crate::model::chat::ChatRef;

pub(super) fn put_question(
    tx: &Savepoint<'_>,
    chat: &ChatRef,
    id: i64,
    words: &str,
    choices: &[Choice],
) -> Result<(), StoreError> {
    let text = format!("{words}\n{}", how(id, choices));
    posts::insert(tx, &NewPost { chat: chat.clone(), text, approval: Some(id) }).map(drop)
}

/// Those that wait, oldest first.
pub(super) fn open(tx: &Savepoint<'_>) -> Result<Vec<ApprovalRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE state = 'open' ORDER BY id");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_and_then([], row_of)?;
    rows.collect()
}

/// How it is answered where there are no buttons.
fn how(id: i64, choices: &[Choice]) -> String {
    let words: Vec<String> = choices
        .iter()
        .map(|choice| match choice.word.as_str() {
            DENY => format!("/deny {id}"),
            word => format!("/approve {id} {word}"),
        })
        .collect();
    words.join(" · ")
}
