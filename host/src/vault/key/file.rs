//! The file with the vault's keys, or with the place where they are: written whole or not at all, and nobody else's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, RenameFlags};
use secrecy::{ExposeSecret, SecretString};

use super::text::Written;
use crate::vault::VaultError;

/// The largest file that is read, in bytes: some hundred keys.
const MAX_BYTES: u64 = 16 * 1024;

/// What the file says.
pub(super) fn read(path: &Path) -> Result<Written, VaultError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::NoKey(path.to_owned()),
        _ => VaultError::at(path)(error),
    })?;
    check(path, &file)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => VaultError::NoKeyFile(path.to_owned()),
        _ => VaultError::at(path)(error),
    })?;
    Written::parse(&text.into()).ok_or_else(|| VaultError::NoKeyFile(path.to_owned()))
}

/// Refuses a file that is not the daemon's own, or that others can read.
fn check(path: &Path, file: &File) -> Result<(), VaultError> {
    let meta = file.metadata().map_err(VaultError::at(path))?;
    if !meta.is_file() {
        return Err(VaultError::NoKeyFile(path.to_owned()));
    }
    let (mode, me) = (meta.permissions().mode() & 0o777, rustix::process::geteuid().as_raw());
    if mode & 0o077 != 0 || (meta.uid() != me && me != 0) {
        return Err(VaultError::Exposed { path: path.to_owned(), mode, uid: meta.uid() });
    }
    Ok(())
}

/// Whether a file that is there may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// There must be none.
    Never,
    /// It is.
    Replaced,
}

/// Writes the file, whole and durable or not at all.
pub(super) fn write(path: &Path, written: &Written, old: Old) -> Result<(), VaultError> {
    let beside = path.with_extension("key.new");
    let at = VaultError::at(&beside);
    // Left by a crash; nothing was ever sealed with what only it has.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let done = write_new(&beside, &written.text()).map_err(at).and_then(|()| put(&beside, path, old));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

fn write_new(path: &Path, text: &SecretString) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.expose_secret().as_bytes())?;
    file.sync_all()
}

fn put(from: &Path, to: &Path, old: Old) -> Result<(), VaultError> {
    let flags = if old == Old::Never { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    let moved = rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags);
    let dir = to.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    moved.map_err(io::Error::from).and_then(|()| File::open(dir)?.sync_all()).map_err(VaultError::at(to))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::vault::key::text::MARK;
    use crate::vault::seal::SealKey;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.key");
        (dir, path)
    }

    fn fresh() -> (Written, Vec<String>) {
        let keys = vec![SealKey::fresh(), SealKey::fresh()];
        let ids = keys.iter().map(|key| key.id().to_string()).collect();
        (Written::Here { keys: keys.into(), also: None }, ids)
    }

    fn ids(path: &Path) -> Vec<String> {
        let Written::Here { keys, .. } = read(path).unwrap() else { panic!("no keys") };
        keys.iter().map(|key| key.id().to_string()).collect()
    }

    #[test]
    fn keys_are_read_in_the_order_in_which_they_were_written() {
        let (_dir, path) = place();
        let (written, in_order) = fresh();
        write(&path, &written, Old::Never).unwrap();
        assert_eq!(ids(&path), in_order);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_first_key_never_replaces_one_that_is_there() {
        let (_dir, path) = place();
        let (first, of_first) = fresh();
        write(&path, &first, Old::Never).unwrap();
        assert!(write(&path, &fresh().0, Old::Never).is_err());
        assert_eq!(ids(&path), of_first);
        let (next, of_next) = fresh();
        write(&path, &next, Old::Replaced).unwrap();
        assert_eq!(ids(&path), of_next);
        assert!(!path.with_extension("key.new").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let (_dir, path) = place();
        write(&path, &fresh().0, Old::Never).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(VaultError::Exposed { .. })), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_being_shown() {
        let (dir, path) = place();
        for text in
            ["", "secret", &format!("{MARK}c2VjcmV0"), &format!("{MARK}{}=", "A".repeat(42)), "\u{fffd}secret"]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, VaultError::NoKeyFile(_)), "{text}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path), Err(VaultError::NoKey(_))));
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(read(&path), Err(VaultError::Io { .. })), "a link is not followed");
    }
}
