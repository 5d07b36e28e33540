//! How a container is told to end: first its runner, then the engine, then the engine again, by force.

use tokio::time::Instant;

use crate::model::outage::{GoneBy, WantedBy};

/// A container's end, asked for or not.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct End {
    /// Who wants it gone. With a person its turn is over, whether or not the runner still says so.
    pub(in crate::supervisor) wanted: Option<WantedBy>,
    /// It was given up because nothing was heard of it.
    pub(in crate::supervisor) silent: bool,
    /// The engine or the host ended with it.
    pub(in crate::supervisor) outage: bool,
    /// The actor before this one broke over it.
    pub(in crate::supervisor) broken: bool,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Stopping {
    kill_at: Instant,
    /// The engine was asked before, and it did not end.
    asked: bool,
    blameless: bool,
}

impl End {
    /// As an earlier daemon left it.
    pub(super) fn wanted_by(wanted: Option<WantedBy>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// A person wants it gone.
    pub(in crate::supervisor) fn is_by_person(&self) -> bool {
        self.wanted == Some(WantedBy::Person)
    }

    /// The runner is told to end it, and the engine after `kill_at`.
    pub(super) fn is_asked_of_the_runner(&mut self, kill_at: Instant) {
        self.stopping = Some(Stopping { kill_at, asked: false, blameless: true });
    }

    /// The engine is told to end it, if there `is` a container yet, and told again at `again`. Answers whether it was told
    /// before. Nothing takes back that the turn is without blame.
    pub(super) fn is_asked_of_the_engine(&mut self, again: Instant, is: bool, blameless: bool) -> bool {
        let before = self.stopping.take();
        let asked = before.as_ref().is_some_and(|stopping| stopping.asked);
        let blameless = blameless || before.is_some_and(|stopping| stopping.blameless);
        self.stopping = Some(Stopping { kill_at: again, asked: is, blameless });
        asked
    }

    /// The engine did not hear of it.
    pub(super) fn not_asked(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.asked = false;
        }
    }

    /// The engine is asked again at once, if it was asked before.
    pub(in crate::supervisor) fn kill_now(&mut self) {
        if let Some(stopping) = &mut self.stopping
            && stopping.asked
        {
            stopping.kill_at = Instant::now();
        }
    }

    /// Whether it was told to end.
    pub(in crate::supervisor) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whose doing it is; `outage`: the engine says that it took the container along.
    pub(in crate::supervisor) fn gone_by(&self, outage: bool) -> GoneBy {
        match &self.stopping {
            _ if self.outage => GoneBy::Outage,
            Some(Stopping { blameless: true, .. }) => GoneBy::Plan,
            _ if outage => GoneBy::Outage,
            _ => GoneBy::Itself,
        }
    }

    /// When the engine is asked next.
    pub(super) fn kill_at(&self) -> Option<Instant> {
        self.stopping.as_ref().map(|stopping| stopping.kill_at)
    }

    pub(in crate::supervisor) fn kill_is_due(&self, now: Instant) -> bool {
        self.kill_at().is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_engine_is_asked_by_force_only_when_it_heard_of_it_before() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let mut end = End::default();
        assert!(!end.is_stopping() && !end.kill_is_due(later));
        assert!(!end.is_asked_of_the_engine(now, false, false), "there was no container to ask for");
        assert!(!end.is_asked_of_the_engine(now, true, false));
        assert!(end.is_asked_of_the_engine(later, true, false), "this is the second time");
        end.kill_now();
        assert!(end.kill_is_due(Instant::now()));
        end.not_asked();
        assert!(!end.is_asked_of_the_engine(later, true, false));
    }

    #[test]
    fn a_turn_without_blame_stays_so() {
        let mut end = End::default();
        end.is_asked_of_the_runner(Instant::now());
        end.is_asked_of_the_engine(Instant::now(), true, false);
        assert_eq!(end.gone_by(true), GoneBy::Plan, "its runner was asked first");
        let mut end = End::default();
        end.is_asked_of_the_engine(Instant::now(), true, false);
        assert_eq!((end.gone_by(false), end.gone_by(true)), (GoneBy::Itself, GoneBy::Outage));
        end.outage = true;
        assert_eq!(end.gone_by(false), GoneBy::Outage);
    }
}
