//! Copies of whole trees that an agent may have made, and may be changing: every step is taken from an open directory,
//! no link is ever followed, and what is neither file, directory nor link is left out and counted.

use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, Uid};
use rustix::io::Errno;

/// Directories below one another; each has two open descriptors while it is copied.
const MAX_DEPTH: usize = 128;
/// Names of what was left out that are kept.
const MOST_NAMED: usize = 20;
/// The file's own bits: nothing gets back the right to run as somebody else.
const MODE: RawMode = 0o777;

/// What was copied, and what was not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Their bytes, holes left out.
    pub bytes: u64,
    /// Symbolic links, copied as links.
    pub links: u64,
    /// Pipes, sockets, devices, directories deeper than [`MAX_DEPTH`], and what could not be read.
    pub left_out: u64,
    /// The first of them, with the reason.
    pub named: Vec<String>,
}

impl Copied {
    /// Adds what another tree had.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.links += other.links;
        self.left_out += other.left_out;
        self.named.extend(other.named);
        self.named.truncate(MOST_NAMED);
    }

    fn leave_out(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.left_out += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(format!("{}: {why}", path.display()));
        }
    }
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
    /// Copies the directory `from` to `to`, which must not exist. Modes and times are kept, owners where we are root. What
    /// vanishes or cannot be read meanwhile is left out; what cannot be written is an error.
    pub fn copy(&self, from: &Path, to: &Path) -> Result<Copied, TreeError> {
        let failed = |source| TreeError { path: to.to_owned(), source };
        let mut copied = Copied::default();
        let source = match open_dir(CWD, from.as_os_str()) {
            Ok(source) => source,
            Err(errno) => {
                std::fs::create_dir(to).map_err(failed)?;
                copied.leave_out(from, io::Error::from(errno));
                return Ok(copied);
            }
        };
        std::fs::create_dir(to).map_err(failed)?;
        let target = open_dir(CWD, to.as_os_str()).map_err(|errno| failed(errno.into()))?;
        self.directory(&source, &target, (Path::new(""), 0), &mut copied)
            .map_err(|(path, source)| TreeError { path: to.join(path), source })?;
        Ok(copied)
    }

    fn directory(
        &self,
        from: &OwnedFd,
        to: &OwnedFd,
        (below, depth): (&Path, usize),
        copied: &mut Copied,
    ) -> Result<(), (PathBuf, io::Error)> {
        let names = match names(from) {
            Ok(names) => names,
            Err(error) => {
                copied.leave_out(below, error);
                Vec::new()
            }
        };
        for name in names {
            let path = below.join(OsStr::from_bytes(&name));
            let take = (self.take)(&path);
            if take != Take::Not {
                self.entry((from.as_fd(), to.as_fd()), (&path, depth), take, copied)
                    .map_err(|error| if error.0.as_os_str().is_empty() { (path, error.1) } else { error })?;
            }
        }
        let here = |error: Errno| (below.to_owned(), error.into());
        let stat = rustix::fs::fstat(from).map_err(here)?;
        keep(to.as_fd(), &stat).map_err(|error| (below.to_owned(), error))
    }

    fn entry(
        &self,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        (path, depth): (&Path, usize),
        take: Take,
        copied: &mut Copied,
    ) -> Result<(), (PathBuf, io::Error)> {
        let name = path.file_name().unwrap_or_default();
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone meanwhile: as if it had been a moment earlier.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                copied.leave_out(path, io::Error::from(errno));
                return Ok(());
            }
        };
        let write = |errno: Errno| (path.to_owned(), errno.into());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth >= MAX_DEPTH => copied.leave_out(path, "too deep"),
            FileType::Directory => match open_dir(from, name) {
                Err(Errno::NOENT) => {}
                Err(errno) => copied.leave_out(path, io::Error::from(errno)),
                Ok(inner) => {
                    rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(write)?;
                    let made = open_dir(to, name).map_err(write)?;
                    self.directory(&inner, &made, (path, depth + 1), copied)?;
                }
            },
            FileType::Symlink => match rustix::fs::readlinkat(from, name, Vec::new()) {
                Err(errno) => copied.leave_out(path, io::Error::from(errno)),
                Ok(target) => {
                    rustix::fs::symlinkat(target, to, name).map_err(write)?;
                    own_link(to, name, &stat).map_err(write)?;
                    copied.links += 1;
                }
            },
            FileType::RegularFile => {
                self.file((from, to), path, take, copied).map_err(|error| (path.to_owned(), error))?;
            }
            _ => copied.leave_out(path, "neither a file nor a directory"),
        }
        Ok(())
    }

    fn file(
        &self,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        path: &Path,
        take: Take,
        copied: &mut Copied,
    ) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        // Without blocking: somebody may have put a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Ok(source) => File::from(source),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                copied.leave_out(path, io::Error::from(errno));
                return Ok(());
            }
        };
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            copied.leave_out(path, "neither a file nor a directory");
            return Ok(());
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut target = File::from(rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        copied.bytes += contents(&mut source, &mut target, length)?;
        if take == Take::Lines {
            target.set_len(whole_lines(&target, length)?)?;
        }
        keep(target.as_fd(), &stat)?;
        copied.files += 1;
        (self.progress)(copied);
        Ok(())
    }
}

fn open_dir(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn names(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Copies the first `length` bytes, leaving holes where the source has them. Answers what was copied.
fn contents(source: &mut File, target: &mut File, length: u64) -> io::Result<u64> {
    target.set_len(length)?;
    let (mut at, mut copied) = (0, 0);
    while at < length {
        let start = match rustix::fs::seek(&*source, rustix::fs::SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole follows, or it was cut meanwhile.
            Err(Errno::NXIO) => break,
            // A file system that does not tell its holes.
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(&*source, rustix::fs::SeekFrom::Hole(start)).unwrap_or(length).min(length);
        if start >= end {
            break;
        }
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        let bytes = io::copy(&mut source.by_ref().take(end - start), target)?;
        copied += bytes;
        if bytes == 0 {
            break;
        }
        at = start + bytes;
    }
    Ok(copied)
}

/// Where the last whole line of the first `length` bytes ends.
fn whole_lines(file: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut piece) = (length, vec![0; 64 * 1024]);
    while end > 0 {
        let size = end.min(piece.len() as u64);
        let start = end - size;
        let piece = &mut piece[..usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(piece, start)?;
        if let Some(found) = memchr::memrchr(b'\n', piece) {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Gives a copy the mode and the times of its source, and its owner where we are root.
fn keep(copy: BorrowedFd<'_>, stat: &rustix::fs::Stat) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    }
    rustix::fs::fchmod(copy, Mode::from_raw_mode(stat.st_mode & MODE))?;
    let file = File::from(copy.try_clone_to_owned()?);
    let modified = std::time::UNIX_EPOCH
        + std::time::Duration::new(
            u64::try_from(stat.st_mtime).unwrap_or(0),
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        );
    file.set_times(FileTimes::new().set_modified(modified))
}

fn own_link(to: BorrowedFd<'_>, name: &OsStr, stat: &rustix::fs::Stat) -> Result<(), Errno> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn copy(from: &Path, to: &Path) -> Copied {
        let take = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
            Some("jsonl") => Take::Lines,
            Some("not") => Take::Not,
            _ => Take::Whole,
        };
        Tree { take: &take, progress: &|_| {} }.copy(from, to).unwrap()
    }

    #[test]
    fn links_are_copied_as_links_and_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("../secret", from.join("link")).unwrap();
        symlink("/", from.join("sub/root")).unwrap();
        let copied = copy(&from, &to);
        assert_eq!((copied.links, copied.files), (2, 0));
        assert_eq!(fs::read_link(to.join("sub/root")).unwrap(), Path::new("/"));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("../secret"));
    }

    #[test]
    fn a_root_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secret")).unwrap();
        fs::write(dir.path().join("secret/key"), "key").unwrap();
        symlink("secret", dir.path().join("from")).unwrap();
        let copied = copy(&dir.path().join("from"), &dir.path().join("to"));
        assert_eq!((copied.files, copied.left_out), (0, 1));
        assert_eq!(fs::read_dir(dir.path().join("to")).unwrap().count(), 0);
    }

    #[test]
    fn special_files_are_left_out_and_named_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(from.join("x.not"), "x").unwrap();
        fs::write(from.join("good"), "good").unwrap();
        let copied = copy(&from, &dir.path().join("to"));
        assert_eq!((copied.files, copied.left_out), (1, 1));
        assert!(copied.named[0].starts_with("pipe: "), "{:?}", copied.named);
        assert!(!dir.path().join("to/x.not").exists());
    }

    #[test]
    fn a_huge_file_with_holes_stays_one_and_keeps_mode_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let file = File::create(from.join("huge")).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"middle", 1 << 30).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o4751)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        let copied = copy(&from, &dir.path().join("to"));
        let copy = File::open(dir.path().join("to/huge")).unwrap();
        let data = copy.metadata().unwrap();
        assert_eq!((data.len(), data.mode() & 0o7777, data.modified().unwrap()), (1 << 40, 0o751, time));
        assert!(copied.bytes < 1 << 24, "{copied:?}");
        let mut middle = [0; 6];
        copy.read_exact_at(&mut middle, 1 << 30).unwrap();
        assert_eq!(&middle, b"middle");
    }

    #[test]
    fn a_log_that_is_being_written_ends_with_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let long = "x".repeat(100_000);
        fs::write(from.join("a.jsonl"), format!("one\n{long}")).unwrap();
        fs::write(from.join("b.jsonl"), "no line yet").unwrap();
        fs::write(from.join("c.jsonl"), "whole\n").unwrap();
        copy(&from, &dir.path().join("to"));
        let read = |name: &str| fs::read_to_string(dir.path().join("to").join(name)).unwrap();
        assert_eq!([read("a.jsonl"), read("b.jsonl"), read("c.jsonl")], ["one\n", "", "whole\n"]);
    }
}
