//! The agents that a session can have, behind one trait.

pub mod codex;
pub mod mock;

use std::ffi::OsStr;

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, BatchMessage, Failure, Finish, Model, ProviderKind, Settings, Thread};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::outbox::{Outbox, TurnEvents};

/// A provider that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The conversation that its thread belongs to.
    pub generation: u64,
    /// Its thread.
    pub continuation: String,
    /// The models that it knows, best first; empty when it does not say.
    pub models: Vec<Model>,
}

/// What a turn works with besides its batch.
pub struct Scope {
    /// Where to show and keep things.
    pub events: TurnEvents,
    /// Cancelled when the turn shall end soon with what it has.
    pub interrupt: CancellationToken,
    /// Messages that came meanwhile and are offered to the turn. What it takes it reports by
    /// [`TurnEvents::steered`] once the provider surely has them; the rest stay the host's.
    pub steering: UnboundedReceiver<Vec<BatchMessage>>,
    /// For the host's tools, and the digest of a lost conversation.
    pub host: Host,
}

/// A coding agent on one thread. Made with what it needs to start or to resume.
#[async_trait]
pub trait Provider: Send {
    /// Starts it, or resumes its thread; at once when it runs already.
    async fn start(&mut self) -> Result<Started, Failure>;

    /// Runs one turn over the batch, starting the provider where needed. Every way a turn can end is a [`Finish`].
    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish;

    /// What is due between turns, such as a compaction. Bounded in time; its failure costs no message. Ends soon when
    /// `interrupt` is cancelled.
    async fn settle(&mut self, outbox: &Outbox, interrupt: &CancellationToken);

    /// Ends it. Dropping does too, without waiting.
    async fn stop(&mut self);
}

/// The provider that the settings name; nothing is started yet.
pub fn make(settings: Settings, thread: Thread, codex: &OsStr) -> Box<dyn Provider> {
    match settings.provider {
        ProviderKind::Codex => Box::new(codex::Codex::new(settings, thread, codex.to_owned())),
        ProviderKind::Mock => Box::new(mock::Mock::resume(&thread)),
    }
}
