//! One build by the engine's classic builder, which every engine since 20.10 has.

use std::collections::HashMap;
use std::time::Instant;

use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::context::Context;
use super::error::{ImageError, Tail};
use super::progress::Progress;

/// What to build.
pub(super) struct Build<'a> {
    /// What it is called to the person who waits.
    pub(super) title: &'a str,
    /// The tag it gets when, and only when, every step has worked.
    pub(super) tag: &'a str,
    /// The files, with a `Dockerfile` among them.
    pub(super) context: Context,
    /// Build arguments.
    pub(super) args: HashMap<&'a str, &'a str>,
    /// Labels on the result.
    pub(super) labels: HashMap<&'a str, &'a str>,
    /// Whether its RUN steps may use a network.
    pub(super) network: bool,
}

impl Build<'_> {
    /// Runs the build. Dropping the future cancels it in the engine.
    pub(super) async fn run(self, docker: &Docker, progress: &dyn Progress) -> Result<(), ImageError> {
        let started = Instant::now();
        progress.step(self.title, Some(self.context.size()));
        let options = BuildImageOptionsBuilder::default()
            .t(self.tag)
            .buildargs(&self.args)
            .labels(&self.labels)
            .networkmode(if self.network { "default" } else { "none" })
            .rm(true)
            .forcerm(true)
            .build();
        let (sent, mut counts) = mpsc::unbounded_channel();
        let body = bollard::body_try_stream(self.context.stream(sent));
        let mut events = std::pin::pin!(docker.build_image(options, None, Some(body)));
        let mut tail = Tail::default();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => break,
                    Some(Ok(info)) => {
                        tail.push(info.stream.as_deref().unwrap_or_default());
                        if let Some(detail) = info.error_detail {
                            tail.push(detail.message.as_deref().unwrap_or("(no reason given)"));
                            return Err(ImageError::Build { image: self.tag.to_owned(), tail: tail.text() });
                        }
                    }
                    Some(Err(bollard::errors::Error::DockerStreamError { error })) => {
                        tail.push(&error);
                        return Err(ImageError::Build { image: self.tag.to_owned(), tail: tail.text() });
                    }
                    Some(Err(error)) => return Err(ImageError::engine("build the image")(error)),
                },
                Some(n) = counts.recv() => progress.advance(n),
            }
        }
        progress.done(started.elapsed());
        Ok(())
    }
}
