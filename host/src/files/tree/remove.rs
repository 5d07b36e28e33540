//! Removing a tree that was copied.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode};
use rustix::io::Errno;

use super::walk::open_dir;

/// Removes a directory of ours with all in it. Copies have the rights of what they are copies of, so in some of its
/// directories only root may remove something, as in those of Go's modules; such get other rights first.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(CWD, path.as_os_str())?;
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// Makes the directory one whose entries its owner can remove, and those below it.
fn open_up(at: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
    let dir = open_dir(at, name)?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let inner = !matches!(name.to_bytes(), b"." | b"..")
            && rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if inner {
            open_up(&dir, OsStr::from_bytes(name.to_bytes()))?;
        }
    }
    Ok(())
}
