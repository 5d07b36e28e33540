//! Opening what an agent may have made: beneath a directory, without links, through the kernel's own check.
//!
//! `openat2` decides and opens in one step, so that nothing can be swapped in between. A kernel without it (before
//! Linux 5.6) is refused: every other way has a gap.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// The way leads over a link, or out of the directory.
    #[error("links are not followed, and nothing outside the workspace is reached")]
    Link,
    /// It is a directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is too large.
    #[error("it has {0} bytes; at most {most} are taken", most = super::MAX_BYTES)]
    TooLarge(u64),
    /// The kernel has no `openat2`.
    #[error("the host's kernel cannot open files safely (openat2 is missing: Linux 5.6 or newer has it)")]
    Unsupported,
    /// Anything else.
    #[error("it cannot be opened: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::LOOP | Errno::XDEV => Self::Link,
            // A seccomp profile that does not know the call answers with EPERM.
            Errno::NOSYS | Errno::PERM => Self::Unsupported,
            Errno::NXIO | Errno::ISDIR => Self::NotAFile,
            errno => Self::Io(errno.into()),
        }
    }
}

const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens a directory of the host's own that an agent may write to, such as a workspace; it must not be a link itself.
pub fn open_root(path: &Path) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Opens a directory beneath `root`.
pub fn open_dir(root: impl AsFd, path: &Path) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags)?)
}

/// Opens a regular file of at most [`super::MAX_BYTES`] beneath `root` for reading. Answers its size too; it may still
/// grow or shrink.
pub fn open_file(root: impl AsFd, path: &Path) -> Result<(File, u64), OpenError> {
    // Without blocking: a pipe that nobody writes to opens at once, and is refused below.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(root, path, flags)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotAFile);
    }
    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
    if bytes > super::MAX_BYTES {
        return Err(OpenError::TooLarge(bytes));
    }
    Ok((File::from(file), bytes))
}

fn openat2(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    /// The kernel answers so when something on the way was moved meanwhile; an agent can keep moving things.
    const TRIES: usize = 8;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), RESOLVE) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("ws/sub")).unwrap();
            fs::write(dir.path().join("secret"), "secret").unwrap();
            fs::write(dir.path().join("ws/good"), "good").unwrap();
            Self { dir }
        }

        fn open(&self, path: &str) -> Result<(File, u64), OpenError> {
            open_file(open_root(&self.dir.path().join("ws")).unwrap(), Path::new(path))
        }
    }

    #[test]
    fn a_regular_file_is_opened() {
        let f = Fixture::new();
        let (mut file, bytes) = f.open("sub/../good").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), bytes), ("good", 4));
    }

    #[test]
    fn no_way_leads_outside() {
        let f = Fixture::new();
        let ws = f.dir.path().join("ws");
        symlink("../secret", ws.join("link")).unwrap();
        symlink("..", ws.join("up")).unwrap();
        symlink("good", ws.join("inner")).unwrap();
        symlink("/proc/self/root/etc/passwd", ws.join("magic")).unwrap();
        for path in ["link", "up/secret", "../secret", "/etc/passwd", "sub/../../secret", "inner", "magic"] {
            assert!(matches!(f.open(path), Err(OpenError::Link)), "{path}: {:?}", f.open(path));
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let f = Fixture::new();
        let ws = f.dir.path().join("ws");
        rustix::fs::mknodat(CWD, ws.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(ws.join("sock")).unwrap();
        for path in ["pipe", "sub", "sock"] {
            assert!(matches!(f.open(path), Err(OpenError::NotAFile)), "{path}: {:?}", f.open(path));
        }
        assert!(matches!(f.open("gone"), Err(OpenError::Missing)));
        assert!(matches!(f.open("good/x"), Err(OpenError::Missing)));
    }

    #[test]
    fn a_huge_file_is_refused_before_it_is_read() {
        let f = Fixture::new();
        let file = File::create(f.dir.path().join("ws/huge")).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(matches!(f.open("huge"), Err(OpenError::TooLarge(bytes)) if bytes == 1 << 40));
    }

    #[test]
    fn a_root_that_is_a_link_is_refused() {
        let f = Fixture::new();
        symlink("ws", f.dir.path().join("other")).unwrap();
        assert!(open_root(&f.dir.path().join("other")).is_err());
    }
}
