//! Remote MCP servers: `/mcp/NAME` of a session's door leads to the address that the group's file names.
//!
//! The container knows only the name. The address and the headers are the host's, and what the container sends along of
//! credentials is dropped. Answers stream, for as long as the server likes; redirects are not followed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_protocol::runner::Refusal;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::error_chain;
use crate::gateway::redact::Redactor;
use crate::gateway::{Caller, body};
use crate::trust::Trust;

/// Where the door has them.
pub(super) const PREFIX: &str = "/mcp/";
/// The largest request, in bytes: the arguments of one call.
const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// Requests with a body at once; with [`MAX_REQUEST`] this bounds the host's memory.
const REQUESTS: usize = 16;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Idle connections stay open so long; below the time after which common load balancers close them.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// How often an open stream is asked for a sign of life, by TCP.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// What a server gets on top of the longest time that Codex waits, so that Codex's own words come first.
const SLACK: Duration = Duration::from_secs(5);

/// Request headers that pass: the transport's own. Configured ones come on top.
const REQUEST: &[&str] = &["accept", "content-type", "last-event-id", "mcp-protocol-version", "mcp-session-id"];
/// Response headers that pass.
const RESPONSE: &[&str] =
    &["cache-control", "content-type", "mcp-protocol-version", "mcp-session-id", "retry-after"];

/// A remote server, as the group's file and the host's values describe it.
#[derive(Debug, Clone)]
pub struct RemoteServer {
    /// The container's name for it.
    pub name: String,
    /// An http or https address.
    pub url: SecretString,
    /// Headers of every request.
    pub headers: Vec<(String, SecretString)>,
    /// What must not come back.
    pub secrets: Vec<SecretString>,
    /// The longest that Codex waits for an answer.
    pub wait: Duration,
}

/// The remote servers of one session.
pub(super) struct Remotes {
    servers: BTreeMap<String, Upstream>,
    caller: Caller,
    places: Semaphore,
    /// An agent must not fill the log: what fails is told at powers of two.
    failures: AtomicU64,
}

struct Upstream {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    secrets: Vec<SecretString>,
    patience: Duration,
}

/// A call on its way to its server.
struct Target<'r> {
    name: &'r str,
    upstream: &'r Upstream,
}

impl Remotes {
    /// Checks the servers; opens no connection. Errors name a server and no value.
    pub(super) fn new(servers: Vec<RemoteServer>, caller: Caller, trust: &Trust) -> std::io::Result<Self> {
        let servers = servers
            .into_iter()
            .map(|server| {
                let name = server.name.clone();
                let cannot = |why| std::io::Error::other(format!("the MCP server {name} cannot be used: {why}"));
                Ok((server.name.clone(), Upstream::new(server, trust).map_err(cannot)?))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { servers, caller, places: Semaphore::new(REQUESTS), failures: AtomicU64::new(0) })
    }

    /// Hands a request on to its server and its answer back.
    pub(super) async fn handle(&self, request: Request) -> Response {
        match self.pass(request).await {
            Ok(response) => response,
            Err(Fault(status, error)) => (status, Json(Refusal { error })).into_response(),
        }
    }

    async fn pass(&self, request: Request) -> Result<Response, Fault> {
        let target = self.target(&request)?;
        let method = request.method().clone();
        if ![Method::POST, Method::GET, Method::DELETE].contains(&method) {
            return Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "an MCP server takes POST, GET and DELETE"));
        }
        let mut headers = only(request.headers(), REQUEST);
        for name in target.upstream.headers.keys() {
            headers.remove(name);
        }
        headers.extend(target.upstream.headers.clone());
        let mut call = target.upstream.client.request(method.clone(), target.upstream.url.clone()).headers(headers);
        // Held until the answer begins.
        let mut _place = None;
        if method == Method::POST {
            _place = self.places.acquire().await.ok();
            let (parts, body) = request.into_parts();
            let body = body::whole(&parts.headers, body, MAX_REQUEST).await;
            call = call.body(body.map_err(|broken| {
                Fault::new(broken.status(), format!("the request to the MCP server was not taken: {broken}"))
            })?);
        }
        let answer = match tokio::time::timeout(target.upstream.patience, call.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unreachable(&target, error)),
            Err(_) => return Err(self.silent(&target)),
        };
        self.answer(&target, answer)
    }

    fn target<'r>(&'r self, request: &Request) -> Result<Target<'r>, Fault> {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        // The address is the configured one as it is: another path or query of that host could do anything with the
        // host's credentials.
        let Some((name, upstream)) = self.servers.get_key_value(path) else {
            let named: String = path.chars().filter(char::is_ascii_graphic).take(64).collect();
            let words = format!("this session has no remote MCP server '{named}'");
            return Err(Fault::new(StatusCode::NOT_FOUND, words));
        };
        Ok(Target { name, upstream })
    }

    fn answer(&self, target: &Target<'_>, answer: reqwest::Response) -> Result<Response, Fault> {
        let status = answer.status();
        let name = target.name;
        if !status.is_success() && self.is_told() {
            tracing::warn!(group = %self.caller.group, session = %self.caller.session, server = name, %status, "an MCP server refused a request");
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let words = format!(
                "the MCP server {name} refused the host's credentials ({status}): see its headers in container.json and the host's values"
            );
            // Codex tries a 5xx again, and asks for a sign-in at a 401; neither would help.
            return Err(Fault::new(StatusCode::FORBIDDEN, words));
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let words = format!(
                "the MCP server {name} answered with a redirect ({status}), which is not followed: give its final address in container.json"
            );
            return Err(Fault::new(StatusCode::BAD_GATEWAY, words));
        }
        let redactors: Vec<_> = target.upstream.secrets.iter().cloned().map(Redactor::new).collect();
        let mut headers = only(answer.headers(), RESPONSE);
        let leaking: Vec<_> = headers
            .iter()
            .filter(|(_, value)| redactors.iter().any(|redactor| redactor.matches(value.as_bytes())))
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaking {
            headers.remove(name);
        }
        let source = answer.bytes_stream().boxed();
        let mut response = Response::new(Body::from_stream(Flow { source: Some(source), redactors }.into_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn is_told(&self) -> bool {
        (self.failures.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two()
    }

    fn unreachable(&self, target: &Target<'_>, error: reqwest::Error) -> Fault {
        let name = target.name;
        let why = error_chain(&error.without_url());
        if self.is_told() {
            tracing::warn!(group = %self.caller.group, session = %self.caller.session, server = name, error = why, "an MCP server cannot be reached");
        }
        Fault::new(StatusCode::BAD_GATEWAY, format!("the MCP server {name} cannot be reached ({why})"))
    }

    fn silent(&self, target: &Target<'_>) -> Fault {
        let (name, seconds) = (target.name, target.upstream.patience.as_secs());
        if self.is_told() {
            tracing::warn!(group = %self.caller.group, session = %self.caller.session, server = name, seconds, "an MCP server does not answer");
        }
        let words = format!("the MCP server {name} took the request but sent no answer within {seconds} s");
        Fault::new(StatusCode::GATEWAY_TIMEOUT, words)
    }
}

impl Upstream {
    fn new(server: RemoteServer, trust: &Trust) -> Result<Self, &'static str> {
        let url: Url = server.url.expose_secret().parse().map_err(|_| "its address is none")?;
        let mut headers = HeaderMap::new();
        for (name, value) in &server.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is none")?;
            let mut value =
                HeaderValue::from_str(value.expose_secret()).map_err(|_| "no header can carry a value of it")?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let client = trust
            .client(&url)
            .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(KEEPALIVE)
            .tcp_nodelay(true);
        let client = client.build().map_err(|_| "no client can be made")?;
        Ok(Self { client, url, headers, secrets: server.secrets, patience: server.wait + SLACK })
    }
}

fn only(from: &HeaderMap, names: &[&str]) -> HeaderMap {
    let passing = from.iter().filter(|(name, _)| names.contains(&name.as_str()));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A refusal that the container is told; has no secret in it.
struct Fault(StatusCode, String);

impl Fault {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self(status, words.into())
    }
}

/// An answer on its way to the container.
struct Flow {
    /// None after the end.
    source: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    redactors: Vec<Redactor>,
}

/// The answer broke off: the container sees a cut stream and not a short answer.
#[derive(Debug, thiserror::Error)]
#[error("the MCP server's answer broke off: {0}")]
struct Broken(String);

impl Flow {
    fn into_stream(self) -> impl futures_util::Stream<Item = Result<Bytes, Broken>> + Send {
        stream::unfold(self, |mut flow| async {
            let item = flow.next().await?;
            Some((item, flow))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            let piece = match self.source.as_mut()?.next().await {
                Some(Ok(piece)) => self.redactors.iter_mut().fold(piece, |piece, redactor| redactor.push(piece)),
                Some(Err(error)) => {
                    self.source = None;
                    return Some(Err(Broken(error_chain(&error.without_url()))));
                }
                None => {
                    self.source = None;
                    let rest = self.rest();
                    return (!rest.is_empty()).then_some(Ok(rest));
                }
            };
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
        }
    }

    /// What the redactors still hold, each one's rest looked through by those after it.
    fn rest(&mut self) -> Bytes {
        let mut rest = Bytes::new();
        for redactor in &mut self.redactors {
            let before = redactor.push(rest);
            rest = [before, redactor.finish()].concat().into();
        }
        rest
    }
}

#[cfg(test)]
#[path = "mcp_tests.rs"]
mod tests;
