//! Hard links within one tree: a file with several names is copied once, and its copy gets the other names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

/// What is remembered takes at most about this many bytes; what does not fit is copied for each of its names.
const MOST: usize = 48 * 1024 * 1024;
/// Of these, what one file takes besides its path.
const EACH: usize = 96;

/// Files that were copied and have further names.
pub(super) struct Links {
    known: HashMap<(u64, u64), Known>,
    bytes: usize,
    most: usize,
}

struct Known {
    /// Of the copy, below its root.
    path: PathBuf,
    /// When the source last changed. Another time is another content, other rights, or another file that got the number of
    /// one that went: not what was copied.
    changed: (i64, i64),
    /// Names that may still come.
    left: usize,
}

impl Default for Links {
    fn default() -> Self {
        Self { known: HashMap::new(), bytes: 0, most: MOST }
    }
}

impl Links {
    /// Where the copy of this file is, when it was copied under another name and is still the same.
    pub(super) fn find(&mut self, stat: &Stat) -> Option<PathBuf> {
        if stat.st_nlink < 2 {
            return None;
        }
        let known = self.known.get_mut(&key(stat)).filter(|known| known.changed == changed(stat))?;
        known.left = known.left.saturating_sub(1);
        if known.left > 0 {
            return Some(known.path.clone());
        }
        self.forget(stat)
    }

    /// A file was copied to `path`.
    pub(super) fn add(&mut self, stat: &Stat, path: &Path) {
        self.forget(stat);
        let takes = path.as_os_str().len() + EACH;
        if stat.st_nlink < 2 || self.bytes + takes > self.most {
            return;
        }
        self.bytes += takes;
        let left = usize::try_from(stat.st_nlink).unwrap_or(usize::MAX) - 1;
        self.known.insert(key(stat), Known { path: path.to_owned(), changed: changed(stat), left });
    }

    fn forget(&mut self, stat: &Stat) -> Option<PathBuf> {
        let known = self.known.remove(&key(stat))?;
        self.bytes -= known.path.as_os_str().len() + EACH;
        Some(known.path)
    }
}

fn key(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn changed(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of a fresh directory with so many names.
    fn stat(dir: &tempfile::TempDir, name: &str, names: usize) -> Stat {
        let path = dir.path().join(name);
        std::fs::write(&path, name).unwrap();
        for number in 1..names {
            std::fs::hard_link(&path, dir.path().join(format!("{name}-{number}"))).unwrap();
        }
        rustix::fs::stat(&path).unwrap()
    }

    #[test]
    fn a_file_is_known_until_its_last_name_came() {
        let dir = tempfile::tempdir().unwrap();
        let (three, alone) = (stat(&dir, "three", 3), stat(&dir, "alone", 1));
        let mut links = Links::default();
        links.add(&three, Path::new("a"));
        links.add(&alone, Path::new("b"));
        let found: Vec<_> = (0..3).map(|_| links.find(&three)).collect();
        assert_eq!(found, [Some("a".into()), Some("a".into()), None]);
        assert_eq!((links.find(&alone), links.bytes), (None, 0));
    }

    #[test]
    fn a_file_that_changed_since_is_copied_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut two = stat(&dir, "two", 2);
        let mut links = Links::default();
        links.add(&two, Path::new("a"));
        two.st_ctime_nsec = (two.st_ctime_nsec + 1) % 1_000_000_000;
        assert_eq!(links.find(&two), None);
        links.add(&two, Path::new("b"));
        assert_eq!(links.find(&two), Some("b".into()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = Links { most: 2 * (EACH + 1), ..Links::default() };
        let files: Vec<Stat> = ["a", "b", "c"].map(|name| stat(&dir, name, 2)).into();
        for file in &files {
            links.add(file, Path::new("x"));
        }
        let found: Vec<bool> = files.iter().map(|file| links.find(file).is_some()).collect();
        assert_eq!(found, [true, true, false]);
        links.add(&files[2], Path::new("x"));
        assert!(links.find(&files[2]).is_some(), "there is room again");
    }
}
