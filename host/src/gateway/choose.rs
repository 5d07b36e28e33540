//! Which account serves a call.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use cofferdam_protocol::ids::AccountName;
use http::{Response, StatusCode};

use super::error::vendor_error;
use super::{Caller, Upstream};

/// Says which account serves a call. Asked at each call, so that a change of accounts needs no restart.
#[async_trait]
pub(super) trait Chooser: Send + Sync {
    /// What serves this call.
    async fn choose(&self, caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved>;

    /// The account of groups that name none, in words; without secrets.
    fn default_in_words(&self) -> String;

    /// The model of groups that name this account, or none, and no model.
    fn model_of(&self, account: Option<&AccountName>) -> Option<String>;
}

/// Why no account serves a call: what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unserved(pub(super) String);

impl Unserved {
    /// As an answer. The status is what a wrong key has: a person has to do something, and no try alone helps.
    pub(super) fn response(&self) -> Response<Body> {
        vendor_error(StatusCode::UNAUTHORIZED, "account_unavailable", &self.0)
    }
}

/// Everybody is served by the same.
pub(super) struct Fixed {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) words: String,
}

#[async_trait]
impl Chooser for Fixed {
    async fn choose(&self, _caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved> {
        Ok(self.upstream.clone())
    }

    fn default_in_words(&self) -> String {
        self.words.clone()
    }

    fn model_of(&self, _account: Option<&AccountName>) -> Option<String> {
        None
    }
}
