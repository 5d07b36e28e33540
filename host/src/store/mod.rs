//! All state on disk. The only user of rusqlite; SQL stands beside the method that runs it.
//!
//! - [`db`]: one SQLite file behind one writer thread that commits in groups.
//! - [`schema`] has the migrations. - [`fault`]: what a refusal of SQLite means.
//! - [`central`]: what spans groups; [`looked`]: all that an arrival asks of it; [`late`]: who writes too fast. - [`accounts`]: credentials, sealed.
//! - [`group`]: one group's sessions, inbox, turns and outbox, one file per table of concerns.
//! - [`registry`]: which group databases are open. - `aside`: which are not used.
//! - [`boot`]: what a power cut may have taken. - [`backup`]: copies; [`taken_back`]: what comes back of one besides groups. - [`salvage`]: what can be read of a damaged one.

pub mod accounts;
mod api_threads;
pub mod approvals;
mod approvers;
mod aside;
mod asking;
pub mod backup;
pub mod boot;
pub mod central;
pub mod channels;
pub mod db;
pub mod drops;
mod ending;
pub mod fault;
pub mod ground;
pub mod group;
mod hook_calls;
pub mod hooks;
mod identities;
pub mod late;
mod leases;
mod letters;
pub mod looked;
pub mod moves;
pub mod outboxes;
mod own_states;
pub mod pairing;
pub mod people;
pub mod pools;
pub mod post_letters;
pub mod posts;
pub mod registry;
mod remembered;
pub mod salvage;
pub mod schema;
pub mod taken_back;
pub mod wirings;

use std::path::PathBuf;

use cofferdam_protocol::ids::Folder;

use crate::model::IllegalTransition;

pub use aside::{Copying, Errand, Hold};
pub use central::Central;
pub use fault::Fault;
pub use group::GroupDb;
pub use outboxes::Outbox;
pub use registry::Stores;

/// What can go wrong with the store. Display says one step, `source()` the rest.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A database file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// SQLite refused.
    #[error("{}", fault::words(.0))]
    Sql(rusqlite::Error),
    /// A group commit failed, so everything in it did.
    #[error(transparent)]
    Commit(#[from] fault::Refusal),
    /// The group's database is damaged; nothing of it is used until somebody restores it.
    #[error("group {folder} is set aside: {why}")]
    SetAside {
        /// The group.
        folder: Folder,
        /// What was found.
        why: String,
    },
    /// A database that opens, but whose content is not whole.
    #[error("{path} is not whole: {why}")]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What SQLite found first.
        why: String,
    },
    /// A damaged database that a newer Cofferdam has written, of which nothing is taken.
    #[error("the database has tables or columns that this version does not know: a newer Cofferdam has written it")]
    Newer,
    /// Somebody replaces or removes the group just now.
    #[error("group {folder} is being {errand}")]
    Held {
        /// The group.
        folder: Folder,
        /// What for.
        errand: Errand,
    },
    /// A backup of the group is made just now, which must not see two of its states.
    #[error("a backup of group {0} is being made")]
    Copied(Folder),
    /// The group is not registered, or not any more: nothing of it is read or written.
    #[error("no group '{0}' is registered")]
    NoGroup(Folder),
    /// The writer thread ended.
    #[error("the database is closed")]
    Closed,
    /// A row has a value that this version does not know, though its schema is known: nobody wrote that.
    #[error("the database has an unknown {what}: '{value}'")]
    Unknown {
        /// Which column.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// A bug of ours.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The write comes from an attempt that is not the session's newest (invariant 3).
    #[error("attempt {given} is stale; the session's is {current}")]
    Stale {
        /// The writer's attempt.
        given: i64,
        /// The session's newest.
        current: i64,
    },
    /// `hello` came a second time for one attempt.
    #[error("the attempt's token was handed out already")]
    TokenTaken,
    /// So many messages of the session wait that no more are accepted.
    #[error("{0} messages of the session wait already")]
    Full(u64),
    /// No such session.
    #[error("no session {0}")]
    NoSession(String),
}

impl StoreError {
    /// What is behind it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Open { source, .. } => Fault::of_open(source),
            Self::Sql(error) => Fault::of(error),
            Self::Commit(refusal) => refusal.fault,
            Self::SetAside { .. } | Self::Unsound { .. } | Self::Unknown { .. } => Fault::Damaged,
            Self::Newer => Fault::Newer,
            _ => Fault::Other,
        }
    }

    /// Whether the disk refused (full, read-only, no rights), rather than something being wrong.
    pub fn is_disk(&self) -> bool {
        self.fault() == Fault::Disk
    }

    /// Whether nothing of this database will work before somebody restores it, or registers the group.
    pub fn is_set_aside(&self) -> bool {
        matches!(self.fault(), Fault::Damaged) || matches!(self, Self::Held { .. } | Self::NoGroup(_))
    }
}

/// Why a database file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or file cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// SQLite refused it.
    #[error("{}", fault::words(.0))]
    Sql(rusqlite::Error),
    /// Its schema cannot be brought up to date.
    #[error("{}", fault::words_of_migration(.0))]
    Migration(rusqlite_migration::Error),
}

// By hand, so that they are no `source()`: the words above have them already.

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite_migration::Error> for OpenError {
    fn from(error: rusqlite_migration::Error) -> Self {
        Self::Migration(error)
    }
}

/// Milliseconds since 1970, UTC: the form of every time in the store.
pub fn now_ms() -> i64 {
    crate::clock::now_ms()
}

/// From 0 to 1, so that what failed together does not come back together.
pub fn chance() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// A stored time as RFC 3339, UTC.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod disk_tests;
