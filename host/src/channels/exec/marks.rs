//! How far a program has read, when its messages are not taken in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// The messages of one run of a program.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Not taken yet.
    open: BTreeSet<u64>,
    /// Cursors that came with messages, and that are not kept yet.
    cursors: BTreeMap<u64, String>,
}

impl Marks {
    /// A message came; answers its place.
    pub(super) fn came(&self, cursor: Option<String>) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = state.next;
        state.next += 1;
        state.open.insert(place);
        if let Some(cursor) = cursor {
            state.cursors.insert(place, cursor);
        }
        place
    }

    /// The message at this place is taken; answers the cursor of the last message before which all are taken, if it is
    /// another than before.
    pub(super) fn taken(&self, place: u64) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.remove(&place);
        let first = state.open.first().copied().unwrap_or(state.next);
        let after = state.cursors.split_off(&first);
        let reached = std::mem::replace(&mut state.cursors, after);
        if let Some((_, cursor)) = reached.into_iter().next_back() {
            return Some(cursor);
        }
        state.forget_around(place);
        None
    }
}

impl State {
    /// Of two cursors with nothing open between them only the later one can matter: so a message that waits for long
    /// does not make this grow.
    fn forget_around(&mut self, place: u64) {
        let before = self.cursors.range(..place).next_back().map(|(at, _)| *at);
        let after = self.cursors.range(place..).next().map(|(at, _)| *at);
        if let (Some(before), Some(after)) = (before, after)
            && self.open.range(before + 1..=after).next().is_none()
        {
            self.cursors.remove(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_waits_for_all_before_it() {
        let marks = Marks::default();
        let places: Vec<u64> = ["a", "b", "c", "d"].map(|cursor| marks.came(Some(cursor.into()))).into();
        assert_eq!(marks.taken(places[1]), None);
        assert_eq!(marks.taken(places[2]), None);
        assert_eq!(marks.taken(places[0]).as_deref(), Some("c"));
        assert_eq!(marks.taken(places[3]).as_deref(), Some("d"));
    }

    proptest! {
        #[test]
        fn what_is_answered_is_what_a_list_says(
            cursors in proptest::collection::vec(any::<bool>(), 1..40),
            order in proptest::collection::vec(any::<u16>(), 40),
        ) {
            let marks = Marks::default();
            let places: Vec<u64> =
                cursors.iter().enumerate().map(|(at, has)| marks.came(has.then(|| at.to_string()))).collect();
            let mut left = places.clone();
            let (mut taken, mut kept) = (vec![false; cursors.len()], None);
            for chance in order {
                if left.is_empty() { break }
                let place = left.remove(usize::from(chance) % left.len());
                taken[usize::try_from(place).unwrap()] = true;
                let reached = taken.iter().take_while(|taken| **taken).count();
                let wanted = (0..reached).rev().find(|at| cursors[*at]).map(|at| at.to_string());
                if let Some(cursor) = marks.taken(place) {
                    kept = Some(cursor);
                }
                prop_assert_eq!(&kept, &wanted);
                let state = marks.0.lock().unwrap();
                prop_assert!(state.cursors.len() <= state.open.len() * 2 + 1);
            }
        }
    }
}
