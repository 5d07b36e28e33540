//! Messages of somebody who writes faster than is read. They wait here, in their order, until their sender's pace lets them in;
//! so does what was held for an approval that was given; and what people change of what they wrote, while it waits for that or for an approval.

use rusqlite::{OptionalExtension, Savepoint, params};

use super::db::Durability;
use super::posts::{self, NewPost};
use super::{Central, StoreError};
use crate::model::chat::ChatRef;

/// The most that wait in all, whoever wrote them: of the largest they are 64 MB of the disk.
pub const MOST_LATE: u64 = 1000;

/// Somebody on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
}

/// A message that is to wait.
#[derive(Debug, Clone)]
pub struct NewLate {
    /// Where it was written.
    pub chat: ChatRef,
    /// The platform's id of it.
    pub platform_id: String,
    /// The platform's id of who wrote it.
    pub user_id: String,
    /// All of it, as JSON.
    pub arrival: String,
    /// Which of its files are in a workspace, as JSON.
    pub placed: String,
    /// What its chat is told.
    pub told: Option<NewPost>,
}

/// What came of holding a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It waits.
    Now,
    /// It waited already.
    Before,
    /// So many wait that it does not.
    Full,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Its number; they go up.
    pub id: i64,
    /// All of it, as JSON.
    pub arrival: String,
    /// Which of its files are in a workspace, as JSON.
    pub placed: String,
    /// How often it is to be taken in anew.
    pub again: i64,
    /// It was counted when it came, and waits for no pace.
    pub counted: bool,
}

impl Central {
    /// Has a message wait for its sender's pace, at most `most` of each sender. It is known by the platform's id.
    pub async fn hold_late(&self, new: NewLate, most: u64) -> Result<Held, StoreError> {
        self.db.write(Durability::Durable, move |tx| hold(tx, &new, most)).await
    }

    /// Those of whom messages wait.
    pub async fn late_writers(&self) -> Result<Vec<Writer>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement =
                    tx.prepare_cached("SELECT DISTINCT channel, user_id FROM late ORDER BY channel, user_id")?;
                let rows =
                    statement.query_map([], |row| Ok(Writer { channel: row.get(0)?, user_id: row.get(1)? }))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The oldest message of a sender that waits.
    pub async fn next_late(&self, writer: &Writer) -> Result<Option<Late>, StoreError> {
        let writer = writer.clone();
        self.db
            .read(move |tx| {
                Ok(tx
                    .prepare_cached(
                        "SELECT id, arrival, placed, again, counted FROM late WHERE channel = ?1 AND user_id = ?2
                         ORDER BY id LIMIT 1",
                    )?
                    .query_row([&writer.channel, &writer.user_id], |row| {
                        Ok(Late {
                            id: row.get(0)?,
                            arrival: row.get(1)?,
                            placed: row.get(2)?,
                            again: row.get(3)?,
                            counted: row.get(4)?,
                        })
                    })
                    .optional()?)
            })
            .await
    }

    /// Has what was held for approvals that were given wait as late messages do. Answers whether there was any.
    pub async fn release_held(&self) -> Result<bool, StoreError> {
        self.db.write(Durability::Durable, release).await
    }

    /// Forgets a message that waited and is taken, unless it was changed since it was read, or is to be taken in anew.
    pub async fn let_go_late(&self, late: Late) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                tx.prepare_cached("DELETE FROM late WHERE id = ?1 AND arrival = ?2 AND again = ?3")?
                    .execute(params![late.id, late.arrival, late.again])?;
                Ok(())
            })
            .await
    }

    /// Gives a message that waits, for its pace or for an approval, another text. Only who wrote it can. Answers whether there
    /// is one.
    pub async fn edit_held(
        &self,
        chat: &ChatRef,
        platform_id: &str,
        user_id: &str,
        text: &str,
    ) -> Result<bool, StoreError> {
        let key = (chat.channel.clone(), chat.chat_id.clone(), platform_id.to_owned(), user_id.to_owned());
        let text = text.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                let row = params![key.0, key.1, key.2, key.3, text];
                let late = tx
                    .prepare_cached(
                        "UPDATE late SET arrival = json_set(arrival, '$.content.Message.text', ?5)
                         WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3 AND user_id = ?4",
                    )?
                    .execute(row)?;
                let held = tx
                    .prepare_cached(
                        "UPDATE held SET arrival = json_set(arrival, '$.content.Message.text', ?5)
                         WHERE approval IN (SELECT id FROM approvals WHERE channel = ?1 AND chat_id = ?2)
                           AND json_extract(arrival, '$.platform_id') = ?3
                           AND json_extract(arrival, '$.sender.id') = ?4",
                    )?
                    .execute(row)?;
                Ok(late + held > 0)
            })
            .await
    }
}

fn hold(tx: &Savepoint<'_>, new: &NewLate, most: u64) -> Result<Held, StoreError> {
    let ChatRef { channel, chat_id, .. } = &new.chat;
    let before: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM late WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3)",
        )?
        .query_row(params![channel, chat_id, new.platform_id], |row| row.get(0))?;
    if before {
        return Ok(Held::Before);
    }
    let all: u64 = tx.prepare_cached("SELECT count(*) FROM late")?.query_row([], |row| row.get(0))?;
    if all >= MOST_LATE || waiting_of(tx, channel, &new.user_id)? >= most {
        return Ok(Held::Full);
    }
    tx.prepare_cached(
        "INSERT INTO late (channel, user_id, chat_id, platform_id, arrival, placed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![channel, new.user_id, chat_id, new.platform_id, new.arrival, new.placed])?;
    if let Some(told) = &new.told {
        posts::insert(tx, told)?;
    }
    Ok(Held::Now)
}

/// What was held for approvals that were given waits with its sender's late messages, in its order: what comes from here on stays
/// behind it. One that another approval let go before is taken in anew where it is. Answers whether there was any.
pub(super) fn release(tx: &Savepoint<'_>) -> Result<bool, StoreError> {
    // A row that somebody changed by hand, so that nobody can read it, is left out.
    tx.prepare_cached(
        "INSERT INTO late (channel, user_id, chat_id, platform_id, arrival, placed, counted)
         SELECT channel, json_extract(arrival, '$.sender.id'), json_extract(arrival, '$.chat.chat_id'),
             json_extract(arrival, '$.platform_id'), arrival, '[]', 1
         FROM (SELECT held.id, channel, iif(json_valid(arrival), arrival, NULL) AS arrival
               FROM held JOIN approvals ON approvals.id = approval WHERE approvals.state = 'approved')
         WHERE json_extract(arrival, '$.sender.id') IS NOT NULL AND json_extract(arrival, '$.platform_id') IS NOT NULL
             AND json_extract(arrival, '$.chat.chat_id') IS NOT NULL
         ORDER BY id
         ON CONFLICT (channel, chat_id, platform_id) DO UPDATE SET again = again + 1",
    )?
    .execute([])?;
    let sql = "DELETE FROM held WHERE approval IN (SELECT id FROM approvals WHERE state = 'approved')";
    Ok(tx.prepare_cached(sql)?.execute([])? > 0)
}

/// How many of a sender wait.
pub(super) fn waiting_of(tx: &Savepoint<'_>, channel: &str, user_id: &str) -> Result<u64, StoreError> {
    Ok(tx
        .prepare_cached("SELECT count(*) FROM late WHERE channel = ?1 AND user_id = ?2")?
        .query_row([channel, user_id], |row| row.get(0))?)
}
