//! The lock that one refresh of an account holds, over all processes that know its file.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::time::Instant;

use super::RefreshError;

/// The longest wait for another process: as long as its refresh may take, and a little more.
const LIMIT: Duration = Duration::from_secs(150);
/// How often a lock that is held is tried again.
const AGAIN: Duration = Duration::from_millis(25);

/// A held lock; it ends with its process or when it is dropped. Its file stays, so that all lock the same one.
#[derive(Debug)]
pub(in crate::vault) struct Held {
    _file: File,
}

/// Takes the lock at `path`, waiting for who has it.
pub(in crate::vault) async fn hold(path: &Path) -> Result<Held, RefreshError> {
    let failed = |error: std::io::Error| {
        RefreshError::Files(format!("the lock {} cannot be taken: {error}", path.display()).into())
    };
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
    let file = options.open(path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Held { _file: file }),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LIMIT => tokio::time::sleep(AGAIN).await,
            Err(TryLockError::WouldBlock) => {
                return Err(failed(std::io::Error::other("another process has held it for minutes")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}
