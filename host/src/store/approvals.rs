//! What waits for a person: asked once, decided once, told to everybody who was asked.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::approvers::approvers;
use super::asking::{Question, put_question};
use super::central::folder_of;
use super::db::Durability;
use super::ending::{self, settle};
use super::people::{NewUser, put_user, raise_role};
use super::posts::{self, NewPost};
use super::wirings::{self, ChatRow, Wiring};
use super::{Central, StoreError, moves, now_ms};
use crate::model::approval::{
    ApprovalEvent, ApprovalKind, ApprovalState, Choice, MOST_HELD, MOST_OPEN, MOST_OPEN_OF_ONE, WAITS,
};
use crate::model::chat::ChatRef;
use crate::model::people::Role;

/// An approval's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its number.
    pub id: i64,
    /// What is asked.
    pub kind: ApprovalKind,
    /// The chat that it is about.
    pub channel: String,
    /// The chat on the channel.
    pub chat_id: String,
    /// The user that it is about, by the platform's id.
    pub user_id: Option<String>,
    /// The group that it is about.
    pub folder: Option<Folder>,
    /// The question, for people.
    pub words: String,
    /// The answers that it takes.
    pub choices: Vec<Choice>,
    /// How it stands.
    pub state: ApprovalState,
    /// What was chosen.
    pub choice: Option<String>,
    /// Who decided, in words.
    pub decided_by: Option<String>,
    /// When it was asked, ms.
    pub asked_at: i64,
    /// Until when it waits, ms.
    pub expires_at: i64,
}

/// Something to ask.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// What.
    pub kind: ApprovalKind,
    /// Who asks, by the platform's id.
    pub asker: String,
    /// The chat that it is about.
    pub chat: ChatRef,
    /// The user that it is about.
    pub user_id: Option<String>,
    /// The group that it is about.
    pub folder: Option<Folder>,
    /// The question, for people.
    pub words: String,
    /// The answers that it takes.
    pub choices: Vec<Choice>,
    /// What the chat itself is told, the first time.
    pub told: Option<String>,
    /// The arrival only asks to be let in: it adds nothing to what waits already.
    pub bare: bool,
}

/// What came of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It waits now, and these chats were told.
    New(i64, Vec<ChatRef>),
    /// It waited already; the arrival is held with the others.
    Waits(i64),
    /// Somebody said no to the same before.
    Denied,
    /// No more can wait.
    Full,
    /// Meanwhile somebody said yes: there is nothing to ask, and the arrival is to be decided on anew.
    Over,
}

/// A message that decides, as a command does. It decides once.
#[derive(Debug, Clone)]
pub struct Saying {
    /// Where it was written.
    pub chat: ChatRef,
    /// The platform's id of it.
    pub platform_id: String,
    /// What is said to it.
    pub answer: Option<String>,
}

/// What a decision does.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// Wires the chat.
    pub wiring: Option<Wiring>,
    /// Notes what the chat is, with its policy.
    pub chat: Option<ChatRow>,
    /// Makes the user known, with a role in a group.
    pub user: Option<(NewUser, Role, Option<Folder>)>,
}

/// What came of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It is decided now; these chats have news.
    Now(Vec<ChatRef>),
    /// It was decided before, so.
    Before(ApprovalState),
    /// The same message decided before; it decides nothing more.
    Said,
    /// There is none of that number.
    Unknown,
}

pub(super) const COLUMNS: &str =
    "id, kind, channel, chat_id, user_id, folder, words, choices, state, choice, decided_by, asked_at,
     expires_at";

impl Central {
    /// Asks, and holds the arrival (as JSON) until the decision. Everything in one transaction, once for each arrival.
    pub async fn ask(&self, new: NewApproval, platform_id: String, arrival: String) -> Result<Asked, StoreError> {
        self.db.write(Durability::Durable, move |tx| ask(tx, &new, &platform_id, &arrival)).await
    }

    /// One approval.
    pub async fn approval(&self, id: i64) -> Result<Option<ApprovalRow>, StoreError> {
        self.db.read(move |tx| find(tx, id)).await
    }

    /// Those that wait, oldest first; or all, newest first.
    pub async fn approvals(&self, all: bool, most: usize) -> Result<Vec<ApprovalRow>, StoreError> {
        self.db
            .read(move |tx| {
                let which = if all { "1 ORDER BY id DESC" } else { "state = 'open' ORDER BY id" };
                let sql = format!("SELECT {COLUMNS} FROM approvals WHERE {which} LIMIT ?1");
                let mut statement = tx.prepare_cached(&sql)?;
                let rows = statement.query_and_then([most], row_of)?;
                rows.collect()
            })
            .await
    }

    /// How many wait.
    pub async fn open_approvals(&self) -> Result<u64, StoreError> {
        self.db.read(count_open).await
    }

    /// Decides, once; everything that follows is done in the same transaction, and everybody who was asked is told. So is what is
    /// said to the message that decides, if one does: it is answered with the decision, and the same again decides nothing.
    pub async fn decide(
        &self,
        id: i64,
        event: ApprovalEvent,
        (choice, by): (String, String),
        effect: Effect,
        saying: Option<Saying>,
    ) -> Result<Decided, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let Some(row) = find(tx, id)? else { return Ok(Decided::Unknown) };
                if row.state != ApprovalState::Open {
                    return Ok(Decided::Before(row.state));
                }
                if let Some(saying) = saying {
                    if !posts::first_time(tx, &saying.chat, &saying.platform_id)? {
                        return Ok(Decided::Said);
                    }
                    if let Some(answer) = saying.answer {
                        posts::insert(tx, &NewPost::new(saying.chat, answer))?;
                    }
                }
                apply(tx, &effect, &by)?;
                settle(tx, &row, event, Some((&choice, &by))).map(Decided::Now)
            })
            .await
    }

    /// Ends those whose time is over. Answers the chats that have news.
    pub async fn expire_approvals(&self) -> Result<Vec<ChatRef>, StoreError> {
        self.db
            .write(Durability::Durable, |tx| {
                let sql = format!("SELECT {COLUMNS} FROM approvals WHERE state = 'open' AND expires_at <= ?1");
                let due: Vec<ApprovalRow> =
                    tx.prepare_cached(&sql)?.query_and_then([now_ms()], row_of)?.collect::<Result<_, _>>()?;
                let mut news = Vec::new();
                for row in due {
                    news.extend(settle(tx, &row, ApprovalEvent::Expire, None)?);
                }
                Ok(news)
            })
            .await
    }

    /// The first arrival that is held for an approval.
    pub async fn first_held(&self, approval: i64) -> Result<Option<String>, StoreError> {
        self.db
            .read(move |tx| {
                let sql = "SELECT arrival FROM held WHERE approval = ?1 ORDER BY id LIMIT 1";
                Ok(tx.query_row(sql, [approval], |row| row.get(0)).optional()?)
            })
            .await
    }
}

fn ask(tx: &Savepoint<'_>, new: &NewApproval, platform_id: &str, arrival: &str) -> Result<Asked, StoreError> {
    match same(tx, new)? {
        Some((id, ApprovalState::Open)) if new.bare => return Ok(Asked::Waits(id)),
        Some((id, ApprovalState::Open)) => return hold(tx, (id, &new.chat), platform_id, arrival),
        Some((_, ApprovalState::Denied)) => return Ok(Asked::Denied),
        _ if ending::is_met(
            tx,
            (new.kind, &new.chat.channel, &new.chat.chat_id),
            new.user_id.as_deref(),
            new.folder.as_ref(),
        )? =>
        {
            return Ok(Asked::Over);
        }
        _ => {}
    }
    if count_open(tx)? >= MOST_OPEN || asked_by(tx, &new.chat.channel, &new.asker)? >= MOST_OPEN_OF_ONE {
        return Ok(Asked::Full);
    }
    let id = insert(tx, new)?;
    put_held(tx, id, arrival)?;
    let mut told = approvers(tx, new.folder.as_ref().map(Folder::as_str), &new.chat.channel)?;
    for chat in &told {
        let question = Question { id, kind: new.kind, words: &new.words, choices: &new.choices };
        put_question(tx, chat, &question)?;
    }
    if let Some(words) = &new.told
        && !told.contains(&new.chat)
    {
        posts::insert(tx, &NewPost::new(new.chat.clone(), words.clone()))?;
        told.push(new.chat.clone());
    }
    Ok(Asked::New(id, told))
}

/// Holds an arrival for an approval that waits. Several may hold the same one, each once.
fn hold(
    tx: &Savepoint<'_>,
    (id, chat): (i64, &ChatRef),
    platform_id: &str,
    arrival: &str,
) -> Result<Asked, StoreError> {
    let (held, before): (u64, bool) = tx
        .prepare_cached(
            "SELECT count(*), coalesce(max(json_extract(arrival, '$.platform_id') = ?2
                 AND json_extract(arrival, '$.chat.chat_id') = ?3), 0) FROM held WHERE approval = ?1",
        )?
        .query_row(params![id, platform_id, chat.chat_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if before {
        return Ok(Asked::Waits(id));
    }
    if held >= MOST_HELD {
        return Ok(Asked::Full);
    }
    put_held(tx, id, arrival)?;
    Ok(Asked::Waits(id))
}

fn put_held(tx: &Savepoint<'_>, approval: i64, arrival: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO held (approval, arrival) VALUES (?1, ?2)")?
        .execute(params![approval, arrival])?;
    Ok(())
}

/// How many wait that a sender asked for, with the first message that is held for each.
fn asked_by(tx: &Savepoint<'_>, channel: &str, asker: &str) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM approvals WHERE state = 'open' AND channel = ?1 AND ?2 =
                   (SELECT json_extract(arrival, '$.sender.id') FROM held WHERE approval = approvals.id
                    ORDER BY held.id LIMIT 1)";
    Ok(tx.prepare_cached(sql)?.query_row([channel, asker], |row| row.get(0))?)
}

fn count_open(tx: &Savepoint<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM approvals WHERE state = 'open'";
    Ok(tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The newest of the same kind and subject: one that waits, or that was denied.
fn same(tx: &Savepoint<'_>, new: &NewApproval) -> Result<Option<(i64, ApprovalState)>, StoreError> {
    let row: Option<(i64, String)> = tx
        .query_row(
            "SELECT id, state FROM approvals WHERE kind = ?1 AND channel = ?2 AND chat_id = ?3
                 AND coalesce(user_id, '') = coalesce(?4, '') AND coalesce(folder, '') = coalesce(?5, '')
             ORDER BY id DESC LIMIT 1",
            params![
                new.kind.as_str(),
                new.chat.channel,
                new.chat.chat_id,
                new.user_id,
                new.folder.as_ref().map(Folder::as_str),
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    row.map(|(id, state)| {
        ApprovalState::parse(&state)
            .map(|known| (id, known))
            .ok_or(StoreError::Unknown { what: "approval state", value: state })
    })
    .transpose()
}

fn insert(tx: &Savepoint<'_>, new: &NewApproval) -> Result<i64, StoreError> {
    let now = now_ms();
    tx.execute(
        "INSERT INTO approvals (kind, channel, chat_id, user_id, folder, words, choices, state, asked_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            new.kind.as_str(),
            new.chat.channel,
            new.chat.chat_id,
            new.user_id,
            new.folder.as_ref().map(Folder::as_str),
            new.words,
            serde_json::to_string(&new.choices).unwrap_or_default(),
            ApprovalState::Open.as_str(),
            now,
            now + WAITS,
        ],
    )?;
    Ok(tx.last_insert_rowid())
}

fn apply(tx: &Savepoint<'_>, effect: &Effect, by: &str) -> Result<(), StoreError> {
    // It may have been asked under an id that the chat has no more.
    let wiring = effect.wiring.clone().map(|mut wiring| {
        if let Some(gone) = moves::now_of(tx, &wiring.channel, &wiring.chat_id)? {
            wiring.chat_id = gone.to;
        }
        Ok::<_, StoreError>(wiring)
    });
    let wiring = wiring.transpose()?;
    if let Some(wiring) = &wiring
        && !wirings::put(tx, wiring, false)?
    {
        return Err(StoreError::NoGroup(wiring.folder.clone()));
    }
    if let (Some(wiring), Some(chat)) = (&wiring, &effect.chat) {
        wirings::put_chat(tx, &wiring.channel, &wiring.chat_id, chat)?;
    }
    if let Some((user, role, folder)) = &effect.user {
        let person = put_user(tx, user, None)?;
        raise_role(tx, person, *role, folder.as_ref(), by)?;
    }
    Ok(())
}

fn find(tx: &Savepoint<'_>, id: i64) -> Result<Option<ApprovalRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1");
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query_and_then([id], row_of)?;
    rows.next().transpose()
}

pub(super) fn row_of(row: &Row<'_>) -> Result<ApprovalRow, StoreError> {
    let (kind, state, choices): (String, String, String) = (row.get(1)?, row.get(8)?, row.get(7)?);
    Ok(ApprovalRow {
        id: row.get(0)?,
        kind: ApprovalKind::parse(&kind).ok_or(StoreError::Unknown { what: "approval kind", value: kind })?,
        channel: row.get(2)?,
        chat_id: row.get(3)?,
        user_id: row.get(4)?,
        folder: row.get::<_, Option<String>>(5)?.map(folder_of).transpose()?,
        words: row.get(6)?,
        choices: serde_json::from_str(&choices)
            .map_err(|_| StoreError::Unknown { what: "choices", value: choices })?,
        state: ApprovalState::parse(&state).ok_or(StoreError::Unknown { what: "approval state", value: state })?,
        choice: row.get(9)?,
        decided_by: row.get(10)?,
        asked_at: row.get(11)?,
        expires_at: row.get(12)?,
    })
}
