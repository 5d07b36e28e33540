//! The webhooks of HTTP channels, and the keys of their API. The chat of each is wired like any other.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::channels::{SecretOf, put_secret};
use super::db::Durability;
use super::wirings::{self, ChatRow, Terms, Wiring};
use super::{Central, StoreError, now_ms};
use crate::model::channel::HookFormat;
use crate::model::chat::{ChatKind, SessionMode};
use crate::model::people::UnknownPolicy;

/// A webhook's row.
#[derive(Clone, PartialEq, Eq)]
pub struct HookRow {
    /// Its channel.
    pub channel: String,
    /// Its name; the chat is `hook/NAME`.
    pub name: String,
    /// Whose form its calls have.
    pub format: HookFormat,
    /// Where its replies are posted; may have a token in it.
    pub callback: Option<String>,
    /// The events of GitHub that are taken; none listed is all of them.
    pub events: Vec<String>,
}

impl std::fmt::Debug for HookRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookRow").field("channel", &self.channel).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key's row; the key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its channel.
    pub channel: String,
    /// Its name; the chat is `key/NAME`.
    pub name: String,
    /// What the API calls its agent.
    pub model: String,
    /// Until when it is good, ms since 1970.
    pub expires_at: Option<i64>,
    /// When it was taken back, ms.
    pub revoked_at: Option<i64>,
    /// When it was used last, to the minute, ms.
    pub used_at: Option<i64>,
    /// When it was made, ms.
    pub created_at: i64,
}

/// What became of a new webhook or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// Its channel or its group is not.
    Nowhere,
    /// One of this name is there.
    Taken,
}

const KEY: &str = "channel, name, model, expires_at, revoked_at, used_at, created_at";
/// How exactly it is known when a key was used, in ms.
const MINUTE: i64 = 60_000;

impl Central {
    /// Adds a webhook or changes one, and wires its chat to the group alone. `sealed` is its new secret.
    pub async fn put_hook(&self, row: HookRow, folder: Folder, sealed: Option<Vec<u8>>) -> Result<Put, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if !wire_alone(tx, &row.channel, &format!("hook/{}", row.name), &folder)? {
                    return Ok(Put::Nowhere);
                }
                let events = serde_json::to_string(&row.events).unwrap_or_default();
                tx.execute(
                    "INSERT INTO hooks (channel, name, format, callback, events, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO UPDATE SET format = excluded.format, callback = excluded.callback, events = excluded.events",
                    params![row.channel, row.name, row.format.as_str(), row.callback, events, now_ms()],
                )?;
                if let Some(sealed) = &sealed {
                    put_secret(tx, &SecretOf::hook(&row.channel, &row.name), sealed)?;
                }
                Ok(Put::Done)
            })
            .await
    }

    /// All webhooks, by channel and name.
    pub async fn hooks(&self) -> Result<Vec<HookRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT channel, name, format, callback, events FROM hooks ORDER BY channel, name",
                )?;
                let rows = statement.query_and_then([], hook_row)?;
                rows.collect()
            })
            .await
    }

    /// A webhook, with its sealed secret.
    pub async fn hook(&self, channel: &str, name: &str) -> Result<Option<(HookRow, Option<Vec<u8>>)>, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .read(move |tx| {
                let of = SecretOf::hook(&channel, &name);
                let mut statement = tx.prepare_cached(
                    "SELECT channel, name, format, callback, events,
                            (SELECT sealed FROM secrets WHERE purpose = ?3 AND name = ?4)
                     FROM hooks WHERE channel = ?1 AND name = ?2",
                )?;
                let mut rows = statement.query_and_then([&channel, &name, &of.purpose, &of.name], |row| {
                    Ok::<_, StoreError>((hook_row(row)?, row.get(5)?))
                })?;
                rows.next().transpose()
            })
            .await
    }

    /// Forgets a webhook, its secret and its wirings. Answers whether it was there.
    pub async fn remove_hook(&self, channel: &str, name: &str) -> Result<bool, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                let of = SecretOf::hook(&channel, &name);
                for table in ["secrets", "lost_secrets"] {
                    let sql = format!("DELETE FROM {table} WHERE purpose = ?1 AND name = ?2");
                    tx.execute(&sql, [&of.purpose, &of.name])?;
                }
                unwire(tx, &channel, &format!("hook/{name}"))?;
                Ok(tx.execute("DELETE FROM hooks WHERE channel = ?1 AND name = ?2", [&channel, &name])? > 0)
            })
            .await
    }

    /// Adds a key with this SHA-256, and wires its chat to the group alone.
    pub async fn add_key(&self, row: KeyRow, hash: [u8; 32], folder: Folder) -> Result<Put, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let there = "SELECT EXISTS (SELECT 1 FROM api_keys WHERE channel = ?1 AND name = ?2)";
                if tx.query_row(there, [&row.channel, &row.name], |row| row.get(0))? {
                    return Ok(Put::Taken);
                }
                if !wire_alone(tx, &row.channel, &format!("key/{}", row.name), &folder)? {
                    return Ok(Put::Nowhere);
                }
                tx.execute(
                    "INSERT INTO api_keys (channel, name, hash, model, expires_at, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![row.channel, row.name, hash, row.model, row.expires_at, row.created_at],
                )?;
                Ok(Put::Done)
            })
            .await
    }

    /// All keys, by channel and name.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement =
                    tx.prepare_cached(&format!("SELECT {KEY} FROM api_keys ORDER BY channel, name"))?;
                let rows = statement.query_map([], key_row)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The key with this SHA-256.
    pub async fn key(&self, channel: &str, hash: [u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        let channel = channel.to_owned();
        self.db
            .read(move |tx| {
                let sql = format!("SELECT {KEY} FROM api_keys WHERE hash = ?1 AND channel = ?2");
                Ok(tx.prepare_cached(&sql)?.query_row(params![hash, channel], key_row).optional()?)
            })
            .await
    }

    /// A key was used.
    pub async fn key_used(&self, channel: &str, name: &str) -> Result<(), StoreError> {
        let (channel, name, now) = (channel.to_owned(), name.to_owned(), now_ms());
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.prepare_cached(
                    "UPDATE api_keys SET used_at = ?3
                     WHERE channel = ?1 AND name = ?2 AND coalesce(used_at, 0) NOT BETWEEN ?4 AND ?3",
                )?
                .execute(params![channel, name, now, now - MINUTE])?;
                Ok(())
            })
            .await
    }

    /// Takes a key back: no call with it is let in any more. Answers whether it was good until now.
    pub async fn revoke_key(&self, channel: &str, name: &str) -> Result<bool, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                let sql =
                    "UPDATE api_keys SET revoked_at = ?3 WHERE channel = ?1 AND name = ?2 AND revoked_at IS NULL";
                Ok(tx.execute(sql, params![channel, name, now_ms()])? > 0)
            })
            .await
    }

    /// Forgets a key, which conversations it had, and its wirings. Answers whether it was there.
    pub async fn remove_key(&self, channel: &str, name: &str) -> Result<bool, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                unwire(tx, &channel, &format!("key/{name}"))?;
                tx.execute("DELETE FROM api_threads WHERE channel = ?1 AND key = ?2", [&channel, &name])?;
                Ok(tx.execute("DELETE FROM api_keys WHERE channel = ?1 AND name = ?2", [&channel, &name])? > 0)
            })
            .await
    }
}

/// Wires a program's chat to one group: who has its secret is known, and each conversation has a session of its own. Terms
/// that somebody set stay.
fn wire_alone(tx: &Savepoint<'_>, channel: &str, chat_id: &str, folder: &Folder) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT 1 FROM channels WHERE name = ?1 AND kind = 'http')";
    if !tx.query_row(there, [channel], |row| row.get::<_, bool>(0))? {
        return Ok(false);
    }
    let terms = Terms { session_mode: SessionMode::PerThread, ..Terms::of(ChatKind::Direct) };
    let wiring = Wiring { channel: channel.to_owned(), chat_id: chat_id.to_owned(), folder: folder.clone(), terms };
    if !wirings::put(tx, &wiring, false)? {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM wirings WHERE channel = ?1 AND chat_id = ?2 AND folder <> ?3",
        params![channel, chat_id, folder.as_str()],
    )?;
    let known = "SELECT EXISTS (SELECT 1 FROM chats WHERE channel = ?1 AND chat_id = ?2 AND unknown IS NOT NULL)";
    if !tx.query_row(known, [channel, chat_id], |row| row.get::<_, bool>(0))? {
        let chat = ChatRow { kind: ChatKind::Direct, title: None, unknown: Some(UnknownPolicy::Public) };
        wirings::put_chat(tx, channel, chat_id, &chat)?;
    }
    Ok(true)
}

fn unwire(tx: &Savepoint<'_>, channel: &str, chat_id: &str) -> Result<(), StoreError> {
    for table in ["wirings", "engaged_threads", "chats"] {
        tx.execute(&format!("DELETE FROM {table} WHERE channel = ?1 AND chat_id = ?2"), [channel, chat_id])?;
    }
    Ok(())
}

fn hook_row(row: &Row<'_>) -> Result<HookRow, StoreError> {
    let (format, events): (String, String) = (row.get(2)?, row.get(4)?);
    Ok(HookRow {
        channel: row.get(0)?,
        name: row.get(1)?,
        format: HookFormat::parse(&format).ok_or(StoreError::Unknown { what: "webhook format", value: format })?,
        callback: row.get(3)?,
        events: serde_json::from_str(&events)
            .map_err(|_| StoreError::Unknown { what: "list of events", value: events })?,
    })
}

fn key_row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        channel: row.get(0)?,
        name: row.get(1)?,
        model: row.get(2)?,
        expires_at: row.get(3)?,
        revoked_at: row.get(4)?,
        used_at: row.get(5)?,
        created_at: row.get(6)?,
    })
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
