//! The question of an approval, as it is posted to those who decide.

use rusqlite::Savepoint;

use super::StoreError;
use super::approvals::{ApprovalRow, COLUMNS, row_of};
use super::posts::{self, NewPost};
use crate::model::approval::{ApprovalKind, Choice, DENY, EVERYBODY};
use crate::model::chat::ChatRef;

/// The most groups without a button that a question names.
const MOST_NAMED: usize = 20;

/// What is asked.
pub(super) struct Question<'a> {
    /// The approval's number.
    pub id: i64,
    /// What it is about.
    pub kind: ApprovalKind,
    /// The question, for people.
    pub words: &'a str,
    /// The answers that it has buttons for.
    pub choices: &'a [Choice],
}

pub(super) fn put_question(tx: &Savepoint<'_>, chat: &ChatRef, question: &Question<'_>) -> Result<(), StoreError> {
    let text = format!("{}\n{}", question.words, how(question, &others(tx, question)?));
    posts::insert(tx, &NewPost { chat: chat.clone(), text, approval: Some(question.id) }).map(drop)
}

/// The groups that a wiring takes besides those with a button.
fn others(tx: &Savepoint<'_>, question: &Question<'_>) -> Result<Vec<String>, StoreError> {
    if question.kind != ApprovalKind::Wiring {
        return Ok(Vec::new());
    }
    let mut statement = tx.prepare_cached("SELECT folder FROM groups ORDER BY folder")?;
    let mut all: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    all.retain(|folder| !question.choices.iter().any(|choice| choice.word == *folder));
    Ok(all)
}

/// Those that wait, oldest first.
pub(super) fn open(tx: &Savepoint<'_>) -> Result<Vec<ApprovalRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE state = 'open' ORDER BY id");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_and_then([], row_of)?;
    rows.collect()
}

/// How it is answered where there are no buttons.
fn how(Question { id, choices, .. }: &Question<'_>, others: &[String]) -> String {
    let mut words: Vec<String> = choices
        .iter()
        .map(|choice| match choice.word.as_str() {
            DENY => format!("/deny {id}"),
            word => format!("/approve {id} {word}"),
        })
        .collect();
    if !others.is_empty() {
        let everybody = choices.iter().any(|choice| choice.word.ends_with(EVERYBODY));
        let or = if everybody { format!(" or GROUP{EVERYBODY}") } else { String::new() };
        let named: Vec<_> = others.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = if others.len() > MOST_NAMED { ", …" } else { "" };
        words.push(format!("others: /approve {id} GROUP{or} ({}{more})", named.join(", ")));
    }
    words.join(" · ")
}
