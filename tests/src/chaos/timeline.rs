//! What somebody waited for, moment by moment, for people to read.

use std::collections::HashMap;
use std::fmt::Write;

use super::check::Verdict;
use super::faults::Struck;
use super::recovery::Wait;
use super::rows::{MessageRow, ReplyRow, Rows, TurnRow};
use super::story::{ByDesign, Story};

/// What is shown before and after the wait itself, ms.
const AROUND: i64 = 300;
/// The most lines of one timeline.
const MOST_LINES: usize = 150;
/// How often log lines of a sort that are nobody's own are shown.
const MOST_ALIKE: usize = 2;
/// The longest line, in characters.
const MOST_CHARS: usize = 200;

/// Everything that timelines are made of.
pub struct Sources<'a> {
    /// The clocks and the log.
    pub story: &'a Story,
    /// The faults.
    pub struck: &'a [Struck],
    /// The messages' outcomes.
    pub verdict: &'a Verdict,
    /// The rows.
    pub groups: &'a [Rows],
}

/// The moments of one wait.
struct Moments<'a> {
    wait: &'a Wait,
    found: Vec<(i64, String)>,
}

impl Moments<'_> {
    fn add(&mut self, at: i64, what: String) {
        if (self.wait.from - AROUND..=self.wait.to + AROUND).contains(&at) {
            self.found.push((at, what));
        }
    }
}

impl Sources<'_> {
    /// A wait, with its moments.
    pub fn tell(&self, wait: &Wait) -> String {
        let mut moments = Moments { wait, found: Vec::new() };
        self.faults(&mut moments);
        self.messages(&mut moments);
        for rows in self.groups {
            let mine = |message: &&MessageRow| message.chat == wait.chat;
            rows.messages.iter().filter(mine).for_each(|message| {
                moments.add(message.accepted_at, format!("message {} accepted", message.platform_id));
            });
            rows.turns.iter().filter(|turn| turn.session == wait.session).for_each(|row| turn(row, &mut moments));
            rows.replies.iter().filter(|reply| reply.chat == wait.chat).for_each(|row| reply(row, &mut moments));
        }
        self.log(&mut moments);
        moments.found.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        let ByDesign { paused, queued, unheard, .. } = wait.by_design;
        let [gross, paused, queued, unheard] =
            [wait.gross(), paused, queued, unheard].map(|time| time.as_secs_f64());
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "{}: {gross:.2} s in chat {}; pauses {paused:.2} s, for a place {queued:.2} s, lost nudges {unheard:.2} s",
            wait.what, wait.chat
        );
        for (at, what) in moments.found.iter().take(MOST_LINES) {
            #[expect(clippy::cast_precision_loss, reason = "ms of a run")]
            let seconds = (at - wait.from) as f64 / 1e3;
            let what: String = what.chars().take(MOST_CHARS).collect();
            let _ = writeln!(text, "  {seconds:>8.3}  {what}");
        }
        if moments.found.len() > MOST_LINES {
            let _ = writeln!(text, "            and {} more", moments.found.len() - MOST_LINES);
        }
        text
    }

    fn log(&self, moments: &mut Moments<'_>) {
        let wait = moments.wait;
        let mut alike: HashMap<String, usize> = HashMap::new();
        for line in self.story.lines.iter().filter(|line| line.concerns(&wait.session, &wait.chat)) {
            let before = moments.found.len();
            moments.add(line.at, format!("log: {}", line.text.replace(&wait.session, "…")));
            let told = moments.found.len() > before;
            if told && !line.text.contains(&wait.session) {
                let sort = line.text.split_once('=').map_or(line.text.as_str(), |(sort, _)| sort).to_owned();
                let many = alike.entry(sort).or_default();
                *many += 1;
                if *many > MOST_ALIKE {
                    moments.found.pop();
                }
            }
        }
    }

    fn faults(&self, moments: &mut Moments<'_>) {
        for fault in self.struck {
            let (at, over) = (self.story.ms(fault.at), self.story.ms(fault.over));
            let whom = match &fault.session {
                None => "",
                Some(session) if *session == moments.wait.session => ", its own",
                // Another's does not matter here.
                Some(_) => continue,
            };
            let held = if over - at > 100 { format!(", over after {} ms", over - at) } else { String::new() };
            moments.add(at, format!("FAULT {}{whom}{held}", fault.kind.name()));
        }
    }

    fn messages(&self, moments: &mut Moments<'_>) {
        for ended in self.verdict.ends.iter().filter(|ended| ended.chat == moments.wait.chat) {
            let (id, number) = (&ended.id, ended.number);
            moments.add(self.story.ms(ended.posted), format!("message {id} sent (#{number})"));
            let what = ended.notice.map_or("answered", |cause| cause.name());
            moments.add(self.story.ms(ended.reached), format!("message {id} has its outcome (#{number}: {what})"));
        }
    }
}

fn turn(turn: &TurnRow, moments: &mut Moments<'_>) {
    let TurnRow { id, attempt, state, failure, .. } = turn;
    moments.add(turn.started_at, format!("turn {id} claimed in attempt {attempt}"));
    if let Some(end) = turn.finished_at {
        let why = failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default();
        moments.add(end, format!("turn {id} {state}{why}"));
    }
}

fn reply(reply: &ReplyRow, moments: &mut Moments<'_>) {
    let what = if reply.agent { "reply" } else { "notice" };
    let of = reply.turn.map(|turn| format!(" of turn {turn}")).unwrap_or_default();
    let text: String = reply.text.chars().take(60).collect();
    moments.add(reply.created_at, format!("{what} {}{of} into the outbox: {text:?}", reply.id));
    if let Some(at) = reply.delivered_at {
        let doubts = if reply.doubt > 0 { format!(", {} doubts", reply.doubt) } else { String::new() };
        moments.add(at, format!("{what} {} delivered{doubts}", reply.id));
    }
}
