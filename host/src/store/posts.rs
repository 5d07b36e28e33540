//! What Cofferdam itself says to chats, on its way: an outbox that is no group's, and what is answered only once.

use cofferdam_protocol::ids::ReplyId;
use rusqlite::{OptionalExtension, Row, Savepoint, params};
use sha2::{Digest, Sha256};

use super::db::Durability;
use super::group::chat_of;
use super::group::outbox::{NextReply, Sent, sent_of, shortened};
use super::leases::{self, Oldest, Rows};
use super::own_states::step_post;
use super::post_letters::bury;
use super::{Central, StoreError, chance, now_ms};
use crate::model::approval::Choice;
use crate::model::button::Button;
use crate::model::chat::ChatRef;
use crate::model::delivery::{Miss, Next, Tried};
use crate::model::reply::{Labelled, Outbound, ReplyEvent, ReplyKind, ReplyState};

/// Posts that are over are kept for so long, ms: to be changed when what they ask is decided.
const KEPT: i64 = 14 * 24 * 60 * 60 * 1000;
/// Answered arrivals are remembered for so long, ms: longer than any platform repeats one.
const REMEMBERED: i64 = 7 * 24 * 60 * 60 * 1000;

/// Something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPost {
    /// Where.
    pub chat: ChatRef,
    /// What.
    pub text: String,
    /// The approval that it asks for.
    pub approval: Option<i64>,
}

impl NewPost {
    /// Words.
    pub fn new(chat: ChatRef, text: impl Into<String>) -> Self {
        Self { chat, text: text.into(), approval: None }
    }
}

impl Central {
    /// Answers an arrival, unless it was answered before. Says whether it was now.
    pub async fn answer(
        &self,
        chat: &ChatRef,
        platform_id: &str,
        post: Option<NewPost>,
    ) -> Result<bool, StoreError> {
        let (chat, platform_id) = (chat.clone(), platform_id.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                if !first_time(tx, &chat, &platform_id)? {
                    return Ok(false);
                }
                if let Some(post) = &post {
                    insert(tx, post)?;
                }
                Ok(true)
            })
            .await
    }

    /// Whether an arrival was answered.
    pub async fn was_answered(&self, chat: &ChatRef, platform_id: &str) -> Result<bool, StoreError> {
        let key = [chat.channel.clone(), chat.chat_id.clone(), platform_id.to_owned()];
        self.db
            .read(move |tx| {
                let sql = "SELECT EXISTS (SELECT 1 FROM answered
                               WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3)";
                Ok(tx.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
            })
            .await
    }

    /// Says something.
    pub async fn post(&self, post: NewPost) -> Result<(), StoreError> {
        self.db.write(Durability::Durable, move |tx| insert(tx, &post).map(|_| ())).await
    }

    /// How the oldest post of a chat that is not delivered stands. Never [`NextReply::Leased`].
    pub async fn next_post(&self, chat: &ChatRef) -> Result<NextReply, StoreError> {
        let chat = chat.clone();
        self.db.read(move |tx| leases::next(&Posts, tx, &chat)).await
    }

    /// ⑤ Takes the oldest, as [`leases`] has it.
    pub async fn lease_post(&self, chat: &ChatRef) -> Result<NextReply, StoreError> {
        let chat = chat.clone();
        self.db.write(Durability::Durable, move |tx| leases::take(&Posts, tx, &chat)).await
    }

    /// The channel took a piece; with the last it is ⑥ delivered.
    pub async fn post_sent(&self, post: ReplyId, sent: Sent, last: bool) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let kept = tx.query_row("SELECT sent FROM posts WHERE id = ?1", [post.0], |row| row.get(0))?;
                let mut ids = sent_of(kept);
                ids.resize(sent.place, None);
                ids.push(sent.id);
                let ids = serde_json::to_string(&ids).unwrap_or_default();
                tx.execute("UPDATE posts SET sent = ?1 WHERE id = ?2", params![ids, post.0])?;
                if last {
                    step_post(tx, post, ReplyEvent::Delivered)?;
                    tx.execute("UPDATE posts SET delivered_at = ?1 WHERE id = ?2", [now_ms(), post.0])?;
                }
                Ok(())
            })
            .await
    }

    /// The channel did not take it, or may not have. Answers what becomes of it.
    pub async fn post_missed(&self, post: ReplyId, miss: Miss, why: String) -> Result<Next, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let (failed, doubts): (u32, u32) =
                    tx.query_row("SELECT tries, doubt FROM posts WHERE id = ?1", [post.0], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                let tried = Tried {
                    failed: failed + u32::from(miss.is_failure()),
                    doubts: doubts + u32::from(miss.is_doubt()),
                };
                let next = miss.next(tried, now_ms(), chance());
                let (event, at) = match next {
                    Next::At(at) => (ReplyEvent::Retry, at),
                    Next::Dead => (ReplyEvent::GiveUp, 0),
                };
                step_post(tx, post, event)?;
                let why = shortened(&why);
                tx.execute(
                    "UPDATE posts SET next_try_at = ?1, tries = ?2, doubt = ?3, last_error = ?4 WHERE id = ?5",
                    params![at, tried.failed, tried.doubts, why, post.0],
                )?;
                if next == Next::Dead {
                    bury(tx, post, &why, tried.failed)?;
                }
                Ok(next)
            })
            .await
    }

    /// Chats with posts on their way: what a start has to look at. Forgets what is over for long.
    pub async fn due_posts(&self) -> Result<Vec<ChatRef>, StoreError> {
        self.db
            .write(Durability::Relaxed, |tx| {
                let now = now_ms();
                tx.execute(
                    "DELETE FROM posts WHERE state IN ('delivered', 'dead') AND created_at < ?1
                         AND NOT EXISTS (SELECT 1 FROM approvals WHERE approvals.id = approval AND approvals.state = 'open')
                         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE post = posts.id AND dead_letters.state = 'open')",
                    [now - KEPT],
                )?;
                tx.execute("DELETE FROM answered WHERE at < ?1", [now - REMEMBERED])?;
                let mut statement = tx.prepare_cached(
                    "SELECT DISTINCT channel, chat_id, thread_id FROM posts WHERE state IN ('pending', 'leased')",
                )?;
                let rows = statement.query_map([], |row| chat_of(row, 0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }
}

/// Notes that an arrival is answered; no when it was before.
pub(super) fn first_time(tx: &Savepoint<'_>, chat: &ChatRef, platform_id: &str) -> Result<bool, StoreError> {
    // The thread is no part of a message's name on any platform.
    let new = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO answered (channel, chat_id, platform_id, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![chat.channel, chat.chat_id, platform_id, now_ms()])?;
    Ok(new > 0)
}

pub(super) fn insert(tx: &Savepoint<'_>, post: &NewPost) -> Result<ReplyId, StoreError> {
    put(tx, post, None)
}

/// Puts a change of an earlier post behind what is on its way.
pub(super) fn change(tx: &Savepoint<'_>, of: ReplyId, post: &NewPost) -> Result<ReplyId, StoreError> {
    put(tx, post, Some(of))
}

fn put(tx: &Savepoint<'_>, post: &NewPost, of: Option<ReplyId>) -> Result<ReplyId, StoreError> {
    tx.prepare_cached(
        "INSERT INTO posts (channel, chat_id, thread_id, text, action, approval, state, next_try_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)",
    )?
    .execute(params![
        post.chat.channel,
        post.chat.chat_id,
        post.chat.thread_id,
        post.text,
        of.map(|of| of.0.to_string()),
        post.approval,
        ReplyState::Pending.as_str(),
        now_ms(),
    ])?;
    Ok(ReplyId(tx.last_insert_rowid()))
}

/// The outbox that is no group's.
struct Posts;

impl Rows for Posts {
    const TABLE: &'static str = "posts";

    fn oldest(&self, tx: &Savepoint<'_>, chat: &ChatRef) -> Result<Option<Oldest>, StoreError> {
        let mut statement = tx.prepare_cached(
            "SELECT id, channel, chat_id, thread_id, text, action, approval, tries, doubt, created_at, sent, next_try_at,
                    state
             FROM posts WHERE channel = ?1 AND chat_id = ?2 AND thread_id IS ?3 AND state IN ('pending', 'leased')
             ORDER BY id LIMIT 1",
        )?;
        let mut rows = statement.query(params![chat.channel, chat.chat_id, chat.thread_id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let state: String = row.get(12)?;
        let state = ReplyState::parse(&state).ok_or(StoreError::Unknown { what: "state", value: state })?;
        Ok(Some(Oldest { outbound: outbound(tx, row)?, state, next_try_at: row.get(11)? }))
    }

    fn step(tx: &Savepoint<'_>, post: ReplyId, event: ReplyEvent) -> Result<(), StoreError> {
        step_post(tx, post, event)
    }

    fn bury_lost(tx: &Savepoint<'_>, post: ReplyId, why: &str, lost: u32) -> Result<(), StoreError> {
        let failed: u32 = tx
            .prepare_cached("UPDATE posts SET last_error = ?1 WHERE id = ?2 RETURNING tries")?
            .query_row(params![why, post.0], |row| row.get(0))?;
        bury(tx, post, why, failed.saturating_add(lost))
    }
}

fn outbound(tx: &Savepoint<'_>, row: &Row<'_>) -> Result<Outbound, StoreError> {
    let (id, created_at): (i64, i64) = (row.get(0)?, row.get(9)?);
    let of: Option<i64> = row.get::<_, Option<String>>(5)?.and_then(|of| of.parse().ok());
    let onto = match of {
        Some(of) => sent_of(
            tx.query_row("SELECT sent FROM posts WHERE id = ?1", [of], |row| row.get(0)).optional()?.flatten(),
        ),
        None => Vec::new(),
    };
    let buttons = match row.get::<_, Option<i64>>(6)? {
        Some(approval) => buttons(tx, approval)?,
        None => Vec::new(),
    };
    Ok(Outbound {
        id: ReplyId(id),
        key: key(id, created_at),
        chat: chat_of(row, 1)?,
        turn: None,
        kind: ReplyKind::Notice,
        text: row.get(4)?,
        action: None,
        buttons,
        tries: row.get(7)?,
        doubts: row.get(8)?,
        sent: sent_of(row.get(10)?),
        onto: onto.into_iter().flatten().collect(),
        reply_to: None,
    })
}

/// The buttons of an approval that waits; one that is decided has none.
fn buttons(tx: &Savepoint<'_>, approval: i64) -> Result<Vec<Labelled>, StoreError> {
    let choices: Option<String> = tx
        .prepare_cached("SELECT choices FROM approvals WHERE id = ?1 AND state = 'open'")?
        .query_row([approval], |row| row.get(0))
        .optional()?;
    let choices: Vec<Choice> = choices.and_then(|choices| serde_json::from_str(&choices).ok()).unwrap_or_default();
    let labelled = |(choice, made): (usize, Choice)| Labelled {
        label: made.label,
        data: Button::Choice { approval, choice }.data(),
    };
    Ok(choices.into_iter().enumerate().map(labelled).collect())
}

/// As a reply's key; the time keeps apart what got the same number after an older copy was restored.
fn key(post: i64, created_at: i64) -> String {
    let hash = Sha256::digest(format!("post/{post}/{created_at}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests;
