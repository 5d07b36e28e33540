//! Unix sockets under paths of any length.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The longest path that fits into a socket's address on Linux, in bytes.
const MAX_PATH: usize = 107;

/// A path for `connect` and `bind` that names `socket` and is short enough, for as long as this lives.
pub(super) struct Reach {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Reach {
    /// Fails when the socket's directory is not there.
    pub fn new(socket: &Path) -> std::io::Result<Self> {
        if socket.as_os_str().len() <= MAX_PATH {
            return Ok(Self { path: socket.to_owned(), _directory: None });
        }
        let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_under_a_very_long_path_can_be_bound_and_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("admin.sock");
        let _listener = std::os::unix::net::UnixListener::bind(Reach::new(&socket).unwrap().path()).unwrap();
        std::os::unix::net::UnixStream::connect(Reach::new(&socket).unwrap().path()).unwrap();
        assert!(socket.exists());
    }
}
