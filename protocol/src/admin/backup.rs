//! Backups and their way back.

use serde::{Deserialize, Serialize};

use super::ErrorBody;
use crate::ids::Folder;

/// A line of the answer to long work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkEvent<T> {
    /// How far it is, in words.
    Progress(String),
    /// It is done; nothing follows.
    Done(T),
    /// It failed; nothing follows.
    Failed(ErrorBody),
}

/// Asks for a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The directory that it will be, absolute; it must not exist or be empty.
    pub dir: String,
    /// These groups; none are all.
    #[serde(default)]
    pub groups: Vec<Folder>,
}

/// A backup that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupReport {
    /// The directory.
    pub dir: String,
    /// When it was begun: RFC 3339, UTC.
    pub at: String,
    /// Files besides the databases.
    pub files: u64,
    /// Their bytes, holes left out.
    pub bytes: u64,
    /// The groups.
    pub groups: Vec<GroupBackup>,
}

/// One group of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupBackup {
    /// Which.
    pub group: Folder,
    /// Whether its database is in it; not of a group that was never talked to.
    pub database: bool,
    /// Why its database is not in it although it has one.
    pub missing: Option<String>,
    /// Files of its folder and its sessions.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pipes, sockets, devices and what could not be read.
    pub left_out: u64,
    /// The first of them, with the reason.
    pub named: Vec<String>,
}

/// Asks for groups to be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Which; none are all of the backup.
    #[serde(default)]
    pub groups: Vec<Folder>,
    /// The backup, absolute; none saves what can be read of the group's own damaged database.
    #[serde(default)]
    pub from: Option<String>,
    /// Takes the group's folder from the backup also where there is one.
    #[serde(default)]
    pub folder: bool,
    /// Ends the group's running sessions.
    #[serde(default)]
    pub stop: bool,
    /// Begins with an empty database where nothing can be read.
    #[serde(default)]
    pub empty: bool,
}

/// What was restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The groups.
    pub groups: Vec<GroupRestore>,
}

/// One restored group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRestore {
    /// Which.
    pub group: Folder,
    /// What was there before, where it is now.
    pub aside: Vec<String>,
    /// Whether its folder came from the backup; a folder that was there stays unless asked.
    pub folder: bool,
    /// Of a damaged database: what was saved, table by table.
    pub tables: Vec<TableRestore>,
    /// Chats of the backup that reach another group here, as `channel:chat`.
    pub wired_elsewhere: Vec<String>,
}

/// What was saved of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRestore {
    /// Which.
    pub table: String,
    /// Rows that were saved.
    pub saved: u64,
    /// Rows, at most, that could not be read; null when some could not and nothing says how many.
    pub lost: Option<u64>,
    /// Rows that were read but belong to what was lost, or make no sense.
    pub unusable: u64,
}
