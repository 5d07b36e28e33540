//! The issuer of ChatGPT logins, as Codex talks to it: OAuth with PKCE, device codes, refresh and revocation.
//!
//! Written after the public sources of Codex, and held against Codex 0.169.0 itself.

mod authorize;
mod device;
mod error;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{RequestBuilder, Response, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub use self::authorize::{Authorization, Pkce, Redirect};
pub use self::device::{DeviceCode, Poll};
pub use self::error::{Code, IssuerError, Refusal};
use super::{Claims, Tokens, now};
use crate::trust::Trust;

/// The client that Codex is to the issuer: a login is for it, and only it may refresh one that Codex made.
pub const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";
/// The vendor's issuer.
const VENDOR: &str = "https://auth.openai.com";

const CONNECT: Duration = Duration::from_secs(10);
/// The longest wait for a whole answer. Generous: whoever gives up on a refresh may have spent a token for nothing.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest that is waited for a revocation, which nothing depends on.
const REVOKE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes; the vendor's have about 5 KB.
const MAX_ANSWER: usize = 256 * 1024;

/// Where the issuer is. There is one, and on loopback those that tests play: no setting leads elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// None is the vendor's.
    loopback_port: Option<u16>,
}

impl Address {
    /// The vendor's, or the one that a test plays.
    pub fn of_vendor() -> Self {
        Self { loopback_port: crate::hooks::issuer_port() }
    }

    /// One on this machine.
    pub fn on_loopback(port: u16) -> Self {
        Self { loopback_port: Some(port) }
    }

    fn at(self, path: &str) -> String {
        match self.loopback_port {
            None => format!("{VENDOR}{path}"),
            Some(port) => format!("http://127.0.0.1:{port}{path}"),
        }
    }
}

/// Why a login is refreshed; Codex tells the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The access token is about to end.
    Expiry,
    /// The vendor did not take the access token.
    Unauthorized,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Expiry => "proactive_expiry",
            Self::Unauthorized => "unauthorized_recovery",
        }
    }
}

/// The issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    address: Address,
    client: reqwest::Client,
}

/// An answer with tokens.
#[derive(Deserialize)]
struct Granted {
    id_token: Option<SecretString>,
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
}

impl Issuer {
    /// Opens no connection.
    pub fn new(address: Address, trust: &Trust) -> Result<Self, IssuerError> {
        let url = address.at("/").parse().map_err(|_| IssuerError::Malformed("its address is none"))?;
        let client = trust
            .client(&url)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));
        Ok(Self { address, client: client.build().map_err(IssuerError::of_transport)? })
    }

    /// Buys tokens with a code that a person's login gave.
    pub async fn exchange(
        &self,
        code: &SecretString,
        verifier: &SecretString,
        redirect: &str,
    ) -> Result<Tokens, IssuerError> {
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT_ID),
            ("code", code.expose_secret()),
            ("redirect_uri", redirect),
            ("code_verifier", verifier.expose_secret()),
        ]);
        let request = self.client.post(self.address.at("/oauth/token"));
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let granted: Granted = answer(request).await?;
        let all = (granted.id_token, granted.access_token, granted.refresh_token);
        let (Some(id_token), Some(access_token), Some(refresh_token)) = all else {
            return Err(IssuerError::Malformed("tokens are missing"));
        };
        let mut tokens = Tokens { id_token, access_token, refresh_token, account_id: None, last_refresh: now() };
        tokens.account_id = Claims::of(&tokens).account_id;
        Ok(tokens)
    }

    /// Buys the next tokens. The refresh token is spent when this succeeds, and may be when it fails
    /// ([`IssuerError::is_doubtful`]).
    pub async fn refresh(&self, old: &Tokens, reason: Reason) -> Result<Tokens, IssuerError> {
        let request = self.client.post(self.address.at("/oauth/token")).json(&json!({
            "client_id": CLIENT_ID,
            "grant_type": "refresh_token",
            "refresh_token": old.refresh_token.expose_secret(),
            "refresh_reason": reason.as_str(),
        }));
        let granted: Granted = answer(request).await?;
        let Some(access_token) = granted.access_token else {
            return Err(IssuerError::Malformed("there is no access token"));
        };
        // An issuer sends only what is new.
        let mut tokens = Tokens {
            id_token: granted.id_token.unwrap_or_else(|| old.id_token.clone()),
            access_token,
            refresh_token: granted.refresh_token.unwrap_or_else(|| old.refresh_token.clone()),
            account_id: old.account_id.clone(),
            last_refresh: now(),
        };
        tokens.account_id = tokens.account_id.take().or_else(|| Claims::of(&tokens).account_id);
        Ok(tokens)
    }

    /// Ends a login: its refresh token, and what was bought with it.
    pub async fn revoke(&self, tokens: &Tokens) -> Result<(), IssuerError> {
        let request = self.client.post(self.address.at("/oauth/revoke")).timeout(REVOKE).json(&json!({
            "token": tokens.refresh_token.expose_secret(),
            "token_type_hint": "refresh_token",
            "client_id": CLIENT_ID,
        }));
        accepted(request).await.map(drop)
    }
}

/// Random text that nobody can guess, from the operating system: 244 bits, 43 characters as PKCE wants them.
fn unguessable() -> SecretString {
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    URL_SAFE_NO_PAD.encode([first.into_bytes(), second.into_bytes()].concat()).into()
}

/// Names and values as in an address or a form (RFC 3986: all but unreserved characters as %XX).
fn form(pairs: &[(&str, &str)]) -> String {
    use std::fmt::Write as _;
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// Sends a request whose answer is JSON.
async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, IssuerError> {
    let body = accepted(request).await?;
    // The parser's own words may repeat a token.
    serde_json::from_slice(&body).map_err(|_| IssuerError::Malformed("it is not the JSON that was expected"))
}

/// Sends a request, and answers with the body when it was accepted.
async fn accepted(request: RequestBuilder) -> Result<Vec<u8>, IssuerError> {
    let response = request.send().await.map_err(IssuerError::of_transport)?;
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_success() {
        return body(response).await;
    }
    // What it explains is welcome, not needed.
    let body = body(response).await.unwrap_or_default();
    Err(IssuerError::of_answer(status, &headers, &body))
}

async fn body(mut response: Response) -> Result<Vec<u8>, IssuerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(IssuerError::of_transport)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(IssuerError::Malformed("it is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
