//! The sandbox on a Docker engine.

mod body;
mod end;
mod link;
mod log;
mod network;
mod own_image;
mod undo;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::FutureExt;

use crate::config::home::Home;
use crate::config::network::Network;

use super::{ContainerId, Found, Owner, Running, Sandbox, SandboxError, Spec};
use link::{Link, SHORT};
use network::Networks;
use own_image::OwnImage;

pub use link::connect;

/// Label with the installation's id.
pub const LABEL_INSTALL: &str = "cofferdam.install";
/// Label with the group's folder.
pub const LABEL_GROUP: &str = "cofferdam.group";
/// Label with the session's id.
pub const LABEL_SESSION: &str = "cofferdam.session";
/// Label with the attempt.
pub const LABEL_ATTEMPT: &str = "cofferdam.attempt";

/// How long creating a container may take, and then starting it: the engine writes to its disk and runs programs. A start
/// took 6 s on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long a container's end by force may take.
const END: Duration = Duration::from_secs(30);

/// The Docker engine. Connects at the first use, and again after it went away.
pub struct DockerSandbox {
    link: Arc<Link>,
    image: OwnImage,
    networks: Networks,
}

impl DockerSandbox {
    /// The engine at `host`, or the local default. `runner` is the static runner for our own image, if it does not
    /// lie in a usual place.
    pub fn new(home: Home, host: Option<String>, runner: Option<PathBuf>) -> Self {
        let link = Arc::new(Link::new(host));
        Self { image: OwnImage::new(link.clone(), home, runner), networks: Networks::new(link.clone()), link }
    }

    async fn create(&self, spec: &Spec) -> Result<ContainerId, SandboxError> {
        let network = match spec.network {
            Network::None => None,
            Network::Open => Some(self.networks.open(&spec.owner.install).await?),
        };
        let owner = &spec.owner;
        // For people; we find containers by their labels. A restored copy of the home has the same sessions and attempts.
        let install = owner.install.get(..6).unwrap_or(&owner.install);
        let name =
            format!("cofferdam-{}-{}-{}-{install}", owner.group, &owner.session.as_str()[..12], owner.attempt);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let create = |client: Docker| async move {
            match client.create_container(Some(options), body::body(spec, network)).await {
                Ok(created) => Ok(Some(ContainerId(created.id))),
                Err(Error::DockerResponseServerError { status_code: 404, ref message })
                    if !network::is_missing(message) =>
                {
                    Ok(None)
                }
                // Its name is there, but not all of it: as good as missing, once the name is gone too.
                Err(Error::DockerResponseServerError { message, .. })
                    if message.contains("layer does not exist") =>
                {
                    tracing::warn!(image = %spec.image, "the engine has only a part of the image; its name is taken away");
                    let options = RemoveImageOptionsBuilder::default().force(true).build();
                    client.remove_image(&spec.image, Some(options), None).await?;
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let created = self.link.call("create a container", START, create).await?;
        created.ok_or_else(|| SandboxError::NoImage(spec.image.clone()))
    }

    async fn run(&self, id: &ContainerId, spec: &Spec) -> Result<(), SandboxError> {
        log::keep(&self.link, id, &spec.log, false).await?;
        let start = |client: Docker| async move { client.start_container(&id.0, None).await };
        self.link.call("start a container", START, start).await
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn start(&self, spec: &Spec) -> Result<Running, SandboxError> {
        let created = self.create(spec).await;
        crate::hooks::crash_point("start.between_create_and_start");
        let error = match &created {
            Ok(id) => self.run(id, spec).await.err(),
            Err(error) => Some(error.clone()),
        };
        match (created, error) {
            (Ok(id), None) => {
                let exit = end::of(self.link.clone(), id.clone(), spec.log.clone(), false).boxed();
                Ok(Running { id, exit })
            }
            (Err(error), _) => {
                if error.may_come_true() {
                    undo::later(self.link.clone(), spec.owner.clone());
                }
                Err(error)
            }
            (Ok(id), Some(error)) => {
                if let Err(error) = self.remove(&id).await {
                    tracing::warn!(container = %id, error = %crate::error_chain(&error), "not removed yet");
                    undo::later(self.link.clone(), spec.owner.clone());
                }
                Err(error)
            }
        }
    }

    fn adopt(&self, id: &ContainerId, log: PathBuf) -> Running {
        // The log is written anew from what the engine kept, which is the newest part of a long one.
        Running { id: id.clone(), exit: end::of(self.link.clone(), id.clone(), log, true).boxed() }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), SandboxError> {
        let secs = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(secs).build();
        let stop = |client: Docker| async move {
            match client.stop_container(&id.0, Some(options)).await {
                Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
                other => other,
            }
        };
        self.link.call("stop a container", grace + END, stop).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), SandboxError> {
        remove(&self.link, id).await
    }

    async fn default_image(&self, make: bool) -> Result<String, SandboxError> {
        if make { self.image.make().await } else { self.image.name().await }
    }

    fn building(&self) -> Option<SystemTime> {
        self.image.building()
    }

    fn seed(&self) -> Option<PathBuf> {
        self.image.seed()
    }

    async fn owned(&self, install: &str) -> Result<Vec<Found>, SandboxError> {
        let containers = labelled(&self.link, vec![format!("{LABEL_INSTALL}={install}")]);
        let (found, ()) = tokio::join!(containers, self.networks.look(install));
        let found = found?;
        Ok(found.into_iter().filter_map(found_of).collect())
    }

    async fn is_its_engine(&self, id: &ContainerId) -> Result<bool, SandboxError> {
        // The ping is on a new connection: an engine that ends still serves the old ones.
        self.link.ping().await?;
        end::is_started_by(&self.link, id).await
    }

    async fn clear_up(&self, install: &str) -> Result<(), SandboxError> {
        self.networks.clear_up(install).await
    }

    async fn ping(&self) -> Result<(), SandboxError> {
        self.link.ping().await
    }
}

async fn remove(link: &Link, id: &ContainerId) -> Result<(), SandboxError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let remove = |client: Docker| async move {
        match client.remove_container(&id.0, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            // The engine is removing it already.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => ended(&client, id).await,
            other => other,
        }
    };
    link.call("remove a container", END, remove).await
}

/// Waits until nothing runs in a container that the engine removes.
async fn ended(client: &Docker, id: &ContainerId) -> Result<(), Error> {
    /// Between two looks.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        match client.inspect_container(&id.0, None).await {
            Ok(container) if container.state.as_ref().and_then(|state| state.running) != Some(false) => {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn labelled(link: &Link, labels: Vec<String>) -> Result<Vec<ContainerSummary>, SandboxError> {
    let filters = HashMap::from([("label", labels)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    link.call("list containers", SHORT, |client| async move { client.list_containers(Some(options)).await }).await
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
    // A paused one runs: its session's limits on silence are what ends it.
    let running =
        matches!(summary.state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED));
    Some(Found { id: ContainerId(summary.id?), owner, running })
}
