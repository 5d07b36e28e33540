//! One group's `state.db`.
//!
//! - [`inbox`]: ① accept. - [`edits`]: before anybody read it. - [`claim`]: ② claim. - [`closing`]: ④ finish. - [`commands`]: what people ask of us in a chat.
//! - [`attempts`]: fencing, hello, a container's end. - [`starts`]: those that fail. - [`turns`]: ③ ready. - `retries`:
//!   a failure that can pass. - [`dead_letters`]: one that did not. - [`steering`]: what changes while a turn runs.
//! - [`earlier`]: a turn and those before it over the same messages.
//! - [`compactions`], [`mcp`], [`models`]: what runners report. - [`clock`]: a wall clock that was set back.
//! - [`moves`]: a chat with another id. - [`context`]: what was said to others. - [`shown`]: what turns show.
//! - [`tools`]: calls of the host's tools. - [`questions`]: the agent's, and what becomes of them with their turns.
//!   - [`answers`]: who answers them from where. - [`files`]: people's.
//! - [`outbox`]: ⑤ lease, ⑥ delivered. - `changes`: what a reply changes in its chat. - [`undelivered`]: what never arrived, for the agent. - [`digest`], [`history`]: what was said before. - [`views`]: what people look
//!   at; [`stand`]: callers; [`detail`]: in depth. - [`usage`]: what model calls cost.

pub mod answers;
pub mod attempts;
mod changes;
pub mod claim;
pub mod clock;
pub mod closing;
pub mod commands;
pub mod compactions;
pub mod context;
pub mod dead_letters;
pub mod detail;
pub mod digest;
pub mod earlier;
pub mod edits;
pub mod files;
pub mod glance;
pub mod history;
pub mod inbox;
pub mod mcp;
pub mod models;
pub mod moves;
pub mod outbox;
pub mod questions;
mod reply_to;
mod retries;
pub mod shown;
pub mod stand;
pub mod starts;
pub(super) mod states;
pub mod steering;
pub mod tools;
pub mod turns;
pub mod undelivered;
pub mod usage;
pub mod views;

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use rusqlite::{OptionalExtension, Savepoint};

use super::StoreError;
use super::db::Db;
use super::fault::OnDamage;
use super::ground::Ground;
use super::schema::Kind;
use crate::model::chat::ChatRef;

/// A handle to one group's database. The database closes when the last handle is dropped.
#[derive(Clone)]
pub struct GroupDb {
    folder: Folder,
    /// The group's data directory.
    data: PathBuf,
    db: Db,
}

impl GroupDb {
    /// Opens or makes the database.
    pub fn open(folder: Folder, path: &Path) -> Result<Self, StoreError> {
        Self::on(folder, path, &Ground::default(), Box::new(|_| {}))
    }

    /// [`GroupDb::open`] on the home's ground, telling when the file is found to be damaged.
    pub(super) fn on(folder: Folder, path: &Path, ground: &Ground, told: OnDamage) -> Result<Self, StoreError> {
        let data = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, data, db: Db::on(path, Kind::Group, ground, told)? })
    }

    /// Closes the database in order.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// The group.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Refuses a write of any but the session's newest attempt (invariant 3).
fn fence(tx: &Savepoint<'_>, session: &SessionId, attempt: Attempt) -> Result<(), StoreError> {
    let current: Option<i64> = tx
        .prepare_cached("SELECT attempt FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))
        .optional()?;
    match current {
        Some(current) if current == attempt.0 => Ok(()),
        Some(current) => Err(StoreError::Stale { given: attempt.0, current }),
        None => Err(StoreError::NoSession(session.to_string())),
    }
}

fn session_of(text: String) -> Result<SessionId, StoreError> {
    text.parse().map_err(|_| StoreError::Unknown { what: "session", value: text })
}

/// Reads a chat from three columns that begin at `at`.
pub(in crate::store) fn chat_of(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<ChatRef> {
    Ok(ChatRef { channel: row.get(at)?, chat_id: row.get(at + 1)?, thread_id: row.get(at + 2)? })
}

#[cfg(test)]
pub(crate) mod outbox_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_tests;
