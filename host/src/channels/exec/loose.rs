//! Files between us and a program: ours, in a directory that only we can look into, and gone when nobody needs them.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// A directory with one file in it, removed when it is dropped.
pub(super) struct Loose {
    dir: PathBuf,
    path: String,
}

impl Loose {
    /// A place for a file of this name, which has to be safe.
    pub(super) fn place(below: &Path, name: &str) -> io::Result<Self> {
        let dir = below.join(uuid::Uuid::new_v4().to_string());
        make_dir(&dir)?;
        let path = dir.join(name).into_os_string().into_string();
        let loose = Self { dir, path: path.map_err(|_| io::Error::other("the path is not UTF-8"))? };
        Ok(loose)
    }

    /// A file with this content.
    pub(super) fn with(below: &Path, name: &str, content: &[u8]) -> io::Result<Self> {
        let loose = Self::place(below, name)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&loose.path)?;
        file.write_all(content)?;
        Ok(loose)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What the program wrote there: a file, nothing else, and no link to one.
    pub(super) fn open(&self) -> io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = std::fs::File::from(rustix::fs::open(&self.path, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        // What is left goes at the next start.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Makes a directory of ours, unless it is there.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes an empty directory of ours.
pub(super) fn make_empty(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => make_dir(dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_read_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let loose = Loose::with(dir.path(), "a.txt", b"x").unwrap();
        assert_eq!(loose.open().unwrap().metadata().unwrap().len(), 1);
        std::fs::remove_file(loose.path()).unwrap();
        assert!(loose.open().is_err(), "nothing");
        std::os::unix::fs::symlink("/etc/passwd", loose.path()).unwrap();
        assert!(loose.open().is_err(), "a link");
        std::fs::remove_file(loose.path()).unwrap();
        std::fs::create_dir(loose.path()).unwrap();
        assert!(loose.open().is_err(), "a directory");
        drop(loose);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
