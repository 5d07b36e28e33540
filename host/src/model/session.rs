//! A session's life.
//!
//! ```text
//!            wake            granted           hello           claimed
//!  stopped ───────▶ queued ──────────▶ starting ─────▶ idle ────────────▶ busy
//!     ▲  ▲             │                  │  │          │ ▲  turn ended    │
//!     │  └──cancelled──┘                  │  │          │ └────────────────┤
//!     │                                   │  └──stop──▶ │                  │
//!     │                                   ▼             ▼ stop             ▼ stop
//!     └───────────────────────gone────────┴──────── stopping ◀─────────────┘
//! ```
//! `gone` (the container ended, or could not start) leads to `stopped` from wherever there could be a container.

use cofferdam_protocol::admin::SessionState;

use super::IllegalTransition;

/// Where a session is; the protocol's [`SessionState`] with its transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase(SessionState);

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseEvent {
    /// A message waits.
    Wake,
    /// It has no reason to wait for a place any more.
    Cancelled,
    /// It got a place under `max_sessions`.
    Granted,
    /// A container of it was found running when the daemon started.
    Adopted,
    /// Its runner said hello.
    Hello,
    /// A turn was handed to the runner.
    Claimed,
    /// The turn ended.
    TurnEnded,
    /// Its container is told to stop.
    Stop,
    /// Its container is gone, or could not start.
    Gone,
}

impl Phase {
    /// A session without a container.
    pub const STOPPED: Self = Self(SessionState::Stopped);

    /// The state as the protocol names it.
    pub fn state(self) -> SessionState {
        self.0
    }

    /// The phase after `event`.
    pub fn next(self, event: PhaseEvent) -> Result<Self, IllegalTransition> {
        use PhaseEvent as E;
        use SessionState as S;
        let to = match (self.0, event) {
            (S::Stopped, E::Wake) => S::Queued,
            (S::Queued, E::Cancelled) => S::Stopped,
            (S::Queued, E::Granted) => S::Starting,
            (S::Stopped, E::Adopted) => S::Idle,
            (S::Starting, E::Hello) => S::Idle,
            (S::Idle, E::Claimed) => S::Busy,
            (S::Busy, E::TurnEnded) => S::Idle,
            (S::Stopping, E::TurnEnded | E::Hello | E::Stop) => S::Stopping,
            (S::Starting | S::Idle | S::Busy, E::Stop) => S::Stopping,
            (S::Starting | S::Idle | S::Busy | S::Stopping, E::Gone) => S::Stopped,
            _ => {
                return Err(IllegalTransition {
                    machine: "session",
                    state: format!("{:?}", self.0),
                    event: format!("{event:?}"),
                });
            }
        };
        Ok(Self(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_once_around() {
        use PhaseEvent::{Claimed, Gone, Granted, Hello, Stop, TurnEnded, Wake};
        let mut phase = Phase::STOPPED;
        for event in [Wake, Granted, Hello, Claimed, TurnEnded, Claimed, Stop, TurnEnded, Gone] {
            phase = phase.next(event).unwrap();
        }
        assert_eq!(phase, Phase::STOPPED);
    }

    #[test]
    fn nothing_is_claimed_without_a_runner() {
        for phase in [SessionState::Stopped, SessionState::Queued, SessionState::Starting, SessionState::Stopping] {
            assert!(Phase(phase).next(PhaseEvent::Claimed).is_err(), "{phase:?}");
        }
    }
}
