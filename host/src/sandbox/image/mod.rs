//! The agent image: made from the embedded recipe, known by its content, and never made twice.
//!
//! ```text
//! codex.lock ─ npm pack ─ check ─ unpack ─┐
//! base.toml ── pull │ mmdebstrap ─ base ──┼─ build ─ cofferdam/agent:<hash> ─ one start of Codex ─ seeded codex home
//! cofferdam-runner (static) ──────────────┘
//! ```
//! Every arrow ends in a rename or a tag, so whatever is interrupted is simply done again, and whatever is finished is
//! found finished. One process of a home works at a time (`data/cache/image.lock`).

mod base;
mod build;
mod context;
mod error;
mod package;
mod progress;
mod recipe;
mod runner;
mod seed;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptionsBuilder, TagImageOptionsBuilder};
use serde::Serialize;

use crate::config::home::Home;
use build::Build;
use context::Context;
use package::Packages;
use recipe::Recipe;
use runner::{RUNNER, Runner};

pub use error::ImageError;
pub use progress::{Bars, Progress, Silent};
pub use recipe::ImageRef;
pub use seed::copy_seed;

/// Marks our images; its value is the [`ImageKind`].
const LABEL_KIND: &str = "cofferdam.image";
/// The content hash, as in the tag.
const LABEL_CONTENT: &str = "cofferdam.content";
/// The Codex version inside.
const LABEL_CODEX: &str = "cofferdam.codex";
/// The engine answers an import or a build only when it is done; the limit is on one that never does.
const LONG: Duration = Duration::from_secs(30 * 60);

/// What an image of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// Sessions start from it.
    Agent,
    /// Agent images are made from it.
    Base,
}

/// One image that Cofferdam made.
#[derive(Debug, Clone, Serialize)]
pub struct ImageInfo {
    /// Repository and tag.
    pub tag: String,
    /// The engine's id, `sha256:…`.
    pub id: String,
    /// What it is for.
    pub kind: ImageKind,
    /// Unpacked size in bytes, layers shared with other images included.
    pub size: u64,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// The Codex version in it; a base has none.
    pub codex: Option<String>,
    /// Whether it is what the next session starts from, or what that image was made from.
    pub current: bool,
}

/// Makes and lists the images of one engine.
#[derive(Debug)]
pub struct ImageBuilder {
    docker: Docker,
    home: Home,
    runner: Runner,
}

impl ImageBuilder {
    /// Works on `docker`, caching under `home`. Without `runner` the binary is looked for where cargo puts the static build
    /// and beside this program.
    pub fn new(docker: Docker, home: Home, runner: Option<PathBuf>) -> Self {
        Self { docker: docker.with_timeout(LONG), home, runner: Runner::new(runner) }
    }

    /// The Codex version that the recipe pins.
    pub fn codex_version(&self) -> Result<String, ImageError> {
        Ok(Recipe::embedded()?.lock.version)
    }

    /// The image that this program and its runner belong to, without asking the engine.
    pub fn wanted(&self) -> Result<ImageRef, ImageError> {
        Ok(Recipe::embedded()?.agent(&self.runner.find()?.1))
    }

    /// Whether the engine has `image`.
    pub async fn exists(&self, image: &ImageRef) -> Result<bool, ImageError> {
        exists(&self.docker, image.as_str()).await
    }

    /// Where the unpacked Codex lies: `bin/codex` and what belongs beside it. Fetched if it is not there.
    pub async fn ensure_codex(&self, progress: &dyn Progress) -> Result<PathBuf, ImageError> {
        let lock = Recipe::embedded()?.lock;
        if self.packages().complete(&lock) {
            return Ok(self.packages().path(&lock));
        }
        let _alone = self.alone().await?;
        self.packages().ensure(&lock, progress).await
    }

    /// The image, with whatever is missing of it made. Takes one question to the engine when nothing is.
    pub async fn ensure(&self, progress: &dyn Progress) -> Result<ImageRef, ImageError> {
        architecture(std::env::consts::ARCH)?;
        let recipe = Recipe::embedded()?;
        let (runner, runner_hash) = self.runner.find()?;
        let wanted = recipe.agent(&runner_hash);
        if self.exists(&wanted).await? {
            return Ok(wanted);
        }
        let _alone = self.alone().await?;
        if self.exists(&wanted).await? {
            return Ok(wanted);
        }
        let codex = self.packages().ensure(&recipe.lock, progress).await?;
        let base = base::ensure(&self.docker, &recipe, progress).await?;
        let bin = codex.join("bin");
        let context = Context::default()
            .text("Dockerfile", recipe::DOCKERFILE)
            .program("codex", bin.join("codex"))
            .and_then(|context| context.program("codex-code-mode-host", bin.join("codex-code-mode-host")))
            .and_then(|context| context.program("rg", bin.join("rg")))
            .map_err(ImageError::io("read", &bin))?
            .program(RUNNER, runner.clone())
            .map_err(ImageError::io("read", &runner))?;
        let build = Build {
            title: "agent image",
            tag: wanted.as_str(),
            context,
            args: HashMap::from([("BASE", base.as_str())]),
            labels: HashMap::from([
                (LABEL_KIND, "agent"),
                (LABEL_CONTENT, wanted.hash()),
                (LABEL_CODEX, recipe.lock.version.as_str()),
            ]),
            network: false,
        };
        build.run(&self.docker, progress).await?;
        let latest = TagImageOptionsBuilder::default().repo(recipe::AGENT_REPOSITORY).tag("latest").build();
        let tagged = self.docker.tag_image(wanted.as_str(), Some(latest)).await;
        tagged.map_err(ImageError::engine("tag the image"))?;
        Ok(wanted)
    }

    /// Our images, newest first.
    pub async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let wanted = self.wanted().ok();
        let base = Recipe::embedded()?.base_tag();
        let options = ListImagesOptionsBuilder::default()
            .filters(&HashMap::from([("label", vec![LABEL_KIND]), ("dangling", vec!["false"])]))
            .build();
        let found = self.docker.list_images(Some(options)).await.map_err(ImageError::engine("list images"))?;
        let mut images = Vec::new();
        for image in found {
            let agent = image.labels.get(LABEL_KIND).is_some_and(|kind| kind == "agent");
            for tag in image.repo_tags.iter().filter(|tag| !tag.ends_with(":latest")) {
                let current = *tag == base || wanted.as_ref().is_some_and(|wanted| wanted.as_str() == tag);
                images.push(ImageInfo {
                    tag: tag.clone(),
                    id: image.id.clone(),
                    kind: if agent { ImageKind::Agent } else { ImageKind::Base },
                    size: image.size.try_into().unwrap_or_default(),
                    created: image.created,
                    codex: image.labels.get(LABEL_CODEX).cloned(),
                    current,
                });
            }
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(images)
    }

    fn packages(&self) -> Packages {
        Packages::new(self.home.cache().join("codex"))
    }

    /// Waits until no other process of this home makes an image; the lock ends with the value, or with the process.
    async fn alone(&self) -> Result<File, ImageError> {
        let cache = self.home.cache();
        let wait = move || {
            // Often the first thing made in `data`, which is nobody else's business.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&cache)
                .map_err(ImageError::io("create", &cache))?;
            let path = cache.join("image.lock");
            let file = File::create(&path).map_err(ImageError::io("write", &path))?;
            file.lock().map_err(ImageError::io("lock", &path))?;
            Ok(file)
        };
        tokio::task::spawn_blocking(wait).await.map_err(ImageError::Task)?
    }
}

fn architecture(arch: &str) -> Result<(), ImageError> {
    if arch == "x86_64" { Ok(()) } else { Err(ImageError::Architecture(arch.to_owned())) }
}

/// Whether the engine has an image of that name.
async fn exists(docker: &Docker, name: &str) -> Result<bool, ImageError> {
    match docker.inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(ImageError::engine("look for the image")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_machine_is_told_so() {
        let text = architecture("aarch64").unwrap_err().to_string();
        assert!(text.contains("aarch64") && text.contains("x86_64"), "{text}");
    }
}
