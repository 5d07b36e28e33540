//! Whether the notices that messages ended in are explained by the faults that struck their sessions.
//!
//! One that is not would be a message given up for nothing. What a notice needs: a container's end counts against a
//! message from the second time on, a failure of the provider that can pass from the fourth, a start from the eighth. An
//! engine that is killed, is frozen or is away, a daemon that dies, a full disk, and what is cut off count against
//! nobody, so they explain nothing. One that is told to end stops its containers while it still answers: that may look
//! as if each had been killed.

use std::collections::{BTreeMap, HashSet};

use cofferdam::config::retries::Retries;
use cofferdam::model::failure::MOST_TRIES;
use cofferdam::model::message::MAX_TRIES;

use super::faults::Struck;
use super::outcome::Cause;
use super::plan::Kind;
use super::rows::{Rows, TurnRow};
use super::story::Story;

/// A message's end in a notice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Noticed {
    /// Its session.
    pub session: String,
    /// Why.
    pub cause: Cause,
    /// Its group and the notice's number in there.
    pub notice: (String, i64),
}

/// The faults that met one session.
#[derive(Debug, Default, Clone)]
struct Met {
    all: BTreeMap<Kind, usize>,
    /// Those that met a turn of it.
    in_a_turn: BTreeMap<Kind, usize>,
}

impl Met {
    fn of(session: &str, turns: &[&TurnRow], struck: &[Struck], story: &Story) -> Self {
        let mut met = Self::default();
        for fault in struck.iter().filter(|fault| fault.session.as_ref().is_none_or(|met| met == session)) {
            *met.all.entry(fault.kind).or_default() += 1;
            let (at, over) = (story.ms(fault.at), story.ms(fault.over));
            let ran = |turn: &&TurnRow| turn.started_at <= over && turn.finished_at.is_none_or(|end| end >= at);
            if turns.iter().any(ran) {
                *met.in_a_turn.entry(fault.kind).or_default() += 1;
            }
        }
        met
    }

    /// The most notices of this cause that they explain.
    fn explain(&self, cause: Cause) -> usize {
        const DEATHS: [Kind; 3] = [Kind::ContainerKilled, Kind::RunnerKilled, Kind::EngineEnded];
        let many = |of: &BTreeMap<Kind, usize>, kinds: &[Kind]| -> usize {
            kinds.iter().filter_map(|kind| of.get(kind)).sum()
        };
        let tries = |tries: u64| usize::try_from(tries).unwrap_or(usize::MAX);
        match cause {
            Cause::Container => many(&self.in_a_turn, &DEATHS) / tries(MAX_TRIES.unsigned_abs()),
            Cause::Start => many(&self.all, &DEATHS) / tries(Retries::default().start_tries),
            Cause::Passing => many(&self.in_a_turn, &[Kind::AppServerKilled]) / tries(MOST_TRIES.into()),
            Cause::Provider => many(&self.all, &[Kind::AppServerKilled]),
            Cause::Unkept => many(&self.in_a_turn, &[Kind::EngineEnded]),
        }
    }
}

/// What is said of the notices.
#[derive(Debug, Default)]
pub struct Explained {
    /// Messages by what they ended of.
    pub causes: BTreeMap<Cause, usize>,
    /// How many notices ended messages.
    pub notices: usize,
    /// The most notices that the faults explain.
    pub at_most: usize,
    /// Those that they do not, in words.
    pub wrong: Vec<String>,
}

/// Holds the notices against the faults.
pub fn explain(noticed: &[Noticed], struck: &[Struck], groups: &[Rows], story: &Story) -> Explained {
    let mut explained = Explained::default();
    for noticed in noticed {
        *explained.causes.entry(noticed.cause).or_default() += 1;
    }
    let distinct: HashSet<&Noticed> = noticed.iter().collect();
    explained.notices = distinct.len();
    for (rows, (session, chat)) in groups.iter().flat_map(|rows| rows.sessions.iter().map(move |one| (rows, one))) {
        let turns: Vec<&TurnRow> = rows.turns.iter().filter(|turn| turn.session == *session).collect();
        let met = Met::of(session, &turns, struck, story);
        for cause in [Cause::Container, Cause::Start, Cause::Passing, Cause::Provider, Cause::Unkept] {
            let most = met.explain(cause);
            explained.at_most += most;
            let many = distinct.iter().filter(|it| it.session == *session && it.cause == cause).count();
            if many > most {
                let what = cause.name();
                explained.wrong.push(format!("{chat}: {many} notices ({what}), and the faults explain {most}"));
            }
        }
    }
    explained.wrong.sort();
    explained
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn struck(kind: Kind, session: Option<&str>) -> Struck {
        Struck { kind, at: Instant::now(), over: Instant::now(), session: session.map(str::to_owned) }
    }

    fn noticed(notice: i64, cause: Cause) -> Noticed {
        Noticed { session: "s".into(), cause, notice: ("g".into(), notice) }
    }

    /// Two sessions, with a turn from a second ago that runs.
    fn wrong(noticed: &[Noticed], faults: &[Struck]) -> usize {
        let story = Story::of("", &[]);
        let started_at = story.ms(Instant::now()) - 1_000;
        let turn = |session: &str| TurnRow { session: session.into(), started_at, ..TurnRow::default() };
        let sessions = [("s", "g.0"), ("t", "g.1")].map(|(id, chat)| (id.to_owned(), chat.to_owned()));
        let rows = Rows { sessions: sessions.into(), turns: vec![turn("s"), turn("t")], ..Rows::default() };
        explain(noticed, faults, &[rows], &story).wrong.len()
    }

    #[test]
    fn two_deaths_of_its_own_container_in_a_turn_explain_a_notice_and_nothing_less_does() {
        let one = [noticed(1, Cause::Container)];
        let [own, others] = ["s", "t"].map(|session| struck(Kind::RunnerKilled, Some(session)));
        assert_eq!(wrong(&one, &[own.clone(), own.clone()]), 0);
        assert_eq!(wrong(&one, &[own.clone(), others]), 1);
        let elsewhere = [Kind::DaemonKilled, Kind::EngineKilled, Kind::DiskFull, Kind::Cut];
        assert_eq!(wrong(&one, &elsewhere.map(|kind| struck(kind, None))), 1);
        let before = |fault: &Struck| fault.at.checked_sub(Duration::from_secs(5)).expect("later than that");
        let idle = Struck { at: before(&own), over: before(&own), ..own.clone() };
        assert_eq!(wrong(&one, &[own.clone(), idle]), 1, "no turn ran");
        assert_eq!(wrong(&[noticed(1, Cause::Container), noticed(2, Cause::Container)], &[own.clone(), own]), 1);
    }

    #[test]
    fn messages_that_share_a_notice_are_explained_together() {
        let app_server = struck(Kind::AppServerKilled, Some("s"));
        let both = [noticed(1, Cause::Provider), noticed(1, Cause::Provider)];
        assert_eq!(wrong(&both, std::slice::from_ref(&app_server)), 0);
        assert_eq!(wrong(&[noticed(1, Cause::Passing)], &[app_server]), 1, "tried four times");
    }
}
