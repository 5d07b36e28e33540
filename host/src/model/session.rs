//! A session's life.
//!
//! ```text
//!            wake           granted            hello          claimed
//!  stopped ───────▶ queued ─────────▶ starting ──────▶ idle ──────────▶ busy
//!     ▲  ▲             │                  │            ▲ │ ▲  turn ended  │
//!     │  └──cancelled──┘                  │            │ │ └──────────────┤
//!     │   adopted (stopped) ──────────────┼────────────┘ │                │
//!     │                                   ▼ stop         ▼ stop           ▼ stop
//!     └────────────────gone─────────── stopping ◀────────┴────────────────┘
//! ```
//! `gone` (the container ended, or could not start) leads to `stopped` from wherever there could be a container.
//! While it stops, a hello, a turn's end and another stop are heard, and change nothing. The phase lives in memory: a
//! daemon that starts takes every session for stopped, and adopts the containers that it finds through the same steps.

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
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::PhaseEvent::{Adopted, Cancelled, Claimed, Gone, Granted, Hello, Stop, TurnEnded, Wake};
    use super::SessionState::{Busy, Idle, Queued, Starting, Stopped, Stopping};
    use super::*;

    const STATES: [SessionState; 6] = [Stopped, Queued, Starting, Idle, Busy, Stopping];
    const EVENTS: [PhaseEvent; 9] = [Wake, Cancelled, Granted, Adopted, Hello, Claimed, TurnEnded, Stop, Gone];

    fn reference() -> Reference<SessionState, PhaseEvent> {
        Reference {
            machine: "session",
            start: Stopped,
            states: STATES.to_vec(),
            events: EVENTS.to_vec(),
            edges: vec![
                (Stopped, Wake, Queued),
                (Stopped, Adopted, Idle),
                (Queued, Cancelled, Stopped),
                (Queued, Granted, Starting),
                (Starting, Hello, Idle),
                (Starting, Stop, Stopping),
                (Starting, Gone, Stopped),
                (Idle, Claimed, Busy),
                (Idle, Stop, Stopping),
                (Idle, Gone, Stopped),
                (Busy, TurnEnded, Idle),
                (Busy, Stop, Stopping),
                (Busy, Gone, Stopped),
                (Stopping, Hello, Stopping),
                (Stopping, TurnEnded, Stopping),
                (Stopping, Stop, Stopping),
                (Stopping, Gone, Stopped),
            ],
            // A stopped session wakes; it is where one may stay.
            ends: vec![Stopped],
            revivals: vec![Wake, Adopted],
        }
    }

    fn next(state: SessionState, event: PhaseEvent) -> Result<SessionState, IllegalTransition> {
        Phase(state).next(event).map(Phase::state)
    }

    #[test]
    fn a_session_has_these_steps_and_no_others() {
        reference().holds(next);
    }

    proptest! {
        #[test]
        fn a_session_follows_its_reference(events in proptest::collection::vec(0..EVENTS.len(), 1..80)) {
            reference().follows(&events, next);
        }

        /// A turn is begun only where a runner said hello or was adopted, once at a time, and never while it stops.
        #[test]
        fn a_turn_needs_a_runner(events in proptest::collection::vec(0..EVENTS.len(), 1..80)) {
            let (mut state, mut runner, mut turn) = (Stopped, false, false);
            for event in events.into_iter().map(|at| EVENTS[at]) {
                let Ok(to) = next(state, event) else { continue };
                match event {
                    Hello | Adopted => runner = true,
                    Claimed => {
                        prop_assert!(runner && !turn && state == Idle);
                        turn = true;
                    }
                    TurnEnded | Stop => turn = false,
                    Gone => (runner, turn) = (false, false),
                    _ => {}
                }
                state = to;
                prop_assert_eq!(state == Busy, turn);
            }
        }
    }

    #[test]
    fn a_session_lives_once_around() {
        let mut phase = Phase::STOPPED;
        for event in [Wake, Granted, Hello, Claimed, TurnEnded, Claimed, Stop, TurnEnded, Gone] {
            phase = phase.next(event).unwrap();
        }
        assert_eq!(phase, Phase::STOPPED);
    }
}
