//! The sandbox on a Docker engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HostConfig, HostConfigLogConfig,
    Mount as ApiMount, MountType,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use crate::config::home::Home;
use crate::error_chain;

use super::image::{ImageBuilder, ImageRef, Silent};
use super::{ContainerId, Exit, Found, Owner, Running, Sandbox, SandboxError, Spec};

/// Label with the installation's id.
pub const LABEL_INSTALL: &str = "cofferdam.install";
/// Label with the group's folder.
pub const LABEL_GROUP: &str = "cofferdam.group";
/// Label with the session's id.
pub const LABEL_SESSION: &str = "cofferdam.session";
/// Label with the attempt.
pub const LABEL_ATTEMPT: &str = "cofferdam.attempt";

/// Seconds that one call to the engine may take; a start on a busy machine took 6 s.
const CALL_SECS: u64 = 120;
/// The most of a container's output that the engine keeps for an adoption.
const ENGINE_LOG: &str = "8m";

/// The Docker engine. Connects at the first use, and again after it went away.
pub struct DockerSandbox {
    home: Home,
    host: Option<String>,
    runner: Option<PathBuf>,
    client: Mutex<Option<Docker>>,
    image: std::sync::Mutex<Option<Image>>,
}

/// Our own image, once it is known.
#[derive(Clone)]
struct Image {
    reference: ImageRef,
    seed: PathBuf,
}

/// Connects to an engine (`DOCKER_HOST` form, or the local default) and agrees on the API's version.
pub async fn connect(host: Option<&str>) -> Result<Docker, SandboxError> {
    let client = match host {
        Some(host) => Docker::connect_with_host(host),
        None => Docker::connect_with_local_defaults(),
    };
    let client = client.map_err(SandboxError::Unreachable)?.with_timeout(Duration::from_secs(CALL_SECS));
    client.negotiate_version().await.map_err(SandboxError::Unreachable)
}

impl DockerSandbox {
    /// The engine at `host`, or the local default. `runner` is the static runner for our own image, if it does not
    /// lie in a usual place.
    pub fn new(home: Home, host: Option<String>, runner: Option<PathBuf>) -> Self {
        Self { home, host, runner, client: Mutex::default(), image: std::sync::Mutex::default() }
    }

    fn image_slot(&self) -> std::sync::MutexGuard<'_, Option<Image>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected client.
    pub async fn client(&self) -> Result<Docker, SandboxError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let fresh = connect(self.host.as_deref()).await?;
        Ok(client.insert(fresh).clone())
    }

    async fn refused(&self, doing: &'static str, error: Error) -> SandboxError {
        match error {
            source @ Error::DockerResponseServerError { .. } => SandboxError::Refused { doing, source },
            source => {
                // The engine may come back with another version.
                *self.client.lock().await = None;
                SandboxError::Unreachable(source)
            }
        }
    }

    async fn create(&self, client: &Docker, spec: &Spec) -> Result<ContainerId, SandboxError> {
        let owner = &spec.owner;
        // For people; we find containers by their labels.
        let name = format!("cofferdam-{}-{}-{}", owner.group, &owner.session.as_str()[..12], owner.attempt);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        match client.create_container(Some(options), body(spec)).await {
            Ok(created) => Ok(ContainerId(created.id)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                Err(SandboxError::NoImage(spec.image.clone()))
            }
            Err(error) => Err(self.refused("create a container", error).await),
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn start(&self, spec: &Spec) -> Result<Running, SandboxError> {
        let client = self.client().await?;
        let id = self.create(&client, spec).await?;
        let started = async {
            let log = open_log(&spec.log).await?;
            let output = attach(&client, &id, false).await;
            let output = match output {
                Ok(output) => output,
                Err(error) => return Err(self.refused("attach to a container", error).await),
            };
            tokio::spawn(keep_log(output, log));
            match client.start_container(&id.0, None).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.refused("start a container", error).await),
            }
        };
        if let Err(error) = started.await {
            if let Err(error) = self.remove(&id).await {
                tracing::warn!(container = %id, error = %error_chain(&error), "could not start, and was not removed");
            }
            return Err(error);
        }
        let exit = wait(client, id.clone()).boxed();
        Ok(Running { id, exit })
    }

    async fn adopt(&self, id: &ContainerId, log: PathBuf) -> Result<Running, SandboxError> {
        let client = self.client().await?;
        // Written anew from what the engine kept, which is the newest part of a long log.
        let log = open_log(&log).await?;
        match attach(&client, id, true).await {
            Ok(output) => tokio::spawn(keep_log(output, log)),
            Err(error) => return Err(self.refused("attach to a container", error).await),
        };
        let exit = wait(client, id.clone()).boxed();
        Ok(Running { id: id.clone(), exit })
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), SandboxError> {
        let client = self.client().await?;
        let secs = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(secs).build();
        match client.stop_container(&id.0, Some(options)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
            Err(error) => Err(self.refused("stop a container", error).await),
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), SandboxError> {
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        match client.remove_container(&id.0, Some(options)).await {
            // 409: the engine is removing it already.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(self.refused("remove a container", error).await),
        }
    }

    async fn default_image(&self, recheck: bool) -> Result<String, SandboxError> {
        if let Some(image) = self.image_slot().clone().filter(|_| !recheck) {
            return Ok(image.reference.as_str().to_owned());
        }
        let builder = ImageBuilder::new(self.client().await?, self.home.clone(), self.runner.clone());
        let reference = if recheck {
            tracing::warn!("the engine has no agent image; it is built, which may take minutes");
            let reference = builder.ensure(&Silent).await.map_err(SandboxError::Build)?;
            builder.ensure_seed(&reference, &Silent).await.map_err(SandboxError::Build)?;
            reference
        } else {
            builder.wanted().map_err(SandboxError::Build)?
        };
        let image = Image { seed: builder.seed_dir(&reference), reference };
        let text = image.reference.as_str().to_owned();
        *self.image_slot() = Some(image);
        Ok(text)
    }

    fn seed(&self) -> Option<PathBuf> {
        self.image_slot().as_ref().map(|image| image.seed.clone()).filter(|seed| seed.is_dir())
    }

    async fn owned(&self, install: &str) -> Result<Vec<Found>, SandboxError> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![format!("{LABEL_INSTALL}={install}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        match client.list_containers(Some(options)).await {
            Ok(found) => Ok(found.into_iter().filter_map(found_of).collect()),
            Err(error) => Err(self.refused("list containers", error).await),
        }
    }
}

/// The container as the design describes it: see container/README.md for each line's reason.
fn body(spec: &Spec) -> ContainerCreateBody {
    let owner = &spec.owner;
    let user = format!("{}:{}", spec.user.uid, spec.user.gid);
    let tmpfs = format!("rw,nosuid,nodev,exec,size={},mode=1777", spec.limits.tmp_bytes);
    let home = format!(
        "rw,nosuid,nodev,exec,size={},mode=0700,uid={},gid={}",
        spec.limits.tmp_bytes, spec.user.uid, spec.user.gid
    );
    let mounts = spec.mounts.iter().map(|mount| ApiMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(!mount.writable),
        ..ApiMount::default()
    });
    let host_config = HostConfig {
        network_mode: Some("none".to_owned()),
        auto_remove: Some(true),
        init: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs), ("/home/agent".to_owned(), home)])),
        memory: Some(spec.limits.memory_bytes),
        memory_swap: Some(spec.limits.memory_bytes),
        nano_cpus: Some(nano_cpus(spec.limits.cpus)),
        pids_limit: Some(spec.limits.pids),
        mounts: Some(mounts.collect()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), ENGINE_LOG.to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        user: Some(user),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(HashMap::from([
            (LABEL_INSTALL.to_owned(), owner.install.clone()),
            (LABEL_GROUP.to_owned(), owner.group.to_string()),
            (LABEL_SESSION.to_owned(), owner.session.to_string()),
            (LABEL_ATTEMPT.to_owned(), owner.attempt.to_string()),
        ])),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// The limit in the engine's unit. An engine refuses more cores than its machine has, so there that is the limit.
fn nano_cpus(cpus: f64) -> i64 {
    let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let there = u32::try_from(there).map_or(f64::MAX, f64::from);
    #[expect(clippy::cast_possible_truncation, reason = "the configuration allows 1024 cores at most")]
    let nano = (cpus.min(there) * 1e9) as i64;
    nano
}

fn found_of(summary: ContainerSummary) -> Option<Found> {
    let labels = summary.labels.unwrap_or_default();
    let owner = || {
        Some(Owner {
            install: labels.get(LABEL_INSTALL)?.clone(),
            group: labels.get(LABEL_GROUP)?.parse().ok()?,
            session: labels.get(LABEL_SESSION)?.parse().ok()?,
            attempt: cofferdam_protocol::ids::Attempt(labels.get(LABEL_ATTEMPT)?.parse().ok()?),
        })
    };
    let owner = owner();
    let running = matches!(summary.state, Some(ContainerSummaryStateEnum::RUNNING));
    Some(Found { id: ContainerId(summary.id?), owner, running })
}

type Output = BoxStream<'static, Result<LogOutput, Error>>;

async fn attach(client: &Docker, id: &ContainerId, replay: bool) -> Result<Output, Error> {
    let options =
        AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).logs(replay).build();
    Ok(client.attach_container(&id.0, Some(options)).await?.output.boxed())
}

async fn open_log(path: &Path) -> Result<tokio::fs::File, SandboxError> {
    let open = async {
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
            forget_old_logs(parent).await?;
        }
        tokio::fs::File::create(path).await
    };
    open.await.map_err(|source| SandboxError::Log { path: path.to_owned(), source })
}

/// Removes all but the newest logs: attempts are many, disks are not.
async fn forget_old_logs(dir: &Path) -> std::io::Result<()> {
    const KEPT: usize = 20;
    let mut attempts = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        let attempt = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
        attempts.extend(attempt.map(|attempt| (attempt, path)));
    }
    attempts.sort_unstable();
    for (_, path) in attempts.iter().rev().skip(KEPT - 1) {
        tokio::fs::remove_file(path).await?;
    }
    Ok(())
}

/// The most of one attempt's output that is kept on the host, in bytes: a container cannot fill the disk by talking.
const LOG_BYTES: usize = 16 * 1024 * 1024;

async fn keep_log(mut output: Output, mut log: tokio::fs::File) {
    let mut left = LOG_BYTES;
    while let Some(Ok(chunk)) = output.next().await {
        let bytes = chunk.into_bytes();
        let kept = &bytes[..bytes.len().min(left)];
        left -= kept.len();
        // A full disk costs the log, not the session.
        if !kept.is_empty() && (log.write_all(kept).await.is_err() || log.flush().await.is_err()) {
            left = 0;
        }
    }
}

/// Resolves when the container has ended; asks again while the engine is away.
async fn wait(client: Docker, id: ContainerId) -> Exit {
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        match client.wait_container(&id.0, Some(options)).next().await {
            Some(Ok(response)) => return Exit { code: Some(response.status_code) },
            Some(Err(Error::DockerContainerWaitError { code, .. })) => return Exit { code: Some(code) },
            Some(Err(Error::DockerResponseServerError { status_code: 404, .. })) => return Exit { code: None },
            Some(Err(error)) => tracing::debug!(container = %id, %error, "waiting again"),
            None => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
