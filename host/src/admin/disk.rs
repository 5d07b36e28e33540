//! Whether the home's disk takes writes, for `status`.

use std::io::Write;
use std::path::Path;

use cofferdam_protocol::admin::DiskTrouble;

use crate::store::fault::DiskNote;

/// What is written to see whether there is room, in bytes: more than one commit of ours takes.
const TRIED: usize = 256 * 1024;

/// What is wrong with the disk under `data` now. A note of what was refused earlier goes when there is room again.
pub(super) fn look(data: &Path, note: &DiskNote) -> Option<DiskTrouble> {
    let free = rustix::fs::statvfs(data).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let tried = tempfile::tempfile_in(data).and_then(|mut file| file.write_all(&[0; TRIED]));
    match tried {
        Ok(()) => {
            note.clear();
            None
        }
        Err(error) => {
            // What was refused in earnest says more than what was only tried.
            let (path, why) = match note.get() {
                Some(refused) => (refused.path, refused.why),
                None => (data.to_owned(), error.to_string()),
            };
            Some(DiskTrouble { path: path.display().to_string(), why, free_bytes: free })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_order_is_no_trouble_and_one_that_cannot_be_written_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path(), &DiskNote::default()), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        let gone = dir.path().join("gone");
        let trouble = look(&gone, &DiskNote::default()).unwrap();
        assert!(trouble.path.ends_with("gone") && !trouble.why.is_empty(), "{trouble:?}");
    }
}
