//! What makes a directory a backup: a file that is written when everything else is there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cofferdam_protocol::ids::Folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BackupError, io};

/// Its name.
pub const NAME: &str = "manifest.json";
/// The form of backups that this program makes and takes.
pub const FORMAT: u32 = 1;
/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What a backup has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// The form.
    pub format: u32,
    /// The program that made it.
    pub version: String,
    /// The installation that it is of.
    pub install: String,
    /// When it was begun: RFC 3339, UTC.
    pub at: String,
    /// `central.db`.
    pub central: Database,
    /// The groups, by folder.
    pub groups: Vec<Group>,
}

/// A database's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its schema's version.
    pub schema: usize,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// A group in a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its folder.
    pub folder: Folder,
    /// Its database; none of a group that was never talked to, or whose database could not be copied.
    pub database: Option<Database>,
    /// Why its database could not be copied, if so.
    pub missing: Option<String>,
}

impl Manifest {
    /// Reads the manifest of a backup, and refuses what is none.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let no_backup = |why: String| BackupError::NoBackup { path: dir.to_owned(), why };
        let path = dir.join(NAME);
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if !dir.exists() => no_backup("it does not exist".to_owned()),
            std::io::ErrorKind::NotFound => no_backup(format!("{NAME} is missing")),
            _ => io(&path)(error),
        })?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(io(&path))?;
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form = serde_json::from_str(&text).map_err(|error| no_backup(format!("{NAME}: {error}")))?;
        if form.format != FORMAT {
            return Err(no_backup(format!("it has form {}, this program knows {FORMAT}", form.format)));
        }
        serde_json::from_str(&text).map_err(|error| no_backup(format!("{NAME}: {error}")))
    }
}

impl Database {
    /// Of the file at `path`.
    pub fn of(path: &Path, schema: usize) -> Result<Self, BackupError> {
        Ok(Self { schema, sha256: sha256(path)? })
    }

    /// Refuses a file that is not what was copied.
    pub fn check(&self, path: &Path) -> Result<(), BackupError> {
        let what = match sha256(path) {
            Ok(sha256) if sha256 == self.sha256 => return Ok(()),
            Ok(_) => "is not the file that was copied",
            Err(BackupError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => "is missing",
            Err(error) => return Err(error),
        };
        let why = format!("{} {what}", path.display());
        Err(BackupError::NoBackup { path: path.parent().unwrap_or(path).to_owned(), why })
    }
}

fn sha256(path: &Path) -> Result<String, BackupError> {
    let mut file = File::open(path).map_err(io(path))?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 128 * 1024]);
    loop {
        match file.read(&mut piece).map_err(io(path))? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            bytes => hash.update(&piece[..bytes]),
        }
    }
}
