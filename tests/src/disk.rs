//! Small disks of their own, which take root to mount.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted disk; unmounted at the end.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// A disk in memory of that size, such as `64m`. None, said so on standard error, where it cannot be mounted.
    pub fn in_memory(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}");
        mounted(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "cofferdam-test"]).arg(dir.path()))
            .then_some(Self { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file that takes all the room; removing it makes room again.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path).expect("ballast");
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }

    /// Mounts it anew, for reading only; nothing may be open.
    pub fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "remounted");
    }
}

fn mounted(command: &mut Command) -> bool {
    let root = rustix::process::geteuid().is_root();
    let done = root && command.output().is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("skipped: {command:?} takes root");
    }
    done
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Containers that are on their way out may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
