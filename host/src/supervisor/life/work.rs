//! What a container is given to do.

use std::time::Duration;

use cofferdam_protocol::admin::Timings;
use cofferdam_protocol::ids::TurnId;
use tokio::time::Instant;

/// Turns, and the time between them.
#[derive(Default)]
pub(in crate::supervisor) struct Work {
    /// The turn that the runner has.
    pub(in crate::supervisor) turn: Option<TurnId>,
    /// After a claim that the store refused.
    pub(in crate::supervisor) claim_again: Option<Instant>,
    /// Somebody asked for its turn's end: what does not obey by then loses its container.
    pub(in crate::supervisor) obey_by: Option<Instant>,
    /// Told with the first turn's end.
    pub(in crate::supervisor) timings: Option<Timings>,
    /// Since when it keeps its place from others: its first turn here. With one, it works.
    pub(in crate::supervisor) serving_since: Option<Instant>,
    idle_since: Option<Instant>,
}

impl Work {
    /// The work of a container that starts.
    pub(super) fn to_come(timings: Timings) -> Self {
        Self { timings: Some(timings), ..Self::default() }
    }

    /// The work of a container that another daemon started.
    pub(super) fn under_way(turn: Option<TurnId>) -> Self {
        let now = Instant::now();
        Self { turn, serving_since: Some(now), idle_since: turn.is_none().then_some(now), ..Self::default() }
    }

    /// Whether a turn was handed to it.
    pub(in crate::supervisor) fn has_served(&self) -> bool {
        self.serving_since.is_some()
    }

    /// Notes a time, if the timings were not told yet.
    pub(super) fn time(&mut self, note: impl FnOnce(&mut Timings)) {
        if let Some(timings) = &mut self.timings {
            note(timings);
        }
    }

    pub(super) fn begins(&mut self, turn: TurnId) {
        self.serving_since.get_or_insert_with(Instant::now);
        self.idle_since = None;
        self.turn = Some(turn);
    }

    pub(super) fn turn_ended(&mut self) {
        self.turn = None;
        self.obey_by = None;
    }

    /// It has nothing to do.
    pub(in crate::supervisor) fn is_idle(&mut self) {
        self.idle_since.get_or_insert_with(Instant::now);
    }

    /// When it was idle for so long.
    pub(super) fn idle_end(&self, patience: Duration) -> Option<Instant> {
        Some(self.idle_since? + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idleness_begins_with_the_first_look_after_a_turn_and_ends_with_the_next() {
        let hour = Duration::from_secs(3600);
        let mut work = Work::default();
        assert!(!work.has_served() && work.idle_end(hour).is_none());
        work.begins(TurnId(1));
        work.turn_ended();
        assert!(work.has_served() && work.turn.is_none() && work.idle_end(hour).is_none());
        work.is_idle();
        let end = work.idle_end(hour);
        work.is_idle();
        assert!(end.is_some() && work.idle_end(hour) == end, "a second look begins no other");
        work.begins(TurnId(2));
        assert_eq!(work.idle_end(hour), None);
    }

    #[test]
    fn a_container_that_another_daemon_started_is_idle_without_a_turn() {
        let hour = Duration::from_secs(3600);
        assert!(Work::under_way(None).idle_end(hour).is_some());
        assert!(Work::under_way(Some(TurnId(1))).idle_end(hour).is_none());
    }
}
