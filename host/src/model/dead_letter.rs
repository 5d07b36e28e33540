//! What was tried for the last time, until a person decides.
//!
//! ```text
//!          retry ┌─▶ retried   (what fails again is another dead letter)
//!  open ─────────┤
//!           drop └─▶ dropped
//! ```

use cofferdam_protocol::ids::{MessageId, ReplyId};

use super::IllegalTransition;

/// Where a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Nobody has decided.
    Open,
    /// Somebody had it tried again.
    Retried,
    /// Somebody let it go.
    Dropped,
}

super::sql_state!(DeadLetterState { Open = "open", Retried = "retried", Dropped = "dropped" });

/// What a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterEvent {
    /// It is tried again, from its first try.
    Retry,
    /// It is let go.
    Drop,
}

impl DeadLetterState {
    /// The state after `event`.
    pub fn next(self, event: DeadLetterEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Open, DeadLetterEvent::Retry) => Ok(Self::Retried),
            (Self::Open, DeadLetterEvent::Drop) => Ok(Self::Dropped),
            _ => Err(IllegalTransition {
                machine: "dead letter",
                state: format!("{self:?}"),
                event: format!("{event:?}"),
            }),
        }
    }
}

/// What failed for the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its session's container did not start.
    Start,
    /// The provider failed.
    Provider,
    /// Its container ended under it, every time.
    Container,
    /// Its channel did not take it.
    Delivery,
}

super::sql_state!(Cause { Start = "start", Provider = "provider", Container = "container", Delivery = "delivery" });

/// What a dead letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// An inbound message; its outcome was a notice.
    Message(MessageId),
    /// An outbound reply.
    Reply(ReplyId),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::DeadLetterEvent::{Drop, Retry};
    use super::DeadLetterState::{Dropped, Open, Retried};
    use super::*;

    fn reference() -> Reference<DeadLetterState, DeadLetterEvent> {
        Reference {
            machine: "dead letter",
            start: Open,
            states: DeadLetterState::ALL.to_vec(),
            events: vec![Retry, Drop],
            edges: vec![(Open, Retry, Retried), (Open, Drop, Dropped)],
            ends: vec![Retried, Dropped],
            revivals: Vec::new(),
        }
    }

    #[test]
    fn a_dead_letter_has_these_steps_and_no_others() {
        reference().holds(DeadLetterState::next);
    }

    proptest! {
        /// It is decided once.
        #[test]
        fn a_dead_letter_follows_its_reference(events in proptest::collection::vec(0..2usize, 1..10)) {
            reference().follows(&events, DeadLetterState::next);
        }
    }
}
