//! `central.db`: groups, the install id. What else it has is in rooms of its own beside this one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cofferdam_protocol::ids::Folder;
use rusqlite::{Row, params};

use super::db::{Db, Durability};
use super::ground::Ground;
use super::schema::Kind;
use super::{StoreError, now_ms};
use crate::hooks;
use crate::model::chat::SessionMode;

/// A group's row.
#[derive(Debug, Clone)]
pub struct GroupRow {
    /// Its folder.
    pub folder: Folder,
    /// The parsed copy of `container.json`, as JSON.
    pub config: String,
    /// SHA-256 of the file that `config` was parsed from.
    pub config_hash: String,
    /// When it was registered, ms.
    pub registered_at: i64,
    /// Why its database is not used, if so.
    pub set_aside: Option<String>,
}

/// The database of what spans groups.
#[derive(Clone)]
pub struct Central {
    pub(super) db: Db,
    /// Whether any chat may have another id than before: most homes need not look for each arrival.
    pub(super) has_moves: Arc<AtomicBool>,
}

impl Central {
    /// Opens or makes it.
    pub fn open(path: &Path, ground: &Ground) -> Result<Self, StoreError> {
        Ok(Self {
            db: Db::on(path, Kind::Central, ground, Box::new(|_| {}))?,
            has_moves: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Closes the database in order.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// This installation's id, made at the first call.
    pub async fn install_id(&self) -> Result<String, StoreError> {
        self.db
            .write(Durability::Durable, |tx| {
                let fresh = uuid::Uuid::new_v4().simple().to_string();
                tx.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('install', ?1)", [fresh])?;
                Ok(tx.query_row("SELECT value FROM meta WHERE key = 'install'", [], |row| row.get(0))?)
            })
            .await
    }

    /// Registers a group, or renews its parsed copy; wires its terminal chat. Answers whether it was new.
    pub async fn put_group(&self, folder: &Folder, config: String, hash: String) -> Result<bool, StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                let known: bool =
                    tx.query_row("SELECT EXISTS (SELECT 1 FROM groups WHERE folder = ?1)", [&folder], |r| r.get(0))?;
                tx.execute(
                    "INSERT INTO groups (folder, config, config_hash, registered_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (folder) DO UPDATE SET config = excluded.config, config_hash = excluded.config_hash",
                    params![folder, config, hash, now_ms()],
                )?;
                // Whoever reaches the admin socket owns the home; each named thread is a conversation of its own.
                tx.execute(
                    "INSERT OR IGNORE INTO wirings (channel, chat_id, folder, session_mode)
                     VALUES ('terminal', ?1, ?1, ?2)",
                    params![folder, SessionMode::PerThread.as_str()],
                )?;
                Ok(!known)
            })
            .await
    }

    /// Forgets a group, its wirings and its busy mark.
    pub(super) async fn remove_group(&self, folder: &Folder) -> Result<bool, StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                Ok(tx.execute("DELETE FROM groups WHERE folder = ?1", [folder])? > 0)
            })
            .await
    }

    /// All groups, by folder.
    pub async fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT folder, config, config_hash, registered_at, set_aside FROM groups ORDER BY folder",
                )?;
                let rows = statement.query_and_then([], group_row)?;
                rows.collect()
            })
            .await
    }

    /// One group.
    pub async fn group(&self, folder: &Folder) -> Result<Option<GroupRow>, StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT folder, config, config_hash, registered_at, set_aside FROM groups WHERE folder = ?1",
                )?;
                let mut rows = statement.query_and_then([folder], group_row)?;
                rows.next().transpose()
            })
            .await
    }

    /// How many groups are registered.
    pub async fn group_count(&self) -> Result<usize, StoreError> {
        self.db.read(|tx| Ok(tx.query_row("SELECT count(*) FROM groups", [], |row| row.get(0))?)).await
    }

    /// Notes that a group may have due work; before its first message is accepted. Answers whether there is such a group.
    pub async fn mark_busy(&self, folder: &Folder) -> Result<bool, StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute(
                    "INSERT OR IGNORE INTO busy_groups (folder) SELECT folder FROM groups WHERE folder = ?1",
                    [&folder],
                )?;
                hooks::crash_point("mark_busy.before_commit");
                let marked = "SELECT EXISTS (SELECT 1 FROM busy_groups WHERE folder = ?1)";
                Ok(tx.query_row(marked, [&folder], |row| row.get(0))?)
            })
            .await
    }

    /// Notes that a group has no due work.
    pub async fn clear_busy(&self, folder: &Folder) -> Result<(), StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.execute("DELETE FROM busy_groups WHERE folder = ?1", [folder])?;
                Ok(())
            })
            .await
    }

    /// The groups that may have due work.
    pub async fn busy_groups(&self) -> Result<Vec<Folder>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached("SELECT folder FROM busy_groups ORDER BY folder")?;
                let rows = statement.query_and_then([], |row| folder_of(row.get(0)?))?;
                rows.collect()
            })
            .await
    }
}

pub(super) fn folder_of(text: String) -> Result<Folder, StoreError> {
    text.parse().map_err(|_| StoreError::Unknown { what: "folder", value: text })
}

pub(super) fn group_row(row: &Row<'_>) -> Result<GroupRow, StoreError> {
    Ok(GroupRow {
        folder: folder_of(row.get(0)?)?,
        config: row.get(1)?,
        config_hash: row.get(2)?,
        registered_at: row.get(3)?,
        set_aside: row.get(4)?,
    })
}
