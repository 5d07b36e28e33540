//! The life of a call of one of the host's tools.
//!
//! ```text
//!  call ─▶ waiting ──succeed──▶ done     (most calls are done, or failed, as soon as they are made)
//!             └───────fail────▶ failed
//! ```

use super::IllegalTransition;

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// For a person.
    Waiting,
    /// It came to something.
    Done,
    /// It came to nothing.
    Failed,
}

super::sql_state!(CallState { Waiting = "waiting", Done = "done", Failed = "failed" });

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEvent {
    /// With what was wanted.
    Succeed,
    /// Without.
    Fail,
}

impl CallEvent {
    /// The end of a call with this success.
    pub fn of(success: bool) -> Self {
        if success { Self::Succeed } else { Self::Fail }
    }
}

impl CallState {
    /// The state after `event`.
    pub fn next(self, event: CallEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Waiting, CallEvent::Succeed) => Ok(Self::Done),
            (Self::Waiting, CallEvent::Fail) => Ok(Self::Failed),
            _ => Err(IllegalTransition {
                machine: "tool call",
                state: format!("{self:?}"),
                event: format!("{event:?}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::CallEvent::{Fail, Succeed};
    use super::CallState::{Done, Failed, Waiting};
    use super::*;

    fn reference() -> Reference<CallState, CallEvent> {
        Reference {
            machine: "tool call",
            start: Waiting,
            states: CallState::ALL.to_vec(),
            events: vec![Succeed, Fail],
            edges: vec![(Waiting, Succeed, Done), (Waiting, Fail, Failed)],
            ends: vec![Done, Failed],
            revivals: Vec::new(),
        }
    }

    #[test]
    fn a_call_has_these_steps_and_no_others() {
        reference().holds(CallState::next);
    }

    proptest! {
        #[test]
        fn a_call_follows_its_reference(events in proptest::collection::vec(0..2usize, 1..10)) {
            reference().follows(&events, CallState::next);
        }
    }
}
