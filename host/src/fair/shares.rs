//! Who may have how much. Each member of a group has a little of its own, which nobody can take from it; what goes beyond
//! comes out of a whole that all share, of which a group has its bound. What becomes free of the whole is for the group
//! that has the least of it, of several for the one that was given nothing for the longest; within a group, first come,
//! first served. Who is next and needs more than is free is waited for: large ones do not starve.
//!
//! Plain data without locks, tasks or clocks. It remembers only who has something or waits.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// How much there is, in whatever it is counted in.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What each member may have of its own, beyond the whole.
    pub own: u32,
    /// What a group may have of the whole. Who asks for more is given this much.
    pub group: u32,
    /// The whole.
    pub whole: u32,
    /// How many of a group may wait.
    pub line: usize,
}

/// What is taken, members' own included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// By one group.
    pub group: u32,
    /// By all.
    pub all: u32,
}

/// Names what somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// What becomes of who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Granted(Ticket),
    /// Until [`Shares::leave`] of another names it.
    Waits(Ticket),
    /// Too many of its group wait.
    Refused,
}

#[derive(Debug)]
pub(super) struct Shares<G, M> {
    bounds: Bounds,
    asked: HashMap<Ticket, Asked<G, M>>,
    /// What members have of their own; none is zero.
    own: HashMap<(G, M), u32>,
    /// The groups that have some of the whole, or wait.
    groups: HashMap<G, Group>,
    /// What is taken of the whole.
    held: u32,
    clock: u64,
}

#[derive(Debug)]
struct Asked<G, M> {
    group: G,
    member: M,
    amount: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// Of the member's own.
    Own,
    /// Of the whole.
    Shared,
}

#[derive(Debug, Default)]
struct Group {
    held: u32,
    /// Since when it was given nothing, as a rank.
    since: u64,
    /// In order of asking.
    line: BTreeSet<Ticket>,
}

impl<G: Clone + Eq + Hash, M: Clone + Eq + Hash> Shares<G, M> {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, asked: HashMap::new(), own: HashMap::new(), groups: HashMap::new(), held: 0, clock: 0 }
    }

    /// A member asks for so much.
    pub fn ask(&mut self, group: G, member: M, amount: u32) -> Entry {
        let ticket = Ticket(self.tick());
        let asked = Asked { group, member, amount, state: State::Waits };
        if self.has_own_for(&asked) {
            self.asked.insert(ticket, asked);
            self.grant_own(ticket);
            return Entry::Granted(ticket);
        }
        if self.groups.get(&asked.group).map_or(0, |group| group.line.len()) >= self.bounds.line {
            return Entry::Refused;
        }
        let group = self.groups.entry(asked.group.clone()).or_default();
        if group.line.is_empty() {
            group.since = ticket.0;
        }
        group.line.insert(ticket);
        self.asked.insert(ticket, asked);
        if self.share_out().contains(&ticket) { Entry::Granted(ticket) } else { Entry::Waits(ticket) }
    }

    /// Gives back what was granted, or waits no longer. Answers who is granted now what it waits for.
    pub fn leave(&mut self, ticket: Ticket) -> Vec<Ticket> {
        let Some(asked) = self.asked.remove(&ticket) else { return Vec::new() };
        let mut granted = Vec::new();
        match asked.state {
            State::Own => {
                let key = (asked.group.clone(), asked.member.clone());
                if let Some(has) = self.own.get_mut(&key) {
                    *has -= asked.amount;
                    if *has == 0 {
                        self.own.remove(&key);
                    }
                }
                granted = self.give_own(&asked.group);
            }
            State::Shared => {
                let amount = self.of_whole(&asked);
                self.held -= amount;
                if let Some(group) = self.groups.get_mut(&asked.group) {
                    group.held -= amount;
                }
            }
            State::Waits => {
                if let Some(group) = self.groups.get_mut(&asked.group) {
                    group.line.remove(&ticket);
                }
            }
        }
        granted.extend(self.share_out());
        self.forget_if_idle(&asked.group);
        granted
    }

    /// What is taken now.
    pub fn taken(&self, group: &G) -> Taken {
        let own = |of: Option<&G>| -> u32 {
            self.own.iter().filter(|((group, _), _)| of.is_none_or(|of| of == group)).map(|(_, has)| has).sum()
        };
        let shared = self.groups.get(group).map_or(0, |group| group.held);
        Taken { group: shared + own(Some(group)), all: self.held + own(None) }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// What it takes of the whole.
    fn of_whole(&self, asked: &Asked<G, M>) -> u32 {
        asked.amount.min(self.bounds.group).min(self.bounds.whole)
    }

    fn has_own_for(&self, asked: &Asked<G, M>) -> bool {
        let has = self.own.get(&(asked.group.clone(), asked.member.clone())).copied().unwrap_or(0);
        asked.amount <= self.bounds.own.saturating_sub(has)
    }

    fn grant_own(&mut self, ticket: Ticket) {
        let Some(asked) = self.asked.get_mut(&ticket) else { return };
        asked.state = State::Own;
        // Nothing takes nothing, and leaves no trace.
        if asked.amount > 0 {
            *self.own.entry((asked.group.clone(), asked.member.clone())).or_default() += asked.amount;
        }
    }

    /// Gives members of a group what they have of their own again; the oldest first.
    fn give_own(&mut self, group: &G) -> Vec<Ticket> {
        let line: Vec<Ticket> =
            self.groups.get(group).iter().flat_map(|group| group.line.iter().copied()).collect();
        let mut granted = Vec::new();
        for ticket in line {
            if self.asked.get(&ticket).is_some_and(|asked| self.has_own_for(asked)) {
                self.grant_own(ticket);
                if let Some(group) = self.groups.get_mut(group) {
                    group.line.remove(&ticket);
                }
                granted.push(ticket);
            }
        }
        granted
    }

    /// The next to be given some of the whole: those whose group is at its bound are passed over.
    fn next(&self) -> Option<(G, Ticket, u32)> {
        let bids = self.groups.iter().filter_map(|(name, group)| {
            let ticket = *group.line.first()?;
            let amount = self.of_whole(self.asked.get(&ticket)?);
            (group.held + amount <= self.bounds.group).then_some((group.held, group.since, name, ticket, amount))
        });
        let next = bids.min_by_key(|(held, since, ..)| (*held, *since));
        next.map(|(_, _, name, ticket, amount)| (name.clone(), ticket, amount))
    }

    fn share_out(&mut self) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some((name, ticket, amount)) = self.next()
            && self.held + amount <= self.bounds.whole
        {
            let now = self.tick();
            self.held += amount;
            if let Some(group) = self.groups.get_mut(&name) {
                group.held += amount;
                group.since = now;
                group.line.remove(&ticket);
            }
            if let Some(asked) = self.asked.get_mut(&ticket) {
                asked.state = State::Shared;
            }
            granted.push(ticket);
        }
        granted
    }

    fn forget_if_idle(&mut self, name: &G) {
        if self.groups.get(name).is_some_and(|group| group.held == 0 && group.line.is_empty()) {
            self.groups.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
