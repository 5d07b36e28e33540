//! A file's bytes, from one open file to another. Says whose fault it is when that fails: a source is given up by itself, a
//! target is everybody's.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that are in memory at once.
const PIECE: usize = 128 * 1024;

/// Why a file was not copied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It cannot be read.
    Source(io::Error),
    /// It became shorter meanwhile: what was read belongs to no one moment.
    Cut,
    /// Its copy cannot be written.
    Target(io::Error),
}

/// Copies the first `length` bytes, leaving holes where the source has them. Answers what was copied.
pub(super) fn copy(source: &File, target: &File, length: u64) -> Result<u64, Trouble> {
    target.set_len(length).map_err(Trouble::Target)?;
    let (mut at, mut copied) = (0, 0);
    while at < length {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole follows.
            Err(Errno::NXIO) => break,
            // A file system that does not tell its holes.
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(Trouble::Source(errno.into())),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start)).unwrap_or(length).min(length);
        if start >= end {
            break;
        }
        range(source, target, start..end)?;
        copied += end - start;
        at = end;
    }
    match source.metadata() {
        Ok(now) if now.len() < length => Err(Trouble::Cut),
        Ok(_) => Ok(copied),
        Err(error) => Err(Trouble::Source(error)),
    }
}

fn range(source: &File, target: &File, bytes: Range<u64>) -> Result<(), Trouble> {
    let (mut at, end) = (shared(source, target, bytes.clone()), bytes.end);
    let mut piece = vec![0; if at < end { PIECE } else { 0 }];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let read = match source.read_at(&mut piece[..most], at) {
            Ok(0) => return Err(Trouble::Cut),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Trouble::Source(error)),
        };
        target.write_all_at(&piece[..read], at).map_err(Trouble::Target)?;
        at += read as u64;
    }
    Ok(())
}

/// Has the kernel copy, which some file systems do without taking room. Answers how far that went: its errors do not tell
/// the source from the target, so whoever goes on from there meets them again and knows.
fn shared(source: &File, target: &File, bytes: Range<u64>) -> u64 {
    let (mut from, mut to) = (bytes.start, bytes.start);
    while from < bytes.end {
        let most = usize::try_from(bytes.end - from).unwrap_or(1 << 30);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), most) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    from.min(to)
}

/// Where the last whole line of the first `length` bytes of a copy ends.
pub(super) fn whole_lines(copy: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut piece) = (length, vec![0; 64 * 1024]);
    while end > 0 {
        let size = end.min(piece.len() as u64);
        let start = end - size;
        let piece = &mut piece[..usize::try_from(size).unwrap_or(0)];
        copy.read_exact_at(piece, start)?;
        if let Some(found) = memchr::memrchr(b'\n', piece) {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(text, 0).unwrap();
        file
    }

    #[test]
    fn whose_fault_it_is_is_told() {
        let (source, path) = (file(b"text"), tempfile::NamedTempFile::new().unwrap());
        path.as_file().write_all_at(b"text", 0).unwrap();
        let write_only = File::options().write(true).open(path.path()).unwrap();
        assert!(matches!(copy(&write_only, &file(b""), 4), Err(Trouble::Source(_))));
        let read_only = File::open(path.path()).unwrap();
        assert!(matches!(copy(&source, &read_only, 4), Err(Trouble::Target(_))));
        // A full disk.
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(
            matches!(range(&source, &full, 0..4), Err(Trouble::Target(error)) if error.kind() == io::ErrorKind::StorageFull)
        );
        // An error of the medium: nothing is mapped at the beginning of a process.
        let broken = File::open("/proc/self/mem").unwrap();
        assert!(matches!(range(&broken, &file(b""), 0..4096), Err(Trouble::Source(_))));
    }

    #[test]
    fn what_became_shorter_is_no_copy_and_what_grew_is_as_it_was() {
        let (source, target) = (file(b"0123456789"), file(b""));
        assert!(matches!(copy(&source, &target, 11), Err(Trouble::Cut)), "in the middle of it");
        let (emptied, target) = (file(b""), target);
        assert!(matches!(copy(&emptied, &target, 11), Err(Trouble::Cut)), "to nothing");
        assert_eq!(copy(&source, &target, 4).unwrap(), 4);
        let mut text = [0; 16];
        assert_eq!((target.read_at(&mut text, 0).unwrap(), &text[..4]), (4, &b"0123"[..]));
    }
}
