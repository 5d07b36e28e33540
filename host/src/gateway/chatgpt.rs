//! The vendor's backend for ChatGPT logins. The access token is kept fresh by the account's one refresh.
//!
//! ```text
//! call ─▶ current tokens ─▶ send ─▶ 401: the tokens that replaced these, once ─▶ send ─▶ answer
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_protocol::ids::AccountName;
use http::{StatusCode, header};
use reqwest::Url;
use secrecy::SecretString;

use super::answer::{Answered, Miss};
use super::endpoint::{Endpoint, bearer};
use super::error::vendor_error;
use super::login::{Login, NoLogin, is_young};
use super::probe::{ProbeError, probe};
use super::words::Whose;
use super::{Call, Caller, GatewayError, Limits, Upstream};
use crate::error_chain;
use crate::hooks;
use crate::vault::{Keep, RefreshError, Refresher, Tokens};

/// The vendor's backend, where Codex goes with such a login.
const VENDOR: &str = "https://chatgpt.com/backend-api/codex";
/// Where the pinned version of Codex stands.
const LOCK: &str = include_str!("../../../container/codex.lock");

/// The list of models is asked for with a version of Codex: the pinned one.
fn models_query() -> String {
    let version = LOCK.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    format!("client_version={}", version.unwrap_or_default())
}

/// Where the backend is: the vendor's, or the one that a test plays.
pub(super) fn base_url() -> String {
    match hooks::chatgpt_address() {
        None => VENDOR.to_owned(),
        Some(address) => format!("http://{address}/backend-api/codex"),
    }
}

/// The upstream of an account with a ChatGPT login.
pub(super) struct ChatGpt {
    endpoint: Endpoint,
    account: AccountName,
    keep: Arc<dyn Keep>,
    refresher: Refresher,
}

impl ChatGpt {
    /// Opens no connection.
    pub(super) fn new(
        account: AccountName,
        keep: Arc<dyn Keep>,
        refresher: Refresher,
        limits: Limits,
    ) -> Result<Self, GatewayError> {
        let base: Url = base_url().parse().map_err(|_| GatewayError::BaseUrl("is not a URL"))?;
        let endpoint = Endpoint::new(base, Whose::Vault(account.clone()), limits)?;
        Ok(Self { endpoint, account, keep, refresher })
    }

    fn request(&self, call: &Call, tokens: &Tokens) -> Option<reqwest::RequestBuilder> {
        let mut request = self.endpoint.request(call)?;
        if let Ok(Some(value)) = bearer(&tokens.access_token) {
            request = request.header(header::AUTHORIZATION, value);
        }
        Some(match &tokens.account_id {
            Some(id) => request.header("chatgpt-account-id", id),
            None => request,
        })
    }

    async fn fresh(&self, refused: Option<&SecretString>) -> Result<Tokens, RefreshError> {
        match refused {
            None => self.refresher.current(&self.account, &self.keep).await,
            Some(refused) => self.refresher.after_refusal(&self.account, &self.keep, refused).await,
        }
    }

    fn without_login(&self, caller: &Caller, error: &RefreshError) -> Answered {
        let why = error_chain(error);
        tracing::warn!(group = %caller.group, session = %caller.session, error = %why, "a model call has no login");
        let answer = match error {
            RefreshError::LoginNeeded { .. } => {
                let message = format!("{why}. `cofferdam account login {}` on the host does that.", self.account);
                vendor_error(StatusCode::UNAUTHORIZED, "login_needed", &message)
            }
            _ => {
                let message = format!("The login of account '{}' is not to be had just now: {why}.", self.account);
                vendor_error(StatusCode::BAD_GATEWAY, "upstream_unreachable", &message)
            }
        };
        Answered::missed(Miss::NoCredential, answer)
    }
}

#[async_trait]
impl Upstream for ChatGpt {
    async fn call(&self, caller: &Caller, call: Call) -> Answered {
        let mut tokens = match self.fresh(None).await {
            Ok(tokens) => tokens,
            Err(error) => return self.without_login(caller, &error),
        };
        let mut upstream = match self.endpoint.send(caller, self.request(&call, &tokens)).await {
            Ok(upstream) => upstream,
            Err(answer) => return answer,
        };
        if upstream.status() == StatusCode::UNAUTHORIZED {
            tokens = match self.fresh(Some(&tokens.access_token)).await {
                Ok(tokens) => tokens,
                Err(error) => return self.without_login(caller, &error),
            };
            upstream = match self.endpoint.send(caller, self.request(&call, &tokens)).await {
                Ok(upstream) => upstream,
                Err(answer) => return answer,
            };
        }
        // The backend has the body now.
        drop(call.room);
        self.endpoint.pass(caller, upstream, &tokens.access_token).await
    }

    async fn login(&self, refused: bool) -> Result<Login, NoLogin> {
        let no_login = |error| match error {
            RefreshError::LoginNeeded { .. } => NoLogin::Ended(error_chain(&error)),
            error => NoLogin::Later(error),
        };
        let mut tokens = self.fresh(None).await.map_err(no_login)?;
        if refused && !is_young(&tokens) {
            tokens = self.fresh(Some(&tokens.access_token)).await.map_err(no_login)?;
        }
        Ok(Login::new(self.account.clone(), base_url(), tokens))
    }

    async fn probe(&self) -> Result<Option<u64>, ProbeError> {
        let call = Call::of_models(Some(&models_query()));
        let unusable = || ProbeError::Unreachable(self.endpoint.whose().unusable_url());
        let no_login = |error: RefreshError| ProbeError::NoLogin(error_chain(&error));
        let tokens = self.fresh(None).await.map_err(no_login)?;
        match probe(self.request(&call, &tokens).ok_or_else(unusable)?).await {
            Err(ProbeError::Refused(StatusCode::UNAUTHORIZED)) => {
                let tokens = self.fresh(Some(&tokens.access_token)).await.map_err(no_login)?;
                probe(self.request(&call, &tokens).ok_or_else(unusable)?).await
            }
            probed => probed,
        }
    }
}
