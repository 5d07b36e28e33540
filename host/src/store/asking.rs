//! Whom an approval is asked of: everybody who may decide and can be reached, also who becomes known after it was asked.

use cofferdam_protocol::ids::Folder;
use rusqlite::{Savepoint, params};

use super::approvals::{ApprovalRow, COLUMNS, row_of};
use super::db::Durability;
use super::people::approvers;
use super::posts::{self, NewPost};
use super::{Central, StoreError};
use crate::model::approval::{Choice, DENY};
use crate::model::chat::ChatRef;

impl Central {
    /// Asks whoever may decide and was not asked yet, such as somebody who became known after the question. Answers the chats
    /// that have news.
    pub async fn ask_the_others(&self) -> Result<Vec<ChatRef>, StoreError> {
        self.db
            .write(Durability::Durable, |tx| {
                let mut news = Vec::new();
                for row in open(tx)? {
                    for chat in unasked(tx, &row)? {
                        put_question(tx, &chat, row.id, &row.words, &row.choices)?;
                        news.push(chat);
                    }
                }
                Ok(news)
            })
            .await
    }

    /// How many wait that nobody was asked about.
    pub async fn unasked_approvals(&self) -> Result<u64, StoreError> {
        self.db
            .read(|tx| {
                let sql = "SELECT count(*) FROM approvals WHERE state = 'open'
                               AND NOT EXISTS (SELECT 1 FROM posts WHERE approval = approvals.id)";
                Ok(tx.query_row(sql, [], |row| row.get(0))?)
            })
            .await
    }
}

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
fn open(tx: &Savepoint<'_>) -> Result<Vec<ApprovalRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE state = 'open' ORDER BY id");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_and_then([], row_of)?;
    rows.collect()
}

/// Where those can be reached who may decide and were not asked, in none of their chats.
fn unasked(tx: &Savepoint<'_>, row: &ApprovalRow) -> Result<Vec<ChatRef>, StoreError> {
    let mut asked = tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM posts JOIN users ON users.channel = posts.channel AND users.direct = posts.chat_id
             WHERE posts.approval = ?1 AND users.person =
                 (SELECT person FROM users WHERE channel = ?2 AND direct = ?3 LIMIT 1))",
    )?;
    let mut missing = Vec::new();
    for chat in approvers(tx, row.folder.as_ref().map(Folder::as_str))? {
        if !asked.query_row(params![row.id, chat.channel, chat.chat_id], |row| row.get(0))? {
            missing.push(chat);
        }
    }
    Ok(missing)
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
