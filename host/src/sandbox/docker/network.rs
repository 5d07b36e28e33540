//! The network of an installation's containers that have one: a bridge of their own, on which they do not reach each other.
//!
//! It is made when the first container wants it, found by its label, and taken away when a daemon ends and nothing is on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::ListNetworksOptionsBuilder;
use tokio::sync::Mutex;

use super::LABEL_INSTALL;
use super::link::{Link, SHORT};
use crate::sandbox::SandboxError;

/// The bridge driver's word for whether its containers reach each other.
const BETWEEN_CONTAINERS: &str = "com.docker.network.bridge.enable_icc";

/// The networks of installations on one engine.
pub(super) struct Networks {
    link: Arc<Link>,
    /// Held while one is looked for and made: two of one installation would be one too many.
    making: Mutex<()>,
    /// Whether there is one, as far as this process knows.
    is_there: AtomicBool,
}

impl Networks {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, making: Mutex::default(), is_there: AtomicBool::default() }
    }

    /// The engine's id of the installation's network, which is made if it is not there.
    pub(super) async fn open(&self, install: &str) -> Result<String, SandboxError> {
        self.is_there.store(true, Ordering::Relaxed);
        let _alone = self.making.lock().await;
        if let Some(id) = self.of(install).await?.into_iter().next() {
            return Ok(id);
        }
        let label = HashMap::from([(LABEL_INSTALL.to_owned(), install.to_owned())]);
        let request = NetworkCreateRequest {
            // For people; it is found by its label.
            name: format!("cofferdam-{}", install.get(..12).unwrap_or(install)),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(BETWEEN_CONTAINERS.to_owned(), "false".to_owned())])),
            labels: Some(label),
            ..NetworkCreateRequest::default()
        };
        let create = |client: Docker| async move { client.create_network(request).await };
        let made = self.link.call("create a network", SHORT, create).await?;
        tracing::info!(network = %made.id, "made the network of the groups that have one");
        Ok(made.id)
    }

    /// Takes the installation's network away, if this process knows of it and no container is on it.
    pub(super) async fn clear_up(&self, install: &str) -> Result<(), SandboxError> {
        if !self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        for id in self.of(install).await? {
            let remove = |client: Docker| async move {
                match client.remove_network(&id).await {
                    // Something is on it, or somebody was quicker.
                    Err(Error::DockerResponseServerError { status_code: 403 | 404 | 409, .. }) => Ok(()),
                    other => other,
                }
            };
            self.link.call("remove a network", SHORT, remove).await?;
        }
        Ok(())
    }

    /// Looks for what an earlier process has left.
    pub(super) async fn look(&self, install: &str) {
        if self.of(install).await.is_ok_and(|found| !found.is_empty()) {
            self.is_there.store(true, Ordering::Relaxed);
        }
    }

    async fn of(&self, install: &str) -> Result<Vec<String>, SandboxError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_INSTALL}={install}")])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let list = |client: Docker| async move { client.list_networks(Some(options)).await };
        let found = self.link.call("list networks", SHORT, list).await?;
        Ok(found.into_iter().filter_map(|network| network.id).collect())
    }
}

/// Whether that is what an engine says of a network that is gone, and not of an image.
pub(super) fn is_missing(message: &str) -> bool {
    message.starts_with("network ") && message.contains("not found")
}
