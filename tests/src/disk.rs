//! Small disks of their own, which take root to mount.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted disk; unmounted at the end.
pub struct SmallDisk {
    dir: TempDir,
    /// What it lies in, when it is a file.
    _image: Option<tempfile::NamedTempFile>,
}

impl SmallDisk {
    /// A disk in memory of that size, such as `64m`. None, said so on standard error, where it cannot be mounted.
    pub fn in_memory(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}");
        mounted(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "cofferdam-test"]).arg(dir.path()))
            .then_some(Self { dir, _image: None })
    }

    /// An ext4 of 128 MiB in a file, which [`SmallDisk::fails`] makes read-only while it is in use. None as above.
    pub fn in_a_file() -> Option<Self> {
        let image = tempfile::NamedTempFile::new().expect("a file");
        image.as_file().set_len(128 * 1024 * 1024).expect("its size");
        let dir = tempfile::tempdir().expect("a directory");
        let made = mounted(Command::new("mkfs.ext4").arg("-q").arg(image.path()))
            && mounted(Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(dir.path()));
        made.then_some(Self { dir, _image: Some(image) })
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

    /// Makes it read-only as the kernel does after an error of the medium: whoever has files open cannot write either.
    pub fn fails(&self) {
        let done = Command::new("mount").args(["-o", "remount,abort"]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "remounted");
    }
}

fn mounted(command: &mut Command) -> bool {
    let root = rustix::process::geteuid().is_root();
    let done = root && command.output().is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("skipped: {command:?} takes root, and mount, mkfs.ext4 and loop devices");
    }
    done
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Containers that are on their way out may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
