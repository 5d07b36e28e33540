//! A turn's life.
//!
//! ```text
//!           ┌──finish (completed)────────▶ completed
//!           ├──finish (failed)───────────▶ failed
//!  running ─┼──finish (interrupted)──────▶ interrupted
//!           ├──stopped───────────────────▶ interrupted   (its container is gone, as was asked)
//!           └──container gone────────────▶ abandoned
//! ```

use cofferdam_protocol::runner::Outcome;

use super::IllegalTransition;

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnState {
    /// Handed to a runner.
    Running,
    /// The agent finished.
    Completed,
    /// It ended in an error notice.
    Failed,
    /// Somebody stopped it.
    Interrupted,
    /// Its container went away; its messages are pending again, or ended in a notice.
    Abandoned,
}

super::sql_state!(TurnState {
    Running = "running",
    Completed = "completed",
    Failed = "failed",
    Interrupted = "interrupted",
    Abandoned = "abandoned",
});

/// What ends a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEvent<'a> {
    /// The runner reported its end.
    Finish(&'a Outcome),
    /// Its container is gone without a report.
    ContainerGone,
    /// Its container is gone without a report, after somebody asked for the turn's end.
    Stopped,
}

impl TurnState {
    /// The state after `event`.
    pub fn next(self, event: TurnEvent<'_>) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Running, TurnEvent::Finish(Outcome::Completed)) => Ok(Self::Completed),
            (Self::Running, TurnEvent::Finish(Outcome::Failed(_))) => Ok(Self::Failed),
            (Self::Running, TurnEvent::Finish(Outcome::Interrupted) | TurnEvent::Stopped) => Ok(Self::Interrupted),
            (Self::Running, TurnEvent::ContainerGone) => Ok(Self::Abandoned),
            _ => {
                Err(IllegalTransition { machine: "turn", state: format!("{self:?}"), event: format!("{event:?}") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use cofferdam_protocol::runner::{Failure, FailureKind};
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::TurnEvent::{ContainerGone, Finish, Stopped};
    use super::TurnState::{Abandoned, Completed, Failed, Interrupted, Running};
    use super::*;

    static FAILED: LazyLock<Outcome> =
        LazyLock::new(|| Outcome::Failed(Failure::new(FailureKind::Other, "it failed")));

    fn reference() -> Reference<TurnState, TurnEvent<'static>> {
        let edges = vec![
            (Running, Finish(&Outcome::Completed), Completed),
            (Running, Finish(&FAILED), Failed),
            (Running, Finish(&Outcome::Interrupted), Interrupted),
            (Running, Stopped, Interrupted),
            (Running, ContainerGone, Abandoned),
        ];
        Reference {
            machine: "turn",
            start: Running,
            states: TurnState::ALL.to_vec(),
            events: edges.iter().map(|(_, event, _)| *event).collect(),
            edges,
            ends: vec![Completed, Failed, Interrupted, Abandoned],
            revivals: Vec::new(),
        }
    }

    #[test]
    fn a_turn_has_these_steps_and_no_others() {
        reference().holds(TurnState::next);
    }

    proptest! {
        /// The first end is the end.
        #[test]
        fn a_turn_follows_its_reference(events in proptest::collection::vec(0..5usize, 1..20)) {
            reference().follows(&events, TurnState::next);
        }
    }
}
