//! The way to the engine: one client, and a limit on each call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;

use crate::sandbox::SandboxError;

/// How long a call may take that an engine answers from its memory. It takes milliseconds; a machine that is out of breath
/// took 2 s.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// How long the engine may take to show that it answers at all.
const PING: Duration = Duration::from_secs(5);
/// The client's own limit: above all of ours.
const CLIENT: Duration = Duration::from_secs(3600);

/// Connects to an engine (`DOCKER_HOST` form, or the local default) and agrees on the API's version.
pub async fn connect(host: Option<&str>) -> Result<Docker, SandboxError> {
    let unreachable = |error| SandboxError::Unreachable(Arc::new(error));
    let client = client_of(host).map_err(unreachable)?;
    match tokio::time::timeout(SHORT, client.negotiate_version()).await {
        Ok(client) => client.map_err(unreachable),
        Err(_) => Err(SandboxError::Hanging { doing: "tell its version", secs: SHORT.as_secs() }),
    }
}

fn client_of(host: Option<&str>) -> Result<Docker, Error> {
    let client = match host {
        Some(host) => Docker::connect_with_host(host),
        None => Docker::connect_with_local_defaults(),
    };
    Ok(client?.with_timeout(CLIENT))
}

/// The engine at one address. Connects at the first use, and again after it went away.
#[derive(Debug)]
pub(super) struct Link {
    host: Option<String>,
    client: Mutex<Option<Docker>>,
}

impl Link {
    pub(super) fn new(host: Option<String>) -> Self {
        Self { host, client: Mutex::default() }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected client.
    pub(super) async fn client(&self) -> Result<Docker, SandboxError> {
        let known = self.slot().clone();
        if let Some(client) = known {
            return Ok(client);
        }
        // Not under the lock: one that hangs must not queue up the others behind it.
        let fresh = connect(self.host.as_deref()).await?;
        Ok(self.slot().insert(fresh).clone())
    }

    /// Whether the engine answers, on a new connection: one that ends serves the old ones for a while.
    pub(super) async fn ping(&self) -> Result<(), SandboxError> {
        let client = client_of(self.host.as_deref()).map_err(|error| SandboxError::Unreachable(Arc::new(error)))?;
        match tokio::time::timeout(PING, client.ping()).await {
            // Another API version than it speaks, but an answer.
            Ok(Ok(_) | Err(Error::DockerResponseServerError { status_code: 400..500, .. })) => Ok(()),
            Ok(Err(error)) => Err(self.failed("answer a ping", error)),
            Err(_) => Err(SandboxError::Hanging { doing: "a ping", secs: PING.as_secs() }),
        }
    }

    /// One call within its limit. After it, another call tells whether the engine hangs or only this.
    pub(super) async fn call<T, F>(
        &self,
        doing: &'static str,
        limit: Duration,
        call: impl FnOnce(Docker) -> F,
    ) -> Result<T, SandboxError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        match tokio::time::timeout(limit, call(client)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(doing, error)),
            Err(_) => Err(match self.ping().await {
                Ok(()) => SandboxError::TimedOut { doing, secs: limit.as_secs() },
                Err(SandboxError::Hanging { .. }) => SandboxError::Hanging { doing, secs: limit.as_secs() },
                Err(error) => error,
            }),
        }
    }

    /// What an error means. After one that is no answer the engine may come back with another version.
    pub(super) fn failed(&self, doing: &'static str, error: Error) -> SandboxError {
        let error = SandboxError::of(doing, error);
        if matches!(error, SandboxError::Unreachable(_)) {
            *self.slot() = None;
        }
        error
    }
}
