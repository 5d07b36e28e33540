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
    /// The file is no database, pages of it are broken, or a row has what nobody wrote. It does not pass.
    Damaged,
    /// A newer program has written it.
    Newer,
    /// Anything else.
    Other,
}

impl Fault {
    /// Of an error of SQLite.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        // A text that is none: SQLite itself does not look.
        if matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::Utf8Error(..)) {
            return Self::Damaged;
        }
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

/// An error of SQLite in people's words, with SQLite's own once.
pub(super) fn words(error: &rusqlite::Error) -> String {
    let own = match error {
        // Its display adds a number that says the same.
        rusqlite::Error::SqliteFailure(code, None) => rusqlite::ffi::code_to_str(code.extended_code).to_owned(),
        error => error.to_string(),
    };
    match Fault::of(error) {
        Fault::Disk => format!("the disk refused ({own})"),
        Fault::Damaged => format!("the database is damaged ({own})"),
        Fault::Newer | Fault::Other => format!("the database refused ({own})"),
    }
}

/// Why a schema cannot be brought up to date, in people's words.
pub(super) fn words_of_migration(error: &rusqlite_migration::Error) -> String {
    use rusqlite_migration::{Error, MigrationDefinitionError};
    match error {
        Error::RusqliteError { err, .. } => words(err),
        Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            "a newer Cofferdam has written it".to_owned()
        }
        error => format!("its schema cannot be brought up to date ({error})"),
    }
}

/// A transaction that did not come about, told to everybody who was in it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// What is behind it.
    pub fault: Fault,
    /// In people's words.
    pub why: String,
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self { fault: Fault::of(&error), why: words(&error) }
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
pub(super) struct FileHealth {
    path: PathBuf,
    note: DiskNote,
    damage: OnceLock<String>,
    on_damage: OnDamage,
}

impl FileHealth {
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

    /// A refusal with the file that it is of, which SQLite does not name.
    pub(super) fn named(&self, refusal: Refusal) -> Refusal {
        match refusal.fault {
            Fault::Disk => Refusal { why: format!("{}: {}", self.path.display(), refusal.why), ..refusal },
            Fault::Damaged | Fault::Newer | Fault::Other => refusal,
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

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;
    use crate::error_chain;

    fn sqlite(code: i32, message: Option<&str>) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), message.map(str::to_owned))
    }

    #[test]
    fn what_sqlite_says_is_told_once_and_in_words() {
        let told = |error| error_chain(&StoreError::Sql(error));
        let malformed = "the database is damaged (database disk image is malformed)";
        assert_eq!(told(sqlite(ffi::SQLITE_CORRUPT, Some("database disk image is malformed"))), malformed);
        assert_eq!(told(sqlite(ffi::SQLITE_CORRUPT, None)), malformed);
        assert_eq!(told(sqlite(4874, None)), "the disk refused (disk I/O error)");
        assert_eq!(told(sqlite(ffi::SQLITE_BUSY, None)), "the database refused (database is locked)");
        let commit = StoreError::Commit(sqlite(ffi::SQLITE_FULL, None).into());
        assert_eq!(error_chain(&commit), "the disk refused (database or disk is full)");
    }

    #[test]
    fn a_database_that_does_not_open_says_which_and_why_once() {
        use rusqlite_migration::{Error, MigrationDefinitionError};
        let told = |source| error_chain(&StoreError::Open { path: "/h/central.db".into(), source });
        let newer = Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead);
        assert_eq!(told(newer.into()), "cannot open /h/central.db: a newer Cofferdam has written it");
        let none = sqlite(ffi::SQLITE_NOTADB, Some("file is not a database"));
        let damaged = "cannot open /h/central.db: the database is damaged (file is not a database)";
        assert_eq!(told(none.into()), damaged);
        let within = Error::RusqliteError {
            query: "SELECT 1".into(),
            err: sqlite(ffi::SQLITE_NOTADB, Some("file is not a database")),
        };
        assert_eq!(told(within.into()), damaged);
    }
}
