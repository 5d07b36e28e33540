//! The processes of a Docker engine of a test's own: how they start, and what is cleared away after them. Needs root, and
//! `dockerd`.
//!
//! Everything is below one directory: the socket, `data`, the log. It has no network, and shares nothing with another engine
//! of the machine.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::eventually;

/// Its address, for `DOCKER_HOST`.
pub fn host(dir: &Path) -> String {
    format!("unix://{}", dir.join("engine.sock").display())
}

/// Starts dockerd, with more arguments; returns when it answers. It may have been killed before. Dropping it kills it.
pub async fn start(dir: &Path, more: &[&str]) -> Child {
    // One that was killed leaves its numbers, and the next waits for whoever has them, be it a zombie.
    for left in ["pid", "exec/containerd/containerd.pid"] {
        let _ = std::fs::remove_file(dir.join(left));
    }
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log");
    let mut command = Command::new("dockerd");
    command.arg("--host").arg(host(dir));
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(flag).arg(dir.join(name));
    }
    // Where a containerd of the system runs, dockerd uses that; in a namespace of its own.
    let namespace = dir.file_name().expect("a name").to_string_lossy().into_owned();
    command.args(["--containerd-namespace", &namespace]);
    command.args(["--containerd-plugins-namespace", &format!("{namespace}-plugins")]);
    // Nothing of the machine's network is touched: our containers have none.
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
    command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    let mut dockerd =
        command.spawn().expect("dockerd starts: `make engine` or `scripts/engine.sh` installs it; this needs root");
    eventually("the engine answers", || {
        let (ended, host) = (dockerd.try_wait().expect("a child"), host(dir));
        async move {
            if let Some(status) = ended {
                panic!("dockerd ended with {status}:\n{}", log_of(dir));
            }
            cofferdam::sandbox::docker::connect(Some(&host)).await.ok()
        }
    })
    .await;
    dockerd
}

/// What it has written.
pub fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// Sends it a signal, unless it has ended.
pub fn send(dockerd: &Child, signal: Signal) {
    if let Some(pid) = dockerd.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends what one that was killed left: processes that name the directory in their arguments, and mounts below it.
pub fn clear(dir: &Path) {
    let below = format!("{}/", dir.display());
    for (pid, arguments) in processes() {
        if arguments.contains(&below) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    // What is mounted on another mount comes after it.
    for place in places.filter(|place| place.starts_with(&below)).collect::<Vec<_>>().into_iter().rev() {
        let _ = unmount(place, UnmountFlags::DETACH);
    }
}

/// All processes with their arguments in one line.
fn processes() -> Vec<(Pid, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    pids.filter_map(|pid| {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        Some((pid, String::from_utf8_lossy(&arguments).replace('\0', " ")))
    })
    .collect()
}
