//! Copies of the files that agents send.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::beneath::{self, OpenError};
use super::{MAX_BYTES, copy_bounded, safe_name, sync_dir};

/// How long a copy is kept after it was made.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The file's name, made safe.
    pub name: String,
    /// Where the copy is, below the data directory.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why a file was not copied.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The agent's side.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The agent's side: it changed while it was read.
    #[error("it could not be read: {0}")]
    Read(io::Error),
    /// The agent's side: no copy can have its name.
    #[error("a file of this name cannot be copied: {0}")]
    Name(io::Error),
    /// Our side: the copy could not be written.
    #[error("the copy could not be written")]
    Write(#[source] io::Error),
}

impl TakeError {
    /// Whether it is no fault of the file's, so that it may work later.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

/// Copies the file `from` of a workspace to a fresh directory in `dir`, which is below `data`. Safe against whatever the
/// agent does meanwhile: the copy is of one open file, and bounded.
pub fn take(workspace: &Path, from: &Path, data: &Path, dir: &Path) -> Result<Copy, TakeError> {
    let (mut file, _) = beneath::open_file(beneath::open_root(workspace)?, from)?;
    let name = safe_name(&from.file_name().unwrap_or_default().to_string_lossy());
    let place = dir.join(uuid::Uuid::new_v4().simple().to_string());
    let path = place.join(&name);
    let made = make(data, &place)
        .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(data.join(&path)));
    let undone = |error: io::Error| {
        forget(&data.join(&path));
        error
    };
    let mut copy = made.map_err(|error| of_making(undone(error)))?;
    let copied = copy_bounded(&mut file, &mut copy, MAX_BYTES);
    // The reply that names it is durable; so is the copy.
    let synced = copied.and_then(|(bytes, _)| copy.sync_all().map(|()| bytes));
    let bytes = synced.map_err(|error| of_copying(undone(error)))?;
    sync_dir(&data.join(&place)).map_err(|error| TakeError::Write(undone(error)))?;
    Ok(Copy { name, path: path.to_string_lossy().into_owned(), bytes })
}

/// Makes the directory of a copy, and what is missing above it, durably.
fn make(data: &Path, place: &Path) -> io::Result<()> {
    let missing: Vec<_> = place.ancestors().take_while(|dir| !data.join(dir).exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data.join(place))?;
    // A new directory's name is kept by the one above it.
    missing.iter().filter_map(|dir| dir.parent()).try_for_each(|above| sync_dir(&data.join(above)))
}

/// A name that the file system does not take is the agent's: it would never work later.
fn of_making(error: io::Error) -> TakeError {
    match error.kind() {
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => TakeError::Name(error),
        _ => TakeError::Write(error),
    }
}

fn of_copying(error: io::Error) -> TakeError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            TakeError::Write(error)
        }
        _ => TakeError::Read(error),
    }
}

/// Removes the copies in `dir` that are older than [`KEPT`], but those that somebody still waits for, whose paths below
/// `data` are `waiting`.
pub fn sweep(data: &Path, dir: &Path, waiting: &[String]) {
    let Ok(places) = fs::read_dir(data.join(dir)) else { return };
    for place in places.flatten() {
        let modified = place.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT));
        let place = dir.join(place.file_name());
        if old && !waiting.iter().any(|path| Path::new(path).starts_with(&place)) {
            forget(&data.join(place).join("copy"));
        }
    }
}

/// Removes a copy that nobody needs.
pub fn forget(path: &Path) {
    if let Some(place) = path.parent()
        && let Err(error) = fs::remove_dir_all(place)
    {
        tracing::debug!(%error, path = %path.display(), "a copy was not removed");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_copy_is_of_the_moment_and_under_a_safe_name() {
        let dir = tempfile::tempdir().unwrap();
        let (ws, data) = (dir.path().join("ws"), dir.path().join("data"));
        fs::create_dir_all(ws.join("sub")).unwrap();
        fs::write(ws.join("sub/.report\u{202e}.md"), "first").unwrap();
        let copy = take(&ws, Path::new("sub/.report\u{202e}.md"), &data, Path::new("sent")).unwrap();
        fs::write(ws.join("sub/.report\u{202e}.md"), "second").unwrap();
        assert_eq!((copy.name.as_str(), copy.bytes), ("report.md", 5));
        assert_eq!(fs::read_to_string(data.join(&copy.path)).unwrap(), "first");
        forget(&data.join(&copy.path));
        assert_eq!(fs::read_dir(data.join("sent")).unwrap().count(), 0);
    }

    #[test]
    fn a_name_of_dots_behind_a_dash_is_copied_under_a_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let (ws, data) = (dir.path().join("ws"), dir.path().join("data"));
        fs::create_dir_all(&ws).unwrap();
        fs::write(ws.join("-.."), "x").unwrap();
        let copy = take(&ws, Path::new("-.."), &data, Path::new("sessions/a/sent")).unwrap();
        assert_eq!(copy.name, "file");
        assert_eq!(fs::read_to_string(data.join(&copy.path)).unwrap(), "x");
    }

    #[test]
    fn old_copies_go_but_those_that_are_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (ws, data, sent) = (dir.path().join("ws"), dir.path().join("data"), Path::new("sent"));
        fs::create_dir_all(&ws).unwrap();
        fs::write(ws.join("a"), "x").unwrap();
        let copies: Vec<_> = (0..3).map(|_| take(&ws, Path::new("a"), &data, sent).unwrap()).collect();
        for copy in &copies[..2] {
            let place = fs::File::open(data.join(&copy.path).parent().unwrap()).unwrap();
            place.set_modified(std::time::SystemTime::now() - KEPT - Duration::from_secs(60)).unwrap();
        }
        sweep(&data, sent, &[copies[1].path.clone()]);
        let there: Vec<_> = copies.iter().map(|copy| data.join(&copy.path).exists()).collect();
        assert_eq!(there, [false, true, true], "old, old and waited for, new");
        sweep(&data, Path::new("gone"), &[]);
    }

    #[test]
    fn a_name_that_no_file_can_have_is_the_agents_fault() {
        for (kind, ours) in [
            (io::ErrorKind::InvalidFilename, false),
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::PermissionDenied, true),
        ] {
            assert_eq!(of_making(kind.into()).is_ours(), ours, "{kind}");
        }
    }

    #[test]
    fn what_must_not_be_read_leaves_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (ws, data) = (dir.path().join("ws"), dir.path().join("data"));
        fs::create_dir_all(ws.join("sub")).unwrap();
        symlink("/etc", ws.join("etc")).unwrap();
        symlink("/etc/passwd", ws.join("passwd")).unwrap();
        fs::File::create(ws.join("huge")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        for path in ["passwd", "etc/passwd", "huge", "sub", "gone", "../ws/huge"] {
            let error = take(&ws, Path::new(path), &data, Path::new("sent")).unwrap_err();
            assert!(!error.is_ours(), "{path}: {error}");
        }
        assert!(!data.exists(), "nothing was written");
    }

    #[test]
    fn a_full_disk_is_ours_to_mend() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        // A data directory that cannot be made, since a file is there.
        let error = take(dir.path(), Path::new("a"), &dir.path().join("a"), Path::new("sent")).unwrap_err();
        assert!(error.is_ours(), "{error}");
    }
}
