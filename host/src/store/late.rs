//! Messages of somebody who writes faster than is read. They wait here, in their order, until their sender's pace lets them in;
//! so does what was held for an approval that was given; and what people change of what they wrote, while it waits for that or for an approval.
//! Where several groups listen, what one of them does not take waits here too, for it alone.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::central::folder_of;
use super::db::Durability;
use super::posts::{self, NewPost};
use super::{Central, StoreError};
use crate::model::chat::ChatRef;

/// The most that wait in all, whoever wrote them: of the largest they are 64 MB of the disk. As many again wait for each group alone.
pub const MOST_LATE: u64 = 1000;

/// Somebody on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
}

/// Messages that wait one behind the other. No line waits for another: one chat's trouble, or one group's, is its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    /// Who wrote them; nobody's id where they wait for one group, as all that is said in its chat is one line then.
    pub writer: Writer,
    /// Where.
    pub chat_id: String,
    /// The group that they wait for; none: all that listen there.
    pub folder: Option<Folder>,
}

/// What of a sender waits, seen from one of their chats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Their messages that wait for their pace, in all chats of the channel.
    pub late: u64,
    /// Some of these are of this chat.
    pub here: bool,
    /// Groups for which alone some of this chat wait, whoever wrote them.
    pub stuck: Vec<Folder>,
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
    /// The group that it waits for, and for nothing else; none: it waits for its sender's pace, and is for all that listen.
    pub folder: Option<Folder>,
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
    /// So many of its like wait that it does not.
    Full,
    /// So many of others do.
    NoRoom,
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
    /// Has a message wait, at most `most` of each sender for their pace, and of each chat for one group. It is known by the platform's id.
    pub async fn hold_late(&self, new: NewLate, most: u64) -> Result<Held, StoreError> {
        self.db.write(Durability::Durable, move |tx| hold(tx, &new, most)).await
    }

    /// The lines in which messages wait.
    pub async fn late_lines(&self) -> Result<Vec<Line>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT DISTINCT channel, iif(folder IS NULL, user_id, ''), chat_id, folder FROM late ORDER BY 1, 2, 3, 4",
                )?;
                let rows = statement.query_and_then([], |row| {
                    let writer = Writer { channel: row.get(0)?, user_id: row.get(1)? };
                    let folder = row.get::<_, Option<String>>(3)?.map(folder_of).transpose()?;
                    Ok(Line { writer, chat_id: row.get(2)?, folder })
                })?;
                rows.collect()
            })
            .await
    }

    /// The oldest message of a line.
    pub async fn next_late(&self, line: &Line) -> Result<Option<Late>, StoreError> {
        let Line { writer, chat_id, folder } = line.clone();
        self.db
            .read(move |tx| {
                Ok(tx
                    .prepare_cached(
                        "SELECT id, arrival, placed, again, counted FROM late
                         WHERE channel = ?1 AND chat_id = ?3
                             AND (folder IS NULL AND ?4 IS NULL AND user_id = ?2 OR folder = ?4) ORDER BY id LIMIT 1",
                    )?
                    .query_row(
                        params![writer.channel, writer.user_id, chat_id, folder.as_ref().map(Folder::as_str)],
                        |row| {
                            Ok(Late {
                                id: row.get(0)?,
                                arrival: row.get(1)?,
                                placed: row.get(2)?,
                                again: row.get(3)?,
                                counted: row.get(4)?,
                            })
                        },
                    )
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

    /// Gives a message that waits, for its pace or for an approval, another text and what that answers. Only who wrote it can. Answers whether there
    /// is one.
    pub async fn edit_held(
        &self,
        chat: &ChatRef,
        platform_id: &str,
        user_id: &str,
        (text, quote): (&str, Option<&str>),
    ) -> Result<bool, StoreError> {
        let key = (chat.channel.clone(), chat.chat_id.clone(), platform_id.to_owned(), user_id.to_owned());
        let (text, quote) = (text.to_owned(), quote.map(str::to_owned));
        self.db
            .write(Durability::Durable, move |tx| {
                let row = params![key.0, key.1, key.2, key.3, text, quote];
                let late = tx
                    .prepare_cached(
                        "UPDATE late SET arrival = json_set(arrival, '$.content.Message.text', ?5, '$.content.Message.quote', ?6)
                         WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3 AND user_id = ?4",
                    )?
                    .execute(row)?;
                let held = tx
                    .prepare_cached(
                        "UPDATE held SET arrival = json_set(arrival, '$.content.Message.text', ?5, '$.content.Message.quote', ?6)
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
    let folder = new.folder.as_ref().map(Folder::as_str);
    let before: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM late WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3 AND folder IS ?4)",
        )?
        .query_row(params![channel, chat_id, new.platform_id, folder], |row| row.get(0))?;
    if before {
        return Ok(Held::Before);
    }
    if like_it(tx, new)? >= most {
        return Ok(Held::Full);
    }
    let all: u64 =
        tx.prepare_cached("SELECT count(*) FROM late WHERE folder IS ?1")?.query_row([folder], |row| row.get(0))?;
    if all >= MOST_LATE {
        return Ok(Held::NoRoom);
    }
    tx.prepare_cached(
        "INSERT INTO late (channel, user_id, chat_id, folder, platform_id, arrival, placed, counted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        channel,
        new.user_id,
        chat_id,
        folder,
        new.platform_id,
        new.arrival,
        new.placed,
        folder.is_some(),
    ])?;
    if let Some(told) = &new.told {
        posts::insert(tx, told)?;
    }
    Ok(Held::Now)
}

/// How many count for the same bound: those of its sender, or those of its chat that wait for the same group.
fn like_it(tx: &Savepoint<'_>, new: &NewLate) -> Result<u64, StoreError> {
    let ChatRef { channel, chat_id, .. } = &new.chat;
    let Some(folder) = &new.folder else { return waiting_of(tx, channel, &new.user_id) };
    Ok(tx
        .prepare_cached("SELECT count(*) FROM late WHERE channel = ?1 AND chat_id = ?2 AND folder = ?3")?
        .query_row([channel, chat_id, folder.as_str()], |row| row.get(0))?)
}

/// What was held for approvals that were given waits with its sender's late messages of that chat, in its order and before them: they
/// were written after it, as is what comes from here on. One that another approval let go before is taken in anew where it is.
/// Answers whether there was any.
pub(super) fn release(tx: &Savepoint<'_>) -> Result<bool, StoreError> {
    let first: i64 = tx.query_row("SELECT coalesce(min(id), 1) FROM late", [], |row| row.get(0))?;
    // A row that somebody changed by hand, so that nobody can read it, is left out.
    tx.prepare_cached(
        "INSERT INTO late (id, channel, user_id, chat_id, platform_id, arrival, placed, counted)
         SELECT ?1 - count(*) OVER () + row_number() OVER (ORDER BY id) - 1, channel,
             json_extract(arrival, '$.sender.id'), json_extract(arrival, '$.chat.chat_id'),
             json_extract(arrival, '$.platform_id'), arrival, '[]', 1
         FROM (SELECT held.id, channel, iif(json_valid(arrival), arrival, NULL) AS arrival
               FROM held JOIN approvals ON approvals.id = approval WHERE approvals.state = 'approved')
         WHERE json_extract(arrival, '$.sender.id') IS NOT NULL AND json_extract(arrival, '$.platform_id') IS NOT NULL
             AND json_extract(arrival, '$.chat.chat_id') IS NOT NULL
         ORDER BY id
         ON CONFLICT (channel, chat_id, platform_id, coalesce(folder, '')) DO UPDATE SET again = again + 1",
    )?
    .execute([first])?;
    let sql = "DELETE FROM held WHERE approval IN (SELECT id FROM approvals WHERE state = 'approved')";
    Ok(tx.prepare_cached(sql)?.execute([])? > 0)
}

/// What of a sender waits, as one of their chats has it.
pub(super) fn ahead(tx: &Savepoint<'_>, chat: &ChatRef, user_id: &str) -> Result<Ahead, StoreError> {
    let key = [chat.channel.as_str(), user_id, chat.chat_id.as_str()];
    let here = "SELECT EXISTS (SELECT 1 FROM late
                    WHERE channel = ?1 AND user_id = ?2 AND chat_id = ?3 AND folder IS NULL)";
    let here = tx.prepare_cached(here)?.query_row(key, |row| row.get(0))?;
    let mut statement = tx.prepare_cached(
        "SELECT DISTINCT folder FROM late WHERE channel = ?1 AND chat_id = ?2 AND folder IS NOT NULL",
    )?;
    let chat_key = [chat.channel.as_str(), chat.chat_id.as_str()];
    let stuck = statement.query_and_then(chat_key, |row| folder_of(row.get(0)?))?.collect::<Result<_, _>>()?;
    Ok(Ahead { late: waiting_of(tx, &chat.channel, user_id)?, here, stuck })
}

/// How many of a sender wait for their pace.
fn waiting_of(tx: &Savepoint<'_>, channel: &str, user_id: &str) -> Result<u64, StoreError> {
    Ok(tx
        .prepare_cached("SELECT count(*) FROM late WHERE channel = ?1 AND user_id = ?2 AND folder IS NULL")?
        .query_row([channel, user_id], |row| row.get(0))?)
}
