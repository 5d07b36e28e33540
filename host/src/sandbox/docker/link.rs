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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    const VERSION: &str = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10"}"#;

    /// An engine that answers what asks for one of these words, and hangs on everything else.
    fn engine(answers: &'static [&'static str]) -> (tempfile::TempDir, Link) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut call, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let size = call.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..size]).into_owned();
                    if !answers.iter().any(|word| head.contains(word)) {
                        return std::future::pending().await;
                    }
                    let size = VERSION.len();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
                    call.write_all((head + VERSION).as_bytes()).await.unwrap();
                });
            }
        });
        let host = format!("unix://{}", path.display());
        (dir, Link::new(Some(host)))
    }

    async fn list(link: &Link) -> SandboxError {
        let limit = Duration::from_millis(50);
        let call = |client: Docker| async move { client.list_containers(None).await };
        link.call("list containers", limit, call).await.map(drop).unwrap_err()
    }

    #[tokio::test]
    async fn an_engine_that_hangs_on_one_call_only_is_told_from_one_that_hangs() {
        let (_dir, link) = engine(&["/version", "_ping"]);
        let error = list(&link).await;
        assert!(matches!(error, SandboxError::TimedOut { .. }) && !error.is_the_surroundings(), "{error:?}");
        let (_dir, link) = engine(&["/version"]);
        let error = list(&link).await;
        assert!(matches!(error, SandboxError::Hanging { .. }) && error.is_the_engines(), "{error:?}");
    }

    #[tokio::test]
    async fn no_engine_at_all_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let link = Link::new(Some(format!("unix://{}", dir.path().join("none.sock").display())));
        for error in [list(&link).await, link.ping().await.unwrap_err()] {
            assert!(matches!(error, SandboxError::Unreachable(_)), "{error:?}");
        }
    }
}
