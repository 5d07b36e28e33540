//! Directories that appear, and change places, in one step.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::files::tree::remove;
use crate::hooks;

/// In the names of directories that are being filled.
const PARTIAL: &str = ".partial-";

/// A directory that is being filled, beside the place that it will have. Dropping it removes it.
pub(super) struct Fresh {
    path: PathBuf,
    kept: bool,
    /// Held as long as somebody fills it: the kernel gives the lock back with the process, which [`sweep`] looks for.
    _lock: Option<File>,
}

impl Fresh {
    /// Makes it, 0700, under a name that nothing else has.
    pub(super) fn beside(place: &Path) -> io::Result<Self> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let unique = uuid::Uuid::new_v4().simple();
        let path = place.with_file_name(format!(".{name}{PARTIAL}{unique}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        // A file system without locks only has nothing swept.
        let lock = File::open(&path).ok().filter(|dir| dir.try_lock().is_ok());
        Ok(Self { path, kept: false, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Becomes the directory `inner` in it, which is all that it has: so that it has that one's mode and owner.
    pub(super) fn only(mut self, inner: &Path) -> io::Result<Self> {
        let mut name = self.path.clone().into_os_string();
        name.push(".inner");
        let other = PathBuf::from(name);
        std::fs::rename(inner, &other)?;
        std::fs::remove_dir(&self.path)?;
        self.kept = true;
        Ok(Self { path: other, kept: false, _lock: None })
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
        // Under the name that what was there will have: so it has it from the moment in which the two change places.
        std::fs::rename(&self.path, aside)?;
        let partial = std::mem::replace(&mut self.path, aside.to_owned());
        hooks::crash_point("restore.before_exchange");
        match rustix::fs::renameat_with(CWD, aside, CWD, place, RenameFlags::EXCHANGE) {
            Ok(()) => {
                self.kept = true;
                hooks::crash_point("restore.after_exchange");
            }
            // Some file systems cannot: then there is a moment in which nothing is at the place, but all is on the disk.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                std::fs::rename(aside, &partial)?;
                self.path = partial;
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
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished copy was not removed");
        }
    }
}

/// Removes what others that died left half filled in `parent`: of the place `name`, or of any. Only what `is_ours` says of each
/// name in it, as nobody else's directory may go because of how it is called.
pub(super) fn sweep(parent: &Path, name: Option<&str>, is_ours: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let file_name = entry.file_name();
        let Some((place, unique)) = file_name.to_str().and_then(|text| text.strip_prefix('.')?.split_once(PARTIAL))
        else {
            continue;
        };
        let unique = unique.strip_suffix(".inner").unwrap_or(unique);
        if name.is_none_or(|name| name == place)
            && uuid::Uuid::try_parse(unique).is_ok()
            && is_dead(&path)
            && names_in(&path).is_ok_and(|names| !names.is_empty() && names.iter().all(|name| is_ours(name)))
        {
            match remove(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed what was left half filled"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a half filled directory stays"),
            }
        }
    }
}

/// Whether it is a directory of this user, and nobody fills it any more.
fn is_dead(path: &Path) -> bool {
    let ours = path.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
    ours && File::open(path).is_ok_and(|dir| dir.try_lock().is_ok())
}

fn names_in(path: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
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

    #[test]
    fn what_the_dead_left_half_filled_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let is_ours = |name: &str| name == "central.db";
        let fill = |name: &str, file: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(file), "x").unwrap();
            path
        };
        let unique = "0123456789abcdef0123456789abcdef";
        let living = Fresh::beside(&dir.path().join("backup")).unwrap();
        std::fs::write(living.path().join("central.db"), "x").unwrap();
        let dead = fill(&format!(".backup.partial-{unique}"), "central.db");
        let kept = [
            fill(&format!(".films.partial-{unique}"), "film.mkv"),
            fill(".backup.partial-of-mine", "central.db"),
            fill("backup", "central.db"),
            living.path().to_owned(),
        ];
        sweep(dir.path(), Some("other"), is_ours);
        assert!(dead.exists(), "of another place");
        sweep(dir.path(), None, is_ours);
        assert!(!dead.exists());
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }
}
