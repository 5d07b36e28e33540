//! Files of the host, made without following a link that an agent may have made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

use super::PrepareError;
use crate::sandbox::User;

/// Lets the container's user read the instructions, which a strict umask may keep to their writer.
pub(super) fn readable(file: &Path) -> Result<(), PrepareError> {
    let mode = fs::symlink_metadata(file).map_err(at(file))?.permissions().mode();
    if mode & 0o044 == 0o044 {
        return Ok(());
    }
    fs::set_permissions(file, fs::Permissions::from_mode(mode | 0o044)).map_err(at(file))
}

/// The same for a directory and all below it.
pub(super) fn readable_tree(dir: &Path) -> Result<(), PrepareError> {
    let found = fs::symlink_metadata(dir).map_err(at(dir))?;
    if found.is_file() {
        return readable(dir);
    }
    if !found.is_dir() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    if mode & 0o055 != 0o055 {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o055)).map_err(at(dir))?;
    }
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        readable_tree(&entry.map_err(at(dir))?.path())?;
    }
    Ok(())
}

/// The directory, made if need be, 0700 and owned by `user`.
pub(super) fn own_dir(path: &Path, user: User) -> Result<(), PrepareError> {
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(path)?.is_dir() {
                    return Err(io::Error::other("it is not a directory"));
                }
            }
            Err(error) => return Err(error),
        }
        own(path, user)
    };
    make().map_err(at(path))
}

fn own(path: &Path, user: User) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let now = fs::symlink_metadata(path)?;
    if (now.uid(), now.gid()) == (user.uid, user.gid) {
        return Ok(());
    }
    lchown(path, Some(user.uid), Some(user.gid))
}

/// Writes a file for `user` alone beside `path` and renames it over whatever is there.
pub(super) fn replace_file(path: &Path, content: &[u8], user: User) -> Result<(), PrepareError> {
    let fresh = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        own(&fresh, user)?;
        fs::rename(&fresh, path)
    };
    write().map_err(at(path))
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), PrepareError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> PrepareError + '_ {
    move |source| PrepareError::File { path: path.to_owned(), source }
}
