//! What the engine says of a container.

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::sandbox::{ContainerId, Exit, Running};
use crate::supervisor::launch::short;

/// The container itself. The usual one is not there yet.
#[derive(Default)]
pub(in crate::supervisor) struct Container {
    id: Option<ContainerId>,
    /// How it ends; none until the engine has told that it is there.
    pub(in crate::supervisor) exit: Option<JoinHandle<Exit>>,
    /// It may be gone.
    in_doubt: bool,
    started_at: Option<Instant>,
}

impl Container {
    /// One that another daemon started, and that the engine has yet to confirm.
    pub(super) fn in_doubt(id: Option<ContainerId>) -> Self {
        Self { id, in_doubt: true, ..Self::default() }
    }

    pub(super) fn started(&mut self, running: Running) {
        self.confirmed(running);
        self.started_at = Some(Instant::now());
    }

    /// The engine says that it is there.
    pub(super) fn confirmed(&mut self, running: Running) {
        self.in_doubt = false;
        self.id = Some(running.id);
        self.exit = Some(tokio::spawn(running.exit));
    }

    /// Whether the engine has yet to say that it is there.
    pub(in crate::supervisor) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(super) fn is_known(&self) -> bool {
        self.id.is_some()
    }

    pub(super) fn started_at(&self) -> Option<Instant> {
        self.started_at
    }

    pub(in crate::supervisor) fn id(&self) -> Option<ContainerId> {
        self.id.clone()
    }

    /// As people see it.
    pub(in crate::supervisor) fn text(&self) -> Option<String> {
        self.id.as_ref().map(short)
    }
}
