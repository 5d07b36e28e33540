//! The lock that says whose a home is, and how its holder notices that it has lost it.
//!
//! The kernel's lock keeps a second daemon out for as long as both open the same file. It cannot when somebody removes
//! or copies the file, puts an older home in its place, or has it on a file system without locks. So the file also has its
//! holder's name, and the holder reads it in every transaction, with the database's write lock in hand, and once a second:
//! a daemon that does not find its own name has lost the home. Whatever it did from then on could only be wrong, so it does
//! nothing more, not even tidy up: the sockets, the containers and the databases are another's.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use super::StartError;

/// The held lock. The kernel releases it with the process.
pub(super) struct HomeLock {
    path: PathBuf,
    /// The whole content: the process for people, and what no other daemon has.
    name: String,
    _file: File,
}

impl HomeLock {
    /// Takes the lock at `path`, or says who has it.
    pub(super) fn take(path: PathBuf) -> Result<Self, StartError> {
        let at = |source| StartError::Home { path: path.clone(), source };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut name = String::new();
                // Only for the message; the lock is what counts.
                let _ = file.read_to_string(&mut name);
                return Err(StartError::Locked { pid: name.lines().next().unwrap_or_default().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(at(source)),
        }
        let name = format!("{}\n{}\n", std::process::id(), uuid::Uuid::new_v4().simple());
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(name.as_bytes())
        };
        write(&mut file).map_err(at)?;
        Ok(Self { path, name, _file: file })
    }

    /// Who has the home instead of us; none while it is ours. Takes 5 µs.
    pub(super) fn lost_to(&self) -> Option<String> {
        match std::fs::read_to_string(&self.path) {
            Ok(name) if name == self.name => None,
            Ok(name) => Some(format!("process {}", name.lines().next().unwrap_or("unknown"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("nobody: it was removed".to_owned()),
            // A disk that fails says nothing about whose the home is.
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_lost_when_its_file_is_removed_or_taken_by_another_and_not_when_it_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("daemon.lock"), dir.path().join("copy"));
        let first = HomeLock::take(path.clone()).unwrap();
        assert!(
            matches!(HomeLock::take(path.clone()), Err(StartError::Locked { pid }) if pid == std::process::id().to_string())
        );
        assert_eq!(first.lost_to(), None, "one that was refused took nothing");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::rename(&copy, &path).unwrap();
        assert_eq!(first.lost_to(), None, "nobody else has it yet");
        let second = HomeLock::take(path.clone()).unwrap();
        assert!(first.lost_to().is_some_and(|who| who.contains("process")));
        assert_eq!(second.lost_to(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(second.lost_to().is_some_and(|who| who.contains("removed")));
    }
}
