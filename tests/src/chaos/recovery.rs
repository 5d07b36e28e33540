//! What each fault met, and how long it took until things went on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Ended, Verdict};
use super::faults::Struck;
use super::plan::Kind;
use super::rows::{Rows, TurnRow};
use super::story::{ByDesign, Story};

/// A time that somebody waited, ms since 1970.
#[derive(Debug, Clone)]
pub struct Wait {
    /// What it was, in words.
    pub what: String,
    /// The chat that waited.
    pub chat: String,
    /// Its session.
    pub session: String,
    /// From when.
    pub from: i64,
    /// Until when.
    pub to: i64,
    /// How much of it is so by design.
    pub by_design: ByDesign,
}

impl Wait {
    fn new(story: &Story, what: String, ended: &Ended, from: i64) -> Self {
        let to = story.ms(ended.reached);
        let (chat, session) = (ended.chat.clone(), ended.session.clone());
        let by_design = story.by_design(&chat, from, to);
        Self { what, chat, session, from, to, by_design }
    }

    /// Without what is so by design.
    pub fn net(&self) -> Duration {
        self.gross().saturating_sub(self.by_design.all)
    }

    /// All of it.
    pub fn gross(&self) -> Duration {
        Duration::from_millis((self.to - self.from).max(0).unsigned_abs())
    }
}

/// What the faults of one kind did.
#[derive(Debug, Default)]
pub struct OfKind {
    /// How many struck.
    pub struck: usize,
    /// How many of them met a turn that ran.
    pub met_a_turn: usize,
    /// How many met a message on its way, or its reply.
    pub met_a_message: usize,
    /// From each fault's end to the next outcome of a message that was in flight, for those that had any.
    pub recoveries: Vec<Wait>,
}

impl OfKind {
    /// The median and the longest of the recoveries, and the longest without what is so by design.
    pub fn figures(&self) -> [Option<Duration>; 3] {
        let mut gross: Vec<Duration> = self.recoveries.iter().map(Wait::gross).collect();
        gross.sort_unstable();
        let net = self.recoveries.iter().map(Wait::net).max();
        [gross.get(gross.len() / 2).copied(), gross.last().copied(), net]
    }
}

/// What the faults did, by their kind.
pub fn of(struck: &[Struck], verdict: &Verdict, groups: &[Rows], story: &Story) -> BTreeMap<Kind, OfKind> {
    let mut kinds: BTreeMap<Kind, OfKind> = BTreeMap::new();
    for fault in struck {
        let of_kind = kinds.entry(fault.kind).or_default();
        of_kind.struck += 1;
        let at = story.ms(fault.at);
        let ran = |turn: &TurnRow| {
            let mine = fault.session.as_ref().is_none_or(|session| *session == turn.session);
            mine && turn.started_at <= at && turn.finished_at.is_none_or(|end| end >= at)
        };
        of_kind.met_a_turn += usize::from(groups.iter().flat_map(|rows| &rows.turns).any(ran));
        let mine = |ended: &&Ended| fault.session.as_ref().is_none_or(|session| *session == ended.session);
        let mut flying = verdict.ends.iter().filter(mine);
        of_kind.met_a_message +=
            usize::from(flying.any(|ended| ended.posted <= fault.at && ended.reached >= fault.at));
        let left = verdict.ends.iter().filter(mine);
        let left = left.filter(|ended| ended.posted <= fault.over && ended.reached >= fault.over);
        if let Some(next) = left.min_by_key(|ended| ended.reached) {
            let wait = Wait::new(story, fault.kind.name().to_owned(), next, story.ms(fault.over));
            of_kind.recoveries.push(wait);
        }
    }
    kinds
}

/// How long each message waited for its outcome.
pub fn messages(verdict: &Verdict, story: &Story) -> Vec<Wait> {
    let wait = |ended: &Ended| {
        let what = format!("#{} of {}", ended.number, ended.chat);
        Wait::new(story, what, ended, story.ms(ended.posted))
    };
    verdict.ends.iter().map(wait).collect()
}

/// The longest of them: one with all that is in it, then so many without what is so by design.
pub fn slowest(waits: &[Wait], many: usize) -> Vec<&Wait> {
    let mut by_net: Vec<&Wait> = waits.iter().collect();
    by_net.sort_by_key(|wait| std::cmp::Reverse(wait.net()));
    by_net.truncate(many);
    let longest = waits.iter().max_by_key(|wait| wait.gross());
    let new = longest.filter(|longest| !by_net.iter().any(|wait| std::ptr::eq(*wait, *longest)));
    new.into_iter().chain(by_net).collect()
}
