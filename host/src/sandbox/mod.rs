//! Where sessions run. [`docker`] is the only user of bollard besides [`image`], and [`SandboxError`] sorts its errors;
//! [`mounts`] says what a container sees.
//!
//! Every call has its own limit, also on an engine that takes calls and never answers.

pub mod docker;
mod error;
pub mod image;
pub mod mounts;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use futures_util::future::BoxFuture;

use crate::config::network::Network;

pub use error::SandboxError;

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
    /// What it reaches besides its door.
    pub network: Network,
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
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; none when the engine could not say.
    pub code: Option<i64>,
    /// The kernel killed it over its memory limit.
    pub oom: bool,
    /// The engine was away when it ended, or ends itself: nothing in the container is to blame.
    pub outage: bool,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            _ if self.oom => f.write_str("killed over its memory limit"),
            _ if self.outage => f.write_str("the engine ended or was away"),
            Some(137) => f.write_str("killed from outside, exit code 137"),
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
    /// Creates and starts a container; its output is being kept from its first byte. Takes two minutes at most. What a
    /// start that failed may have made is looked for and removed, also when the engine answers only later.
    async fn start(&self, spec: &Spec) -> Result<Running, SandboxError>;

    /// Takes over a container that runs already. Asks the engine nothing by itself: that is the exit's.
    fn adopt(&self, id: &ContainerId, log: PathBuf) -> Running;

    /// Stops a container, also a paused one: SIGTERM, then SIGKILL after `grace`. One that is gone already is fine. Takes
    /// half a minute longer than `grace` at most.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), SandboxError>;

    /// Removes a container, running or not. One that is gone already is fine. Takes half a minute at most.
    async fn remove(&self, id: &ContainerId) -> Result<(), SandboxError>;

    /// Our own image, by name. `make`: the engine does not have it (or not all of it), so it is built, which takes minutes
    /// the first time; whoever asks meanwhile waits for the same build.
    async fn default_image(&self, make: bool) -> Result<String, SandboxError>;

    /// Since when our own image is being built, if it is.
    fn building(&self) -> Option<SystemTime>;

    /// A codex home to start new sessions from, if there is one.
    fn seed(&self) -> Option<PathBuf>;

    /// The containers of this installation. Takes ten seconds at most.
    async fn owned(&self, install: &str) -> Result<Vec<Found>, SandboxError>;

    /// Whether the engine is the process that started the container, and does not end just now. Where it has forgotten that
    /// among much else, one that runs counts as its own. Takes 35 seconds at most.
    async fn is_its_engine(&self, id: &ContainerId) -> Result<bool, SandboxError>;

    /// Takes away what containers of this installation shared, such as a network, where none has it any more. Takes ten seconds
    /// for each call of the engine, of which there are two.
    async fn clear_up(&self, install: &str) -> Result<(), SandboxError>;

    /// Whether the engine answers. Takes five seconds at most.
    async fn ping(&self) -> Result<(), SandboxError>;
}
