//! Copies of whole trees that an agent may have made, and may be changing: every step is taken from an open directory and
//! no link is ever followed. What is wrong with the source costs that file or directory, which is left out and counted; what
//! is wrong with the target ends the copy.

mod contents;
mod links;
mod remove;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::FilesCopied;
use rustix::fs::CWD;

pub use remove::remove;
use walk::{Walk, open_dir};

/// Names of what was left out that are kept.
const MOST_NAMED: usize = 20;
/// Characters of a name and its reason that are kept.
const MAX_NAMED: usize = 300;

/// What was copied, and what was not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Regular files, each name of one with several.
    pub files: u64,
    /// Their bytes, holes left out, and a file with several names once.
    pub bytes: u64,
    /// Symbolic links, copied as links.
    pub links: u64,
    /// What is not in the copy: pipes, sockets and devices, which have no content, and what failed.
    pub left_out: u64,
    /// Of these, files, links and directories that should be in it: they could not be read, or no copy can be like them.
    pub failed: u64,
    /// The first of what was left out, with the reason; first what failed.
    pub named: Vec<String>,
}

impl Copied {
    /// Adds what another tree had.
    pub fn add(&mut self, other: Self) {
        let failed = usize::try_from(other.failed).unwrap_or(usize::MAX);
        for (index, words) in other.named.into_iter().enumerate() {
            self.name(index < failed, words);
            self.failed += u64::from(index < failed);
        }
        self.failed += other.failed.saturating_sub(MOST_NAMED as u64);
        self.files += other.files;
        self.bytes += other.bytes;
        self.links += other.links;
        self.left_out += other.left_out;
    }

    fn leave_out(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.left_out += 1;
        self.name(false, words(path, why));
    }

    fn fail(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.left_out += 1;
        self.name(true, words(path, why));
        self.failed += 1;
    }

    /// Names one, behind the others that failed or behind all.
    fn name(&mut self, failed: bool, words: String) {
        let place = if failed { usize::try_from(self.failed).unwrap_or(usize::MAX) } else { self.named.len() };
        if place < MOST_NAMED {
            self.named.insert(place, words);
            self.named.truncate(MOST_NAMED);
        }
    }
}

impl From<Copied> for FilesCopied {
    fn from(copied: Copied) -> Self {
        let Copied { files, bytes, left_out, failed, named, .. } = copied;
        Self { files, bytes, left_out, failed, named }
    }
}

fn words(path: &Path, why: impl std::fmt::Display) -> String {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let why = format!(": {why}");
    let path = path.display().to_string();
    let most = MAX_NAMED.saturating_sub(why.chars().count());
    if path.chars().count() <= most {
        return path + &why;
    }
    path.chars().take(most.saturating_sub(1)).chain(['…']).collect::<String>() + &why
}

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Copy it.
    Whole,
    /// A log of lines that somebody appends to: copy it up to its last whole line.
    Lines,
    /// Leave it out without a word.
    Not,
}

/// A copy that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct TreeError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A tree being copied.
pub struct Tree<'a> {
    /// Chooses by the path below the root.
    pub take: &'a dyn Fn(&Path) -> Take,
    /// Told after each file.
    pub progress: &'a dyn Fn(&Copied),
}

impl Tree<'_> {
    /// Copies the directory `from` to `to`, which must not exist. Modes and times are kept, owners where we are root, and hard
    /// links within the tree. What is gone when its turn comes never was there; what cannot be read is left out, also `from`
    /// itself, and then there is no `to`; what cannot be written is an error.
    pub fn copy(&self, from: &Path, to: &Path) -> Result<Copied, TreeError> {
        let failed = |source| TreeError { path: to.to_owned(), source };
        let source = match open_dir(CWD, from.as_os_str()) {
            Ok(source) => source,
            Err(errno) => {
                let mut copied = Copied::default();
                copied.fail(from, walk::of_source(errno));
                return Ok(copied);
            }
        };
        std::fs::create_dir(to).map_err(failed)?;
        let target = open_dir(CWD, to.as_os_str()).map_err(|errno| failed(errno.into()))?;
        Walk::new(self, &target, to).all(&source)
    }
}
