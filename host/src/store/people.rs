//! People, what platforms know them by, and what they may do.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::central::folder_of;
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::people::Role;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Their number.
    pub id: i64,
    /// How they are called here.
    pub name: String,
    /// What platforms know them by.
    pub users: Vec<UserRow>,
    /// What they may do.
    pub roles: Vec<RoleRow>,
}

/// A person on a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
    /// How they called themselves when they were made known.
    pub name: String,
    /// The chat in which they can be reached.
    pub direct: Option<String>,
}

/// What a person may do, everywhere or in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRow {
    /// The group; none is all.
    pub folder: Option<Folder>,
    /// The role.
    pub role: Role,
}

/// A sender whom somebody may know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The person; none is nobody that is known.
    pub person: Option<i64>,
    /// Where they can be reached, as far as that is noted.
    pub direct: Option<String>,
    /// Their roles.
    pub roles: Vec<RoleRow>,
}

impl Known {
    /// The role in a group; none: nobody knows them there.
    pub fn role(&self, folder: &Folder) -> Option<Role> {
        let there = |row: &&RoleRow| row.folder.as_ref().is_none_or(|of| of == folder);
        self.roles.iter().filter(there).map(|row| row.role).max()
    }

    /// The role in all groups.
    pub fn everywhere(&self) -> Option<Role> {
        self.roles.iter().filter(|row| row.folder.is_none()).map(|row| row.role).max()
    }

    /// The most that they may in any group.
    pub fn anywhere(&self) -> Option<Role> {
        self.roles.iter().map(|row| row.role).max()
    }
}

/// A user whom somebody makes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
    /// How they call themselves.
    pub name: String,
    /// The chat in which they can be reached, if that is known.
    pub direct: Option<String>,
}

/// An open pairing code.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// SHA-256 of the code.
    pub code: [u8; 32],
    /// What its user becomes, unless they are more already; none changes no role.
    pub role: Option<Role>,
    /// In this group only.
    pub folder: Option<Folder>,
    /// The person that is meant; none makes a new one.
    pub person: Option<i64>,
    /// Until when it opens anything, ms.
    pub expires_at: i64,
}

impl Central {
    /// Notes in which chat a user can be reached.
    pub async fn put_direct(&self, channel: &str, user_id: &str, chat_id: &str) -> Result<(), StoreError> {
        let key = (channel.to_owned(), user_id.to_owned(), chat_id.to_owned());
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.prepare_cached("UPDATE users SET direct = ?3 WHERE channel = ?1 AND user_id = ?2")?
                    .execute(params![key.0, key.1, key.2])?;
                Ok(())
            })
            .await
    }

    /// All people, by number.
    pub async fn people(&self) -> Result<Vec<PersonRow>, StoreError> {
        self.db
            .read(|tx| {
                let ids: Vec<i64> = tx
                    .prepare_cached("SELECT id FROM people ORDER BY id")?
                    .query_map([], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                ids.into_iter().filter_map(|id| person(tx, id).transpose()).collect()
            })
            .await
    }

    /// One person.
    pub async fn person(&self, id: i64) -> Result<Option<PersonRow>, StoreError> {
        self.db.read(move |tx| person(tx, id)).await
    }

    /// Makes a user known, with a role. A user that is known keeps their person and gets the role too.
    pub async fn put_user(
        &self,
        new: NewUser,
        grant: Option<(Role, Option<Folder>)>,
        by: &str,
    ) -> Result<i64, StoreError> {
        let by = by.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                let id = put_user(tx, &new, None)?;
                if let Some((role, folder)) = &grant {
                    put_role(tx, id, *role, folder.as_ref(), &by)?;
                }
                Ok(id)
            })
            .await
    }

    /// Gives a person a role, or takes the role of that scope away. Answers whether there is such a person.
    pub async fn set_role(
        &self,
        person: i64,
        folder: Option<Folder>,
        role: Option<Role>,
        by: &str,
    ) -> Result<bool, StoreError> {
        let by = by.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                if !exists(tx, person)? {
                    return Ok(false);
                }
                match role {
                    Some(role) => put_role(tx, person, role, folder.as_ref(), &by)?,
                    None => {
                        tx.execute(
                            "DELETE FROM roles WHERE person = ?1 AND coalesce(folder, '') = coalesce(?2, '')",
                            params![person, folder.as_ref().map(Folder::as_str)],
                        )?;
                    }
                }
                Ok(true)
            })
            .await
    }

    /// Makes two people one: the first has all users and the higher roles, the second is gone. Answers whether both were there.
    pub async fn link(&self, into: i64, other: i64) -> Result<bool, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if into == other || !exists(tx, into)? || !exists(tx, other)? {
                    return Ok(false);
                }
                tx.execute("UPDATE users SET person = ?1 WHERE person = ?2", [into, other])?;
                for row in roles_of(tx, other)? {
                    raise_role(tx, into, row.role, row.folder.as_ref(), "link")?;
                }
                tx.execute("DELETE FROM people WHERE id = ?1", [other])?;
                Ok(true)
            })
            .await
    }

    /// Forgets a person: from here on nobody knows them. Answers whether they were there.
    pub async fn remove_person(&self, id: i64) -> Result<bool, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| Ok(tx.execute("DELETE FROM people WHERE id = ?1", [id])? > 0))
            .await
    }

    /// Whether there is an owner who is known on a platform.
    pub async fn has_owner(&self) -> Result<bool, StoreError> {
        self.db
            .read(|tx| {
                let sql = "SELECT EXISTS (SELECT 1 FROM roles JOIN users USING (person) WHERE role = 'owner')";
                Ok(tx.query_row(sql, [], |row| row.get(0))?)
            })
            .await
    }

    /// Keeps a pairing code; those that are over are forgotten.
    pub async fn put_pairing(&self, pairing: Pairing) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute("DELETE FROM pairings WHERE expires_at <= ?1", [now_ms()])?;
                tx.execute(
                    "INSERT INTO pairings (code, role, folder, person, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        pairing.code,
                        pairing.role.map(Role::as_str),
                        pairing.folder.as_ref().map(Folder::as_str),
                        pairing.person,
                        pairing.expires_at,
                    ],
                )?;
                Ok(())
            })
            .await
    }
}

/// What is known of a sender.
pub(super) fn known(tx: &Savepoint<'_>, channel: &str, user_id: &str) -> Result<Known, StoreError> {
    let user: Option<(i64, Option<String>)> = tx
        .prepare_cached("SELECT person, direct FROM users WHERE channel = ?1 AND user_id = ?2")?
        .query_row([channel, user_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((person, direct)) = user else { return Ok(Known::default()) };
    Ok(Known { person: Some(person), direct, roles: roles_of(tx, person)? })
}

pub(super) fn put_user(tx: &Savepoint<'_>, new: &NewUser, meant: Option<i64>) -> Result<i64, StoreError> {
    let known: Option<i64> = tx
        .query_row(
            "SELECT person FROM users WHERE channel = ?1 AND user_id = ?2",
            [&new.channel, &new.user_id],
            |row| row.get(0),
        )
        .optional()?;
    let person = match meant.or(known) {
        Some(person) => person,
        None => {
            tx.execute("INSERT INTO people (name, created_at) VALUES (?1, ?2)", params![new.name, now_ms()])?;
            tx.last_insert_rowid()
        }
    };
    tx.execute(
        "INSERT INTO users (channel, user_id, person, name, direct) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET person = excluded.person, name = excluded.name,
             direct = coalesce(excluded.direct, direct)",
        params![new.channel, new.user_id, person, new.name, new.direct],
    )?;
    if let Some(known) = known.filter(|known| *known != person) {
        tx.execute("DELETE FROM people WHERE id = ?1 AND id NOT IN (SELECT person FROM users)", [known])?;
    }
    Ok(person)
}

/// Gives a person a role, unless they have it or a higher one of that scope.
pub(super) fn raise_role(
    tx: &Savepoint<'_>,
    person: i64,
    role: Role,
    folder: Option<&Folder>,
    by: &str,
) -> Result<(), StoreError> {
    let there = roles_of(tx, person)?.into_iter().find(|there| there.folder.as_ref() == folder);
    match there {
        Some(there) if there.role >= role => Ok(()),
        _ => put_role(tx, person, role, folder, by),
    }
}

fn put_role(
    tx: &Savepoint<'_>,
    person: i64,
    role: Role,
    folder: Option<&Folder>,
    by: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO roles (person, folder, role, granted_by, granted_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET role = excluded.role, granted_by = excluded.granted_by,
             granted_at = excluded.granted_at",
        params![person, folder.map(Folder::as_str), role.as_str(), by, now_ms()],
    )?;
    Ok(())
}

fn exists(tx: &Savepoint<'_>, person: i64) -> Result<bool, StoreError> {
    Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM people WHERE id = ?1)", [person], |row| row.get(0))?)
}

pub(super) fn roles_of(tx: &Savepoint<'_>, person: i64) -> Result<Vec<RoleRow>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT folder, role FROM roles WHERE person = ?1 ORDER BY folder")?;
    let rows = statement.query_and_then([person], |row| {
        let (folder, role): (Option<String>, String) = (row.get(0)?, row.get(1)?);
        let role = Role::parse(&role).ok_or(StoreError::Unknown { what: "role", value: role })?;
        Ok(RoleRow { folder: folder.map(folder_of).transpose()?, role })
    })?;
    rows.collect()
}

fn person(tx: &Savepoint<'_>, id: i64) -> Result<Option<PersonRow>, StoreError> {
    let name: Option<String> =
        tx.query_row("SELECT name FROM people WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    let Some(name) = name else { return Ok(None) };
    let mut statement = tx.prepare_cached(
        "SELECT channel, user_id, name, direct FROM users WHERE person = ?1 ORDER BY channel, user_id",
    )?;
    let users = statement.query_map([id], |row| {
        Ok(UserRow { channel: row.get(0)?, user_id: row.get(1)?, name: row.get(2)?, direct: row.get(3)? })
    })?;
    let users = users.collect::<Result<_, _>>()?;
    Ok(Some(PersonRow { id, name, users, roles: roles_of(tx, id)? }))
}
