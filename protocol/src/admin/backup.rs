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
    /// Of the folder that all groups share.
    pub shared: FilesCopied,
}

/// Files that were copied, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesCopied {
    /// Files; one with several names is as many.
    pub files: u64,
    /// Their bytes, holes left out.
    pub bytes: u64,
    /// What was left out: pipes, sockets and devices, which have no content, and what failed.
    pub left_out: u64,
    /// Of these, what should be there: it could not be read, or no copy can be like it. Then the exit code is 14.
    pub failed: u64,
    /// The first of what was left out, with the reason; first what failed.
    pub named: Vec<String>,
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
    /// Of its folder and its sessions.
    #[serde(flatten)]
    pub copied: FilesCopied,
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
    /// The folder that all groups share, when it came from the backup.
    pub shared: Option<SharedRestore>,
    /// What chats need besides their groups, when all of the backup was taken.
    #[serde(default)]
    pub home: Option<HomeRestore>,
}

/// What came back of a home besides its groups. What was here stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeRestore {
    /// Channels, with how far they read, their webhooks and their keys.
    pub channels: Vec<String>,
    /// Channels of the backup that were here.
    pub channels_kept: Vec<String>,
    /// People whom nobody knew here, each with their roles.
    pub people: Vec<String>,
    /// Approvals that wait.
    pub approvals: u64,
    /// Cofferdam's own words to chats that are on their way, or wait as dead letters.
    pub posts: u64,
    /// What a person has to do now, such as giving secrets again.
    pub to_do: Vec<String>,
}

/// The restored folder that all groups share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SharedRestore {
    /// What was there before, where it is now.
    pub aside: Vec<String>,
    /// Files that came from the backup.
    #[serde(flatten)]
    pub copied: FilesCopied,
}

/// One restored group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRestore {
    /// Which.
    pub group: Folder,
    /// When the backup was begun that it came from, RFC 3339, UTC: what happened after is not in it.
    #[serde(default)]
    pub as_of: Option<String>,
    /// What was there before, where it is now.
    pub aside: Vec<String>,
    /// Whether its folder came from the backup; a folder that was there stays unless asked.
    pub folder: bool,
    /// Files that came from the backup.
    #[serde(flatten)]
    pub copied: FilesCopied,
    /// Of a damaged database: what was saved, table by table.
    pub tables: Vec<TableRestore>,
    /// Chats of the backup that reach another group here, as `channel:chat`.
    pub wired_elsewhere: Vec<String>,
    /// Channels of its chats that this home does not have.
    #[serde(default)]
    pub no_channel: Vec<String>,
    /// People who have their role in it again, as `name: role`.
    #[serde(default)]
    pub roles: Vec<String>,
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
