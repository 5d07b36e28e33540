//! What the CLI asks of the engine by itself, without a daemon: the only file of the CLI that knows the sandbox.

use cofferdam_protocol::admin::ErrorKind;

use super::error::CliError;
use crate::config::home::Home;
use crate::config::host::HostConfig;
use crate::error_chain;
use crate::sandbox::SandboxError;
use crate::sandbox::docker;
use crate::sandbox::image::{Bars, ImageBuilder, ImageError, ImageInfo, Progress, Silent};

/// A reachable engine.
pub(super) struct Engine {
    /// Its own version.
    pub version: String,
    /// The newest API version that it speaks.
    pub api: String,
    /// The API version that it and Cofferdam agreed on.
    pub agreed: String,
    images: ImageBuilder,
}

impl Engine {
    /// Connects and agrees on the API version.
    pub async fn connect(home: &Home, config: &HostConfig) -> Result<Self, CliError> {
        let client =
            docker::connect(config.docker_host.as_deref()).await.map_err(|error| unreachable(&error, config))?;
        let refused = |error| unreachable(&SandboxError::of("tell its version", error), config);
        let version = client.version().await.map_err(refused)?;
        Ok(Self {
            version: version.version.unwrap_or_else(|| "unknown".to_owned()),
            api: version.api_version.unwrap_or_else(|| "unknown".to_owned()),
            agreed: client.client_version().to_string(),
            images: ImageBuilder::new(client, home.clone(), config.runner.clone()),
        })
    }

    /// The tag of the image that sessions start from, and whether the engine has it.
    pub async fn image(&self) -> Result<(String, bool), CliError> {
        let wanted = self.images.wanted().map_err(|error| image_error(&error))?;
        let there = self.images.exists(&wanted).await.map_err(|error| image_error(&error))?;
        Ok((wanted.as_str().to_owned(), there))
    }

    /// Our images, newest first.
    pub async fn images(&self) -> Result<Vec<ImageInfo>, CliError> {
        self.images.list().await.map_err(|error| image_error(&error))
    }

    /// The image that sessions start from, with what is missing of it made; bars show how it goes.
    pub async fn build(&self, bars: bool) -> Result<String, CliError> {
        let progress: Box<dyn Progress> = if bars { Box::new(Bars::new()) } else { Box::new(Silent) };
        let image = self.images.ensure(progress.as_ref()).await.map_err(|error| image_error(&error))?;
        // Also where the image is there already: a rebuild then needs no registry.
        self.images.ensure_codex(progress.as_ref()).await.map_err(|error| image_error(&error))?;
        self.images.ensure_seed(&image, progress.as_ref()).await.map_err(|error| image_error(&error))?;
        Ok(image.as_str().to_owned())
    }

    /// The Codex version that is pinned.
    pub fn codex(&self) -> Result<String, CliError> {
        self.images.codex_version().map_err(|error| image_error(&error))
    }
}

fn unreachable(error: &SandboxError, config: &HostConfig) -> CliError {
    let place = config.docker_host.as_deref().unwrap_or("its usual place");
    CliError::new(ErrorKind::Engine, format!("{} (at {place})", error_chain(error))).with_hint(
        "start the engine (`systemctl start docker`), join its group, or name another one in DOCKER_HOST or cofferdam.toml",
    )
}

fn image_error(error: &ImageError) -> CliError {
    let kind = match error {
        ImageError::Engine { .. } => ErrorKind::Engine,
        ImageError::Io { .. } => ErrorKind::Disk,
        _ => ErrorKind::Image,
    };
    CliError::new(kind, error_chain(error))
}
