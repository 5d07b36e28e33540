//! Unix sockets under paths of any length: `sockaddr_un` holds 107 bytes, home directories may be deeper.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixListener;

/// The longest path that fits into a socket's address on Linux, in bytes.
const MAX_PATH: usize = 107;

/// A path for `connect` and `bind` that names `socket` and is short enough, for as long as this lives.
#[derive(Debug)]
pub struct Reach {
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

    /// The short path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Binds a socket, 0600, replacing one that a dead process left. The caller holds the lock that says it is dead.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(Reach::new(path)?.path())?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_under_a_very_long_path_is_bound_private_and_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("admin.sock");
        for _ in 0..2 {
            let listener = bind(&socket).unwrap();
            let reach = Reach::new(&socket).unwrap();
            let (accepted, connected) =
                tokio::join!(listener.accept(), tokio::net::UnixStream::connect(reach.path()));
            assert!(accepted.is_ok() && connected.is_ok());
            assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
