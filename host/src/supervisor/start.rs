//! A session's start, from its wish for a place on.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::launch::{LaunchError, Ready, Starting};

/// The newest start. Its steps are futures that the actor polls: where the engine or a disk hangs, they wait and not it.
#[derive(Default)]
pub(super) struct Start {
    /// Since when it waits for a place.
    pub(super) queued_at: Option<Instant>,
    /// When it began, ms.
    pub(super) begun: i64,
    /// The first step.
    pub(super) preparing: Option<BoxFuture<'static, Result<Ready, LaunchError>>>,
    /// The second.
    pub(super) starting: Option<Starting>,
}

impl Start {
    /// Whether a step is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.preparing.is_some() || self.starting.is_some()
    }
}
