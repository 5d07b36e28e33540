//! Who may have a container: at most `max` at once, the rest in order of asking; an idle one makes room.
//!
//! Plain data without locks or tasks; [`super::Supervisor`] acts on the answers.

use std::collections::VecDeque;

use cofferdam_protocol::ids::SessionId;

/// What to do after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The session may start its container.
    Grant(SessionId),
    /// The idle session should stop to make room.
    Evict(SessionId),
}

/// The places and who wants one.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    /// Sessions with a place; `idle` since when, as a rank, or busy.
    placed: Vec<Placed>,
    queue: VecDeque<SessionId>,
    clock: u64,
}

#[derive(Debug)]
struct Placed {
    session: SessionId,
    idle_since: Option<u64>,
    leaving: bool,
}

impl Admission {
    /// `max` places.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), placed: Vec::new(), queue: VecDeque::new(), clock: 0 }
    }

    /// A session asks for a place.
    pub fn request(&mut self, session: SessionId) -> Vec<Step> {
        if !self.queue.contains(&session) && self.find(&session).is_none() {
            self.queue.push_back(session);
        }
        self.settle()
    }

    /// A session does not want a place any more.
    pub fn cancel(&mut self, session: &SessionId) {
        self.queue.retain(|queued| queued != session);
    }

    /// A session has a container that we did not start: it has a place, even beyond `max`.
    pub fn adopt(&mut self, session: SessionId) {
        if self.find(&session).is_none() {
            self.placed.push(Placed { session, idle_since: None, leaving: false });
        }
    }

    /// A session's container has nothing to do.
    pub fn idle(&mut self, session: &SessionId) -> Vec<Step> {
        self.clock += 1;
        let now = self.clock;
        if let Some(placed) = self.find(session) {
            placed.idle_since.get_or_insert(now);
        }
        self.settle()
    }

    /// A session's container has something to do again.
    pub fn busy(&mut self, session: &SessionId) -> Vec<Step> {
        if let Some(placed) = self.find(session) {
            placed.idle_since = None;
            placed.leaving = false;
        }
        // If it was to leave, another has to.
        self.settle()
    }

    /// A session's container is gone.
    pub fn release(&mut self, session: &SessionId) -> Vec<Step> {
        self.placed.retain(|placed| placed.session != *session);
        self.settle()
    }

    /// Sessions with a place.
    pub fn running(&self) -> usize {
        self.placed.len()
    }

    /// Sessions that wait for one.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many are before this one; none when it does not wait.
    pub fn ahead(&self, session: &SessionId) -> Option<usize> {
        self.queue.iter().position(|queued| queued == session)
    }

    fn find(&mut self, session: &SessionId) -> Option<&mut Placed> {
        self.placed.iter_mut().find(|placed| placed.session == *session)
    }

    fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.placed.len() < self.max {
            let Some(session) = self.queue.pop_front() else { return steps };
            self.placed.push(Placed { session: session.clone(), idle_since: None, leaving: false });
            steps.push(Step::Grant(session));
        }
        // One idle container leaves for each that waits, the longest idle first.
        let mut leaving = self.placed.iter().filter(|placed| placed.leaving).count();
        while leaving < self.queue.len() {
            let longest = self
                .placed
                .iter_mut()
                .filter(|placed| !placed.leaving && placed.idle_since.is_some())
                .min_by_key(|placed| placed.idle_since);
            let Some(placed) = longest else { break };
            placed.leaving = true;
            leaving += 1;
            steps.push(Step::Evict(placed.session.clone()));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> SessionId {
        format!("{n:032x}").parse().unwrap()
    }

    #[test]
    fn the_oldest_waiter_is_served_first() {
        let mut admission = Admission::new(1);
        assert_eq!(admission.request(id(1)), [Step::Grant(id(1))]);
        assert!(admission.request(id(2)).is_empty());
        assert!(admission.request(id(3)).is_empty());
        assert_eq!(admission.release(&id(1)), [Step::Grant(id(2))]);
        assert_eq!(admission.release(&id(2)), [Step::Grant(id(3))]);
    }

    #[test]
    fn the_longest_idle_container_makes_room() {
        let mut admission = Admission::new(2);
        admission.request(id(1));
        admission.request(id(2));
        admission.idle(&id(2));
        admission.idle(&id(1));
        assert_eq!(admission.request(id(3)), [Step::Evict(id(2))]);
        assert!(admission.request(id(3)).is_empty(), "asked once");
    }

    #[test]
    fn when_the_chosen_one_gets_busy_another_makes_room() {
        let mut admission = Admission::new(2);
        admission.request(id(1));
        admission.request(id(2));
        admission.idle(&id(1));
        admission.idle(&id(2));
        assert_eq!(admission.request(id(3)), [Step::Evict(id(1))]);
        assert_eq!(admission.busy(&id(1)), [Step::Evict(id(2))]);
    }

    proptest! {
        /// Never more than `max` places, nobody twice, and nobody waits while a place is free.
        #[test]
        fn places_are_bounded_and_used(max in 1usize..5, steps in proptest::collection::vec((0usize..5, 0usize..9), 1..200)) {
            let mut admission = Admission::new(max);
            let (mut placed, mut waiting) = (BTreeSet::new(), Vec::<usize>::new());
            for (what, who) in steps {
                let done = match what {
                    0 | 1 => {
                        if !placed.contains(&who) && !waiting.contains(&who) { waiting.push(who); }
                        admission.request(id(who))
                    }
                    2 => { placed.remove(&who); admission.release(&id(who)) }
                    3 => admission.idle(&id(who)),
                    _ => { waiting.retain(|w| *w != who); admission.cancel(&id(who)); Vec::new() }
                };
                for step in done {
                    if let Step::Grant(session) = step {
                        let first = waiting.remove(0);
                        prop_assert_eq!(&session, &id(first));
                        placed.insert(first);
                    }
                }
                prop_assert!(placed.len() <= max);
                prop_assert_eq!(admission.running(), placed.len());
                prop_assert_eq!(admission.queued(), waiting.len());
                prop_assert!(waiting.is_empty() || placed.len() == max);
            }
        }
    }
}
