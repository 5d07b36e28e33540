//! The folder of a workspace that people's files are put into.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{self, OpenError};

/// Its name below the workspace.
pub const NAME: &str = "inbox";

/// An open inbox folder. What the agent does to its path meanwhile does not matter: we hold the directory itself.
pub struct Inbox {
    dir: OwnedFd,
    owner: (u32, u32),
}

impl Inbox {
    /// Opens the folder of a workspace, made if need be and owned by `owner` (user and group). Whatever else the agent
    /// put in its place, such as a link, is renamed and left alone.
    pub fn open(workspace: &Path, owner: (u32, u32)) -> Result<Self, OpenError> {
        /// An agent that puts something in our way again and again is not waited for.
        const TRIES: usize = 4;
        let root = beneath::open_root(workspace)?;
        let mut last = OpenError::Link;
        for _ in 0..TRIES {
            let made = match rustix::fs::mkdirat(&root, NAME, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(io::Error::from(errno).into()),
            };
            match beneath::open_dir(&root, Path::new(NAME)) {
                Ok(dir) => {
                    let dir = if made { owned(dir, owner)? } else { dir };
                    // Also when it was there: whoever made it may not have come so far.
                    rustix::fs::fsync(&root).map_err(io::Error::from)?;
                    return Ok(Self { dir, owner });
                }
                Err(error @ OpenError::Unsupported) => return Err(error),
                Err(error) => last = error,
            }
            let aside = format!("{NAME}.moved-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
            match rustix::fs::renameat(&root, NAME, &root, &aside) {
                Ok(()) => {
                    tracing::warn!(workspace = %workspace.display(), aside, "something else was in the inbox's place")
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
        Err(last)
    }

    /// Puts a file there under this name, in one step: nobody sees a part of it. One of the same name is replaced.
    /// Answers its size and its first bytes.
    pub fn put(&self, name: &str, from: &mut impl Read) -> io::Result<(u64, Vec<u8>)> {
        let fresh = format!(".{}", uuid::Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.dir, &fresh, flags, Mode::RUSR | Mode::WUSR)?);
        let put = || {
            let copied = super::copy_bounded(from, &mut file, super::MAX_BYTES)?;
            let file = owned(file.into(), self.owner)?;
            // The message that names it is durable; so is the file, and its name.
            rustix::fs::fsync(&file)?;
            rustix::fs::renameat(&self.dir, &fresh, &self.dir, name)?;
            rustix::fs::fsync(&self.dir)?;
            Ok(copied)
        };
        put().inspect_err(|_: &io::Error| {
            // Only a leftover under a random name.
            let _ = rustix::fs::unlinkat(&self.dir, &fresh, AtFlags::empty());
        })
    }
}

/// Gives what is open to its owner, when it is not already.
fn owned(fd: OwnedFd, (uid, gid): (u32, u32)) -> io::Result<OwnedFd> {
    let stat = rustix::fs::fstat(&fd)?;
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        fchown(&fd, Some(uid), Some(gid))?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("ws")).unwrap();
            fs::create_dir_all(dir.path().join("outside")).unwrap();
            Self { dir }
        }

        fn ws(&self) -> PathBuf {
            self.dir.path().join("ws")
        }

        fn put(&self, name: &str, text: &str) -> io::Result<(u64, Vec<u8>)> {
            let me = fs::metadata(self.dir.path()).unwrap();
            Inbox::open(&self.ws(), (me.uid(), me.gid())).unwrap().put(name, &mut text.as_bytes())
        }
    }

    #[test]
    fn a_file_is_put_and_put_again() {
        let f = Fixture::new();
        assert_eq!(f.put("a.txt", "hello").unwrap(), (5, b"hello".to_vec()));
        f.put("a.txt", "again").unwrap();
        assert_eq!(fs::read_to_string(f.ws().join("inbox/a.txt")).unwrap(), "again");
        assert_eq!(fs::read_dir(f.ws().join("inbox")).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn what_the_agent_put_in_its_place_is_moved_aside_and_never_written_through() {
        for plant in ["link", "file", "dangling"] {
            let f = Fixture::new();
            let place = f.ws().join("inbox");
            match plant {
                "link" => symlink(f.dir.path().join("outside"), &place).unwrap(),
                "dangling" => symlink("nowhere", &place).unwrap(),
                _ => fs::write(&place, "mine").unwrap(),
            }
            f.put("a.txt", "hello").unwrap();
            assert_eq!(fs::read_to_string(place.join("a.txt")).unwrap(), "hello", "{plant}");
            assert_eq!(fs::read_dir(f.dir.path().join("outside")).unwrap().count(), 0, "{plant}");
            assert_eq!(fs::read_dir(f.ws()).unwrap().count(), 2, "what was there is kept: {plant}");
        }
    }

    #[test]
    fn a_link_with_the_files_own_name_is_replaced_not_followed() {
        let f = Fixture::new();
        fs::create_dir(f.ws().join("inbox")).unwrap();
        fs::write(f.dir.path().join("outside/victim"), "precious").unwrap();
        symlink(f.dir.path().join("outside/victim"), f.ws().join("inbox/a.txt")).unwrap();
        f.put("a.txt", "hello").unwrap();
        assert_eq!(fs::read_to_string(f.dir.path().join("outside/victim")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(f.ws().join("inbox/a.txt")).unwrap(), "hello");
    }

    #[test]
    fn a_directory_with_the_files_own_name_is_an_error_and_leaves_nothing() {
        let f = Fixture::new();
        fs::create_dir_all(f.ws().join("inbox/a.txt/x")).unwrap();
        assert!(f.put("a.txt", "hello").is_err());
        assert_eq!(fs::read_dir(f.ws().join("inbox")).unwrap().count(), 1);
    }
}
