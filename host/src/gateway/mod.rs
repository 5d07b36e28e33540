//! Model calls of a session arrive here through the door and leave to an upstream with the host's credential.
//!
//! ```text
//! door ── request ──▶ route ──▶ bounded body ──▶ allowed headers ──▶ Chooser ──▶ Upstream ──▶ streamed answer
//!                       │ anything else: 404, counted and logged        │           ├ offline: the embedded scripted model
//!                       │ WebSocket upgrade: 426                        │           ├ compatible: a Responses endpoint + key
//!                                                                       │           └ chatgpt: the vendor's + a login, kept fresh
//!                                                                       └ accounts: the group's account, or the default
//!                                       meter: follows the answer, and writes down what the call cost
//! ```
//!
//! What a container sends is hostile: only three calls exist, only known headers pass, and the credential is
//! never in an error, a log line or an answer. Dropping the returned response, or the future of
//! [`Gateway::handle`], ends the upstream's work.

pub mod accounts;
mod answer;
pub(crate) mod body;
mod chatgpt;
mod choose;
mod compatible;
mod endpoint;
mod error;
mod headers;
mod hosted;
pub mod login;
mod meter;
mod offline;
mod probe;
pub mod rate_limits;
pub(crate) mod redact;
mod room;
mod standing;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use cofferdam_protocol::ids::{AccountName, Folder, SessionId};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use secrecy::SecretString;

use crate::config::pool::Serving;
use crate::fair::Place;
use crate::hooks;
use crate::trust::Trust;
pub use accounts::Accounts;
use answer::Answered;
use choose::{Chooser, Fixed};
use error::vendor_error;
use login::{Login, NoLogin};
pub use meter::Ledger;
use meter::Meter;
pub use probe::ProbeError;
use room::Room;
use words::Whose;

/// The largest request body, in bytes. A full context window with a few images stays well below.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// An account that needs no vault.
#[derive(Clone)]
pub enum Account {
    /// The embedded scripted model; nothing leaves the host.
    Offline,
    /// Any endpoint that speaks OpenAI's Responses API.
    OpenAi {
        /// The URL before `/responses`, such as `https://api.openai.com/v1`; a final `/` does not matter.
        base_url: reqwest::Url,
        /// The API key; an empty one sends no `Authorization` header (local model servers).
        key: SecretString,
    },
}

impl Account {
    /// The account of an endpoint whose base URL is still text.
    pub fn open_ai(base_url: &str, key: SecretString) -> Result<Self, GatewayError> {
        let base_url = base_url.parse().map_err(|_| GatewayError::BaseUrl("is not a URL"))?;
        Ok(Self::OpenAi { base_url, key })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offline => f.write_str("Offline"),
            // The host only: a URL that has yet to be checked may hold a password.
            Self::OpenAi { base_url, .. } => f.debug_tuple("OpenAi").field(&base_url.host_str()).finish(),
        }
    }
}

/// Whose call it is.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The group.
    pub group: Folder,
    /// The session, known from the door that the call came through.
    pub session: SessionId,
    /// The account and the pool that its group named when it started.
    pub serving: Serving,
}

/// Why a gateway cannot be made from an account.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The base URL cannot be used. The URL itself is not shown: it may hold a password.
    #[error("the model endpoint's base URL {0}; write it like https://api.openai.com/v1")]
    BaseUrl(&'static str),
    /// The key cannot be a header's value.
    #[error("the API key has characters that no HTTP header can carry; check for line breaks and quotes around it")]
    Key,
    /// The HTTP client could not be made.
    #[error("the HTTPS client for model calls could not be set up")]
    Client(#[source] reqwest::Error),
}

/// How the gateway reaches upstreams, and how long it waits for what.
#[derive(Debug, Clone)]
struct Limits {
    /// Makes the clients.
    trust: Trust,
    /// For a TCP and TLS connection to the upstream.
    connect: Duration,
    /// From the request sent to the response's headers. Codex itself would wait for ever.
    headers: Duration,
    /// Between two pieces of a response. The same as Codex's own default stream limit.
    stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            trust: Trust::MACHINE,
            connect: Duration::from_secs(10),
            headers: hooks::limit("headers", Duration::from_secs(120)),
            stall: hooks::limit("stall", Duration::from_secs(300)),
        }
    }
}

/// The calls that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Responses,
    Compact,
    Models,
}

impl Route {
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/v1/responses") => Some(Self::Responses),
            ("POST", "/v1/responses/compact") => Some(Self::Compact),
            ("GET", "/v1/models") => Some(Self::Models),
            _ => None,
        }
    }

    /// The path below an upstream's base URL.
    fn path(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Compact => "responses/compact",
            Self::Models => "models",
        }
    }
}

/// A call that passed the gate.
#[derive(Debug, Clone)]
struct Call {
    route: Route,
    /// The query of the URL, without `?`.
    query: Option<String>,
    /// The headers that may pass, see [`headers::request`].
    headers: HeaderMap,
    body: Bytes,
    /// The body's room, given back when the last of these is dropped: not before the body.
    room: Option<Arc<Place>>,
}

impl Call {
    /// The call for the list of models, on the host's own behalf.
    fn of_models(query: Option<&str>) -> Self {
        let query = query.map(str::to_owned);
        Self { route: Route::Models, query, headers: HeaderMap::new(), body: Bytes::new(), room: None }
    }
}

/// Serves model calls. Dropping the future or the answer's body cancels the call.
#[async_trait]
trait Upstream: Send + Sync {
    /// Answers a call; failures are answers in the vendor's error form.
    async fn call(&self, caller: &Caller, call: Call) -> Answered;

    /// What a container may have of its credential. Only a ChatGPT login has a part that is short-lived.
    async fn login(&self, _refused: bool) -> Result<Login, NoLogin> {
        let why = "`credentials.mode` is `copy`, and only the login of an account of kind 'chatgpt' can be copied into a \
                   container; this group's account is another: set the mode to `sealed`, or name another account.";
        Err(NoLogin::Ended(why.to_owned()))
    }

    /// Whether it can be used; answers how many models there are, if that can be known.
    async fn probe(&self) -> Result<Option<u64>, ProbeError>;
}

/// The model gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    chooser: Arc<dyn Chooser>,
    /// Where calls are written down, if anywhere.
    ledger: Option<Ledger>,
    room: Room,
    refused: Arc<AtomicU64>,
}

impl Gateway {
    /// A gateway that serves everybody with `account`.
    pub fn new(account: Account) -> Result<Self, GatewayError> {
        Self::with_limits(account, Limits::default())
    }

    /// A gateway that serves each call with the account that it is to have.
    pub fn with_accounts(accounts: Accounts) -> Self {
        Self::choosing(Arc::new(accounts))
    }

    fn with_limits(account: Account, limits: Limits) -> Result<Self, GatewayError> {
        let (name, words) = match &account {
            Account::Offline => (AccountName::offline(), "offline model".to_owned()),
            Account::OpenAi { base_url, .. } => {
                (AccountName::environment(), format!("endpoint {}", base_url.host_str().unwrap_or_default()))
            }
        };
        let upstream = upstream_of(account, Whose::Environment, limits)?;
        Ok(Self::choosing(Arc::new(Fixed { upstream, account: name, words })))
    }

    fn choosing(chooser: Arc<dyn Chooser>) -> Self {
        Self { chooser, ledger: None, room: Room::default(), refused: Arc::default() }
    }

    /// Writes each call down there when it is over.
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// Waits until the calls that are over are written down.
    pub async fn settle(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.settle().await;
        }
    }

    /// The account of groups that name none, in words, for `status`.
    pub fn account_name(&self) -> String {
        self.chooser.default_in_words()
    }

    /// When the first of a caller's accounts that are at their limit is so no longer, ms since 1970.
    pub fn limited_until(&self, caller: &Caller) -> Option<i64> {
        self.chooser.limited_until(caller)
    }

    /// The accounts that may serve a group's calls, by preference.
    pub fn accounts_of(&self, serving: &Serving) -> Vec<AccountName> {
        self.chooser.accounts_of(serving)
    }

    /// Has a session served by one of its group's accounts alone, from its next call on; none: by whichever can. One that is
    /// not its group's any more counts as none.
    pub fn pin(&self, session: &SessionId, account: Option<AccountName>) {
        self.chooser.pin(session, account);
    }

    /// The model of sessions whose group names this account, or none, and no model itself.
    pub fn model_of(&self, account: Option<&AccountName>) -> Option<String> {
        self.chooser.model_of(account)
    }

    /// How many requests were refused since the start because no such call exists.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers a request that came through a session's door, its path being `/v1/…`.
    ///
    /// Never fails: what goes wrong is an answer in OpenAI's error form, which Codex shows.
    pub async fn handle(&self, caller: &Caller, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(header::UPGRADE) {
            return vendor_error(
                StatusCode::UPGRADE_REQUIRED,
                "websocket_unsupported",
                "The gateway speaks plain HTTP only: set supports_websockets = false for this provider.",
            );
        }
        let Some(route) = Route::of(&parts.method, parts.uri.path()) else {
            return self.refuse(caller, &parts);
        };
        let room = self.room.take(caller, &parts.headers).await;
        let body = match body::whole(&parts.headers, body, MAX_REQUEST_BYTES).await {
            Ok(body) => body,
            Err(broken) => {
                let text = format!("The model call was not taken: {broken}; {}.", broken.advice());
                return vendor_error(broken.status(), broken.code(), &text);
            }
        };
        if let Some(refusal) = refusal_of(route, &parts.headers, &body) {
            tracing::debug!(group = %caller.group, session = %caller.session, "a model call was refused");
            return refusal;
        }
        let call = Call {
            route,
            query: parts.uri.query().map(str::to_owned),
            headers: headers::request(&parts.headers),
            body,
            room: room.map(Arc::new),
        };
        tracing::debug!(group = %caller.group, session = %caller.session, ?route, bytes = call.body.len(), "model call");
        let meter = self.ledger.as_ref().and_then(|ledger| Meter::begin(ledger, caller, &call));
        let served = self.chooser.serve(caller, call).await;
        match meter {
            Some(meter) => meter.tap(served),
            None => served.response,
        }
    }

    fn refuse(&self, caller: &Caller, parts: &http::request::Parts) -> Response<Body> {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // The 1st, 2nd, 4th, 8th …: an agent must not fill the log.
        if count.is_power_of_two() {
            // The path is hostile: bounded, and escaped by Debug.
            let path: String = parts.uri.path().chars().take(120).collect();
            let (group, session, method) = (&caller.group, &caller.session, &parts.method);
            tracing::warn!(%group, %session, %method, ?path, count, "refused: no such model call");
        }
        vendor_error(
            StatusCode::NOT_FOUND,
            "unknown_url",
            "The gateway serves POST /v1/responses, POST /v1/responses/compact and GET /v1/models only.",
        )
    }
}

fn upstream_of(account: Account, whose: Whose, limits: Limits) -> Result<Arc<dyn Upstream>, GatewayError> {
    Ok(match account {
        Account::Offline => Arc::new(offline::Offline),
        Account::OpenAi { base_url, key } => Arc::new(compatible::Compatible::new(base_url, key, whose, limits)?),
    })
}

/// Why a call may not pass: something in it would leave the container by way of the vendor, or hides what is in it.
fn refusal_of(route: Route, headers: &http::HeaderMap, body: &[u8]) -> Option<Response<Body>> {
    if route == Route::Models {
        return None;
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let text = "The gateway reads model calls: send them without content-encoding.";
        return Some(vendor_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded_request", text));
    }
    match hosted::hosted_tool(body) {
        Ok(None) => None,
        Ok(Some(tool)) => {
            let text = format!("The tool '{tool}' would run at the vendor, outside of the container: not allowed.");
            Some(vendor_error(StatusCode::FORBIDDEN, "hosted_tool", &text))
        }
        Err(error) => {
            let text = format!("The model call is not JSON of the Responses form: {error}.");
            Some(vendor_error(StatusCode::BAD_REQUEST, "invalid_json", &text))
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("account", &self.account_name()).finish_non_exhaustive()
    }
}
