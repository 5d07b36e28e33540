//! A Docker engine of a test's own, which may be stopped, killed, frozen and filled up. Needs root, and `dockerd`.
//!
//! Its data is on a small tmpfs. Its only image is the runner alone ([`IMAGE`]), which is enough for the mock provider and takes no
//! time to make.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command as Tool;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{BuildImageOptionsBuilder, ListContainersOptionsBuilder};
use cofferdam::sandbox::docker::LABEL_INSTALL;
use futures_util::StreamExt;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Child;

use crate::{LIMIT, dockerd};

/// The image that a group on this engine names in its `container.json`.
pub const IMAGE: &str = "cofferdam-test/runner:1";

/// How large the engine's disk is.
const DISK: &str = "size=192m";
const DOCKERFILE: &str = "FROM scratch\nCOPY cofferdam-runner /usr/local/bin/\nWORKDIR /group/workspace\n\
    ENTRYPOINT [\"/usr/local/bin/cofferdam-runner\"]\n";

/// An engine. Dropping it ends its processes and containers, and removes its files.
pub struct OwnEngine {
    dir: TempDir,
    dockerd: Option<Child>,
}

impl OwnEngine {
    /// Starts one, with [`IMAGE`] on it.
    pub async fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "an engine of one's own needs root");
        let dir = tempfile::Builder::new().prefix("cofferdam-engine-").tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("data")).expect("a directory");
        std::fs::write(dir.path().join("daemon.json"), "{}").expect("its configuration");
        let mut engine = Self { dir, dockerd: None };
        tool("mount", &["-t", "tmpfs", "-o", DISK, "none", &engine.path("data")]);
        engine.start().await;
        engine.make_image().await;
        engine
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Its address, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        dockerd::host(self.dir.path())
    }

    /// A client of it.
    pub async fn docker(&self) -> Docker {
        cofferdam::sandbox::docker::connect(Some(&self.host())).await.expect("the engine answers")
    }

    /// Starts its dockerd; returns when it answers.
    pub async fn start(&mut self) {
        let config = self.path("daemon.json");
        let more = ["--config-file", &config, "--storage-driver=overlay2"];
        self.dockerd = Some(dockerd::start(self.dir.path(), &more).await);
    }

    async fn make_image(&self) {
        let mut context = tar::Builder::new(Vec::new());
        // Whether the linker left holes is the disk's business, and the engine does not know that form.
        context.sparse(false);
        let mut header = tar::Header::new_gnu();
        header.set_size(DOCKERFILE.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        context.append_data(&mut header, "Dockerfile", DOCKERFILE.as_bytes()).expect("in memory");
        let runner = runner();
        let add = context.append_path_with_name(&runner, "cofferdam-runner");
        add.unwrap_or_else(|error| panic!("{}: {error}: run `make runner`", runner.display()));
        let context = context.into_inner().expect("in memory");
        let options = BuildImageOptionsBuilder::default().t(IMAGE).build();
        let docker = self.docker().await;
        let body = bollard::body_full(context.into());
        let mut build = std::pin::pin!(docker.build_image(options, None, Some(body)));
        while let Some(step) = build.next().await {
            let step = step.expect("the image");
            assert!(step.error_detail.is_none(), "{step:?}");
        }
    }

    /// Sends its dockerd a signal.
    pub fn signal(&self, signal: Signal) {
        dockerd::send(self.dockerd.as_ref().expect("a running dockerd"), signal);
    }

    /// Sends its dockerd a signal that ends it, and returns when it is dead.
    pub async fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let mut dockerd = self.dockerd.take().expect("a running dockerd");
        let ended = tokio::time::timeout(LIMIT, dockerd.wait()).await;
        ended.expect("dockerd does not end").expect("a status");
    }

    /// The containers of Cofferdam on it, running or not.
    pub async fn containers(&self) -> Vec<ContainerSummary> {
        let filters = HashMap::from([("label", vec![LABEL_INSTALL])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.docker().await.list_containers(Some(options)).await.expect("a list of containers")
    }

    /// Leaves not one block free on its disk, until [`Self::empty`].
    pub fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.path("data/filler")).expect("a file");
        let block = vec![0; 1 << 16];
        for size in [block.len(), 4096, 1] {
            while file.write_all(&block[..size]).is_ok() {}
        }
    }

    /// Frees what [`Self::fill`] took.
    pub fn empty(&self) {
        std::fs::remove_file(self.path("data/filler")).expect("freed");
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = dockerd::log_of(self.dir.path());
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the engine's log\n{}\n---", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        if let Some(dockerd) = self.dockerd.take() {
            end(dockerd);
        }
        dockerd::clear(self.dir.path());
    }
}

/// As `SIGTERM` does, which ends its containers; it may be frozen.
fn end(mut dockerd: Child) {
    dockerd::send(&dockerd, Signal::CONT);
    dockerd::send(&dockerd, Signal::TERM);
    let end = std::time::Instant::now() + LIMIT;
    while std::time::Instant::now() < end {
        if !matches!(dockerd.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    dockerd::send(&dockerd, Signal::KILL);
}

fn tool(program: &str, arguments: &[&str]) {
    let status = Tool::new(program).args(arguments).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{program} {arguments:?}: {status:?}");
}

/// The static runner: `COFFERDAM_RUNNER`, or where cargo puts it.
pub fn runner() -> PathBuf {
    if let Some(given) = std::env::var_os("COFFERDAM_RUNNER") {
        return PathBuf::from(given);
    }
    let target = crate::home::program();
    target.ancestors().nth(2).unwrap_or(Path::new(".")).join("x86_64-unknown-linux-gnu/release/cofferdam-runner")
}
