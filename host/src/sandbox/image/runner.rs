//! Finding the runner binary and knowing it by its content.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::error::ImageError;
use super::recipe::hex;

/// The binary's name, on the host and in the image.
pub(super) const RUNNER: &str = "cofferdam-runner";
/// Cargo's directory for the target that the runner is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What tells a changed file cheaply: path, size, mtime (s, ns).
type Stamp = (PathBuf, u64, i64, i64);

/// The runner that goes into the image.
#[derive(Debug)]
pub(super) struct Runner {
    explicit: Option<PathBuf>,
    known: Mutex<Option<(Stamp, String)>>,
}

impl Runner {
    /// `explicit` is the one to take if given.
    pub(super) fn new(explicit: Option<PathBuf>) -> Self {
        Self { explicit, known: Mutex::new(None) }
    }

    /// The binary and its SHA-256 in hex. Hashed again only when size or mtime changed.
    pub(super) fn find(&self) -> Result<(PathBuf, String), ImageError> {
        let path = match &self.explicit {
            Some(path) if is_static(path)? => path.clone(),
            Some(path) => return Err(ImageError::RunnerNotStatic(path.clone())),
            None => {
                let exe = std::env::current_exe().map_err(ImageError::io("find", Path::new("/proc/self/exe")))?;
                beside(&exe)?
            }
        };
        let meta = path.metadata().map_err(ImageError::io("read", &path))?;
        let stamp = (path.clone(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((old, hash)) = &*known
            && *old == stamp
        {
            return Ok((path, hash.clone()));
        }
        let hash = sha256(&path).map_err(ImageError::io("read", &path))?;
        *known = Some((stamp, hash.clone()));
        Ok((path, hash))
    }
}

/// Where cargo puts the static build (`target/<target>/{release,debug}`, seen from `target/<profile>` or its `deps`), then
/// beside the program. The static target comes first, because a plain `cargo build` leaves a dynamic one beside us.
fn candidates(exe: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for up in exe.ancestors().skip(2).take(2) {
        for profile in ["release", "debug"] {
            found.push(up.join(TARGET).join(profile).join(RUNNER));
        }
    }
    found.extend(exe.parent().map(|dir| dir.join(RUNNER)));
    found
}

fn beside(exe: &Path) -> Result<PathBuf, ImageError> {
    let looked = candidates(exe);
    for path in &looked {
        match is_static(path) {
            Ok(true) => return Ok(path.clone()),
            Ok(false) => {}
            Err(ImageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(ImageError::RunnerMissing { looked })
}

/// Whether `path` is an x86_64 ELF program without an interpreter, so that it runs on any base.
fn is_static(path: &Path) -> Result<bool, ImageError> {
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    let mut head = [0_u8; 64];
    let got = file.read_at(&mut head, 0).map_err(ImageError::io("read", path))?;
    // ELF magic, 64 bit, little endian; machine 62 = x86_64.
    if got < head.len() || head[..6] != [0x7f, b'E', b'L', b'F', 2, 1] || u16_at(&head, 18) != 62 {
        return Ok(false);
    }
    let mut at = u64_at(&head, 32);
    let (size, count) = (u64::from(u16_at(&head, 54)), u16_at(&head, 56));
    for _ in 0..count {
        let mut kind = [0_u8; 4];
        file.read_exact_at(&mut kind, at).map_err(ImageError::io("read", path))?;
        // PT_INTERP
        if u32::from_le_bytes(kind) == 3 {
            return Ok(false);
        }
        at = at.saturating_add(size);
    }
    Ok(count > 0)
}

fn u16_at(bytes: &[u8; 64], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8; 64], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF with one program header of the given type.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0_u8; 120];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    fn put(path: &Path, bytes: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_static_build_is_preferred_to_a_dynamic_one_beside_us() {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("release/cofferdam");
        put(&dir.path().join("release").join(RUNNER), &elf(3));
        let looked = beside(&exe).unwrap_err().to_string();
        assert!(looked.contains("make build"), "{looked}");
        let good = dir.path().join(TARGET).join("release").join(RUNNER);
        put(&good, &elf(1));
        assert_eq!(beside(&exe).unwrap(), good);
        assert_eq!(beside(&dir.path().join("debug/deps/test-1")).unwrap(), good);
    }

    #[test]
    fn an_installed_program_takes_the_runner_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("bin").join(RUNNER), &elf(1));
        assert_eq!(beside(&dir.path().join("bin/cofferdam")).unwrap(), dir.path().join("bin").join(RUNNER));
    }

    #[test]
    fn a_dynamic_or_foreign_runner_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        for bytes in [elf(3), b"#!/bin/sh\n".to_vec(), Vec::new()] {
            put(&path, &bytes);
            let error = Runner::new(Some(path.clone())).find().unwrap_err();
            assert!(matches!(error, ImageError::RunnerNotStatic(_)), "{error}");
        }
    }

    #[test]
    fn a_changed_runner_has_another_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        put(&path, &elf(1));
        let runner = Runner::new(Some(path.clone()));
        let first = runner.find().unwrap().1;
        assert_eq!(first, runner.find().unwrap().1);
        put(&path, &[elf(1), vec![1]].concat());
        assert_ne!(first, runner.find().unwrap().1);
    }
}
