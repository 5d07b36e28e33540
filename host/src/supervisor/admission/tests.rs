use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn id(n: usize) -> SessionId {
    format!("{n:032x}").parse().unwrap()
}

fn group(n: usize) -> Folder {
    format!("g{n}").parse().unwrap()
}

/// One group with these sessions, in order of asking.
fn asked(max: usize, sessions: &[(usize, usize)]) -> Admission {
    let mut admission = Admission::new(max);
    for (of, session) in sessions {
        admission.request(&group(*of), id(*session));
    }
    admission
}

#[test]
fn within_a_group_the_oldest_waiter_is_served_first() {
    let mut admission = Admission::new(1);
    assert_eq!(admission.request(&group(0), id(1)), [Step::Grant(id(1))]);
    assert!(admission.request(&group(0), id(2)).is_empty());
    assert!(admission.request(&group(0), id(3)).is_empty());
    assert_eq!((admission.ahead(&id(2)), admission.ahead(&id(3))), (Some(0), Some(1)));
    assert_eq!(admission.release(&id(1)), [Step::Grant(id(2))]);
    assert_eq!(admission.release(&id(2)), [Step::Grant(id(3))]);
}

#[test]
fn places_go_round_over_groups_however_many_sessions_one_has() {
    let mut admission = asked(1, &[(0, 1), (0, 2), (0, 3), (0, 4), (7, 70), (8, 80)]);
    assert_eq!(admission.ahead(&id(70)), Some(1), "the noisy group asked first");
    let mut order = Vec::new();
    let mut placed = id(1);
    while let [Step::Grant(next)] = &admission.release(&placed)[..] {
        order.push(next.clone());
        placed = next.clone();
    }
    assert_eq!(order, [id(2), id(70), id(80), id(3), id(4)]);
}

#[test]
fn the_group_with_the_fewest_places_is_next() {
    // The noisy group's fourth session asked long before the quiet group did.
    let mut admission = asked(3, &[(0, 1), (0, 2), (0, 3), (0, 4), (7, 70)]);
    assert_eq!(admission.release(&id(2)), [Step::Grant(id(70))]);
    assert_eq!(admission.release(&id(1)), [Step::Grant(id(4))], "nobody else waits");
}

#[test]
fn the_longest_idle_container_makes_room() {
    let mut admission = asked(2, &[(0, 1), (0, 2)]);
    admission.idle(&id(2));
    admission.idle(&id(1));
    assert_eq!(admission.request(&group(0), id(3)), [Step::Evict(id(2))]);
    assert!(admission.request(&group(0), id(3)).is_empty(), "asked once");
}

#[test]
fn when_the_chosen_one_gets_busy_another_makes_room() {
    let mut admission = asked(2, &[(0, 1), (0, 2)]);
    admission.idle(&id(1));
    admission.idle(&id(2));
    assert_eq!(admission.request(&group(0), id(3)), [Step::Evict(id(1))]);
    assert_eq!(admission.busy(&id(1)), [Step::Evict(id(2))]);
}

#[test]
fn a_place_is_kept_as_long_as_nobody_waits() {
    let mut admission = asked(2, &[(0, 1), (0, 2)]);
    assert!(!admission.yields(&id(1), QUANTUM * 100));
}

#[test]
fn a_group_with_more_than_its_share_gives_up_places_at_once_but_only_as_many_as_are_needed() {
    let mut admission = asked(4, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (7, 70), (8, 80)]);
    assert!(admission.yields(&id(1), Duration::ZERO));
    assert!(admission.yields(&id(2), Duration::ZERO));
    assert!(!admission.yields(&id(3), Duration::ZERO), "two wait, and two leave");
    assert_eq!(admission.release(&id(1)), [Step::Grant(id(70))]);
    assert_eq!(admission.release(&id(2)), [Step::Grant(id(80))]);
}

#[test]
fn among_equals_a_place_changes_hands_after_the_quantum() {
    let mut admission = asked(1, &[(0, 1), (7, 70)]);
    assert!(!admission.yields(&id(1), QUANTUM / 2));
    assert!(admission.yields(&id(1), QUANTUM));
    // A sibling is an equal too.
    let mut admission = asked(1, &[(0, 1), (0, 2)]);
    assert!(!admission.yields(&id(1), QUANTUM / 2));
    assert!(admission.yields(&id(1), QUANTUM));
}

#[test]
fn nobody_stops_for_a_group_that_has_more() {
    let admission = &mut asked(3, &[(0, 1), (0, 2), (7, 70), (0, 3)]);
    assert!(!admission.yields(&id(70), QUANTUM * 2), "it would be the next itself");
    assert!(admission.yields(&id(1), QUANTUM * 2), "its own sibling waits");
}

/// What [`Admission`] is to do, in the simplest words.
#[derive(Default)]
struct Model {
    placed: BTreeSet<usize>,
    leaving: BTreeSet<usize>,
    /// In order of asking.
    waiting: Vec<usize>,
    /// (who waits, who was granted a place though it had as many): how often, in this wait.
    passed: BTreeMap<(usize, usize), usize>,
}

const SESSIONS: usize = 12;
const GROUPS: usize = 4;

fn group_of(session: usize) -> usize {
    // Uneven: half of the sessions are one group's.
    if session < SESSIONS / 2 { 0 } else { 1 + session % (GROUPS - 1) }
}

impl Model {
    fn holds(&self, group: usize) -> usize {
        self.placed.difference(&self.leaving).filter(|session| group_of(**session) == group).count()
    }

    fn waits(&self, group: usize) -> bool {
        self.waiting.iter().any(|session| group_of(*session) == group)
    }

    fn granted(&mut self, session: usize) -> Result<(), TestCaseError> {
        let group = group_of(session);
        let first = self.waiting.iter().position(|other| group_of(*other) == group);
        prop_assert_eq!(first.map(|at| self.waiting[at]), Some(session), "first come, first served in its group");
        for other in (0..GROUPS).filter(|other| *other != group) {
            if self.waits(other) {
                prop_assert!(self.holds(group) <= self.holds(other), "{group} has more than {other}, which waits");
                if self.holds(group) == self.holds(other) {
                    let passed = self.passed.entry((other, group)).or_default();
                    *passed += 1;
                    prop_assert!(*passed <= 1, "{group} was served twice before {other}");
                }
            }
        }
        self.passed.retain(|(waits, _), _| *waits != group);
        self.waiting.retain(|other| *other != session);
        self.placed.insert(session);
        Ok(())
    }

    fn stepped(&mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for step in steps {
            let number = |session: &SessionId| usize::from_str_radix(session.as_str(), 16).unwrap();
            match step {
                Step::Grant(session) => self.granted(number(&session))?,
                Step::Evict(session) => prop_assert!(self.leaving.insert(number(&session)), "told once"),
            }
        }
        Ok(())
    }

    fn forget_who_stopped_waiting(&mut self) {
        let waits: BTreeSet<usize> = (0..GROUPS).filter(|group| self.waits(*group)).collect();
        self.passed.retain(|(group, _), _| waits.contains(group));
    }
}

proptest! {
    /// Never more than `max` places, nobody waits while one is free, first come first served within a group, and
    /// between groups: no group that has more is served before one that waits, and none that has as many is twice.
    #[test]
    fn places_are_bounded_used_and_fair(
        max in 1usize..5,
        steps in proptest::collection::vec((0usize..8, 0usize..SESSIONS), 1..300),
    ) {
        let mut admission = Admission::new(max);
        let mut model = Model::default();
        for (what, who) in steps {
            let session = id(who);
            match what {
                0..=2 => {
                    if !model.placed.contains(&who) && !model.waiting.contains(&who) {
                        model.waiting.push(who);
                    }
                    model.stepped(admission.request(&group(group_of(who)), session))?;
                }
                3 => {
                    model.placed.remove(&who);
                    model.leaving.remove(&who);
                    model.stepped(admission.release(&session))?;
                }
                4 => model.stepped(admission.idle(&session))?,
                5 => {
                    model.leaving.remove(&who);
                    model.stepped(admission.busy(&session))?;
                }
                6 => {
                    model.waiting.retain(|other| *other != who);
                    model.forget_who_stopped_waiting();
                    admission.cancel(&session);
                }
                _ => {
                    let waited = model.waiting.len();
                    if admission.yields(&session, QUANTUM) {
                        model.placed.remove(&who);
                        model.leaving.remove(&who);
                        model.stepped(admission.release(&session))?;
                        prop_assert_eq!(model.waiting.len(), waited - 1, "its place was wanted");
                    } else if model.placed.contains(&who) {
                        model.leaving.remove(&who);
                    }
                }
            }
            prop_assert!(model.placed.len() <= max);
            prop_assert_eq!(admission.running(), model.placed.len());
            prop_assert_eq!(admission.queued(), model.waiting.len());
            prop_assert!(model.waiting.is_empty() || model.placed.len() == max);
            for waits in &model.waiting {
                prop_assert!(admission.ahead(&id(*waits)).is_some_and(|ahead| ahead < model.waiting.len()));
            }
        }
    }

    /// Sessions that always have messages: the places get even over the groups that want them without any wait for the
    /// quantum, and with it every single session is served.
    #[test]
    fn endless_sessions_share(max in 1usize..6, wants in proptest::collection::vec(1usize..9, 1..5)) {
        let sessions: Vec<(usize, usize)> = wants.iter().enumerate()
            .flat_map(|(of, count)| (0..*count).map(move |n| (of, of * 100 + n))).collect();
        let mut admission = asked(max, &sessions);
        let mut placed: BTreeSet<usize> = sessions.iter().take(max).map(|(_, session)| *session).collect();
        let mut served = placed.clone();
        // One turn of each that has a place; answers who then had one.
        let mut round = |placed: &mut BTreeSet<usize>, held: Duration| {
            for session in placed.clone() {
                if admission.yields(&id(session), held) {
                    placed.remove(&session);
                    let mut steps = admission.release(&id(session));
                    steps.extend(admission.request(&group(session / 100), id(session)));
                    for step in steps {
                        let Step::Grant(granted) = step else { panic!("nobody is idle") };
                        placed.insert(usize::from_str_radix(granted.as_str(), 16).unwrap());
                    }
                }
            }
        };
        round(&mut placed, Duration::ZERO);
        let holds = |group: usize| placed.iter().filter(|session| *session / 100 == group).count();
        for (one, wanted) in wants.iter().enumerate() {
            for other in 0..wants.len() {
                let enough = holds(one) == *wanted;
                prop_assert!(enough || holds(one) + 1 >= holds(other), "{placed:?} of {wants:?}");
            }
        }
        // The last of a long line comes after each other group as often.
        for _ in 0..sessions.len() * wants.len() {
            round(&mut placed, QUANTUM);
            served.extend(placed.iter().copied());
        }
        prop_assert_eq!(served.len(), sessions.len(), "somebody starves");
    }
}
