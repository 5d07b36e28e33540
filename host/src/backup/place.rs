//! Directories that appear, and change places, in one step.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// A directory that is being filled, beside the place that it will have. Dropping it removes it.
pub(super) struct Fresh {
    path: PathBuf,
    kept: bool,
}

impl Fresh {
    /// Makes it, 0700, under a name that nothing else has.
    pub(super) fn beside(place: &Path) -> io::Result<Self> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let unique = uuid::Uuid::new_v4().simple();
        let path = place.with_file_name(format!(".{name}.partial-{unique}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Becomes the directory `inner` in it, which is all that it has: so that it has that one's mode and owner.
    pub(super) fn only(mut self, inner: &Path) -> io::Result<Self> {
        let other = self.path.with_extension("inner");
        std::fs::rename(inner, &other)?;
        std::fs::remove_dir(&self.path)?;
        self.kept = true;
        Ok(Self { path: other, kept: false })
    }

    /// Writes everything in it to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.path)?)?)
    }

    /// Gives it its place, where nothing, or an empty directory, may be.
    pub(super) fn settle(mut self, place: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, place)?;
        self.kept = true;
        sync_parent(place)
    }

    /// Gives it its place; what was there is afterwards at `aside`. A crash leaves the old or the new at the place. Answers
    /// whether there was something.
    pub(super) fn replace(mut self, place: &Path, aside: &Path) -> io::Result<bool> {
        if place.symlink_metadata().is_err() {
            return self.settle(place).map(|()| false);
        }
        match rustix::fs::renameat_with(CWD, &self.path, CWD, place, RenameFlags::EXCHANGE) {
            Ok(()) => {
                self.kept = true;
                std::fs::rename(&self.path, aside)?;
            }
            // Some file systems cannot: then there is a moment in which nothing is at the place, but all is on the disk.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                std::fs::rename(place, aside)?;
                std::fs::rename(&self.path, place)?;
                self.kept = true;
            }
            Err(errno) => return Err(errno.into()),
        }
        sync_parent(place).map(|()| true)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished copy was not removed");
        }
    }
}

/// Makes a change of names last.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_aside_and_an_unfinished_copy_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (place, aside) = (dir.path().join("place"), dir.path().join("aside"));
        for (text, before) in [("one", false), ("two", true)] {
            let fresh = Fresh::beside(&place).unwrap();
            std::fs::write(fresh.path().join("file"), text).unwrap();
            fresh.sync().unwrap();
            assert_eq!(fresh.replace(&place, &aside).unwrap(), before);
        }
        drop(Fresh::beside(&place).unwrap());
        let read = |path: &Path| std::fs::read_to_string(path.join("file")).unwrap();
        assert_eq!((read(&place), read(&aside)), ("two".to_owned(), "one".to_owned()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }
}
