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
    /// The running turn has taken it besides its own; hearing of it again changes nothing.
    Steer,
    /// It ends without a turn: a command was done, or nobody can answer it.
    Answer,
    /// Its turn ended with an outcome.
    Finish,
    /// Its turn was abandoned, or failed in a way that can pass.
    Release,
}

impl MessageState {
    /// The state after `event`.
    pub fn next(self, event: MessageEvent) -> Result<Self, IllegalTransition> {
        use MessageEvent::{Answer, Claim, Finish, Release, Steer};
        match (self, event) {
            (Self::Pending, Claim) | (Self::Pending | Self::Claimed, Steer) => Ok(Self::Claimed),
            (Self::Claimed, Finish) | (Self::Pending, Answer) => Ok(Self::Done),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [MessageEvent; 5] = [
        MessageEvent::Claim,
        MessageEvent::Steer,
        MessageEvent::Answer,
        MessageEvent::Finish,
        MessageEvent::Release,
    ];

    proptest! {
        /// However its events come, a message has one outcome, and what is done is never done again.
        #[test]
        fn a_message_ends_once(steps in proptest::collection::vec(0..EVENTS.len(), 1..40)) {
            let (mut state, mut ends) = (MessageState::Pending, 0);
            for step in steps {
                if let Ok(next) = state.next(EVENTS[step]) {
                    prop_assert_ne!(state, MessageState::Done, "{:?}", EVENTS[step]);
                    ends += u32::from(next == MessageState::Done);
                    state = next;
                }
            }
            prop_assert_eq!(ends, u32::from(state == MessageState::Done));
        }
    }

    #[test]
    fn hearing_of_a_steered_message_again_changes_nothing_and_a_running_turn_answers_it() {
        assert_eq!(MessageState::Claimed.next(MessageEvent::Steer), Ok(MessageState::Claimed));
        assert!(MessageState::Claimed.next(MessageEvent::Claim).is_err());
        assert!(MessageState::Claimed.next(MessageEvent::Answer).is_err(), "a running turn answers it");
    }
}
