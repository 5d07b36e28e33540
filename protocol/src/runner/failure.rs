//! Sorts of failures, in nobody's words but ours.

use serde::{Deserialize, Serialize};

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure; chooses what the host does about it, and the advice in the notice.
    pub kind: FailureKind,
    /// What the provider said, one or two lines, no secrets.
    pub message: String,
    /// When it may work again, in seconds since 1970, if the vendor said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<u64>,
}

impl Failure {
    /// A failure of which nobody said when it will pass.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), resets_at: None }
    }
}

/// Sorts of failures, independent of any provider's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The account's limit or credit is used up.
    UsageLimit,
    /// The vendor limits the rate of requests (429).
    RateLimited,
    /// The credential was refused (401, 403).
    Unauthorized,
    /// The model is not known or not allowed.
    ModelNotFound,
    /// The conversation does not fit into the model's window.
    ContextWindow,
    /// The vendor refuses this request as it is: its policy, its format, or input that is too large.
    Refused,
    /// The vendor is overloaded or failed (5xx).
    Upstream,
    /// The vendor could not be reached, or the stream was cut.
    Connection,
    /// Nothing moved for the group's silence time-out.
    Silence,
    /// The provider's process died.
    ProviderDied,
    /// The provider could not start.
    ProviderStart,
    /// The provider's thread could not be resumed.
    StaleThread,
    /// Another process holds the provider's thread.
    ThreadBusy,
    /// Anything else.
    Other,
}
