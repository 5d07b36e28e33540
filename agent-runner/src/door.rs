//! Calls to the host through the door's Unix socket.
//!
//! The daemon may restart while the runner lives, and the token stays valid: a call that cannot be made is made
//! again, with growing pauses, until the host is back or its patience ends. A host that says "not just now", as with a full
//! disk, is there: it is asked without end. A refusal is final.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_protocol::runner::{CONTROL, LONG_POLL_SECS, NEXT, Refusal, TOOL};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// How long the host may be away before the runner gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The largest answer: a batch has room for a few messages of 256 KiB, escaped.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why the runner cannot go on with the host.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The host did not answer for [`PATIENCE`].
    #[error("the host was not there for {} s", PATIENCE.as_secs())]
    Gone(#[source] Unreachable),
    /// The host does not want this runner.
    #[error("the host refused {path} with {status}: {error}")]
    Refused {
        /// What was called.
        path: &'static str,
        /// Its status.
        status: u16,
        /// Its reason.
        error: String,
    },
    /// The host's answer makes no sense.
    #[error("the host's answer to {path} is malformed")]
    Malformed {
        /// What was called.
        path: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A request could not be written down.
    #[error("cannot write the request {path}")]
    Request {
        /// What was called.
        path: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The host's token cannot be sent back in a header.
    #[error("the host's token is not a header value")]
    Token,
}

/// Why one try of a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The socket cannot be connected.
    #[error("cannot connect to the door")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the door's connection broke")]
    Http(#[source] hyper::Error),
    /// The answer was cut or too large.
    #[error("the door's answer was cut: {0}")]
    Body(String),
    /// The host asks to try again later.
    #[error("the host answers {0}")]
    Busy(StatusCode),
    /// No answer in time.
    #[error("no answer in time")]
    Silent,
}

/// One connection's worth of calls, one at a time. It connects when needed and again when broken.
pub struct Lane {
    socket: PathBuf,
    token: Option<HeaderValue>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Lane {
    /// A lane without a token, for `hello`. Nothing is connected yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, token: None, connection: None }
    }

    /// Another lane to the same door with the same token.
    pub fn another(&self) -> Self {
        Self { socket: self.socket.clone(), token: self.token.clone(), connection: None }
    }

    /// Sends this token with all later calls.
    pub fn authorize(&mut self, token: &str) -> Result<(), DoorError> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| DoorError::Token)?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(())
    }

    /// Calls until there is an answer, a refusal, or the host was away for [`PATIENCE`].
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        path: &'static str,
        question: &Q,
    ) -> Result<A, DoorError> {
        let body = Bytes::from(serde_json::to_vec(question).map_err(|source| DoorError::Request { path, source })?);
        let mut backoff = Backoff::default();
        loop {
            let problem = match self.call_once(path, body.clone()).await {
                Ok((StatusCode::OK, answer)) => {
                    return serde_json::from_slice(&answer).map_err(|source| DoorError::Malformed { path, source });
                }
                Ok((status, _)) if status.is_server_error() => Unreachable::Busy(status),
                Ok((status, answer)) => return Err(refused(path, status, &answer)),
                Err(problem) => {
                    self.connection = None;
                    problem
                }
            };
            if matches!(problem, Unreachable::Busy(_)) {
                backoff.host_is_there();
            }
            let Some(pause) = backoff.next(Instant::now()) else { return Err(DoorError::Gone(problem)) };
            if backoff.tries == 1 {
                tracing::warn!(path, error = %problem, "the host cannot be reached; trying again");
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn call_once(&mut self, path: &'static str, body: Bytes) -> Result<(StatusCode, Bytes), Unreachable> {
        let limit = if [NEXT, CONTROL, TOOL].contains(&path) { LONG_POLL_SECS + 20 } else { 60 };
        tokio::time::timeout(Duration::from_secs(limit), self.exchange(path, body))
            .await
            .unwrap_or(Err(Unreachable::Silent))
    }

    async fn exchange(&mut self, path: &'static str, body: Bytes) -> Result<(StatusCode, Bytes), Unreachable> {
        let mut request = Request::post(path).header(HOST, "door").header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|error| Unreachable::Body(error.to_string()))?;
        let answer = self.connection().await?.send_request(request).await.map_err(Unreachable::Http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| Unreachable::Body(error.to_string()))?.to_bytes()))
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Unreachable> {
        let usable = match self.connection.take() {
            Some(mut connection) => connection.ready().await.is_ok().then_some(connection),
            None => None,
        };
        let connection = match usable {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Unreachable> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Unreachable::Connect)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Unreachable::Http)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a door connection ended");
            }
        });
        sender.ready().await.map_err(Unreachable::Http)?;
        Ok(sender)
    }
}

fn refused(path: &'static str, status: StatusCode, answer: &[u8]) -> DoorError {
    let error = serde_json::from_slice::<Refusal>(answer).map(|refusal| refusal.error);
    let error = error.unwrap_or_else(|_| "no reason given".to_owned());
    DoorError::Refused { path, status: status.as_u16(), error }
}

/// Pauses between tries: 20 ms, doubling to 2 s, until [`PATIENCE`] is over.
#[derive(Debug, Default)]
struct Backoff {
    since: Option<Instant>,
    tries: u32,
}

impl Backoff {
    /// The host answered, if only that it cannot just now.
    fn host_is_there(&mut self) {
        self.since = None;
    }

    /// The pause before the next try; none when it is time to give up.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= PATIENCE {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.min(10));
        self.tries += 1;
        Some(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_with_the_patience() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(start), Some(FIRST_PAUSE));
        assert_eq!(backoff.next(start), Some(FIRST_PAUSE * 2));
        for _ in 0..50 {
            assert!(backoff.next(start).unwrap() <= LONGEST_PAUSE);
        }
        assert_eq!(backoff.next(start), Some(LONGEST_PAUSE));
        assert_eq!(backoff.next(start + PATIENCE), None);
    }

    #[test]
    fn a_host_that_cannot_just_now_is_asked_without_end() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        for hour in 0..100 {
            backoff.host_is_there();
            assert!(backoff.next(start + Duration::from_secs(3600 * hour)).is_some());
        }
        assert_eq!(backoff.next(start + Duration::from_secs(3600 * 100)), None, "away since then");
    }

    #[test]
    fn the_token_is_not_shown_by_debug() {
        let mut lane = Lane::new("x".into());
        lane.authorize("geheim").unwrap();
        assert!(!format!("{:?}", lane.token).contains("geheim"));
        assert!(lane.authorize("a\nb").is_err());
    }
}
