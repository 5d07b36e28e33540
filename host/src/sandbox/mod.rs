//! Where sessions run. [`docker`] is the only user of bollard besides [`image`]; [`mounts`] says what a container sees.

pub mod docker;
pub mod image;
pub mod mounts;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use futures_util::future::BoxFuture;

/// The engine's id of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(pub String);

impl std::fmt::Display for ContainerId {
    /// The twelve characters that engines show to people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// Whose container it is (invariant 9): labels, never a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The installation.
    pub install: String,
    /// The group.
    pub group: Folder,
    /// The session.
    pub session: SessionId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A directory or file of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path on the host, absolute.
    pub source: PathBuf,
    /// Its path in the container.
    pub target: String,
    /// Whether the container may write it.
    pub writable: bool,
}

/// The unprivileged user that a container runs as, and that owns what the agent may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id, never 0.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of memory, swap included.
    pub memory_bytes: i64,
    /// Cores.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: i64,
    /// Bytes of /tmp and of the home, each; they count as memory.
    pub tmp_bytes: i64,
}

/// A container to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Whose it is.
    pub owner: Owner,
    /// The image.
    pub image: String,
    /// Who runs in it.
    pub user: User,
    /// What it may use.
    pub limits: Limits,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Where its output goes on the host; outlives it.
    pub log: PathBuf,
}

/// A container that runs.
pub struct Running {
    /// Its id.
    pub id: ContainerId,
    /// Resolves when it has ended.
    pub exit: BoxFuture<'static, Exit>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; none when the engine could not say.
    pub code: Option<i64>,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(137) => f.write_str("killed, exit code 137: from outside, or over its memory limit"),
            Some(code) => write!(f, "exit code {code}"),
            None => f.write_str("the engine did not say how"),
        }
    }
}

/// A container of ours that the engine has.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its id.
    pub id: ContainerId,
    /// Whose it is, if its labels can be read.
    pub owner: Option<Owner>,
    /// Whether it runs.
    pub running: bool,
}

/// Runs containers.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Creates and starts a container; its output is being kept from its first byte.
    async fn start(&self, spec: &Spec) -> Result<Running, SandboxError>;

    /// Takes over a container that runs already.
    async fn adopt(&self, id: &ContainerId, log: PathBuf) -> Result<Running, SandboxError>;

    /// Stops a container: SIGTERM, then SIGKILL after `grace`. One that is gone already is fine.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), SandboxError>;

    /// Removes a container, running or not. One that is gone already is fine.
    async fn remove(&self, id: &ContainerId) -> Result<(), SandboxError>;

    /// Our own image, built if the engine does not have it; that takes minutes the first time. `recheck` asks the
    /// engine even if it had the image before.
    async fn default_image(&self, recheck: bool) -> Result<String, SandboxError>;

    /// A codex home to start new sessions from, if there is one.
    fn seed(&self) -> Option<PathBuf>;

    /// The containers of this installation.
    async fn owned(&self, install: &str) -> Result<Vec<Found>, SandboxError>;
}

/// What can go wrong with the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine cannot be reached.
    #[error("the Docker engine does not answer")]
    Unreachable(#[source] bollard::errors::Error),
    /// The image is not there.
    #[error("the image {0} is missing")]
    NoImage(String),
    /// Our own image cannot be built.
    #[error("the image cannot be built")]
    Build(#[source] image::ImageError),
    /// The engine refused.
    #[error("the Docker engine refused to {doing}")]
    Refused {
        /// What it was asked.
        doing: &'static str,
        /// Its words.
        #[source]
        source: bollard::errors::Error,
    },
    /// The log file cannot be written.
    #[error("cannot write the log {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
