//! An endpoint that is reached with an API key, or with none.

use async_trait::async_trait;
use http::{HeaderValue, header};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::answer::Answered;
use super::endpoint::{Endpoint, bearer};
use super::probe::{ProbeError, probe};
use super::words::Whose;
use super::{Call, Caller, GatewayError, Limits, Upstream};

/// The upstream of [`super::Account::OpenAi`].
pub(super) struct Compatible {
    endpoint: Endpoint,
    key: SecretString,
    authorization: Option<HeaderValue>,
}

impl Compatible {
    /// Checks the account; opens no connection.
    pub(super) fn new(
        base_url: Url,
        key: SecretString,
        whose: Whose,
        limits: Limits,
    ) -> Result<Self, GatewayError> {
        let key = SecretString::from(key.expose_secret().trim());
        Ok(Self { endpoint: Endpoint::new(base_url, whose, limits)?, authorization: bearer(&key)?, key })
    }

    fn request(&self, call: &Call) -> Option<reqwest::RequestBuilder> {
        let request = self.endpoint.request(call)?;
        Some(match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.clone()),
            None => request,
        })
    }
}

#[async_trait]
impl Upstream for Compatible {
    async fn call(&self, caller: &Caller, call: Call) -> Answered {
        let sent = self.endpoint.send(caller, self.request(&call)).await;
        // The endpoint has the body now.
        drop(call.room);
        match sent {
            Ok(upstream) => self.endpoint.pass(caller, upstream, &self.key).await,
            Err(answer) => answer,
        }
    }

    async fn probe(&self) -> Result<Option<u64>, ProbeError> {
        let odd = || ProbeError::Unreachable(self.endpoint.whose().unusable_url());
        probe(self.request(&Call::of_models(None)).ok_or_else(odd)?).await
    }
}
