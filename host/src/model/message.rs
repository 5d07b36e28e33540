//! An inbound message's life.
//!
//! ```text
//!             ┌──────────────answer──────────────┐  (a command, a refusal, a last try: without a turn)
//!             │                                  ▼
//!  accept ─▶ pending ──claim, steer──▶ claimed ──finish──▶ done
//!             ▲  ▲                      │ ▲  │               │
//!             │  └───────release────────┘ └──┘ steer         │
//!             └───────────────────revive─────────────────────┘  (a person has its dead letter tried again)
//! ```
//! `release`: its container went away, or the turn failed in a way that can pass.

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
    /// A person has it tried again: its outcome was a dead letter.
    Revive,
}

impl MessageState {
    /// The state after `event`.
    pub fn next(self, event: MessageEvent) -> Result<Self, IllegalTransition> {
        use MessageEvent::{Answer, Claim, Finish, Release, Revive, Steer};
        match (self, event) {
            (Self::Pending, Claim) | (Self::Pending | Self::Claimed, Steer) => Ok(Self::Claimed),
            (Self::Claimed, Finish) | (Self::Pending, Answer) => Ok(Self::Done),
            (Self::Claimed, Release) | (Self::Done, Revive) => Ok(Self::Pending),
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

    use super::super::reference::Reference;
    use super::MessageEvent::{Answer, Claim, Finish, Release, Revive, Steer};
    use super::MessageState::{Claimed, Done, Pending};
    use super::*;

    const EVENTS: [MessageEvent; 6] = [Claim, Steer, Answer, Finish, Release, Revive];

    fn reference() -> Reference<MessageState, MessageEvent> {
        Reference {
            machine: "message",
            start: Pending,
            states: MessageState::ALL.to_vec(),
            events: EVENTS.to_vec(),
            edges: vec![
                (Pending, Claim, Claimed),
                (Pending, Steer, Claimed),
                (Pending, Answer, Done),
                (Claimed, Steer, Claimed),
                (Claimed, Finish, Done),
                (Claimed, Release, Pending),
                (Done, Revive, Pending),
            ],
            ends: vec![Done],
            revivals: vec![Revive],
        }
    }

    #[test]
    fn a_message_has_these_steps_and_no_others() {
        reference().holds(MessageState::next);
    }

    proptest! {
        #[test]
        fn a_message_follows_its_reference(events in proptest::collection::vec(0..EVENTS.len(), 1..60)) {
            reference().follows(&events, MessageState::next);
        }

        /// However its events come, a message has one outcome for each time that it was accepted or revived.
        #[test]
        fn a_message_ends_once(events in proptest::collection::vec(0..EVENTS.len(), 1..60)) {
            let (mut state, mut begins, mut ends) = (Pending, 1, 0);
            for event in events.into_iter().map(|at| EVENTS[at]) {
                let Ok(next) = state.next(event) else { continue };
                begins += u32::from(event == Revive);
                ends += u32::from(next == Done);
                state = next;
                prop_assert_eq!(ends, begins - u32::from(state != Done), "{:?}", event);
            }
        }
    }

    #[test]
    fn hearing_of_a_steered_message_again_changes_nothing_and_a_running_turn_answers_it() {
        assert_eq!(Claimed.next(Steer), Ok(Claimed));
        assert!(Claimed.next(Claim).is_err());
        assert!(Claimed.next(Answer).is_err(), "a running turn answers it");
    }
}
