//! The Docker engine, seen from outside.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use cofferdam::sandbox::docker::LABEL_INSTALL;
use futures_util::StreamExt;
use tokio::net::UdpSocket;

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

/// An address of this machine that containers with a network reach. Not that of the engine's default bridge, which another
/// engine takes away when it is started without one. No packet is sent.
pub async fn host_address() -> Ipv4Addr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a socket");
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).await.expect("a way out of this machine");
    match socket.local_addr().expect("an address").ip() {
        IpAddr::V4(ip) if !ip.is_loopback() => ip,
        other => panic!("no address that containers reach: {other}"),
    }
}

/// The names of the networks with the installation's label.
pub async fn networks(install: &str) -> Vec<String> {
    let filters = HashMap::from([("label", vec![format!("{LABEL_INSTALL}={install}")])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let found = engine().await.list_networks(Some(options)).await.expect("a list");
    found.into_iter().filter_map(|network| network.name).collect()
}

/// Takes away a network, if nothing is on it any more.
pub async fn try_remove_network(name: &str) -> bool {
    engine().await.remove_network(name).await.is_ok()
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
    let mut installs = HashSet::new();
    for container in labelled(LABEL_INSTALL).await {
        let mounts = container.mounts.unwrap_or_default();
        let ours = mounts
            .iter()
            .any(|mount| mount.source.as_deref().is_some_and(|from| Path::new(from).starts_with(root)));
        if let Some(id) = container.id.filter(|_| ours) {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            // It may be on its way already.
            let _ = docker.remove_container(&id, Some(options)).await;
            installs.extend(container.labels.unwrap_or_default().remove(LABEL_INSTALL));
        }
    }
    for install in installs {
        for network in networks(&install).await {
            let _ = docker.remove_network(&network).await;
        }
    }
}
