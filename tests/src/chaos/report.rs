//! A run in figures.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::check::Verdict;
use super::explained::{Explained, explain};
use super::faults::Struck;
use super::plan::{Kind, Settings};
use super::recovery::{self, OfKind, Wait};
use super::rows::Rows;
use super::story::Story;
use super::timeline::Sources;

/// How many of the slowest recoveries, and of the slowest messages, are told moment by moment.
const TOLD: usize = 3;
/// What is wrong is named up to here: the rest mostly repeats it.
const MOST_WRONG: usize = 40;

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// How long it took, up to the last outcome.
    pub took: Duration,
    /// How often the daemon was started.
    pub starts: usize,
    /// How many nudges they lost.
    pub nudges_lost: usize,
    /// The faults, and what was measured of them.
    pub faults: BTreeMap<Kind, OfKind>,
    /// What became of the messages.
    pub verdict: Verdict,
    /// What the notices among that come of.
    pub explained: Explained,
    /// The longest that a message waited for its outcome, and without what is so by design.
    pub slowest: (Duration, Duration),
    /// The slowest recoveries and messages, moment by moment.
    pub told: Vec<String>,
    /// Repeated sends that the platform knew by their key.
    pub repeats: usize,
}

impl Report {
    /// Sums a run up, given what was struck, what it came to, and the daemon's log.
    pub fn new(
        settings: Settings,
        began: Instant,
        struck: &[Struck],
        mut verdict: Verdict,
        groups: &[Rows],
        log: &str,
    ) -> Self {
        let last = verdict.ends.iter().map(|ended| ended.reached).max().unwrap_or(began);
        let story = Story::of(log, groups);
        let explained = explain(&verdict.noticed, struck, groups, &story);
        verdict.wrong.extend(explained.wrong.iter().cloned());
        let nudges_lost = story.nudges_lost();
        let faults = recovery::of(struck, &verdict, groups, &story);
        let waits = recovery::messages(&verdict, &story);
        let slowest = longest(&waits);
        let recoveries: Vec<Wait> = faults.values().flat_map(|of_kind| of_kind.recoveries.clone()).collect();
        let sources = Sources { story: &story, struck, verdict: &verdict, groups };
        let told = [&recoveries, &waits].into_iter().flat_map(|waits| recovery::slowest(waits, TOLD));
        let told = told.map(|wait| sources.tell(wait)).collect();
        let took = last - began;
        let (starts, repeats) = (0, 0);
        Self { settings, took, starts, nudges_lost, faults, verdict, explained, slowest, told, repeats }
    }

    /// How many kills struck.
    pub fn kills(&self) -> usize {
        self.faults.iter().filter(|(kind, _)| kind.kills()).map(|(_, of_kind)| of_kind.struck).sum()
    }

    /// How many messages ended in the agent's reply or in a notice.
    pub fn ended(&self) -> usize {
        self.verdict.answered + self.verdict.noticed.len()
    }

    /// The longest time from any fault's end to the next outcome, and the longest without what is so by design.
    pub fn longest_recovery(&self) -> (Duration, Duration) {
        longest(self.faults.values().flat_map(|of_kind| &of_kind.recoveries))
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.verdict.wrong.is_empty()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.messages(&mut text).and_then(|()| self.hurt(&mut text)).and_then(|()| self.wrong(&mut text));
        text
    }

    /// What the slowest recoveries and messages waited for, for people.
    pub fn timelines(&self) -> String {
        self.told.join("\n")
    }

    fn messages(&self, to: &mut String) -> std::fmt::Result {
        let (settings, verdict, explained) = (&self.settings, &self.verdict, &self.explained);
        writeln!(to, "seed               {}", settings.seed)?;
        writeln!(to, "messages           {} in {:.0} s", settings.messages, self.took.as_secs_f64())?;
        writeln!(to, "  answered         {}", verdict.answered)?;
        let causes = explained.causes.iter().map(|(cause, many)| format!("{} {many}", cause.name()));
        let causes = causes.collect::<Vec<_>>().join(", ");
        let causes = if causes.is_empty() { causes } else { format!(" ({causes})") };
        writeln!(to, "  ended in notices {}{causes}", verdict.noticed.len())?;
        writeln!(
            to,
            "  notices for that {}, and the faults explain up to {}",
            explained.notices, explained.at_most
        )?;
        writeln!(to, "lost               {}", verdict.lost)?;
        writeln!(to, "doubled            {}", verdict.doubled)?;
        writeln!(to, "delivered in doubt {} again, and {} known by their key", verdict.in_doubt, self.repeats)?;
        let (messages, replies) = verdict.dead_letters;
        writeln!(to, "dead letters       {messages} messages, {replies} replies")
    }

    fn hurt(&self, to: &mut String) -> std::fmt::Result {
        writeln!(to, "kills              {} (the daemon was started {} times)", self.kills(), self.starts)?;
        writeln!(to, "nudges lost        {}", self.nudges_lost)?;
        let heads = ["times", "in a turn", "in flight", "median", "longest", "own"];
        write!(to, "\n{:<20}", "fault and recovery")?;
        heads.iter().try_for_each(|head| write!(to, " {head:>10}"))?;
        for (kind, of_kind) in &self.faults {
            let OfKind { struck, met_a_turn, met_a_message, .. } = of_kind;
            write!(to, "\n{:<20} {struck:>10} {met_a_turn:>10} {met_a_message:>10}", kind.name())?;
            of_kind.figures().iter().try_for_each(|figure| write!(to, " {:>10}", seconds(*figure)))?;
        }
        let pair = |(all, net): (Duration, Duration)| {
            format!("{:.2} s; {:.2} s without what is so by design", all.as_secs_f64(), net.as_secs_f64())
        };
        writeln!(to, "\n\nlongest recovery   {}", pair(self.longest_recovery()))?;
        writeln!(to, "slowest message    {}", pair(self.slowest))
    }

    fn wrong(&self, to: &mut String) -> std::fmt::Result {
        for wrong in self.verdict.wrong.iter().take(MOST_WRONG) {
            writeln!(to, "WRONG: {wrong}")?;
        }
        if self.verdict.wrong.len() > MOST_WRONG {
            writeln!(to, "WRONG: and {} more", self.verdict.wrong.len() - MOST_WRONG)?;
        }
        Ok(())
    }
}

/// The longest of them, and the longest without what is so by design.
fn longest<'a>(waits: impl IntoIterator<Item = &'a Wait>) -> (Duration, Duration) {
    let none = (Duration::ZERO, Duration::ZERO);
    waits.into_iter().fold(none, |(all, net), wait| (all.max(wait.gross()), net.max(wait.net())))
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
