//! Who decides on what waits, and where they can be reached and were asked.

use cofferdam_protocol::ids::Folder;
use rusqlite::{Savepoint, params};

use super::approvals::ApprovalRow;
use super::asking::{Question, open, put_question};
use super::db::Durability;
use super::{Central, StoreError};
use crate::model::chat::ChatRef;

impl Central {
    /// Asks whoever may decide and was not asked yet, such as somebody who became known after the question, or whom it did not
    /// reach where they were asked. Answers the chats that have news.
    pub async fn ask_the_others(&self) -> Result<Vec<ChatRef>, StoreError> {
        self.db
            .write(Durability::Durable, |tx| {
                let mut news = Vec::new();
                for row in open(tx)? {
                    for chat in unasked(tx, &row)? {
                        let ApprovalRow { id, kind, words, choices, .. } = &row;
                        put_question(tx, &chat, &Question { id: *id, kind: *kind, words, choices })?;
                        news.push(chat);
                    }
                }
                Ok(news)
            })
            .await
    }

    /// How many wait that nobody was asked about. A question that was given up on its way asked nobody.
    pub async fn unasked_approvals(&self) -> Result<u64, StoreError> {
        self.db
            .read(|tx| {
                let sql = "SELECT count(*) FROM approvals WHERE state = 'open' AND NOT EXISTS
                               (SELECT 1 FROM posts WHERE approval = approvals.id AND posts.state <> 'dead')";
                Ok(tx.query_row(sql, [], |row| row.get(0))?)
            })
            .await
    }
}

/// A chat in which somebody can be reached who decides.
struct Reach {
    person: i64,
    chat: ChatRef,
}

/// Where those can be reached who decide on what concerns a group, or on what concerns none: one chat for each.
pub(super) fn approvers(tx: &Savepoint<'_>, folder: Option<&str>) -> Result<Vec<ChatRef>, StoreError> {
    let mut reaches = reaches(tx, folder)?;
    reaches.dedup_by_key(|reach| reach.person);
    Ok(reaches.into_iter().map(|reach| reach.chat).collect())
}

/// All chats in which they can be reached, by person, the one that is asked first before the others.
fn reaches(tx: &Savepoint<'_>, folder: Option<&str>) -> Result<Vec<Reach>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT person, channel, direct FROM users WHERE direct IS NOT NULL AND person IN (
             SELECT person FROM roles WHERE role IN ('owner', 'admin') AND (folder IS NULL OR folder = ?1))
         ORDER BY person, direct, channel",
    )?;
    let rows = statement.query_map([folder], |row| {
        let chat = ChatRef { channel: row.get(1)?, chat_id: row.get(2)?, thread_id: None };
        Ok(Reach { person: row.get(0)?, chat })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where those are to be asked who may decide and were not asked, in none of their chats: in the first that did not fail.
fn unasked(tx: &Savepoint<'_>, row: &ApprovalRow) -> Result<Vec<ChatRef>, StoreError> {
    // None: nothing was sent there; otherwise whether all of it was given up.
    let mut failed = tx.prepare_cached(
        "SELECT min(state = 'dead') FROM posts WHERE approval = ?1 AND channel = ?2 AND chat_id = ?3",
    )?;
    let mut missing = Vec::new();
    let reaches = reaches(tx, row.folder.as_ref().map(Folder::as_str))?;
    for of_one in reaches.chunk_by(|one, other| one.person == other.person) {
        let (mut asked, mut next) = (false, None);
        for Reach { chat, .. } in of_one {
            let dead: Option<bool> =
                failed.query_row(params![row.id, chat.channel, chat.chat_id], |row| row.get(0))?;
            match dead {
                Some(false) => asked = true,
                Some(true) => {}
                None => next = next.or(Some(chat)),
            }
        }
        if !asked {
            missing.extend(next.cloned());
        }
    }
    Ok(missing)
}
