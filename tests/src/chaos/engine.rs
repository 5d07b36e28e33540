//! A Docker engine of the run's own, to be hurt: its own socket, containers and `containerd`. Needs root and `dockerd`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::eventually;

/// The longest that a request to it may take, seconds; it may be frozen.
const PATIENCE_SECS: u64 = 10;

/// The engine. Dropping it kills it.
pub struct Engine {
    dir: TempDir,
    child: Mutex<Option<Child>>,
}

impl Engine {
    /// Starts it, without images.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-engine-").tempdir().expect("a temporary directory");
        let engine = Self { dir, child: Mutex::default() };
        engine.run(&mut engine.child.lock().await).await;
        engine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.at("docker.sock").display())
    }

    async fn run(&self, child: &mut MutexGuard<'_, Option<Child>>) {
        // One that was killed leaves its numbers, and the next waits for whoever has them, be it a zombie.
        for left in ["docker.pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.at(left));
        }
        let log = File::options().create(true).append(true).open(self.at("log")).expect("a log");
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(self.host());
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "docker.pid")] {
            command.arg(flag).arg(self.at(name));
        }
        // Nothing of the machine's network is touched: our containers have none.
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut running = command.spawn().expect("dockerd starts: `make engine` installs it; this needs root");
        eventually("the private engine answers", || {
            let (ended, log) = (running.try_wait().expect("a child"), self.at("log"));
            async move {
                if let Some(status) = ended {
                    panic!("{status}: {}", std::fs::read_to_string(log).unwrap_or_default());
                }
                self.docker().await.ok().map(drop)
            }
        })
        .await;
        **child = Some(running);
    }

    /// A client that speaks its version.
    pub async fn docker(&self) -> Result<Docker, bollard::errors::Error> {
        let socket = self.at("docker.sock");
        let client =
            Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE_SECS, bollard::API_DEFAULT_VERSION)?;
        client.negotiate_version().await
    }

    /// Carries an image over from the machine's engine.
    pub async fn load(&self, image: &str) {
        let pipe = format!("docker save '{image}' | docker --host '{}' load", self.host());
        let loaded = Command::new("bash").args(["-o", "pipefail", "-c", &pipe]).output().await.expect("bash");
        assert!(loaded.status.success(), "{image}: {}", String::from_utf8_lossy(&loaded.stderr));
    }

    /// The containers that carry this label.
    pub async fn containers(&self, label: &str) -> Result<Vec<ContainerSummary>, bollard::errors::Error> {
        let filters = std::collections::HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.docker().await?.list_containers(Some(options)).await
    }

    /// Ends it with a signal, and starts it again.
    pub async fn restart(&self, signal: Signal) {
        let mut child = self.child.lock().await;
        if let Some(mut running) = child.take() {
            send(&running, signal);
            // Containers that do not end by themselves are given ten seconds.
            if tokio::time::timeout(Duration::from_secs(30), running.wait()).await.is_err() {
                let _ = running.kill().await;
            }
        }
        self.run(&mut child).await;
    }

    /// Makes it answer nothing for so long.
    pub async fn freeze(&self, hold: Duration) {
        let child = self.child.lock().await;
        let Some(running) = child.as_ref() else { return };
        send(running, Signal::STOP);
        tokio::time::sleep(hold).await;
        send(running, Signal::CONT);
    }

    /// Ends it for good, with every container that it still has.
    pub async fn end(self) {
        if let Some(mut running) = self.child.lock().await.take() {
            send(&running, Signal::TERM);
            let _ = tokio::time::timeout(Duration::from_secs(30), running.wait()).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        unmount_below(self.dir.path());
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// What an engine that was killed left mounted, so that its directory can be removed.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    points.retain(|point| Path::new(point).starts_with(dir));
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}
