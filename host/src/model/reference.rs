//! What a state machine is held against in tests: a table of its steps, written apart from its code.

use std::fmt::Debug;

use super::IllegalTransition;

/// A machine, as its diagram has it.
pub(super) struct Reference<S, E> {
    /// Its name in errors.
    pub(super) machine: &'static str,
    pub(super) start: S,
    pub(super) states: Vec<S>,
    pub(super) events: Vec<E>,
    /// Every step that there is.
    pub(super) edges: Vec<(S, E, S)>,
    /// Where it may stay for good.
    pub(super) ends: Vec<S>,
    /// What may follow an end, because a person says so.
    pub(super) revivals: Vec<E>,
}

impl<S: Copy + PartialEq + Debug, E: Copy + PartialEq + Debug> Reference<S, E> {
    fn step(&self, state: S, event: E) -> Option<S> {
        self.edges.iter().find(|(from, by, _)| *from == state && *by == event).map(|(_, _, to)| *to)
    }

    fn agrees(&self, state: S, event: E, given: &Result<S, IllegalTransition>) {
        match (self.step(state, event), given) {
            (Some(to), Ok(given)) => assert_eq!(*given, to, "{state:?}, {event:?}"),
            (None, Err(error)) => {
                assert_eq!(error.machine, self.machine);
                assert_eq!((&error.state, &error.event), (&format!("{state:?}"), &format!("{event:?}")));
            }
            (expected, given) => panic!("{state:?}, {event:?}: {given:?}, but the table has {expected:?}"),
        }
    }

    /// Where one can get from `from`.
    fn reach(&self, from: S) -> Vec<S> {
        let mut found = vec![from];
        let mut at = 0;
        while let Some(state) = found.get(at).copied() {
            for (_, _, to) in self.edges.iter().filter(|(from, _, _)| *from == state) {
                if !found.contains(to) {
                    found.push(*to);
                }
            }
            at += 1;
        }
        found
    }

    /// The machine has the table's steps and no others; every state can be reached, every one has a way to an end, and
    /// nothing but a person's word follows an end.
    pub(super) fn holds(&self, next: impl Fn(S, E) -> Result<S, IllegalTransition>) {
        for state in self.states.iter().copied() {
            for event in self.events.iter().copied() {
                self.agrees(state, event, &next(state, event));
            }
            assert!(self.reach(self.start).contains(&state), "{state:?} cannot be reached");
            assert!(self.reach(state).iter().any(|to| self.ends.contains(to)), "{state:?} never ends");
        }
        for (from, event, to) in &self.edges {
            let absorbed = from == to || self.revivals.contains(event);
            assert!(!self.ends.contains(from) || absorbed, "{event:?} follows the end {from:?}");
        }
    }

    /// Machine and table stay together through events of these numbers; a step that is refused changes nothing.
    pub(super) fn follows(&self, events: &[usize], next: impl Fn(S, E) -> Result<S, IllegalTransition>) {
        let (mut expected, mut state) = (self.start, self.start);
        for event in events.iter().map(|at| self.events[*at]) {
            let given = next(state, event);
            self.agrees(expected, event, &given);
            expected = self.step(expected, event).unwrap_or(expected);
            state = given.unwrap_or(state);
            assert_eq!(state, expected);
        }
    }
}
