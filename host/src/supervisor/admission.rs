//! Who may have a container: at most `max` at once. Places go round over groups: the next free one is for the group
//! that has the fewest, of several for the one that was given none for the longest; within a group, first come, first
//! served. So a group with a thousand sessions costs another at most one turn of waiting for each of its places.
//!
//! No place is free while somebody waits. An idle container makes room at once, a busy one between two of its turns, if
//! its group has more than its share, or if it had its place for [`QUANTUM`] and the next in line is not itself.
//!
//! Plain data without locks, tasks or clocks; [`super::Supervisor`] acts on the answers.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cofferdam_protocol::ids::{Folder, SessionId};

/// How long a session that always has messages keeps its place while others wait. To stop a container and start the
/// next takes about a second: this keeps that below a tenth of the place's time, and real turns are as long anyway.
pub const QUANTUM: Duration = Duration::from_secs(10);

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
    placed: Vec<Placed>,
    /// The groups with sessions that wait; none of them is empty.
    lines: HashMap<Folder, Line>,
    /// Each session that waits, and its number in its group's line.
    waiting: HashMap<SessionId, (Folder, u64)>,
    clock: u64,
}

/// A session with a place.
#[derive(Debug)]
struct Placed {
    session: SessionId,
    group: Folder,
    /// Since when it is idle, as a rank; none: it is busy.
    idle_since: Option<u64>,
    /// It was told to stop, so its place is as good as free.
    leaving: bool,
}

/// A group's sessions that wait, in order of asking.
#[derive(Debug, Default)]
struct Line {
    /// Since when it was given nothing, as a rank.
    since: u64,
    sessions: VecDeque<(u64, SessionId)>,
}

/// A group that waits, with what decides between groups: less is next.
#[derive(Debug)]
struct Bid<'a> {
    holds: usize,
    since: u64,
    waiting: usize,
    group: &'a Folder,
}

impl Admission {
    /// `max` places.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), placed: Vec::new(), lines: HashMap::new(), waiting: HashMap::new(), clock: 0 }
    }

    /// A session asks for a place.
    pub fn request(&mut self, group: &Folder, session: SessionId) -> Vec<Step> {
        if !self.waiting.contains_key(&session) && self.find(&session).is_none() {
            let number = self.tick();
            let line = self.lines.entry(group.clone()).or_insert_with(|| Line { since: number, ..Line::default() });
            line.sessions.push_back((number, session.clone()));
            self.waiting.insert(session, (group.clone(), number));
        }
        self.settle()
    }

    /// A session does not want a place any more.
    pub fn cancel(&mut self, session: &SessionId) {
        let Some((group, number)) = self.waiting.remove(session) else { return };
        let Some(line) = self.lines.get_mut(&group) else { return };
        if let Ok(at) = line.sessions.binary_search_by_key(&number, |(number, _)| *number) {
            line.sessions.remove(at);
        }
        if line.sessions.is_empty() {
            self.lines.remove(&group);
        }
    }

    /// A session has a container that we did not start: it has a place, even beyond `max`.
    pub fn adopt(&mut self, group: &Folder, session: SessionId) {
        if self.find(&session).is_none() {
            self.place(group.clone(), session);
        }
    }

    /// A session's container has nothing to do.
    pub fn idle(&mut self, session: &SessionId) -> Vec<Step> {
        let now = self.tick();
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

    /// Whether a session between two turns has to stop for others, with its place held for so long. If so, its place is
    /// promised, and it is to be released and to ask again.
    pub fn yields(&mut self, session: &SessionId, held: Duration) -> bool {
        let Some(placed) = self.find(session) else { return false };
        placed.leaving = false;
        let own = placed.group.clone();
        let yields = self.is_for_another(&own, held);
        if let Some(placed) = self.find(session) {
            placed.leaving = yields;
        }
        yields
    }

    /// Whether a place of the group `own` should go to the next in line.
    fn is_for_another(&self, own: &Folder, held: Duration) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let leaving = self.placed.iter().filter(|placed| placed.leaving).count();
        let mut bids = self.bids();
        // Those who leave already serve the first that wait.
        for now in (self.clock..).skip(1).take(leaving) {
            if let Some(served) = next(&mut bids) {
                served.waiting -= 1;
                served.holds += 1;
                served.since = now;
            }
        }
        let has = bids.iter().find(|bid| bid.group == own).map_or_else(|| self.holds(own), |bid| bid.holds);
        // As it would be without this place.
        if let Some(bid) = bids.iter_mut().find(|bid| bid.group == own) {
            bid.holds = bid.holds.saturating_sub(1);
        }
        match next(&mut bids) {
            None => false,
            Some(bid) if bid.group == own => held >= QUANTUM,
            Some(bid) if bid.holds + 1 < has => true,
            // The same the other way round: only in turns.
            Some(bid) => bid.holds < has && held >= QUANTUM,
        }
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
        self.waiting.len()
    }

    /// About how many are before this one, as if all groups had as many places; none when it does not wait.
    pub fn ahead(&self, session: &SessionId) -> Option<usize> {
        let (group, number) = self.waiting.get(session)?;
        let own = self.lines.get(group)?;
        let rank = own.sessions.partition_point(|(other, _)| other < number);
        let others = self.lines.iter().filter(|(other, _)| *other != group);
        let before = others.map(|(_, line)| line.sessions.len().min(rank + usize::from(line.since < own.since)));
        Some(rank + before.sum::<usize>())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn find(&mut self, session: &SessionId) -> Option<&mut Placed> {
        self.placed.iter_mut().find(|placed| placed.session == *session)
    }

    fn place(&mut self, group: Folder, session: SessionId) {
        self.placed.push(Placed { session, group, idle_since: None, leaving: false });
    }

    /// The places that a group keeps.
    fn holds(&self, group: &Folder) -> usize {
        self.placed.iter().filter(|placed| !placed.leaving && placed.group == *group).count()
    }

    fn bids(&self) -> Vec<Bid<'_>> {
        let mut holds = HashMap::<&Folder, usize>::new();
        for placed in self.placed.iter().filter(|placed| !placed.leaving) {
            *holds.entry(&placed.group).or_default() += 1;
        }
        let bid = |(group, line): (_, &Line)| Bid {
            holds: holds.get(group).copied().unwrap_or(0),
            since: line.since,
            waiting: line.sessions.len(),
            group,
        };
        self.lines.iter().map(bid).collect()
    }

    /// Takes the next session out of its line.
    fn take_next(&mut self) -> Option<(Folder, SessionId)> {
        let group = next(&mut self.bids())?.group.clone();
        let now = self.tick();
        let line = self.lines.get_mut(&group)?;
        let (_, session) = line.sessions.pop_front()?;
        line.since = now;
        if line.sessions.is_empty() {
            self.lines.remove(&group);
        }
        self.waiting.remove(&session);
        Some((group, session))
    }

    fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.placed.len() < self.max {
            let Some((group, session)) = self.take_next() else { return steps };
            self.place(group, session.clone());
            steps.push(Step::Grant(session));
        }
        // One idle container leaves for each that waits, the longest idle first.
        let mut leaving = self.placed.iter().filter(|placed| placed.leaving).count();
        while leaving < self.waiting.len() {
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

fn next<'a, 'b>(bids: &'b mut [Bid<'a>]) -> Option<&'b mut Bid<'a>> {
    bids.iter_mut().filter(|bid| bid.waiting > 0).min_by_key(|bid| (bid.holds, bid.since))
}

#[cfg(test)]
mod tests;
