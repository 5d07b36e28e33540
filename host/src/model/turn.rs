//! A turn's life.

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
