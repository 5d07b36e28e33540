//! What a refusal of SQLite means, and how one database is: whether its disk takes writes, whether its file is whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::ErrorCode;

use super::{OpenError, StoreError};

/// What stands behind an error of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk: full, read-only, no rights, or it fails. It can pass.
    Disk,
    /// The file is no database, or pages of it are broken. It does not pass.
    Damaged,
    /// A newer program has written it.
    Newer,
    /// Anything else.
    Other,
}

impl Fault {
    /// Of an error of SQLite.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied,
            ) => Self::Disk,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => Self::Other,
        }
    }

    /// Of a database that did not open.
    pub(super) fn of_open(error: &OpenError) -> Self {
        use rusqlite_migration::{Error, MigrationDefinitionError};
        match error {
            OpenError::Io(_) => Self::Disk,
            OpenError::Sql(error) => Self::of(error),
            OpenError::Migration(Error::RusqliteError { err, .. }) => Self::of(err),
            OpenError::Migration(Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead)) => {
                Self::Newer
            }
            OpenError::Migration(_) => Self::Other,
        }
    }
}

/// A transaction that did not come about, told to everybody who was in it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// What is behind it.
    pub fault: Fault,
    /// SQLite's words.
    pub why: String,
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self { fault: Fault::of(&error), why: error.to_string() }
    }
}

/// The last write of any database that the disk refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The database.
    pub path: PathBuf,
    /// SQLite's words.
    pub why: String,
}

/// Where the databases of one home note what the disk refused. Clones are the same note.
#[derive(Debug, Clone, Default)]
pub struct DiskNote(Arc<Mutex<Option<Refused>>>);

impl DiskNote {
    /// What was refused last, unless it was taken since.
    pub fn get(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The disk takes writes again.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn set(&self, path: &Path, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Refused { path: path.to_owned(), why });
    }

    fn clear_if(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if(|noted| noted.path == path);
    }
}

/// Told once when a database is found to be damaged, with the reason; on the database's own thread.
pub(super) type OnDamage = Box<dyn Fn(&str) + Send + Sync>;

/// How one database is, seen by its thread and its callers.
pub(super) struct Health {
    path: PathBuf,
    note: DiskNote,
    damage: OnceLock<String>,
    on_damage: OnDamage,
}

impl Health {
    pub(super) fn new(path: &Path, note: DiskNote, on_damage: OnDamage) -> Self {
        Self { path: path.to_owned(), note, damage: OnceLock::new(), on_damage }
    }

    /// Looks at an error of a caller's statement.
    pub(super) fn see(&self, error: &StoreError) {
        match error.fault() {
            Fault::Disk => self.note.set(&self.path, crate::error_chain(error)),
            Fault::Damaged => self.damaged(&crate::error_chain(error)),
            Fault::Newer | Fault::Other => {}
        }
    }

    /// Looks at what became of a transaction.
    pub(super) fn see_commit(&self, outcome: &Result<(), Refusal>) {
        match outcome {
            Ok(()) => self.note.clear_if(&self.path),
            Err(refusal) => match refusal.fault {
                Fault::Disk => self.note.set(&self.path, refusal.why.clone()),
                Fault::Damaged => self.damaged(&refusal.why),
                Fault::Newer | Fault::Other => {}
            },
        }
    }

    /// Why nothing may be written any more, if so.
    pub(super) fn intact(&self) -> Result<(), Refusal> {
        match self.damage.get() {
            None => Ok(()),
            Some(why) => Err(Refusal { fault: Fault::Damaged, why: why.clone() }),
        }
    }

    fn damaged(&self, why: &str) {
        if self.damage.set(why.to_owned()).is_ok() {
            tracing::error!(database = %self.path.display(), error = why, "a database is damaged; it is closed");
            (self.on_damage)(why);
        }
    }
}
