//! What changes while a turn runs, and what is kept of the conversation besides its replies.

use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::{Control, ControlRequest, Digest};
use tokio::sync::oneshot;

use super::actor::Actor;
use crate::door::Refused;

impl Actor {
    /// The runner asks what changes for its turn.
    pub(super) async fn on_control(&mut self, request: ControlRequest, reply: oneshot::Sender<Control>) {
        let Ok(life) = self.life_of(request.attempt) else { return };
        life.control = Some((request, reply));
    }

    /// What was said before the running turn.
    pub(super) async fn on_digest(&mut self, attempt: Attempt) -> Result<Digest, Refused> {
        self.life_of(attempt)?;
        Ok(Digest::default())
    }
}
