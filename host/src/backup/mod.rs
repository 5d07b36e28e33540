//! Backups of a running home, and back.
//!
//! - [`take`]: a backup. - [`restore`]: groups from a backup, and what their chats need. - [`salvage`]: one group from its own damaged database.
//! - [`manifest`]: what makes a directory a backup. - `place`: directories that appear and change places in one step.
//!
//! A backup directory, 0700 with all below it:
//!
//! ```text
//! manifest.json                 written last
//! central.db                    groups, wirings, channels, people, what waits; no secret
//! groups/<folder>/state.db      the group's database
//! groups/<folder>/folder/       container.json, AGENTS.md, skills/, workspace/
//! groups/<folder>/data/         sessions: codex homes, sent files
//! global/                       what all groups share
//! ```
//!
//! **The databases come first, then the files**, group by group. So the thread that a database names is in the files, and the
//! files may be ahead of the database by what happened while they were copied. A message that waits in the copied database
//! may be answered in the copied thread; `store::backup::renew` makes it one that was offered before, so that the runner
//! looks for it in the thread by its number and delivers the answer that is there, instead of asking the model twice.
//! The other way round the database would know turns that the thread does not have, and the agent would not remember
//! what it had answered.

pub mod manifest;
mod place;
pub mod restore;
pub mod salvage;
pub mod take;

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;

use crate::files::tree::{Copied, TreeError};
use crate::store::StoreError;

/// Why a backup was not made, or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place of a backup is taken, or lies in what it would copy.
    #[error("{path} {what}")]
    Place {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The directory that a backup would be made in.
    #[error("{0}, where the backup would be, is no directory that exists")]
    NoParent(PathBuf),
    /// It is no backup, or not one that this program knows.
    #[error("{path} is no backup: {why}")]
    NoBackup {
        /// Which directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No such group.
    #[error("no group '{0}' is registered")]
    NoGroup(Folder),
    /// No such group in a backup.
    #[error("no group '{folder}' is in that backup; it has {has}")]
    NotInBackup {
        /// Which.
        folder: Folder,
        /// Those that are.
        has: String,
    },
    /// The backup has no database of a group that had one.
    #[error("the backup has no database of group {folder}: {why}")]
    NoDatabase {
        /// Which group.
        folder: Folder,
        /// Why it was not copied.
        why: String,
    },
    /// A group's database is in order, so there is nothing to salvage.
    #[error("the database of group {0} is in order: there is nothing to restore")]
    InOrder(Folder),
    /// Nothing of a damaged database could be read.
    #[error("nothing could be read of the database of group {0}")]
    Nothing(Folder),
    /// A file or directory.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tree could not be written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

/// Tells now and then how far the copy of a tree is.
fn telling(name: &str, progress: &(impl Fn(String) + ?Sized)) -> impl Fn(&Copied) {
    move |copied| {
        if copied.files.is_multiple_of(256) {
            progress(format!("{name}: {} files, {} MiB", copied.files, copied.bytes >> 20));
        }
    }
}

/// A name beside `place` that nothing has: `prefix` and the time, such as `demo.aside-20260131T235959Z`, and a number where
/// that is taken, as by another restore of the same second.
pub(crate) fn beside(place: &Path, prefix: &str) -> PathBuf {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut name = format!("{prefix}{time}");
    let mut number = 2;
    while place.with_file_name(&name).symlink_metadata().is_ok() {
        name = format!("{prefix}{time}-{number}");
        number += 1;
    }
    place.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_second_differ() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("demo");
        let names: Vec<PathBuf> = (0..9)
            .map(|_| {
                let name = beside(&place, "demo.aside-");
                std::fs::create_dir(&name).unwrap();
                name
            })
            .collect();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), names.len());
    }
}
