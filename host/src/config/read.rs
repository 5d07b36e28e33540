//! Reading a configuration file without being led astray by what lies there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::ConfigError;

/// Reads a regular file of at most `max` bytes. Symbolic links, pipes and devices are refused, and none of them
/// can make this wait. `None` when the file is not there.
pub(super) fn regular_file(path: &Path, max: u64) -> Result<Option<Vec<u8>>, ConfigError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(ConfigError::new(path, "it is a symbolic link").with_hint("put a regular file there"));
        }
        Err(errno) => {
            return Err(ConfigError::new(path, format!("cannot be read: {}", std::io::Error::from(errno))));
        }
    };
    let unreadable = |e: std::io::Error| ConfigError::new(path, format!("cannot be read: {e}"));
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(ConfigError::new(path, "it is not a regular file").with_hint("put a regular file there"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max {
        let size = found.len().max(max + 1);
        return Err(ConfigError::new(path, format!("it is larger than {} KiB: it has {size} bytes", max / 1024)));
    }
    Ok(Some(bytes))
}

/// The same, as text.
pub(super) fn text_file(path: &Path, max: u64) -> Result<Option<String>, ConfigError> {
    let Some(bytes) = regular_file(path, max)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        ConfigError::new(path, format!("line {line} is not UTF-8")).with_hint("save the file as UTF-8")
    })
}

/// Whether people other than the owner and the group may read the file.
pub(super) fn world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o004 != 0)
}
