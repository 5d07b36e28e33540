//! A Docker engine of the run's own, to be hurt: its own socket, containers and `containerd`. Needs root and `dockerd`.

use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::dockerd;

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
        *engine.child.lock().await = Some(dockerd::start(engine.dir.path(), &[]).await);
        engine
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        dockerd::host(self.dir.path())
    }

    /// A client that speaks its version.
    pub async fn docker(&self) -> Result<Docker, bollard::errors::Error> {
        let client = Docker::connect_with_unix(&self.host(), PATIENCE_SECS, bollard::API_DEFAULT_VERSION)?;
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

    /// Why it does not remove a dead container, told to by force, and whether that is because it is removing it already. One
    /// that was killed while it removed containers may say so of one of them as long as it runs, and nobody can change that.
    pub async fn keeps(&self, container: &ContainerSummary) -> Option<(String, bool)> {
        use bollard::errors::Error::DockerResponseServerError as Refused;
        let dead = container.status.as_ref().is_some_and(|status| status.starts_with("Dead"));
        let (true, Some(id), Ok(docker)) = (dead, &container.id, self.docker().await) else { return None };
        let force = RemoveContainerOptionsBuilder::default().force(true).build();
        match docker.remove_container(id, Some(force)).await {
            Err(Refused { status_code, message }) if status_code != 404 => {
                Some((format!("{status_code}, {message}"), status_code == 409))
            }
            _ => None,
        }
    }

    /// Ends it with a signal, and starts it again.
    pub async fn restart(&self, signal: Signal) {
        let mut child = self.child.lock().await;
        if let Some(mut running) = child.take() {
            dockerd::send(&running, signal);
            // Containers that do not end by themselves are given ten seconds.
            if tokio::time::timeout(Duration::from_secs(30), running.wait()).await.is_err() {
                let _ = running.kill().await;
            }
        }
        *child = Some(dockerd::start(self.dir.path(), &[]).await);
    }

    /// Makes it answer nothing for so long.
    pub async fn freeze(&self, hold: Duration) {
        let child = self.child.lock().await;
        let Some(running) = child.as_ref() else { return };
        dockerd::send(running, Signal::STOP);
        tokio::time::sleep(hold).await;
        dockerd::send(running, Signal::CONT);
    }

    /// Ends it for good, with every container that it still has.
    pub async fn end(self) {
        if let Some(mut running) = self.child.lock().await.take() {
            dockerd::send(&running, Signal::TERM);
            let _ = tokio::time::timeout(Duration::from_secs(30), running.wait()).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        dockerd::clear(self.dir.path());
    }
}
