//! A run in figures.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::check::Verdict;
use super::faults::Struck;
use super::plan::{Kind, Settings};

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// How long it took, up to the last outcome.
    pub took: Duration,
    /// How often the daemon was started.
    pub starts: usize,
    /// The faults, and what was measured of them.
    pub faults: BTreeMap<Kind, Recoveries>,
    /// What became of the messages.
    pub verdict: Verdict,
    /// Repeated sends that the platform knew by their key.
    pub repeats: usize,
}

/// What one kind of fault cost.
#[derive(Debug, Default, Clone)]
pub struct Recoveries {
    /// How many struck.
    pub struck: usize,
    /// The time from the fault's end to the next outcome of a message that was in flight, for those that had any.
    pub times: Vec<Duration>,
}

impl Recoveries {
    fn of(struck: &[Struck], verdict: &Verdict) -> BTreeMap<Kind, Self> {
        let mut kinds: BTreeMap<Kind, Self> = BTreeMap::new();
        for fault in struck {
            let of_kind = kinds.entry(fault.kind).or_default();
            of_kind.struck += 1;
            of_kind.times.extend(recovery(fault, verdict));
        }
        for of_kind in kinds.values_mut() {
            of_kind.times.sort();
        }
        kinds
    }

    fn longest(&self) -> Option<Duration> {
        self.times.last().copied()
    }
}

/// From the fault's end to the next outcome of a message that was in flight, in the chat that it met or in any.
fn recovery(fault: &Struck, verdict: &Verdict) -> Option<Duration> {
    let met = fault.session.as_ref().map(|session| verdict.sessions.get(session));
    let in_flight = |(chat, posted, reached): &&(String, Instant, Instant)| {
        met.is_none_or(|met| met == Some(chat)) && *posted <= fault.over && *reached >= fault.over
    };
    let next = verdict.outcomes.iter().filter(in_flight).map(|(.., reached)| *reached).min()?;
    Some(next - fault.over)
}

impl Report {
    /// Sums a run up.
    pub fn new(settings: Settings, began: Instant, struck: &[Struck], verdict: Verdict) -> Self {
        let last = verdict.outcomes.iter().map(|(.., reached)| *reached).max().unwrap_or(began);
        let faults = Recoveries::of(struck, &verdict);
        Self { settings, took: last - began, starts: 0, faults, verdict, repeats: 0 }
    }

    /// How many kills struck.
    pub fn kills(&self) -> usize {
        self.faults.iter().filter(|(kind, _)| kind.kills()).map(|(_, of_kind)| of_kind.struck).sum()
    }

    /// The longest time from any fault's end to the next outcome.
    pub fn longest_recovery(&self) -> Duration {
        self.faults.values().filter_map(Recoveries::longest).max().unwrap_or_default()
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.verdict.wrong.is_empty()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let (settings, verdict) = (&self.settings, &self.verdict);
        let slowest =
            verdict.outcomes.iter().map(|(_, posted, reached)| *reached - *posted).max().unwrap_or_default();
        writeln!(to, "seed               {}", settings.seed)?;
        writeln!(to, "messages           {} in {:.0} s", settings.messages, self.took.as_secs_f64())?;
        writeln!(to, "  answered         {}", verdict.answered)?;
        writeln!(to, "  ended in notices {}", verdict.notices)?;
        writeln!(to, "lost               {}", verdict.lost)?;
        writeln!(to, "doubled            {}", verdict.doubled)?;
        writeln!(to, "delivered in doubt {} again, and {} known by their key", verdict.in_doubt, self.repeats)?;
        let (messages, replies) = verdict.dead_letters;
        writeln!(to, "dead letters       {messages} messages, {replies} replies")?;
        writeln!(to, "kills              {} (the daemon was started {} times)", self.kills(), self.starts)?;
        writeln!(to, "\n{:<20} {:>6}  {:>16}  {:>8}", "fault", "times", "recovery median", "longest")?;
        for (kind, of_kind) in &self.faults {
            let median = of_kind.times.get(of_kind.times.len() / 2).copied();
            let figures = [median, of_kind.longest()].map(seconds);
            writeln!(to, "{:<20} {:>6}  {:>16}  {:>8}", kind.name(), of_kind.struck, figures[0], figures[1])?;
        }
        writeln!(to, "\nlongest recovery   {:.2} s", self.longest_recovery().as_secs_f64())?;
        writeln!(to, "slowest message    {:.2} s", slowest.as_secs_f64())?;
        for wrong in verdict.wrong.iter().take(MOST_WRONG) {
            writeln!(to, "WRONG: {wrong}")?;
        }
        if verdict.wrong.len() > MOST_WRONG {
            writeln!(to, "WRONG: and {} more", verdict.wrong.len() - MOST_WRONG)?;
        }
        Ok(())
    }
}

/// What is wrong is named up to here: the rest mostly repeats it.
const MOST_WRONG: usize = 40;

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
