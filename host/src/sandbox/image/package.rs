//! Codex itself: fetched by name, checked against the lock, unpacked all or not at all.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha512};
use tokio::process::Command;

use super::error::{ImageError, Tail};
use super::progress::Progress;
use super::recipe::{Integrity, Lock};

/// Names the integrity that a finished directory was unpacked from.
const MARK: &str = "integrity";
/// Unfinished work; removed by the next run.
const PARTIAL: &str = ".partial-";

/// The cache of unpacked packages. Callers hold the image lock, so that one process at a time works here.
#[derive(Debug, Clone)]
pub(super) struct Packages {
    dir: PathBuf,
    /// The program and what comes before `pack`.
    npm: (OsString, Vec<OsString>),
}

impl Packages {
    /// The cache at `dir`, filled by `npm` from the PATH.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, npm: ("npm".into(), Vec::new()) }
    }

    /// Where a version lies once it is complete.
    pub(super) fn path(&self, lock: &Lock) -> PathBuf {
        self.dir.join(&lock.version)
    }

    /// Whether the version is there, complete, and from the package that the lock names.
    pub(super) fn complete(&self, lock: &Lock) -> bool {
        let mark = fs::read_to_string(self.path(lock).join(MARK));
        mark.is_ok_and(|mark| mark.trim() == lock.integrity.to_string())
    }

    /// The directory of the pinned version, fetched and unpacked if it is not there.
    pub(super) async fn ensure(&self, lock: &Lock, progress: &dyn Progress) -> Result<PathBuf, ImageError> {
        if self.complete(lock) {
            return Ok(self.path(lock));
        }
        fs::create_dir_all(&self.dir).map_err(ImageError::io("create", &self.dir))?;
        self.sweep()?;
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.dir)
            .map_err(ImageError::io("create a directory in", &self.dir))?;

        let started = Instant::now();
        progress.step(&format!("fetch Codex {}", lock.version), None);
        let tgz = self.fetch(lock, partial.path()).await?;
        progress.done(started.elapsed());

        let started = Instant::now();
        progress.step("check and unpack Codex", None);
        let (this, work, lock) = (self.clone(), partial.path().to_owned(), lock.clone());
        let done = tokio::task::spawn_blocking(move || this.take(&lock, &tgz, &work));
        let path = done.await.map_err(ImageError::Task)??;
        progress.done(started.elapsed());
        Ok(path)
    }

    /// Removes what an interrupted run left.
    fn sweep(&self) -> Result<(), ImageError> {
        for entry in fs::read_dir(&self.dir).map_err(ImageError::io("read", &self.dir))? {
            let path = entry.map_err(ImageError::io("read", &self.dir))?.path();
            if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PARTIAL)) {
                fs::remove_dir_all(&path).map_err(ImageError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// A package that lies in the cache already and is whole, or a fresh one.
    async fn fetch(&self, lock: &Lock, work: &Path) -> Result<PathBuf, ImageError> {
        if let Some(ready) = first_tgz(&self.dir) {
            let (file, wanted) = (ready.clone(), lock.integrity.clone());
            let whole = tokio::task::spawn_blocking(move || integrity(&file).is_ok_and(|found| found == wanted));
            if whole.await.map_err(ImageError::Task)? {
                return Ok(ready);
            }
        }
        let mut npm = Command::new(&self.npm.0);
        npm.args(&self.npm.1)
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(work)
            .arg(&lock.package);
        npm.current_dir(work).stdin(Stdio::null()).kill_on_drop(true);
        let output = match npm.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ImageError::Missing {
                    program: "npm",
                    why: "Codex comes as an npm package",
                    mend: "install Node.js with npm (on Debian: apt-get install npm)",
                });
            }
            Err(error) => return Err(ImageError::io("run", Path::new(&self.npm.0))(error)),
        };
        match first_tgz(work) {
            Some(tgz) if output.status.success() => Ok(tgz),
            _ => {
                let mut tail = Tail::default();
                tail.push(&String::from_utf8_lossy(&output.stdout));
                tail.push(&String::from_utf8_lossy(&output.stderr));
                Err(ImageError::Fetch { package: lock.package.clone(), tail: tail.text() })
            }
        }
    }

    /// Checks the package, unpacks it under `work`, and puts the result in place in one step.
    fn take(&self, lock: &Lock, tgz: &Path, work: &Path) -> Result<PathBuf, ImageError> {
        let found = integrity(tgz).map_err(ImageError::io("read", tgz))?;
        if found != lock.integrity {
            return Err(ImageError::Integrity {
                package: lock.package.clone(),
                wanted: lock.integrity.to_string(),
                found: found.to_string(),
            });
        }
        let fresh = work.join("tree");
        unpack(tgz, &lock.files, &fresh)?;
        write_synced(&fresh.join(MARK), &mut lock.integrity.to_string().as_bytes(), 0o644)?;
        let place = self.path(lock);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(ImageError::io("remove", &place))?;
        }
        fs::rename(&fresh, &place).map_err(ImageError::io("write", &place))?;
        // What was unpacked is what is used; the package would only take the same space again.
        fs::remove_file(tgz).map_err(ImageError::io("remove", tgz))?;
        Ok(place)
    }
}

/// The file's SHA-512.
fn integrity(path: &Path) -> io::Result<Integrity> {
    let mut reader = File::open(path)?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Integrity::of(hash.finalize().into())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn first_tgz(dir: &Path) -> Option<PathBuf> {
    let mut found = fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    found.find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
}

/// Writes the wanted files, and only those, under `dest`; their names come from the lock, never from the package.
fn unpack(tgz: &Path, files: &BTreeMap<String, String>, dest: &Path) -> Result<(), ImageError> {
    let file = BufReader::with_capacity(1 << 20, File::open(tgz).map_err(ImageError::io("read", tgz))?);
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut missing: BTreeMap<&str, &str> = files.iter().map(|(to, from)| (from.as_str(), to.as_str())).collect();
    for entry in archive.entries().map_err(ImageError::io("read", tgz))? {
        let mut entry = entry.map_err(ImageError::io("read", tgz))?;
        let name = entry.path().map_err(ImageError::io("read", tgz))?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if let Some(to) = missing.remove(name.as_str()) {
            write_synced(&dest.join(to), &mut entry, 0o755)?;
        }
    }
    match missing.keys().next() {
        Some(name) => Err(ImageError::Incomplete((*name).to_owned())),
        None => Ok(()),
    }
}

/// On the disk when it returns, so that a name that exists means content that exists, power cuts included.
fn write_synced(path: &Path, from: &mut dyn Read, mode: u32) -> Result<(), ImageError> {
    let mut write = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::create(path)?;
        io::copy(from, &mut file)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    };
    write().map_err(ImageError::io("write", path))
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
