//! The channels of a home, and the sealed secrets of others than accounts.

use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::channel::KindName;

/// A channel's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Its name in wirings.
    pub name: String,
    /// Its kind; this program may not know it.
    pub kind: KindName,
    /// JSON, without secrets.
    pub settings: String,
    /// When it was added, ms.
    pub created_at: i64,
}

/// Whose secret it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretOf {
    /// What sort of owner.
    pub purpose: String,
    /// Its name.
    pub name: String,
}

impl SecretOf {
    /// The purpose of accounts' secrets, which are in their own rows.
    pub const ACCOUNT: &'static str = "account";

    /// Whose it is, for people.
    pub fn words(&self) -> String {
        if self.purpose == Self::ACCOUNT { self.name.clone() } else { format!("{} {}", self.purpose, self.name) }
    }

    /// A channel's, such as a bot's token.
    pub fn channel(name: &str) -> Self {
        Self { purpose: "channel".to_owned(), name: name.to_owned() }
    }

    /// Whether it is a webhook's.
    pub fn is_hook(&self) -> bool {
        self.purpose == "hook"
    }

    /// A webhook's.
    pub fn hook(channel: &str, hook: &str) -> Self {
        Self { purpose: "hook".to_owned(), name: format!("{channel}/{hook}") }
    }

    /// The address that a webhook's replies are posted to.
    pub fn callback(channel: &str, hook: &str) -> Self {
        Self { purpose: "callback".to_owned(), ..Self::hook(channel, hook) }
    }
}

impl Central {
    /// Adds a channel, or renews one of the same kind. Answers no when the name is another kind's.
    pub async fn put_channel(&self, row: ChannelRow, sealed: Option<Vec<u8>>) -> Result<bool, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let there: Option<String> = tx
                    .query_row("SELECT kind FROM channels WHERE name = ?1", [&row.name], |row| row.get(0))
                    .optional()?;
                if there.is_some_and(|there| there != row.kind.as_str()) {
                    return Ok(false);
                }
                tx.execute(
                    "INSERT INTO channels (name, kind, settings, created_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET settings = excluded.settings",
                    params![row.name, row.kind.as_str(), row.settings, now_ms()],
                )?;
                match &sealed {
                    Some(sealed) => put_secret(tx, &SecretOf::channel(&row.name), sealed)?,
                    // Whoever adds it without one says that it goes without.
                    None => found_again(tx, &SecretOf::channel(&row.name))?,
                }
                Ok(true)
            })
            .await
    }

    /// Forgets a channel with all that is its own: secrets, hooks, keys, wirings. Answers whether it was there.
    pub async fn remove_channel(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                super::hooks::all_gone(tx, &name)?;
                for table in ["secrets", "lost_secrets"] {
                    tx.execute(&format!("DELETE FROM {table} WHERE purpose = 'channel' AND name = ?1"), [&name])?;
                    let hooks = format!("DELETE FROM {table} WHERE purpose <> 'channel' AND name GLOB ?1 || '/*'");
                    tx.execute(&hooks, [&name])?;
                }
                for table in [
                    "wirings",
                    "engaged_threads",
                    "chats",
                    "users",
                    "posts",
                    "answered",
                    "approvals",
                    "late",
                    "moved_chats",
                    "chat_moves",
                ] {
                    tx.execute(&format!("DELETE FROM {table} WHERE channel = ?1"), [&name])?;
                }
                tx.execute("DELETE FROM people WHERE id NOT IN (SELECT person FROM users)", [])?;
                Ok(tx.execute("DELETE FROM channels WHERE name = ?1", [&name])? > 0)
            })
            .await
    }

    /// All channels, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement =
                    tx.prepare_cached("SELECT name, kind, settings, created_at FROM channels ORDER BY name")?;
                let rows = statement.query_and_then([], channel_row)?;
                rows.collect()
            })
            .await
    }

    /// How far a channel has read.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.db
            .read(move |tx| {
                let cursor: Option<Option<String>> = tx
                    .prepare_cached("SELECT cursor FROM channels WHERE name = ?1")?
                    .query_row([&name], |row| row.get(0))
                    .optional()?;
                Ok(cursor.flatten())
            })
            .await
    }

    /// Keeps how far a channel has read.
    pub async fn keep_cursor(&self, name: &str, cursor: String) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.prepare_cached("UPDATE channels SET cursor = ?2 WHERE name = ?1")?.execute([name, cursor])?;
                Ok(())
            })
            .await
    }

    /// A sealed secret.
    pub async fn sealed(&self, of: SecretOf) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .read(move |tx| {
                Ok(tx
                    .prepare_cached("SELECT sealed FROM secrets WHERE purpose = ?1 AND name = ?2")?
                    .query_row(params![of.purpose, of.name], |row| row.get(0))
                    .optional()?)
            })
            .await
    }

    /// Whether this is one of them.
    pub async fn has_lost_secret(&self, of: SecretOf) -> Result<bool, StoreError> {
        self.db
            .read(move |tx| {
                let sql = "SELECT EXISTS (SELECT 1 FROM lost_secrets WHERE purpose = ?1 AND name = ?2)";
                Ok(tx.query_row(sql, params![of.purpose, of.name], |row| row.get(0))?)
            })
            .await
    }

    /// Secrets that a backup had none of, and that nobody gave again.
    pub async fn lost_secrets(&self) -> Result<Vec<SecretOf>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement =
                    tx.prepare_cached("SELECT purpose, name FROM lost_secrets ORDER BY purpose, name")?;
                let rows =
                    statement.query_map([], |row| Ok(SecretOf { purpose: row.get(0)?, name: row.get(1)? }))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Whether any secret of others than accounts is sealed.
    pub async fn has_sealed(&self) -> Result<bool, StoreError> {
        self.db.read(|tx| Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM secrets)", [], |row| row.get(0))?)).await
    }
}

pub(super) fn put_secret(tx: &Savepoint<'_>, of: &SecretOf, sealed: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR REPLACE INTO secrets (purpose, name, sealed) VALUES (?1, ?2, ?3)",
        params![of.purpose, of.name, sealed],
    )?;
    found_again(tx, of)
}

/// Forgets a secret, also that there was one.
pub(super) fn forget_secret(tx: &Savepoint<'_>, of: &SecretOf) -> Result<(), StoreError> {
    tx.execute("DELETE FROM secrets WHERE purpose = ?1 AND name = ?2", params![of.purpose, of.name])?;
    found_again(tx, of)
}

/// A secret that no backup had is not asked for any more.
fn found_again(tx: &Savepoint<'_>, of: &SecretOf) -> Result<(), StoreError> {
    tx.execute("DELETE FROM lost_secrets WHERE purpose = ?1 AND name = ?2", params![of.purpose, of.name])?;
    Ok(())
}

fn channel_row(row: &Row<'_>) -> Result<ChannelRow, StoreError> {
    let kind: String = row.get(1)?;
    Ok(ChannelRow {
        name: row.get(0)?,
        kind: KindName::parse(&kind).ok_or(StoreError::Unknown { what: "channel kind", value: kind })?,
        settings: row.get(2)?,
        created_at: row.get(3)?,
    })
}

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod tests;
