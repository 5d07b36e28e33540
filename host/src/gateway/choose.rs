//! Which account serves a call.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use cofferdam_protocol::ids::{AccountName, SessionId};
use http::{Response, StatusCode};

use super::answer::{Answered, Miss};
use super::error::vendor_error;
use super::{Call, Caller, Upstream};
use crate::config::pool::Serving;

/// Says which account serves a call. Asked at each call, so that a change of accounts needs no restart.
#[async_trait]
pub(super) trait Chooser: Send + Sync {
    /// Serves a call with the account that is to have it, or with the next one that can.
    async fn serve(&self, caller: &Caller, call: Call) -> Served;

    /// The one that is asked first, whose login a container may get a copy of: nobody stands in for it there.
    async fn first(&self, caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved>;

    /// An account by its name.
    async fn named(&self, account: &AccountName) -> Result<Arc<dyn Upstream>, Unserved>;

    /// When the first of those that may serve a caller and are at their limit is so no longer, ms since 1970.
    fn limited_until(&self, _: &Caller) -> Option<i64> {
        None
    }

    /// The accounts that may serve a group's calls, by preference.
    fn accounts_of(&self, serving: &Serving) -> Vec<AccountName>;

    /// Has a session served by one account of those, or by none in particular.
    fn pin(&self, session: &SessionId, account: Option<AccountName>);

    /// The account of groups that name none, in words; without secrets.
    fn default_in_words(&self) -> String;

    /// The model of groups that name this account, or none, and no model.
    fn model_of(&self, account: Option<&AccountName>) -> Option<String>;
}

/// What became of a call.
pub(super) struct Served {
    pub(super) response: Response<Body>,
    /// The accounts that were not asked, as they are at their limit until then, ms since 1970.
    pub(super) limited: Vec<(AccountName, i64)>,
    /// The accounts that were asked, in order; the last one's is the answer.
    pub(super) asked: Vec<Asked>,
}

/// An account that was asked to serve a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) account: AccountName,
    /// Why it did not.
    pub(super) miss: Option<Miss>,
}

impl Served {
    /// By the only account there is for it.
    pub(super) fn by(account: AccountName, answered: Answered) -> Self {
        Self {
            response: answered.response,
            limited: Vec::new(),
            asked: vec![Asked { account, miss: answered.miss }],
        }
    }

    /// By none.
    pub(super) fn not(caller: &Caller, unserved: &Unserved) -> Self {
        tracing::warn!(group = %caller.group, session = %caller.session, why = %unserved, "no account serves a model call");
        Self { response: unserved.response(), limited: Vec::new(), asked: Vec::new() }
    }
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
    pub(super) account: AccountName,
    pub(super) words: String,
}

#[async_trait]
impl Chooser for Fixed {
    async fn serve(&self, caller: &Caller, call: Call) -> Served {
        Served::by(self.account.clone(), self.upstream.call(caller, call).await)
    }

    async fn first(&self, _caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved> {
        Ok(self.upstream.clone())
    }

    async fn named(&self, _account: &AccountName) -> Result<Arc<dyn Upstream>, Unserved> {
        Ok(self.upstream.clone())
    }

    fn accounts_of(&self, _serving: &Serving) -> Vec<AccountName> {
        vec![self.account.clone()]
    }

    fn pin(&self, _session: &SessionId, _account: Option<AccountName>) {}

    fn default_in_words(&self) -> String {
        self.words.clone()
    }

    fn model_of(&self, _account: Option<&AccountName>) -> Option<String> {
        None
    }
}
