//! What a container gets of its account's login where its group has a copy: the short-lived tokens, and never the one that
//! buys new ones.

use std::time::Duration;

use cofferdam_protocol::ids::AccountName;
use jiff::Timestamp;
use secrecy::SecretString;

use super::{Caller, Gateway};
use crate::vault::{RefreshError, Tokens};

pub use crate::vault::issuer::CLIENT_ID;

/// How young an access token is that is not replaced again although a container says that it was refused: a hostile one
/// could have the login refreshed without end.
const YOUNG: Duration = Duration::from_secs(60);

/// The part of a login that a container may have.
#[derive(Debug, Clone)]
pub struct Login {
    /// Whose it is.
    pub account: AccountName,
    /// Who logged in, a JWT.
    pub id_token: SecretString,
    /// What a model call carries.
    pub access_token: SecretString,
    /// The vendor's backend, before `/responses`.
    pub base_url: String,
    account_id: Option<String>,
    last_refresh: Timestamp,
}

/// Why a container gets no login.
#[derive(Debug, thiserror::Error)]
pub enum NoLogin {
    /// A person has to do something.
    #[error("{0}")]
    Ended(String),
    /// It may be had a little later.
    #[error("the login is not to be had just now")]
    Later(#[source] RefreshError),
}

impl Login {
    pub(super) fn new(account: AccountName, base_url: String, tokens: Tokens) -> Self {
        let Tokens { id_token, access_token, account_id, last_refresh, refresh_token: _ } = tokens;
        Self { account, id_token, access_token, base_url, account_id, last_refresh }
    }

    /// Codex's `auth.json` with it; `handle` stands where the refresh token would.
    pub fn auth_json(&self, handle: &SecretString) -> SecretString {
        let tokens = Tokens {
            id_token: self.id_token.clone(),
            access_token: self.access_token.clone(),
            refresh_token: handle.clone(),
            account_id: self.account_id.clone(),
            last_refresh: self.last_refresh,
        };
        tokens.to_auth_json(None)
    }
}

impl Gateway {
    /// The login of an account of which a container has a copy, fresh. When its access token was `refused`, another one,
    /// unless this one has only just come.
    pub async fn login_again(&self, account: &AccountName, refused: bool) -> Result<Login, NoLogin> {
        let upstream = self.chooser.named(account).await.map_err(|unserved| NoLogin::Ended(unserved.0))?;
        upstream.login(refused).await
    }

    /// The login of the account that serves a caller, fresh. When its access token was `refused`, another one, unless this
    /// one has only just come.
    pub async fn login_of(&self, caller: &Caller, refused: bool) -> Result<Login, NoLogin> {
        let upstream = self.chooser.first(caller).await.map_err(|unserved| NoLogin::Ended(unserved.0))?;
        upstream.login(refused).await
    }
}

/// Whether an access token came just now; the wall clock may have been set since.
pub(super) fn is_young(tokens: &Tokens) -> bool {
    let now = Timestamp::from_millisecond(crate::clock::now_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
    now.duration_since(tokens.last_refresh).unsigned_abs() < YOUNG
}
