//! What changes while a turn runs: a stop, or messages that steer it.
//!
//! The call is level-triggered: the runner says what it has acted on, and the host answers as soon as there is more.
//! So neither a lost answer nor a daemon that restarts loses an order.

use serde::{Deserialize, Serialize};

use super::batch::BatchMessage;
use crate::ids::{Attempt, MessageId, TurnId};

/// Path of [`ControlRequest`] → [`Control`]; answered when there is an order, or after
/// [`super::LONG_POLL_SECS`] with none.
pub const CONTROL: &str = "/runner/control";

/// Asks what changed for the running turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlRequest {
    /// The caller's attempt.
    pub attempt: Attempt,
    /// The turn that it runs.
    pub turn: TurnId,
    /// It has been told to interrupt the turn.
    pub interrupted: bool,
    /// Messages that it was offered for this turn already, whatever became of them.
    pub offered: Vec<MessageId>,
}

/// What changed for the running turn.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Control {
    /// Interrupt the turn.
    pub interrupt: bool,
    /// Give these to the running turn, if it can still take them. They stay in the inbox until
    /// [`super::EventBody::Steered`] says that the provider has them.
    pub steer: Vec<BatchMessage>,
}
