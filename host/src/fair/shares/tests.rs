use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Few = Shares<usize, usize>;

fn granted(entry: Entry) -> Ticket {
    match entry {
        Entry::Granted(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn waits(entry: Entry) -> Ticket {
    match entry {
        Entry::Waits(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_that_takes_all_it_may_leaves_others_theirs() {
    let mut shares = Few::new(Bounds { own: 1, group: 3, whole: 4, line: 9 });
    let noisy: Vec<_> = (0..4).map(|_| granted(shares.ask(0, 0, 1))).collect();
    waits(shares.ask(0, 0, 1));
    assert_eq!(shares.taken(&0), Taken { group: 4, all: 4 });
    // The last of the whole is another's, and when there is none a third still has its own.
    granted(shares.ask(1, 0, 1));
    granted(shares.ask(1, 0, 1));
    granted(shares.ask(2, 0, 1));
    let third = waits(shares.ask(2, 0, 1));
    assert_eq!(shares.leave(noisy[1]), [third], "the noisy group waits for longer, but has more");
}

#[test]
fn what_is_small_does_not_wait_behind_what_is_large() {
    let mut shares = Few::new(Bounds { own: 4, group: 64, whole: 256, line: 9 });
    for group in 0..4 {
        granted(shares.ask(group, 0, 64));
    }
    waits(shares.ask(5, 0, 5));
    granted(shares.ask(5, 0, 4));
    granted(shares.ask(5, 1, 4));
    granted(shares.ask(0, 0, 1));
    waits(shares.ask(0, 0, 4));
}

#[test]
fn what_is_large_does_not_starve_behind_what_is_middling() {
    let mut shares = Few::new(Bounds { own: 0, group: 8, whole: 8, line: 9 });
    let middling = [granted(shares.ask(0, 0, 4)), granted(shares.ask(1, 0, 4))];
    let large = waits(shares.ask(2, 0, 8));
    waits(shares.ask(0, 0, 4));
    assert!(shares.leave(middling[0]).is_empty(), "half of the room is kept for the large one");
    assert_eq!(shares.leave(middling[1]), [large]);
}

#[test]
fn what_is_freed_goes_round_over_groups_and_in_order_within_one() {
    let mut shares = Few::new(Bounds { own: 0, group: 9, whole: 1, line: 9 });
    let mut holder = granted(shares.ask(0, 0, 1));
    let noisy: Vec<_> = (0..3).map(|_| waits(shares.ask(0, 0, 1))).collect();
    let (seven, eight) = (waits(shares.ask(7, 0, 1)), waits(shares.ask(8, 0, 1)));
    let mut order = Vec::new();
    while let [next] = shares.leave(holder)[..] {
        order.push(next);
        holder = next;
    }
    assert_eq!(order, [noisy[0], seven, eight, noisy[1], noisy[2]]);
}

#[test]
fn a_line_has_an_end() {
    let mut shares = Few::new(Bounds { own: 0, group: 1, whole: 1, line: 1 });
    granted(shares.ask(0, 0, 1));
    let first = waits(shares.ask(0, 0, 1));
    assert_eq!(shares.ask(0, 0, 1), Entry::Refused);
    waits(shares.ask(1, 0, 1));
    shares.leave(first);
    waits(shares.ask(0, 0, 1));
}

const BOUNDS: Bounds = Bounds { own: 2, group: 5, whole: 8, line: 4 };

/// Somebody who asked.
#[derive(Debug, Clone, Copy)]
struct One {
    group: usize,
    member: usize,
    amount: u32,
    state: State,
}

/// What [`Shares`] is to do, in the simplest words.
#[derive(Debug, Default)]
struct Model {
    asked: BTreeMap<Ticket, One>,
    /// (who waits, who was given some though it had as much): how often, in this wait.
    passed: BTreeMap<(usize, usize), usize>,
}

impl Model {
    fn own(&self, of: &One) -> u32 {
        let same = |one: &&One| one.state == State::Own && (one.group, one.member) == (of.group, of.member);
        self.asked.values().filter(same).map(|one| one.amount).sum()
    }

    fn fits_own(&self, one: &One) -> bool {
        self.own(one) + one.amount <= BOUNDS.own
    }

    fn held(&self, group: usize) -> u32 {
        let shared = self.asked.values().filter(|one| one.state == State::Shared && one.group == group);
        shared.map(|one| one.amount.min(BOUNDS.group)).sum()
    }

    fn whole(&self) -> u32 {
        (0..GROUPS).map(|group| self.held(group)).sum()
    }

    fn line(&self, group: usize) -> Vec<(Ticket, One)> {
        let waits = |(_, one): &(Ticket, One)| one.state == State::Waits && one.group == group;
        self.asked.iter().map(|(ticket, one)| (*ticket, *one)).filter(waits).collect()
    }

    /// The first of a group that waits, if only the whole holds it up.
    fn head(&self, group: usize) -> Option<(Ticket, u32)> {
        let (ticket, one) = self.line(group).first().copied()?;
        let amount = one.amount.min(BOUNDS.group);
        (self.held(group) + amount <= BOUNDS.group).then_some((ticket, amount))
    }

    /// Somebody is given some of the whole.
    fn shared(&mut self, ticket: Ticket) -> Result<(), TestCaseError> {
        let group = self.asked[&ticket].group;
        prop_assert_eq!(self.head(group).map(|(first, _)| first), Some(ticket), "in order, within its bound");
        let others = (0..GROUPS).filter(|other| *other != group && self.head(*other).is_some());
        for other in others.collect::<Vec<_>>() {
            prop_assert!(self.held(group) <= self.held(other), "{group} has more than {other}, which waits");
            if self.held(group) == self.held(other) {
                let passed = self.passed.entry((other, group)).or_default();
                *passed += 1;
                prop_assert!(*passed <= 1, "{group} was served twice before {other}");
            }
        }
        self.passed.retain(|(waits, _), _| *waits != group);
        self.asked.entry(ticket).and_modify(|one| one.state = State::Shared);
        Ok(())
    }

    fn ask(&mut self, one: One, entry: &Entry) -> Result<(), TestCaseError> {
        let (fits, full) = (self.fits_own(&one), self.line(one.group).len() >= BOUNDS.line);
        match entry {
            Entry::Granted(ticket) if fits => {
                self.asked.insert(*ticket, One { state: State::Own, ..one });
            }
            Entry::Granted(ticket) => {
                self.asked.insert(*ticket, one);
                self.shared(*ticket)?;
            }
            Entry::Waits(ticket) => {
                prop_assert!(!fits, "who has it of its own does not wait");
                self.asked.insert(*ticket, one);
            }
            Entry::Refused => prop_assert!(full && !fits),
        }
        Ok(())
    }

    fn leave(&mut self, ticket: Ticket, granted: &[Ticket]) -> Result<(), TestCaseError> {
        let Some(left) = self.asked.remove(&ticket) else {
            prop_assert!(granted.is_empty());
            return Ok(());
        };
        for next in granted {
            let one = *self.asked.get(next).ok_or_else(|| TestCaseError::fail("granted to nobody"))?;
            prop_assert_eq!(one.state, State::Waits);
            let same = (one.group, one.member) == (left.group, left.member);
            if left.state == State::Own && same && self.fits_own(&one) {
                self.asked.entry(*next).and_modify(|one| one.state = State::Own);
            } else {
                self.shared(*next)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, shares: &Few) -> Result<(), TestCaseError> {
        for group in 0..GROUPS {
            if self.line(group).is_empty() {
                self.passed.retain(|(waits, _), _| *waits != group);
            }
            prop_assert!(self.held(group) <= BOUNDS.group);
            let all = self.asked.values().filter(|one| one.state == State::Own);
            let own: u32 = all.clone().filter(|one| one.group == group).map(|one| one.amount).sum();
            let taken =
                Taken { group: self.held(group) + own, all: self.whole() + all.map(|one| one.amount).sum::<u32>() };
            prop_assert_eq!(shares.taken(&group), taken);
        }
        prop_assert!(self.whole() <= BOUNDS.whole);
        for one in self.asked.values() {
            prop_assert!(self.own(one) <= BOUNDS.own);
            prop_assert!(one.state != State::Waits || !self.fits_own(one), "it has that of its own");
        }
        // Nothing lies idle: one of those with the least needs more than is free.
        let heads: Vec<_> = (0..GROUPS).filter_map(|group| Some((self.held(group), self.head(group)?.1))).collect();
        let least = heads.iter().map(|(held, _)| *held).min();
        let free = BOUNDS.whole - self.whole();
        let held_up = heads.iter().any(|(held, amount)| Some(*held) == least && *amount > free);
        prop_assert!(heads.is_empty() || held_up, "{free} is free and somebody waits for less");
        Ok(())
    }
}

const GROUPS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn shares_are_fair_and_nothing_lies_idle(
        steps in proptest::collection::vec((0..3_u8, 0..8_usize, 0..2_usize, 0..8_u32, any::<prop::sample::Index>()), 0..120)
    ) {
        let (mut shares, mut model) = (Few::new(BOUNDS), Model::default());
        for (step, group, member, amount, which) in steps {
            if step == 0 && !model.asked.is_empty() {
                let ticket = *which.get(&model.asked.keys().copied().collect::<Vec<_>>());
                model.leave(ticket, &shares.leave(ticket))?;
            } else {
                // Uneven: half of what is asked is one group's.
                let group = group.saturating_sub(GROUPS);
                let one = One { group, member, amount, state: State::Waits };
                model.ask(one, &shares.ask(group, member, amount))?;
            }
            model.check(&shares)?;
        }
        while let Some(ticket) = model.asked.keys().next().copied() {
            model.leave(ticket, &shares.leave(ticket))?;
            model.check(&shares)?;
        }
        prop_assert!(shares.asked.is_empty() && shares.own.is_empty() && shares.groups.is_empty(), "nothing is remembered");
    }
}
