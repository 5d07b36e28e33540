//! The webhooks of HTTP channels, and the keys of their API. The chat of each is wired like any other.

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::channels::{SecretOf, forget_secret, put_secret};
use super::db::Durability;
use super::wirings::{self, ChatRow, Terms, Wiring};
use super::{Central, StoreError, now_ms};
use crate::model::channel::KindName;
use crate::model::chat::ChatKind;
use crate::model::people::UnknownPolicy;

/// A webhook's row.
#[derive(Clone, PartialEq, Eq)]
pub struct HookRow {
    /// Its channel.
    pub channel: String,
    /// Its name.
    pub name: String,
    /// Its chat, which the store chooses: `hook/NAME`, or `hook/NAME/2` and so on where one of the name was removed.
    pub chat_id: String,
    /// Whose form its calls have, by its name; this program may not know it.
    pub format: String,
    /// Where its replies are posted, as it may be shown: the address, which may have a token in it, is sealed. Before a
    /// Cofferdam that seals has seen it, the address itself.
    pub callback: Option<String>,
    /// The events that are taken, where its form has any; none listed is all of them.
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
    /// Its name.
    pub name: String,
    /// Its chat, which the store chooses: `key/NAME`, or `key/NAME/2` and so on where one of the name was removed.
    pub chat_id: String,
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

/// What is sealed of a webhook.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HookSeals {
    /// What its calls are signed with; none is new.
    pub secret: Option<Vec<u8>>,
    /// Its callback's address; none has none.
    pub callback: Option<Vec<u8>>,
}

impl std::fmt::Debug for HookSeals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (secret, callback) = (self.secret.is_some(), self.callback.is_some());
        f.debug_struct("HookSeals").field("secret", &secret).field("callback", &callback).finish()
    }
}

/// Whom a webhook or a key is for, and the kind that its channel is of, as programs call it.
pub type For = (Folder, KindName);

/// What became of a new webhook or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is there, with this chat.
    Done(String),
    /// Its group is not, or no channel of its name and kind.
    Nowhere,
    /// One of this name is there.
    Taken,
}

const HOOK: &str = "channel, name, chat_id, format, callback, events";
const KEY: &str = "channel, name, chat_id, model, expires_at, revoked_at, used_at, created_at";
/// How exactly it is known when a key was used, in ms.
const MINUTE: i64 = 60_000;

impl Central {
    /// Adds a webhook or changes one, and wires its chat to the group alone. A secret that is not given stays; a callback
    /// that is not is gone.
    pub async fn put_hook(&self, row: HookRow, of: For, seals: HookSeals) -> Result<Put, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let there = "SELECT chat_id FROM hooks WHERE channel = ?1 AND name = ?2";
                let there = tx.query_row(there, [&row.channel, &row.name], |row| row.get(0)).optional()?;
                let chat_id = match there {
                    Some(chat_id) => chat_id,
                    None => fresh_chat(tx, &row.channel, &format!("hook/{}", row.name))?,
                };
                if !wire_alone(tx, &row.channel, &chat_id, &of)? {
                    return Ok(Put::Nowhere);
                }
                let events = serde_json::to_string(&row.events).unwrap_or_default();
                tx.execute(
                    "INSERT INTO hooks (channel, name, chat_id, format, callback, events, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT DO UPDATE SET format = excluded.format, callback = excluded.callback, events = excluded.events",
                    params![row.channel, row.name, chat_id, row.format, row.callback, events, now_ms()],
                )?;
                if let Some(sealed) = &seals.secret {
                    put_secret(tx, &SecretOf::hook(&row.channel, &row.name), sealed)?;
                }
                let callback = SecretOf::callback(&row.channel, &row.name);
                match &seals.callback {
                    Some(sealed) => put_secret(tx, &callback, sealed)?,
                    None if row.callback.is_none() => forget_secret(tx, &callback)?,
                    // It stays.
                    None => {}
                }
                Ok(Put::Done(chat_id))
            })
            .await
    }

    /// Keeps a callback's address sealed, in the place of one that is there in the clear.
    pub async fn seal_callback(&self, row: HookRow, shown: String, sealed: Vec<u8>) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                // Not one that somebody changed meanwhile.
                let changed = tx.execute(
                    "UPDATE hooks SET callback = ?4 WHERE channel = ?1 AND name = ?2 AND callback = ?3",
                    params![row.channel, row.name, row.callback, shown],
                )?;
                if changed > 0 {
                    put_secret(tx, &SecretOf::callback(&row.channel, &row.name), &sealed)?;
                }
                Ok(())
            })
            .await
    }

    /// All webhooks, by channel and name.
    pub async fn hooks(&self) -> Result<Vec<HookRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement =
                    tx.prepare_cached(&format!("SELECT {HOOK} FROM hooks ORDER BY channel, name"))?;
                let rows = statement.query_and_then([], hook_row)?;
                rows.collect()
            })
            .await
    }

    /// A webhook, with what is sealed of it.
    pub async fn hook(&self, channel: &str, name: &str) -> Result<Option<(HookRow, HookSeals)>, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .read(move |tx| {
                let (secret, callback) = (SecretOf::hook(&channel, &name), SecretOf::callback(&channel, &name));
                let sealed = "(SELECT sealed FROM secrets WHERE purpose";
                let mut statement = tx.prepare_cached(&format!(
                    "SELECT {HOOK}, {sealed} = ?3 AND name = ?5), {sealed} = ?4 AND name = ?5)
                     FROM hooks WHERE channel = ?1 AND name = ?2",
                ))?;
                let of = [&channel, &name, &secret.purpose, &callback.purpose, &secret.name];
                let mut rows = statement.query_and_then(of, |row| {
                    let seals = HookSeals { secret: row.get(6)?, callback: row.get(7)? };
                    Ok::<_, StoreError>((hook_row(row)?, seals))
                })?;
                rows.next().transpose()
            })
            .await
    }

    /// Forgets a webhook, its secrets, its wirings, and who its sender was. Answers whether it was there.
    pub async fn remove_hook(&self, channel: &str, name: &str) -> Result<bool, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                let sql = "DELETE FROM hooks WHERE channel = ?1 AND name = ?2 RETURNING chat_id";
                let chat_id = tx.query_row(sql, [&channel, &name], |row| row.get(0)).optional()?;
                forget_secret(tx, &SecretOf::hook(&channel, &name))?;
                forget_secret(tx, &SecretOf::callback(&channel, &name))?;
                gone(tx, &channel, chat_id)
            })
            .await
    }

    /// Adds a key with this SHA-256, and wires its chat to the group alone.
    pub async fn add_key(&self, row: KeyRow, hash: [u8; 32], of: For) -> Result<Put, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let there = "SELECT EXISTS (SELECT 1 FROM api_keys WHERE channel = ?1 AND name = ?2)";
                if tx.query_row(there, [&row.channel, &row.name], |row| row.get(0))? {
                    return Ok(Put::Taken);
                }
                let chat_id = fresh_chat(tx, &row.channel, &format!("key/{}", row.name))?;
                if !wire_alone(tx, &row.channel, &chat_id, &of)? {
                    return Ok(Put::Nowhere);
                }
                tx.execute(
                    "INSERT INTO api_keys (channel, name, chat_id, hash, model, expires_at, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![row.channel, row.name, chat_id, hash, row.model, row.expires_at, row.created_at],
                )?;
                Ok(Put::Done(chat_id))
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

    /// Forgets a key, which conversations it had, its wirings, and who its sender was. Answers whether it was there.
    pub async fn remove_key(&self, channel: &str, name: &str) -> Result<bool, StoreError> {
        let (channel, name) = (channel.to_owned(), name.to_owned());
        self.db
            .write(Durability::Durable, move |tx| {
                let sql = "DELETE FROM api_keys WHERE channel = ?1 AND name = ?2 RETURNING chat_id";
                let chat_id: Option<String> = tx.query_row(sql, [&channel, &name], |row| row.get(0)).optional()?;
                let threads = "DELETE FROM api_threads WHERE channel = ?1 AND key = ?2";
                tx.execute(threads, params![channel, chat_id])?;
                gone(tx, &channel, chat_id)
            })
            .await
    }
}

/// The chat of a webhook or a key that is made: none that one of its name had before, whose conversations it would go on
/// with.
fn fresh_chat(tx: &Savepoint<'_>, channel: &str, first: &str) -> Result<String, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM gone_programs WHERE channel = ?1 AND chat_id = ?2)";
    let (mut chat_id, mut number) = (first.to_owned(), 1_u32);
    while tx.prepare_cached(sql)?.query_row([channel, &chat_id], |row| row.get(0))? {
        number += 1;
        chat_id = format!("{first}/{number}");
    }
    Ok(chat_id)
}

/// A webhook or a key is removed: nobody gets its chat again, nor what its sender was allowed.
fn gone(tx: &Savepoint<'_>, channel: &str, chat_id: Option<String>) -> Result<bool, StoreError> {
    let Some(chat_id) = chat_id else { return Ok(false) };
    unwire(tx, channel, &chat_id)?;
    tx.execute("INSERT OR IGNORE INTO gone_programs (channel, chat_id) VALUES (?1, ?2)", [channel, &chat_id])?;
    let sender = chat_id.replacen('/', ":", 1);
    tx.execute("DELETE FROM users WHERE channel = ?1 AND user_id = ?2", [channel, &sender])?;
    tx.execute("DELETE FROM people WHERE id NOT IN (SELECT person FROM users)", [])?;
    Ok(true)
}

/// The same of all of a channel's.
pub(super) fn all_gone(tx: &Savepoint<'_>, channel: &str) -> Result<(), StoreError> {
    for table in ["hooks", "api_keys"] {
        let sql = format!(
            "INSERT OR IGNORE INTO gone_programs (channel, chat_id) SELECT channel, chat_id FROM {table} WHERE channel = ?1"
        );
        tx.execute(&sql, [channel])?;
    }
    Ok(())
}

/// Wires a program's chat to one group: who has its secret is known, and each conversation has a session of its own. Terms
/// that somebody set stay, also for another group.
fn wire_alone(tx: &Savepoint<'_>, channel: &str, chat_id: &str, (folder, kind): &For) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT 1 FROM channels WHERE name = ?1 AND kind = ?2)";
    if !tx.query_row(there, [channel, kind.as_str()], |row| row.get::<_, bool>(0))? {
        return Ok(false);
    }
    let mut before = wirings::wirings_of(tx, channel, chat_id)?;
    let terms = before.pop().map_or_else(Terms::of_program, |wiring| wiring.terms);
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
    let events: String = row.get(5)?;
    Ok(HookRow {
        channel: row.get(0)?,
        name: row.get(1)?,
        chat_id: row.get(2)?,
        format: row.get(3)?,
        callback: row.get(4)?,
        events: serde_json::from_str(&events)
            .map_err(|_| StoreError::Unknown { what: "list of events", value: events })?,
    })
}

fn key_row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        channel: row.get(0)?,
        name: row.get(1)?,
        chat_id: row.get(2)?,
        model: row.get(3)?,
        expires_at: row.get(4)?,
        revoked_at: row.get(5)?,
        used_at: row.get(6)?,
        created_at: row.get(7)?,
    })
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
