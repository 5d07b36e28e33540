//! Who decides on what waits, and where they can be reached and were asked.

use cofferdam_protocol::ids::Folder;
use rusqlite::{Savepoint, params};

use super::approvals::ApprovalRow;
use super::asking::{Question, open, put_question};
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::chat::ChatRef;

/// A question that is not delivered after so long did not reach whom it asks, in ms.
const UNREACHED: i64 = 60_000;

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

    /// How many wait that nobody was asked about. A question that was given up on its way asked nobody, nor did one that
    /// is on its way for long.
    pub async fn unasked_approvals(&self) -> Result<u64, StoreError> {
        self.db
            .read(|tx| {
                let sql = "SELECT count(*) FROM approvals WHERE state = 'open' AND NOT EXISTS
                               (SELECT 1 FROM posts WHERE approval = approvals.id AND posts.state <> 'dead'
                                    AND (posts.state = 'delivered' OR posts.created_at > ?1))";
                Ok(tx.query_row(sql, [now_ms() - UNREACHED], |row| row.get(0))?)
            })
            .await
    }
}

#[cfg(test)]
impl Central {
    /// All that is on its way is older by so many ms.
    pub async fn posts_get_older(&self, by: i64) {
        let older =
            move |tx: &Savepoint<'_>| Ok(tx.execute("UPDATE posts SET created_at = created_at - ?1", [by])?);
        self.db.write(Durability::Relaxed, older).await.unwrap();
    }
}

/// A chat in which somebody can be reached who decides.
struct Reach {
    person: i64,
    chat: ChatRef,
}

/// Where those can be reached who decide on what concerns a group, or on what concerns none: one chat for each, of this channel
/// if they have one there.
pub(super) fn approvers(
    tx: &Savepoint<'_>,
    folder: Option<&str>,
    channel: &str,
) -> Result<Vec<ChatRef>, StoreError> {
    let mut reaches = reaches(tx, folder, channel)?;
    reaches.dedup_by_key(|reach| reach.person);
    Ok(reaches.into_iter().map(|reach| reach.chat).collect())
}

/// All chats in which they can be reached, by person, the one that is asked first before the others.
fn reaches(tx: &Savepoint<'_>, folder: Option<&str>, channel: &str) -> Result<Vec<Reach>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT person, channel, direct FROM users WHERE direct IS NOT NULL AND person IN (
             SELECT person FROM roles WHERE role IN ('owner', 'admin') AND (folder IS NULL OR folder = ?1))
         ORDER BY person, channel <> ?2, direct, channel",
    )?;
    let rows = statement.query_map(params![folder, channel], |row| {
        let chat = ChatRef { channel: row.get(1)?, chat_id: row.get(2)?, thread_id: None };
        Ok(Reach { person: row.get(0)?, chat })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where those are to be asked who may decide and were not asked, in none of their chats: in the first that was not tried. Somebody
/// may be away where they were asked, which waits, and here in the next one.
fn unasked(tx: &Savepoint<'_>, row: &ApprovalRow) -> Result<Vec<ChatRef>, StoreError> {
    // None: nothing was sent there; otherwise whether nothing of it arrived, nor still may soon.
    let mut failed = tx.prepare_cached(
        "SELECT min(state = 'dead' OR state <> 'delivered' AND created_at <= ?4) FROM posts
         WHERE approval = ?1 AND channel = ?2 AND chat_id = ?3",
    )?;
    let soon = now_ms() - UNREACHED;
    let mut missing = Vec::new();
    let reaches = reaches(tx, row.folder.as_ref().map(Folder::as_str), &row.channel)?;
    for of_one in reaches.chunk_by(|one, other| one.person == other.person) {
        let (mut asked, mut next) = (false, None);
        for Reach { chat, .. } in of_one {
            let dead: Option<bool> =
                failed.query_row(params![row.id, chat.channel, chat.chat_id, soon], |row| row.get(0))?;
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
