//! An issuer of ChatGPT logins on loopback, as Codex 0.169 talks to the vendor's: its addresses, forms, errors, JWTs without a
//! valid signature, and refresh tokens that are good for one use. It says that it is none.

mod answers;
mod jwt;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use cofferdam::vault::Tokens;
use cofferdam::vault::issuer::Address;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// What every refresh token, code and verifier of it has in its name, so that it is found wherever it should not be.
pub const SECRET: &str = "issuer-secret";
/// The client that Codex is.
pub const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// What comes of the next refresh instead of new tokens.
#[derive(Debug, Clone)]
pub enum Say {
    /// This status and body; nothing is spent. With a number of seconds in `retry-after`, if any.
    Status(u16, Value, Option<u64>),
    /// Success, with a body that is not what it should be; nothing is spent.
    Garbage(&'static str),
    /// The token is spent, and the answer is cut in the middle.
    Cut,
    /// The token is spent, and the answer waits until this is told.
    SpentThenHeld(Arc<Notify>),
    /// Nothing happens until this is told; then all goes its way.
    Held(Arc<Notify>),
}

/// A refresh as it arrived.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// The token that it wanted to spend.
    pub token: String,
    /// Why.
    pub reason: String,
    /// Whether it got new tokens.
    pub granted: bool,
    /// Its headers.
    pub headers: HeaderMap,
}

/// What the person does with a device code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// Has not typed it yet.
    Away,
    /// Typed it.
    Approves,
    /// Said no.
    Denies,
    /// Came too late.
    Late,
    /// Has not typed it, and the issuer is asked too often.
    Hurried,
}

/// One login, over all its rotations.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) account: String,
    pub(crate) revoked: bool,
}

/// A code that waits to be exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) challenge: String,
    pub(crate) redirect: String,
}

pub(crate) struct State {
    pub(crate) number: u64,
    pub(crate) lives: Duration,
    /// By refresh token: its family, and whether it was spent.
    pub(crate) tokens: HashMap<String, (usize, bool)>,
    pub(crate) families: Vec<Family>,
    pub(crate) grants: HashMap<String, Grant>,
    /// The access tokens that are good.
    pub(crate) access: Vec<String>,
    /// Every token that it ever granted.
    pub(crate) granted: Vec<String>,
    pub(crate) script: VecDeque<Say>,
    pub(crate) refreshes: Vec<Refresh>,
    pub(crate) person: Person,
    pub(crate) polls: u64,
    pub(crate) declines: bool,
    pub(crate) account: String,
}

pub(crate) struct Inside {
    pub(crate) state: Mutex<State>,
    pub(crate) seen: watch::Sender<usize>,
    pub(crate) port: u16,
}

impl Inside {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a lock")
    }
}

/// The issuer.
#[derive(Clone)]
pub struct Issuer {
    inside: Arc<Inside>,
}

impl Issuer {
    /// Opens it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            number: 0,
            lives: Duration::from_secs(10 * 24 * 3600),
            tokens: HashMap::new(),
            families: Vec::new(),
            grants: HashMap::new(),
            access: Vec::new(),
            granted: Vec::new(),
            script: VecDeque::new(),
            refreshes: Vec::new(),
            person: Person::Away,
            polls: 0,
            declines: false,
            account: "acc-test".to_owned(),
        };
        let inside = Arc::new(Inside { state: Mutex::new(state), seen: watch::channel(0).0, port });
        let app = Router::new()
            .route("/", get(async || "This is no real issuer: it belongs to the tests of Cofferdam.\n"))
            .route("/oauth/authorize", get(answers::authorize))
            .route("/oauth/token", post(answers::token))
            .route("/oauth/revoke", post(answers::revoke))
            .route("/api/accounts/deviceauth/usercode", post(answers::user_code))
            .route("/api/accounts/deviceauth/token", post(answers::poll))
            .with_state(inside.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { inside }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.inside.port
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        Address::on_loopback(self.port())
    }

    /// Its address as a text.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Where Codex sends its refreshes when `CODEX_REFRESH_TOKEN_URL_OVERRIDE` says so.
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.url())
    }

    /// The tokens of a person who has just logged in.
    pub fn login(&self) -> Tokens {
        answers::as_tokens(&self.inside.state().new_family())
    }

    /// How long access tokens live from now on.
    pub fn tokens_live(&self, time: Duration) {
        self.inside.state().lives = time;
    }

    /// Whose the next logins are.
    pub fn account_is(&self, account: &str) {
        self.inside.state().account = account.to_owned();
    }

    /// What it says to the next refreshes.
    pub fn script(&self, says: impl IntoIterator<Item = Say>) {
        self.inside.state().script.extend(says);
    }

    /// The refreshes so far.
    pub fn refreshes(&self) -> Vec<Refresh> {
        self.inside.state().refreshes.clone()
    }

    /// Waits until so many refreshes have arrived.
    pub async fn has_seen(&self, refreshes: usize) {
        let mut seen = self.inside.seen.subscribe();
        let wait = seen.wait_for(|seen| *seen >= refreshes);
        tokio::time::timeout(crate::LIMIT, wait).await.expect("a refresh arrives").expect("an issuer");
    }

    /// Whether an access token is good.
    pub fn accepts(&self, access: &str) -> bool {
        self.inside.state().access.iter().any(|token| token == access)
    }

    /// Every token that it ever granted, of each kind.
    pub fn granted(&self) -> Vec<String> {
        self.inside.state().granted.clone()
    }

    /// What the person does with the next device code that is polled for.
    pub fn person(&self, does: Person) {
        self.inside.state().person = does;
    }

    /// The polls for device codes so far.
    pub fn polls(&self) -> u64 {
        self.inside.state().polls
    }

    /// The person says no on the page of the next login in a browser.
    pub fn person_declines(&self) {
        self.inside.state().declines = true;
    }

    /// Ends all logins, as a new password does.
    pub fn revoke_all(&self) {
        self.inside.state().families.iter_mut().for_each(|family| family.revoked = true);
    }
}
