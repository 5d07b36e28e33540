//! Posts that were tried for the last time, and what a person decides about them: as [`super::group::dead_letters`], for the
//! outbox that is no group's.

use cofferdam_protocol::ids::ReplyId;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::db::Durability;
use super::group::chat_of;
use super::group::dead_letters::{Fate, Settled, Woken};
use super::letters::{self, parse_state};
use super::own_states::{step_post, step_post_letter};
use super::{Central, StoreError, now_ms};
use crate::model::chat::ChatRef;
use crate::model::dead_letter::{Cause, DeadLetterEvent, DeadLetterState};
use crate::model::reply::ReplyEvent;

/// The most that wait for a decision; of more the oldest are forgotten. Strangers cause posts, and may block the bot.
const MOST_OPEN: i64 = 1000;

/// A post's dead letter as people look at it.
#[derive(Debug, Clone)]
pub struct PostLetter {
    /// Its number.
    pub number: i64,
    /// The chat that it was to go to.
    pub chat: ChatRef,
    /// The post.
    pub post: ReplyId,
    /// The post's text.
    pub text: String,
    /// How it went wrong.
    pub fate: Fate,
}

impl Central {
    /// The newest dead letters of posts, oldest first, with the beginnings of their texts; `open` leaves out those that a
    /// person has decided.
    pub async fn post_letters(&self, open: bool) -> Result<Vec<PostLetter>, StoreError> {
        self.db.read(move |tx| letters::listed(tx, SELECT, open, letter_row)).await
    }

    /// One dead letter of a post, with its whole text.
    pub async fn post_letter(&self, number: i64) -> Result<Option<PostLetter>, StoreError> {
        self.db.read(move |tx| letters::one(tx, SELECT, number, letter_row)).await
    }

    /// How many wait for a decision.
    pub async fn open_post_letters(&self) -> Result<u64, StoreError> {
        self.db.read(letters::open).await
    }

    /// Settles one as a person decides: a post that is retried waits again, from its first try.
    pub async fn settle_post_letter(&self, number: i64, decision: DeadLetterEvent) -> Result<Settled, StoreError> {
        self.db.write(Durability::Durable, move |tx| settle(tx, number, decision)).await
    }

    /// Settles all that are open; answers their numbers and what has something to do now.
    pub async fn settle_post_letters(&self, decision: DeadLetterEvent) -> Result<Vec<(i64, Woken)>, StoreError> {
        let all = move |tx: &Savepoint<'_>| letters::settle_all(tx, |number| settle(tx, number, decision));
        self.db.write(Durability::Durable, all).await
    }
}

const SELECT: &str = "SELECT letters.id, posts.channel, posts.chat_id, posts.thread_id, posts.id,
            substr(posts.text, 1, ?1), letters.error, letters.tries, letters.state, letters.at, letters.settled_at
     FROM dead_letters AS letters JOIN posts ON posts.id = letters.post";

fn letter_row(row: &Row<'_>) -> Result<PostLetter, StoreError> {
    Ok(PostLetter {
        number: row.get(0)?,
        chat: chat_of(row, 1)?,
        post: ReplyId(row.get(4)?),
        text: row.get(5)?,
        fate: Fate {
            cause: Cause::Delivery,
            error: row.get(6)?,
            tries: row.get(7)?,
            state: parse_state(row.get(8)?)?,
            at: row.get(9)?,
            settled_at: row.get(10)?,
        },
    })
}

fn settle(tx: &Savepoint<'_>, number: i64, decision: DeadLetterEvent) -> Result<Settled, StoreError> {
    let row: Option<(i64, String)> = tx
        .prepare_cached("SELECT post, state FROM dead_letters WHERE id = ?1")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((post, state)) = row else { return Ok(Settled::Unknown) };
    let state = parse_state(state)?;
    match step_post_letter(tx, number, decision) {
        Err(StoreError::Illegal(_)) => return Ok(Settled::Already(state)),
        stepped => stepped?,
    }
    tx.prepare_cached("UPDATE dead_letters SET settled_at = ?1 WHERE id = ?2")?.execute([now_ms(), number])?;
    if decision == DeadLetterEvent::Drop {
        return Ok(Settled::Done(Woken::Nobody));
    }
    step_post(tx, ReplyId(post), ReplyEvent::Revive)?;
    tx.prepare_cached("UPDATE posts SET tries = 0, lost = 0, next_try_at = 0 WHERE id = ?1")?.execute([post])?;
    let chat = tx
        .prepare_cached("SELECT channel, chat_id, thread_id FROM posts WHERE id = ?1")?
        .query_row([post], |row| chat_of(row, 0))?;
    Ok(Settled::Done(Woken::Chat(chat)))
}

/// Makes a dead letter of a post that is given up.
pub(super) fn bury(tx: &Savepoint<'_>, post: ReplyId, error: &str, tries: u32) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO dead_letters (post, error, tries, state, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![post.0, error, tries, DeadLetterState::Open.as_str(), now_ms()])?;
    let forgotten = tx
        .prepare_cached(
            "DELETE FROM dead_letters WHERE state = 'open' AND id <=
                 (SELECT id FROM dead_letters WHERE state = 'open' ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([MOST_OPEN])?;
    if forgotten > 0 {
        tracing::warn!(forgotten, "more than {MOST_OPEN} dead letters of posts wait; the oldest are forgotten");
    }
    Ok(())
}
