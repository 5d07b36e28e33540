//! Our own image on this engine: known by name without asking, and built by whoever needs it first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::link::Link;
use crate::config::home::Home;
use crate::sandbox::SandboxError;
use crate::sandbox::image::{ImageBuilder, ImageRef, Silent};

/// Our own image.
pub(super) struct OwnImage {
    link: Arc<Link>,
    home: Home,
    runner: Option<PathBuf>,
    known: Arc<Mutex<Option<Known>>>,
    /// One build at a time; what the last one ended in, and when.
    last: Arc<AsyncMutex<Option<Ended>>>,
    since: Arc<Mutex<Option<SystemTime>>>,
}

/// When a build ended, and in what.
type Ended = (Instant, Result<String, SandboxError>);

/// The image, once it is known.
#[derive(Clone)]
struct Known {
    name: String,
    seed: PathBuf,
}

impl OwnImage {
    pub(super) fn new(link: Arc<Link>, home: Home, runner: Option<PathBuf>) -> Self {
        let (known, last, since) = Default::default();
        Self { link, home, runner, known, last, since }
    }

    async fn builder(&self) -> Result<ImageBuilder, SandboxError> {
        Ok(ImageBuilder::new(self.link.client().await?, self.home.clone(), self.runner.clone()))
    }

    /// Its name.
    pub(super) async fn name(&self) -> Result<String, SandboxError> {
        if let Some(known) = &*lock(&self.known) {
            return Ok(known.name.clone());
        }
        let builder = self.builder().await?;
        let wanted =
            tokio::task::spawn_blocking(move || builder.wanted().map(|image| (builder.seed_dir(&image), image)));
        let (seed, image): (PathBuf, ImageRef) = match wanted.await {
            Ok(wanted) => wanted.map_err(SandboxError::of_build)?,
            Err(error) => return Err(SandboxError::of_build(crate::sandbox::image::ImageError::Task(error))),
        };
        let name = image.to_string();
        *lock(&self.known) = Some(Known { name: name.clone(), seed });
        Ok(name)
    }

    /// The image, built unless the engine has it. Whoever asks while it is being built gets that build's end.
    pub(super) async fn make(&self) -> Result<String, SandboxError> {
        let asked = Instant::now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some((ended, result)) = &*last
            && *ended >= asked
        {
            return result.clone();
        }
        let builder = self.builder().await?;
        let (known, since) = (self.known.clone(), self.since.clone());
        // A task of its own: the others go on waiting for it when the session that began it is stopped.
        let build = tokio::spawn(async move {
            tracing::warn!("the engine has no agent image; it is built, which may take minutes");
            *lock(&since) = Some(SystemTime::now());
            let result = build(&builder, &known).await;
            *lock(&since) = None;
            *last = Some((Instant::now(), result.clone()));
            result
        });
        match build.await {
            Ok(result) => result,
            Err(error) => Err(SandboxError::of_build(crate::sandbox::image::ImageError::Task(error))),
        }
    }

    /// Since when it is being built, if it is.
    pub(super) fn building(&self) -> Option<SystemTime> {
        *lock(&self.since)
    }

    /// A codex home to start new sessions from, if there is one.
    pub(super) fn seed(&self) -> Option<PathBuf> {
        lock(&self.known).as_ref().map(|known| known.seed.clone()).filter(|seed| seed.is_dir())
    }
}

async fn build(builder: &ImageBuilder, known: &Mutex<Option<Known>>) -> Result<String, SandboxError> {
    let image = builder.ensure(&Silent).await.map_err(SandboxError::of_build)?;
    let seed = builder.ensure_seed(&image, &Silent).await.map_err(SandboxError::of_build)?;
    let name = image.to_string();
    *lock(known) = Some(Known { name: name.clone(), seed });
    Ok(name)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
