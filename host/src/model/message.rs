//! An inbound message's life.

use super::IllegalTransition;

/// Where an accepted message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// In the inbox, waits for a turn.
    Pending,
    /// In a running turn.
    Claimed,
    /// Its outcome is in the outbox.
    Done,
}

super::sql_state!(MessageState { Pending = "pending", Claimed = "claimed", Done = "done" });

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageEvent {
    /// A turn takes it.
    Claim,
    /// Its turn ended with an outcome.
    Finish,
    /// Its turn was abandoned.
    Release,
}

impl MessageState {
    /// The state after `event`.
    pub fn next(self, event: MessageEvent) -> Result<Self, IllegalTransition> {
        use MessageEvent::{Claim, Finish, Release};
        match (self, event) {
            (Self::Pending, Claim) => Ok(Self::Claimed),
            (Self::Claimed, Finish) => Ok(Self::Done),
            (Self::Claimed, Release) => Ok(Self::Pending),
            _ => Err(IllegalTransition {
                machine: "message",
                state: format!("{self:?}"),
                event: format!("{event:?}"),
            }),
        }
    }
}

/// How often a message is given to a turn before its container's death is its outcome. A second time covers a
/// container that was killed from outside; a message that kills its container every time must end.
pub const MAX_TRIES: i64 = 2;
