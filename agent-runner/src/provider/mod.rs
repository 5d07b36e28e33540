//! The agents that a session can have, behind one trait.

pub mod codex;
pub mod mock;

use std::ffi::OsStr;

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, Failure, Finish, ProviderKind, Settings};
use tokio_util::sync::CancellationToken;

use crate::outbox::TurnEvents;

/// A coding agent on one thread. Made with what it needs to start or to resume.
#[async_trait]
pub trait Provider: Send {
    /// Starts it, or resumes its thread; at once when it runs already. The answer is its continuation.
    async fn start(&mut self) -> Result<String, Failure>;

    /// Runs one turn over the batch, starting the provider where needed. Every way a turn can end is a
    /// [`Finish`]. When `interrupt` is cancelled, the turn ends soon with what it has.
    async fn turn(&mut self, batch: &Batch, events: &TurnEvents, interrupt: &CancellationToken) -> Finish;

    /// Ends it. Dropping does too, without waiting.
    async fn stop(&mut self);
}

/// The provider that the settings name; nothing is started yet.
pub fn make(settings: Settings, continuation: Option<String>, codex: &OsStr) -> Box<dyn Provider> {
    match settings.provider {
        ProviderKind::Codex => Box::new(codex::Codex::new(settings, continuation, codex.to_owned())),
        ProviderKind::Mock => Box::new(mock::Mock::resume(continuation.as_deref())),
    }
}
