//! The way through a tree, directory by directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::contents::{self, Trouble};
use super::links::Links;
use super::{Copied, Take, Tree, TreeError};

/// Directories below one another; each has two open descriptors while it is copied.
const MAX_DEPTH: usize = 128;
/// Bytes of the names that wait at one time, in the directories that are being copied: millions of ordinary ones.
const MAX_NAMES: usize = 64 * 1024 * 1024;
/// How often a file is begun that becomes shorter while it is copied, as one does that is written anew.
const TRIES: usize = 4;
/// The file's own bits: nothing gets back the right to run as somebody else.
const MODE: RawMode = 0o777;

pub(super) struct Walk<'a> {
    tree: &'a Tree<'a>,
    /// The root of the copy.
    root: &'a OwnedFd,
    to: &'a Path,
    copied: Copied,
    links: Links,
    /// Bytes of names that wait.
    names: usize,
}

/// A directory and its copy, both open.
#[derive(Clone, Copy)]
struct Pair<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree<'a>, root: &'a OwnedFd, to: &'a Path) -> Self {
        Self { tree, root, to, copied: Copied::default(), links: Links::default(), names: 0 }
    }

    /// Copies everything below `from`.
    pub(super) fn all(mut self, from: &OwnedFd) -> Result<Copied, TreeError> {
        let pair = Pair { from: from.as_fd(), to: self.root.as_fd(), depth: 0 };
        self.directory(pair, Path::new(""))?;
        Ok(self.copied)
    }

    fn directory(&mut self, pair: Pair<'_>, below: &Path) -> Result<(), TreeError> {
        let names = self.names(pair.from, below);
        self.names += names.len();
        // No name has one of these in it.
        for name in names.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let path = below.join(OsStr::from_bytes(name));
            let take = (self.tree.take)(&path);
            if take != Take::Not {
                self.entry(pair, &path, take)?;
            }
        }
        self.names -= names.len();
        match rustix::fs::fstat(pair.from) {
            Ok(stat) => keep(pair.to, &stat).map_err(|errno| self.unwritten(below, errno)),
            Err(errno) => {
                self.copied.fail(below, of_source(errno));
                Ok(())
            }
        }
    }

    /// All names in a directory, each with a `/` behind it. All at once: who makes further ones while we copy must not keep us.
    fn names(&mut self, dir: BorrowedFd<'_>, below: &Path) -> Vec<u8> {
        let (mut names, room) = (Vec::new(), MAX_NAMES.saturating_sub(self.names));
        let mut read = || {
            for entry in Dir::read_from(dir)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                if names.len() + name.len() >= room {
                    return Err(Errno::TOOBIG);
                }
                names.extend_from_slice(name);
                names.push(b'/');
            }
            Ok(())
        };
        match read() {
            // The directory is gone, and with it what was in it.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::TOOBIG) => self.copied.fail(below, "it has too many names: the rest of them is left out"),
            Err(errno) => self.copied.fail(below, of_source(errno)),
        }
        names
    }

    fn entry(&mut self, pair: Pair<'_>, path: &Path, take: Take) -> Result<(), TreeError> {
        let name = path.file_name().unwrap_or_default();
        let stat = match rustix::fs::statat(pair.from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => {
                self.unread(path, errno);
                return Ok(());
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.subdirectory(pair, path),
            FileType::Symlink => self.symlink(pair, path, &stat),
            FileType::RegularFile => self.file(pair, path, take),
            _ => {
                self.copied.leave_out(path, "neither a file nor a directory");
                Ok(())
            }
        }
    }

    fn subdirectory(&mut self, pair: Pair<'_>, path: &Path) -> Result<(), TreeError> {
        let name = path.file_name().unwrap_or_default();
        if pair.depth >= MAX_DEPTH {
            self.copied.fail(path, "too deep");
            return Ok(());
        }
        let inner = match open_dir(pair.from, name) {
            Ok(inner) => inner,
            Err(errno) => {
                self.unread(path, errno);
                return Ok(());
            }
        };
        let made = rustix::fs::mkdirat(pair.to, name, Mode::RWXU).and_then(|()| open_dir(pair.to, name));
        match made {
            Ok(made) => {
                let pair = Pair { from: inner.as_fd(), to: made.as_fd(), depth: pair.depth + 1 };
                self.directory(pair, path)
            }
            Err(errno) => self.unmade(path, errno),
        }
    }

    fn symlink(&mut self, pair: Pair<'_>, path: &Path, stat: &Stat) -> Result<(), TreeError> {
        let name = path.file_name().unwrap_or_default();
        let target = match rustix::fs::readlinkat(pair.from, name, Vec::new()) {
            Ok(target) => target,
            Err(errno) => {
                self.unread(path, errno);
                return Ok(());
            }
        };
        if let Err(errno) = rustix::fs::symlinkat(target, pair.to, name) {
            return self.unmade(path, errno);
        }
        own_link(pair.to, name, stat).map_err(|errno| self.unwritten(path, errno))?;
        self.copied.links += 1;
        Ok(())
    }

    fn file(&mut self, pair: Pair<'_>, path: &Path, take: Take) -> Result<(), TreeError> {
        for _ in 0..TRIES {
            if !self.is_cut(pair, path, take)? {
                return Ok(());
            }
        }
        self.copied.fail(path, "it became shorter while it was copied, again and again");
        Ok(())
    }

    /// Copies a file as it is now. Answers whether it was cut meanwhile; then there is no copy.
    fn is_cut(&mut self, pair: Pair<'_>, path: &Path, take: Take) -> Result<bool, TreeError> {
        let name = path.file_name().unwrap_or_default();
        // Without blocking: somebody may have put a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(pair.from, name, flags, Mode::empty());
        let (source, stat) = match opened.and_then(|source| Ok((rustix::fs::fstat(&source)?, source))) {
            Ok((stat, source)) => (File::from(source), stat),
            Err(errno) => {
                self.unread(path, errno);
                return Ok(false);
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.copied.leave_out(path, "neither a file nor a directory");
            return Ok(false);
        }
        if take == Take::Whole && self.is_linked(pair.to, name, &stat) {
            self.told();
            return Ok(false);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = match rustix::fs::openat(pair.to, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(target) => File::from(target),
            Err(errno) => return self.unmade(path, errno).map(|()| false),
        };
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        match fill(&source, &target, length, take) {
            Ok(bytes) => self.copied.bytes += bytes,
            Err(trouble) => {
                drop(target);
                rustix::fs::unlinkat(pair.to, name, AtFlags::empty())
                    .map_err(|errno| self.unwritten(path, errno))?;
                return self.without(path, trouble);
            }
        }
        keep(target.as_fd(), &stat).map_err(|errno| self.unwritten(path, errno))?;
        if take == Take::Whole {
            self.links.add(&stat, path);
        }
        self.told();
        Ok(false)
    }

    /// Gives the copy of a file that was copied under another name this name too, where that is possible.
    fn is_linked(&mut self, to: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> bool {
        let earlier = self.links.find(stat);
        // Else it is copied once more: its copy has all the names that one may have, or its file system knows no links.
        earlier.is_some_and(|path| rustix::fs::linkat(self.root, path, to, name, AtFlags::empty()).is_ok())
    }

    /// A file is copied.
    fn told(&mut self) {
        self.copied.files += 1;
        (self.tree.progress)(&self.copied);
    }

    /// A file has no copy, and why. Answers whether it was cut.
    fn without(&mut self, path: &Path, trouble: Trouble) -> Result<bool, TreeError> {
        match trouble {
            Trouble::Cut => return Ok(true),
            Trouble::Source(error) => self.copied.fail(path, error),
            Trouble::Target(error) => match Errno::from_io_error(&error).and_then(refusal) {
                Some(why) => self.copied.fail(path, why),
                None => return Err(TreeError { path: self.to.join(path), source: error }),
            },
        }
        Ok(false)
    }

    /// Something of the source cannot be read.
    fn unread(&mut self, path: &Path, errno: Errno) {
        // Gone meanwhile: as if it had been a moment earlier.
        if errno != Errno::NOENT {
            self.copied.fail(path, of_source(errno));
        }
    }

    /// Something of the copy cannot be made.
    fn unmade(&mut self, path: &Path, errno: Errno) -> Result<(), TreeError> {
        let Some(why) = refusal(errno) else { return Err(self.unwritten(path, errno)) };
        self.copied.fail(path, why);
        Ok(())
    }

    fn unwritten(&self, path: &Path, errno: Errno) -> TreeError {
        TreeError { path: self.to.join(path), source: errno.into() }
    }
}

/// Opens a directory, which must not be a link.
pub(super) fn open_dir(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Why something of the source was not read, in words.
pub(super) fn of_source(errno: Errno) -> String {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::INVAL => "it is a link, or became something else meanwhile".to_owned(),
        errno => io::Error::from(errno).to_string(),
    }
}

/// What the copy's file system says of one thing only, and would say of it again: agents choose their names and sizes, and
/// none of that may end the copy of all the rest.
pub(super) fn refusal(errno: Errno) -> Option<&'static str> {
    match errno {
        // Two names that differ in case only, or one that was listed twice while it was moved.
        Errno::EXIST => Some("the copy's file system has this name already"),
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Some("the copy's file system does not take its name"),
        Errno::FBIG => Some("the copy's file system takes no file of its size"),
        _ => None,
    }
}

fn fill(source: &File, target: &File, length: u64, take: Take) -> Result<u64, Trouble> {
    let bytes = contents::copy(source, target, length)?;
    if take == Take::Lines {
        let cut = contents::whole_lines(target, length).and_then(|end| target.set_len(end));
        cut.map_err(Trouble::Target)?;
    }
    Ok(bytes)
}

/// Gives a copy the mode and the time of its source, and its owner where we are root.
fn keep(copy: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    }
    rustix::fs::fchmod(copy, Mode::from_raw_mode(stat.st_mode & MODE))?;
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0) };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    rustix::fs::futimens(copy, &Timestamps { last_access, last_modification: modified })
}

fn own_link(to: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}
