//! The Docker engine, seen from outside.

use std::collections::HashMap;
use std::path::Path;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use cofferdam::sandbox::docker::LABEL_INSTALL;
use futures_util::StreamExt;

use crate::LIMIT;

/// The engine that the tests use, `DOCKER_HOST` or the local one.
pub async fn engine() -> Docker {
    let host = std::env::var("DOCKER_HOST").ok();
    cofferdam::sandbox::docker::connect(host.as_deref()).await.expect("the Docker engine answers: `make engine`")
}

/// A container as the engine describes it; none when it is gone.
pub async fn inspect(id: &str) -> Option<ContainerInspectResponse> {
    engine().await.inspect_container(id, None::<InspectContainerOptions>).await.ok()
}

/// An image as the engine describes it, and how it came to be.
pub async fn image(name: &str) -> String {
    let docker = engine().await;
    let inspected = docker.inspect_image(name).await.expect("an image");
    let history = docker.image_history(name).await.expect("its history");
    format!("{inspected:?} {history:?}")
}

/// Kills a container, and returns when it is dead.
pub async fn kill(id: &str) {
    let docker = engine().await;
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    docker.kill_container(id, Some(options)).await.expect("killed");
    gone(id).await;
}

/// Waits until a container is removed.
pub async fn gone(id: &str) {
    let docker = engine().await;
    let options = WaitContainerOptionsBuilder::default().condition("removed").build();
    // Any answer, also that there is none of that name, means that it is gone.
    let waiting = async { docker.wait_container(id, Some(options)).next().await };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("container {id} is not removed"));
}

/// The containers with the installation's label.
pub async fn owned(install: &str) -> Vec<ContainerSummary> {
    labelled(&format!("{LABEL_INSTALL}={install}")).await
}

async fn labelled(label: &str) -> Vec<ContainerSummary> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    engine().await.list_containers(Some(options)).await.expect("a list of containers")
}

/// Removes every container of ours that mounts something below `root`: what a test's home may have left.
pub async fn remove_all_of(root: &Path) {
    let docker = engine().await;
    for container in labelled(LABEL_INSTALL).await {
        let mounts = container.mounts.unwrap_or_default();
        let ours = mounts
            .iter()
            .any(|mount| mount.source.as_deref().is_some_and(|from| Path::new(from).starts_with(root)));
        if let Some(id) = container.id.filter(|_| ours) {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            // It may be on its way already.
            let _ = docker.remove_container(&id, Some(options)).await;
        }
    }
}
