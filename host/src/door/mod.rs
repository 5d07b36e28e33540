//! A session's Unix socket, its only way out of the container: the runner's API, the model gateway, the token sink and remote
//! MCP servers.
//!
//! Everything that comes in here is hostile until parsed. `hello` needs no token and hands one out once per attempt;
//! the runner asks for it before the agent exists. Every other runner call needs it, so the agent's own commands,
//! which reach the same socket, cannot speak for the runner.

mod mcp;
mod sink;
mod socket;
mod token;

use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next as Then};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use cofferdam_protocol::RUNNER_PROTOCOL;
use cofferdam_protocol::ids::{Attempt, Seq, SessionId};
use cofferdam_protocol::runner::{
    self, Control, ControlRequest, Digest, DigestRequest, Event, EventAck, EventBatch, Hello, LONG_POLL_SECS,
    MAX_EVENT_BYTES, MAX_EVENTS, Next, NextRequest, Refusal, Settings, Thread, ToolAnswer, ToolCall, Welcome,
};
use tokio::sync::{Semaphore, oneshot};

use crate::gateway::{Caller, Gateway};
use crate::sandbox::User;
use crate::sandbox::mounts::credentials::Issued;
use crate::trust::Trust;
use crate::unix_socket;

pub use mcp::RemoteServer;
pub use sink::TOKEN_SINK;

/// What the door needs of the session behind it.
#[async_trait]
pub trait RunnerApi: Send + Sync {
    /// The runner is there. Keeps the token's hash; answers where the conversation stands, and the settings.
    async fn hello(&self, attempt: Attempt, token_hash: Vec<u8>) -> Result<(Thread, Settings), Refused>;
    /// Registers the runner's wish for work; the answer comes when there is some.
    fn next(&self, attempt: Attempt) -> Result<oneshot::Receiver<Next>, Refused>;
    /// Takes events; answers when those that must be kept are.
    async fn events(&self, attempt: Attempt, events: Vec<Event>) -> Result<Seq, Refused>;
    /// Registers the runner's wish to know what changes for its turn; the answer comes when something does.
    fn control(&self, request: ControlRequest) -> Result<oneshot::Receiver<Control>, Refused>;
    /// Calls a host tool. A call that waits for a person answers [`ToolAnswer::Pending`] before the caller's patience
    /// ends, and is called again.
    async fn tool(&self, call: ToolCall) -> Result<ToolAnswer, Refused>;
    /// What was said in the session before its running turn.
    async fn digest(&self, attempt: Attempt) -> Result<Digest, Refused>;
}

/// Why the session refuses a runner's call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// The caller's attempt is not the session's newest: it must end itself.
    #[error("this attempt is over")]
    Stale,
    /// No honest runner says that: it must end itself.
    #[error("not understood: {0}")]
    Malformed(String),
    /// The host cannot just now, such as with a full disk: the runner tries again.
    #[error("not just now: {0}")]
    Later(String),
}

/// Where a door is and whom it serves.
pub struct DoorSpec<'a> {
    /// The directory of the socket, there already, owned by the container's user.
    pub dir: &'a Path,
    /// Who may connect.
    pub user: User,
    /// Whose calls come through it.
    pub caller: Caller,
    /// The attempt it serves.
    pub attempt: Attempt,
    /// SHA-256 of the token, when it was handed out before (an adopted container).
    pub token_hash: Option<Vec<u8>>,
    /// What its container has of a credential; with none the token sink takes nothing.
    pub issued: Option<Issued>,
    /// The remote MCP servers that the container started with.
    pub servers: Vec<RemoteServer>,
    /// Makes the clients for them.
    pub trust: Trust,
}

/// The socket's name in its directory.
const SOCKET: &str = "door.sock";
/// Connections of one session at once. Codex keeps one or two; an agent that opens more waits for itself.
const CONNECTIONS: usize = 128;
/// Model calls of one session at once. How much room their bodies have is the gateway's to say.
const MODEL_CALLS: usize = 4;
/// The largest `hello`, `next`, `control` or `digest`, in bytes.
const SMALL_BODY: usize = 4096;
/// The largest call of a tool, in bytes: a text of 64 KiB ([`crate::tools::MAX_TEXT`]), each byte of it escaped to six.
const TOOL_BODY: usize = 512 * 1024;

/// An open door; dropping it closes it.
pub struct Door {
    server: tokio::task::JoinHandle<()>,
    socket: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.server.abort();
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "a door's socket was gone");
        }
    }
}

impl Door {
    /// Removes the socket that a daemon which died left in `dir`, if there is one. Not while a door is open there.
    pub fn clear(dir: &Path) {
        if let Err(error) = std::fs::remove_file(dir.join(SOCKET))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "a door's old socket was not removed");
        }
    }

    /// Opens the door.
    pub fn open(spec: DoorSpec<'_>, api: Arc<dyn RunnerApi>, gateway: Arc<Gateway>) -> std::io::Result<Self> {
        let socket = spec.dir.join(SOCKET);
        let listener = unix_socket::bind(&socket)?;
        lchown(&socket, Some(spec.user.uid), Some(spec.user.gid))?;
        let session = spec.caller.session.clone();
        let remotes = mcp::Remotes::new(spec.servers, spec.caller.clone(), &spec.trust)?;
        let inside = Inside {
            caller: spec.caller,
            session,
            attempt: spec.attempt,
            token_hash: Mutex::new(spec.token_hash),
            api,
            gateway,
            model_calls: Semaphore::new(MODEL_CALLS),
            issued: spec.issued,
            refreshes: Semaphore::new(1),
            remotes,
            warned: AtomicBool::new(false),
        };
        let server = tokio::spawn(socket::serve(listener, CONNECTIONS, routes(Arc::new(inside))));
        Ok(Self { server, socket })
    }
}

struct Inside {
    caller: Caller,
    session: SessionId,
    attempt: Attempt,
    token_hash: Mutex<Option<Vec<u8>>>,
    api: Arc<dyn RunnerApi>,
    gateway: Arc<Gateway>,
    model_calls: Semaphore,
    issued: Option<Issued>,
    refreshes: Semaphore,
    remotes: mcp::Remotes,
    /// A hostile agent must not fill the log: its first refusal is a warning, the others are not.
    warned: AtomicBool,
}

fn routes(inside: Arc<Inside>) -> Router {
    // The token is checked before a byte of a body is read.
    let with_token = middleware::from_fn_with_state(inside.clone(), require_token);
    let small = DefaultBodyLimit::max(SMALL_BODY);
    Router::new()
        .route(runner::NEXT, post(next).layer(small))
        .route(runner::CONTROL, post(control).layer(small))
        .route(runner::DIGEST, post(digest).layer(small))
        .route(runner::TOOL, post(tool).layer(DefaultBodyLimit::max(TOOL_BODY)))
        .route(runner::EVENTS, post(events).layer(DefaultBodyLimit::max(MAX_EVENT_BYTES)))
        .layer(with_token)
        .route(runner::HELLO, post(hello).layer(small))
        .route(TOKEN_SINK, post(sink::refresh).layer(DefaultBodyLimit::max(sink::MAX_FORM)))
        .route("/v1/{*path}", any(model_call))
        .route("/mcp/{*path}", any(mcp_call))
        .with_state(inside)
}

async fn hello(State(inside): State<Arc<Inside>>, Json(hello): Json<Hello>) -> Result<Json<Welcome>, Answer> {
    if hello.protocol != RUNNER_PROTOCOL {
        let error = format!(
            "the runner speaks protocol {}, the host {RUNNER_PROTOCOL}: rebuild the image with `cofferdam image build`",
            hello.protocol
        );
        return Err(Answer(StatusCode::UPGRADE_REQUIRED, error));
    }
    if hello.attempt != inside.attempt {
        return Err(Refused::Stale.into());
    }
    let token = token::Token::new();
    {
        let mut taken = inside.token_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_some() {
            inside.warn_once("a second hello");
            return Err(Answer(
                StatusCode::CONFLICT,
                "the token of this attempt was handed out already".to_owned(),
            ));
        }
        *taken = Some(token.hash());
    }
    match inside.api.hello(hello.attempt, token.hash()).await {
        Ok((thread, settings)) => {
            let (token, session) = (token.text().to_owned(), inside.session.clone());
            Ok(Json(Welcome { token, session, thread, settings }))
        }
        Err(refused) => {
            // Nobody has that token.
            *inside.token_hash.lock().unwrap_or_else(PoisonError::into_inner) = None;
            Err(refused.into())
        }
    }
}

async fn next(State(inside): State<Arc<Inside>>, Json(request): Json<NextRequest>) -> Result<Json<Next>, Answer> {
    inside.check_attempt(request.attempt)?;
    let waiting = inside.api.next(request.attempt)?;
    match tokio::time::timeout(Duration::from_secs(LONG_POLL_SECS), waiting).await {
        Ok(Ok(next)) => Ok(Json(next)),
        // Taken over by a newer poll, or nothing happened.
        Ok(Err(_)) | Err(_) => Ok(Json(Next::Idle)),
    }
}

async fn events(
    State(inside): State<Arc<Inside>>,
    Json(batch): Json<EventBatch>,
) -> Result<Json<EventAck>, Answer> {
    inside.check_attempt(batch.attempt)?;
    if batch.events.len() > MAX_EVENTS {
        let words = format!("{} events in one call; at most {MAX_EVENTS} are taken", batch.events.len());
        return Err(Refused::Malformed(words).into());
    }
    let acked = inside.api.events(batch.attempt, batch.events).await?;
    Ok(Json(EventAck { acked }))
}

async fn control(
    State(inside): State<Arc<Inside>>,
    Json(request): Json<ControlRequest>,
) -> Result<Json<Control>, Answer> {
    inside.check_attempt(request.attempt)?;
    let waiting = inside.api.control(request)?;
    match tokio::time::timeout(Duration::from_secs(LONG_POLL_SECS), waiting).await {
        Ok(Ok(control)) => Ok(Json(control)),
        // Taken over by a newer poll, or nothing happened.
        Ok(Err(_)) | Err(_) => Ok(Json(Control::default())),
    }
}

async fn tool(State(inside): State<Arc<Inside>>, Json(call): Json<ToolCall>) -> Result<Json<ToolAnswer>, Answer> {
    inside.check_attempt(call.attempt)?;
    Ok(Json(inside.api.tool(call).await?))
}

async fn digest(
    State(inside): State<Arc<Inside>>,
    Json(request): Json<DigestRequest>,
) -> Result<Json<Digest>, Answer> {
    inside.check_attempt(request.attempt)?;
    Ok(Json(inside.api.digest(request.attempt).await?))
}

async fn model_call(State(inside): State<Arc<Inside>>, request: Request) -> Response<Body> {
    // Held until the response begins.
    let _place = inside.model_calls.acquire().await;
    inside.gateway.handle(&inside.caller, request).await
}

async fn mcp_call(State(inside): State<Arc<Inside>>, request: Request) -> Response {
    inside.remotes.handle(request).await
}

async fn require_token(
    State(inside): State<Arc<Inside>>,
    headers: HeaderMap,
    request: Request,
    then: Then,
) -> Result<Response, Answer> {
    inside.check_token(&headers)?;
    Ok(then.run(request).await)
}

impl Inside {
    fn check_attempt(&self, attempt: Attempt) -> Result<(), Answer> {
        if attempt == self.attempt { Ok(()) } else { Err(Refused::Stale.into()) }
    }

    fn warn_once(&self, what: &'static str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(session = %self.session, attempt = %self.attempt, what, "refused at the door");
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let hash = self.token_hash.lock().unwrap_or_else(PoisonError::into_inner);
        match (given, &*hash) {
            (Some(given), Some(hash)) if token::matches(given, hash) => Ok(()),
            _ => {
                self.warn_once("a runner call without the token");
                Err(Answer(StatusCode::UNAUTHORIZED, "no or wrong token".to_owned()))
            }
        }
    }
}

/// A refusal as HTTP.
struct Answer(StatusCode, String);

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Stale => StatusCode::CONFLICT,
            Refused::Malformed(_) => StatusCode::BAD_REQUEST,
            Refused::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, refused.to_string())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

#[cfg(test)]
mod tests;
