//! A disk of the home's own for its data, small enough to be filled. Needs root.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system in memory under `data/`. Dropping it unmounts it.
pub struct Disk {
    dir: PathBuf,
    filled: Mutex<Option<Instant>>,
}

impl Disk {
    /// Mounts it over the home's `data`, which keeps its link to the cache.
    pub fn mount(home: &Path) -> Self {
        let dir = home.join("data");
        let cache = std::fs::read_link(dir.join("cache")).expect("data/cache is a link");
        mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), Some(c"size=256m,mode=0700"))
            .unwrap_or_else(|error| panic!("{}: {error}; mounting a disk needs root", dir.display()));
        std::os::unix::fs::symlink(cache, dir.join("cache")).expect("data/cache");
        Self { dir, filled: Mutex::default() }
    }

    /// Leaves no byte free for so long.
    pub async fn fill(&self, hold: Duration) {
        let path = self.dir.join("ballast");
        let mut ballast = File::create(&path).expect("a file");
        self.note();
        for size in [1 << 20, 4096, 1] {
            let piece = vec![1; size];
            while ballast.write_all(&piece).is_ok() {}
        }
        tokio::time::sleep(hold).await;
        let _ = std::fs::remove_file(&path);
        self.note();
    }

    /// Copies what is on it, for people to look at.
    pub fn copy(&self, to: &Path) {
        let copied = std::process::Command::new("cp").arg("-a").arg(&self.dir).arg(to).status();
        if !copied.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be copied", self.dir.display());
        }
    }

    fn note(&self) {
        *self.filled.lock().expect("no panic") = Some(Instant::now());
    }

    /// Whether it was full a moment ago.
    pub fn was_full(&self) -> bool {
        /// The longest that it is held full, and a start that met it.
        const MOMENT: Duration = Duration::from_secs(6);
        self.filled.lock().expect("no panic").is_some_and(|at| at.elapsed() < MOMENT)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.dir, UnmountFlags::DETACH);
    }
}
