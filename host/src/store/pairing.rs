//! What a pairing code opens.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::central::folder_of;
use super::db::Durability;
use super::people::{Known, NewUser, known, put_user, raise_role, roles_of};
use super::posts::{self, NewPost};
use super::wirings::{self, ChatRow, Terms, Wiring};
use super::{Central, StoreError, now_ms};
use crate::model::chat::{ChatKind, ChatRef};
use crate::model::people::Role;

/// Somebody shows a code.
#[derive(Debug, Clone)]
pub struct Showing {
    /// SHA-256 of the code.
    pub code: [u8; 32],
    /// Who does.
    pub user: NewUser,
    /// Where.
    pub chat: ChatRef,
    /// What sort of chat that is.
    pub kind: ChatKind,
    /// Its name.
    pub title: Option<String>,
    /// The platform's id of the message.
    pub platform_id: String,
}

/// What a code opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paired {
    /// The person that its user is.
    pub person: i64,
    /// What they are now, in the code's scope: no less than before. None: no role of that scope.
    pub role: Option<Role>,
    /// The group that the chat is wired to now.
    pub wired: Option<Folder>,
}

/// What came of showing a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It was good, and is used up.
    Opened(Paired),
    /// It opens nothing.
    Wrong,
    /// It is for one person, and its user is another one, with a role that they would lose. It is still good.
    Another,
}

struct Opened {
    role: Option<Role>,
    folder: Option<Folder>,
    person: Option<i64>,
}

impl Central {
    /// Uses a code up: its user gets what it was made for, its chat is wired, and the greeting, or what else is said, waits there.
    /// All of it or nothing, so that a crash leaves the code good. A message shows one code: none, when it was answered before.
    pub async fn pair(
        &self,
        showing: Showing,
        words: impl FnOnce(&Shown) -> String + Send + 'static,
    ) -> Result<Option<(Shown, String)>, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if !posts::first_time(tx, &showing.chat, &showing.platform_id)? {
                    return Ok(None);
                }
                let shown = show(tx, &showing)?;
                let words = words(&shown);
                posts::insert(tx, &NewPost::new(showing.chat, words.clone()))?;
                Ok(Some((shown, words)))
            })
            .await
    }
}

fn show(tx: &Savepoint<'_>, showing: &Showing) -> Result<Shown, StoreError> {
    let Some(opened) = find(tx, showing.code)? else { return Ok(Shown::Wrong) };
    if is_another(tx, &showing.user, opened.person)? {
        return Ok(Shown::Another);
    }
    tx.execute("DELETE FROM pairings WHERE code = ?1", [showing.code])?;
    pair(tx, showing, opened).map(Shown::Opened)
}

/// Whether a user is somebody else than a code is for, and has a role as that. Giving it to the one who is meant would let whoever
/// has a code get the role of whom they bring to show it; that is for a person to say (`link`).
fn is_another(tx: &Savepoint<'_>, user: &NewUser, meant: Option<i64>) -> Result<bool, StoreError> {
    let known = known(tx, &user.channel, &user.user_id)?;
    Ok(meant.is_some() && known.person.is_some() && known.person != meant && !known.roles.is_empty())
}

fn find(tx: &Savepoint<'_>, code: [u8; 32]) -> Result<Option<Opened>, StoreError> {
    let row: Option<(Option<String>, Option<String>, Option<i64>)> = tx
        .query_row(
            "SELECT role, folder, person FROM pairings WHERE code = ?1 AND expires_at > ?2",
            params![code, now_ms()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((role, folder, person)) = row else { return Ok(None) };
    let known = |role: String| Role::parse(&role).ok_or(StoreError::Unknown { what: "role", value: role });
    Ok(Some(Opened { role: role.map(known).transpose()?, folder: folder.map(folder_of).transpose()?, person }))
}

fn pair(tx: &Savepoint<'_>, showing: &Showing, opened: Opened) -> Result<Paired, StoreError> {
    let Opened { role, folder, person } = opened;
    let person = put_user(tx, &showing.user, person)?;
    if let Some(role) = role {
        // An owner owns all groups; the group is where the chat is wired to.
        raise_role(tx, person, role, folder.as_ref().filter(|_| role != Role::Owner), "pairing")?;
    }
    let known = Known { person: Some(person), direct: None, roles: roles_of(tx, person)? };
    let role = match &folder {
        Some(folder) => known.role(folder),
        None => known.everywhere(),
    };
    let wired = match folder {
        Some(folder) if wire(tx, showing, &folder)? => Some(folder),
        _ => None,
    };
    Ok(Paired { person, role, wired })
}

/// Answers whether the chat is wired to the group now.
fn wire(tx: &Savepoint<'_>, showing: &Showing, folder: &Folder) -> Result<bool, StoreError> {
    let ChatRef { channel, chat_id, .. } = &showing.chat;
    let chat = ChatRow { kind: showing.kind, title: showing.title.clone(), unknown: None };
    wirings::put_chat(tx, channel, chat_id, &chat)?;
    let (channel, chat_id, folder) = (channel.clone(), chat_id.clone(), folder.clone());
    wirings::put(tx, &Wiring { channel, chat_id, folder, terms: Terms::of(showing.kind) }, false)
}

#[cfg(test)]
#[path = "pairing_tests.rs"]
mod tests;
