//! What an upstream answers, and what that says of its account.

use axum::body::Body;
use http::{Response, StatusCode};

use super::rate_limits::RateLimits;

/// An answer on its way to the container.
pub(super) struct Answered {
    pub(super) response: Response<Body>,
    /// Why the account could not serve the call; another one may. Nothing was streamed then.
    pub(super) miss: Option<Miss>,
    /// What the vendor says of the account's allowances.
    pub(super) limits: Option<RateLimits>,
}

/// Why an account could not serve a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Miss {
    /// It has used up what it may; `until`, in ms since 1970, if the vendor says so. `whole`: for every model, and not for
    /// that of the call alone.
    #[error("its limit is reached (429)")]
    Limited { until: Option<i64>, whole: bool },
    /// The vendor has a problem.
    #[error("the vendor answered {0}")]
    Failing(StatusCode),
    /// No connection came about, or it broke before an answer.
    #[error("the vendor could not be reached")]
    Unreachable,
    /// It took the call, and no answer came in time. Nobody else gets that call: it may be under way.
    #[error("the vendor did not answer")]
    Silent,
    /// Its credential is not to be had, or was refused.
    #[error("its credential cannot be used")]
    NoCredential,
}

impl Miss {
    /// How little a person has to do, the least first; and when it passes, ms since 1970.
    pub(super) fn hope(self, now: i64) -> (u8, i64) {
        match self {
            Self::Limited { until, .. } => (0, until.unwrap_or(now)),
            Self::Failing(_) | Self::Unreachable | Self::Silent => (1, now),
            Self::NoCredential => (2, now),
        }
    }
}

impl Answered {
    /// An answer that is the call's own, whichever account it had.
    pub(super) fn of(response: Response<Body>) -> Self {
        Self { response, miss: None, limits: None }
    }

    /// An answer that stands for none of the vendor's.
    pub(super) fn missed(miss: Miss, response: Response<Body>) -> Self {
        Self { response, miss: Some(miss), limits: None }
    }
}
