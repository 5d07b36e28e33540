//! A container's end: waited for, however often the way to the engine breaks, and told with its reason.
//!
//! Containers are removed by the engine as they end (`--rm`), also while no daemon runs. So what is left to ask is what
//! the engine remembers of the last moments: its events, which it keeps in memory (256 of them) until it ends.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions, WaitContainerOptionsBuilder};
use futures_util::StreamExt;

use super::link::{Link, SHORT};
use super::log;
use crate::sandbox::{ContainerId, Exit, SandboxError};

/// The shortest and the longest pause while the engine does not answer.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How often a container that is waited for is looked at all the same: a connection can die without a word.
const LOOK: Duration = Duration::from_secs(30);
/// How long after a container's end the engine may still tell that it was killed for its memory.
const LATE: Duration = Duration::from_millis(300);
/// How many events the engine remembers, of all that it does: other containers' health checks alone can be that many in an
/// hour. With fewer it remembers all since it began. Source: `eventsLimit` of moby's `daemon/events`.
const MEMORY: usize = 256;
/// The exit code of what SIGKILL ended, as the kernel does over a memory limit.
const KILLED: i64 = 137;

/// What there is to see of a container.
enum Seen {
    Runs,
    Ended { code: Option<i64>, oom: bool },
    Gone,
}

/// Resolves when the container has ended. An engine that is away tells nothing about that: it is asked until it answers.
/// `log`: where its output goes. `unseen`: it runs already, and its output is not being kept yet.
pub(super) async fn of(link: Arc<Link>, id: ContainerId, log: PathBuf, unseen: bool) -> Exit {
    // From the moment that nobody can tell what happens to it.
    let (mut lost, mut pause) = (unseen, AGAIN.0);
    loop {
        let seen = if lost { look(&link, &id).await } else { Ok(wait(&link, &id).await) };
        match seen {
            Ok(Some(Seen::Runs)) => {
                (lost, pause) = (false, AGAIN.0);
                if let Err(error) = log::keep(&link, &id, &log, true).await {
                    tracing::warn!(container = %id, error = %crate::error_chain(&error), "its output is not kept");
                }
                continue;
            }
            Ok(Some(Seen::Ended { code, oom })) => return told(&link, &id, code, oom, lost).await,
            Ok(Some(Seen::Gone)) => return told(&link, &id, None, false, lost).await,
            Ok(None) | Err(_) => lost = true,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
}

async fn look(link: &Link, id: &ContainerId) -> Result<Option<Seen>, SandboxError> {
    let name = id.0.clone();
    let inspect = |client: Docker| async move {
        match client.inspect_container(&name, None::<InspectContainerOptions>).await {
            Ok(found) => Ok(seen(&found)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(Seen::Gone),
            Err(error) => Err(error),
        }
    };
    link.call("look at a container", SHORT, inspect).await.map(Some)
}

fn seen(found: &ContainerInspectResponse) -> Seen {
    let Some(state) = &found.state else { return Seen::Gone };
    // One that is paused runs.
    if state.running == Some(true) {
        return Seen::Runs;
    }
    Seen::Ended { code: state.exit_code, oom: state.oom_killed == Some(true) }
}

/// Waits for the end of a container; none when the way to the engine breaks.
async fn wait(link: &Link, id: &ContainerId) -> Option<Seen> {
    let client = link.client().await.ok()?;
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut answer = std::pin::pin!(client.wait_container(&id.0, Some(options)));
    loop {
        match tokio::time::timeout(LOOK, answer.next()).await {
            Ok(Some(Ok(ended))) => return Some(Seen::Ended { code: Some(ended.status_code), oom: false }),
            Ok(Some(Err(Error::DockerContainerWaitError { code, .. }))) => {
                return Some(Seen::Ended { code: Some(code), oom: false });
            }
            Ok(Some(Err(Error::DockerResponseServerError { status_code: 404, .. }))) => return Some(Seen::Gone),
            Ok(Some(Err(error))) => {
                tracing::debug!(container = %id, %error, "waiting again");
                link.failed("wait for a container", error);
                return None;
            }
            Ok(None) => return None,
            Err(_) => match look(link, id).await {
                Ok(Some(Seen::Runs) | None) | Err(SandboxError::Hanging { .. } | SandboxError::TimedOut { .. }) => {
                }
                Ok(ended) => return ended,
                Err(_) => return None,
            },
        }
    }
}

/// The end with what the engine remembers of it.
async fn told(link: &Link, id: &ContainerId, code: Option<i64>, oom: bool, lost: bool) -> Exit {
    let remembered = match code {
        Some(code) if code != KILLED && !lost => Remembered::default(),
        _ => remembered(link, id, &["start", "oom", "die"]).await.unwrap_or_else(|error| {
            tracing::debug!(container = %id, error = %crate::error_chain(&error), "no reason for its end");
            Remembered::default()
        }),
    };
    let code = code.or(remembered.code);
    let oom = (oom || remembered.oom) && code == Some(KILLED);
    let outage = !oom && ((lost && !was_there(link, remembered).await) || link.ping().await.is_err());
    Exit { code, oom, outage }
}

/// What the engine's events tell of a container.
#[derive(Debug, Default, Clone, Copy)]
struct Remembered {
    start: bool,
    oom: bool,
    code: Option<i64>,
}

/// Whether the engine was there all the time, and only the way to it was broken: it remembers the container's start or,
/// where that is long ago, saw its end.
async fn was_there(link: &Link, remembered: Remembered) -> bool {
    remembered.start || (remembered.code.is_some() && has_forgotten(link).await.unwrap_or(false))
}

/// Whether the engine that runs now started the container. Where it does not remember that any more, it is the one under
/// which the container runs: an engine that ends, or was started again, leaves none.
pub(super) async fn is_started_by(link: &Link, id: &ContainerId) -> Result<bool, SandboxError> {
    if remembered(link, id, &["start"]).await?.start {
        return Ok(true);
    }
    Ok(has_forgotten(link).await? && matches!(look(link, id).await?, Some(Seen::Runs)))
}

/// Whether the engine may have forgotten what it did.
async fn has_forgotten(link: &Link) -> Result<bool, SandboxError> {
    let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let options = EventsOptionsBuilder::default().since("0").until(&until.as_secs().to_string()).build();
    let read = |client: Docker| async move {
        let mut events = std::pin::pin!(client.events(Some(options)).take(MEMORY));
        let mut count = 0;
        while let Some(event) = events.next().await {
            event?;
            count += 1;
        }
        Ok(count == MEMORY)
    };
    link.call("tell how far it remembers", SHORT, read).await
}

async fn remembered(link: &Link, id: &ContainerId, events: &[&str]) -> Result<Remembered, SandboxError> {
    let until = (SystemTime::now() + LATE).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let filters = HashMap::from([
        ("type", vec!["container"]),
        ("container", vec![id.0.as_str()]),
        ("event", events.to_vec()),
    ]);
    let options = EventsOptionsBuilder::default()
        .since("0")
        .until(&format!("{}.{:09}", until.as_secs(), until.subsec_nanos()))
        .filters(&filters)
        .build();
    let wants_end = events.len() > 1;
    let read = |client: Docker| async move {
        let (mut events, mut found) = (std::pin::pin!(client.events(Some(options))), Remembered::default());
        while let Some(event) = events.next().await {
            let event = event?;
            let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            match event.action.as_deref() {
                Some("start") => found.start = true,
                Some("oom") => found.oom = true,
                Some("die") => found.code = attributes.get("exitCode").and_then(|code| code.parse().ok()),
                _ => {}
            }
            // Nothing more that is of interest can come.
            if (found.oom && found.code.is_some()) || (found.start && !wants_end) {
                break;
            }
        }
        Ok(found)
    };
    link.call("tell its last events", SHORT, read).await
}

#[cfg(test)]
mod tests;
