//! What happened when: the clocks of the run, of the rows and of the daemon's log brought together.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::rows::Rows;

/// What the daemon says of a nudge that the test loses.
const NUDGE_LOST: &str = "its nudge is lost";

/// A line of the daemon's log.
#[derive(Debug, Clone)]
pub struct Line {
    /// When, ms since 1970.
    pub at: i64,
    /// What it says, from its level on.
    pub text: String,
}

impl Line {
    /// From the log's text; none of one that goes on with the line before.
    fn parse(line: &str) -> Option<Self> {
        let (at, text) = line.split_once(' ')?;
        let at: Timestamp = at.parse().ok()?;
        Some(Self { at: at.as_millisecond(), text: text.trim_start().to_owned() })
    }

    /// Whether it is about this session or chat, or about none.
    pub fn concerns(&self, session: &str, chat: &str) -> bool {
        let of_chat = |place: &str| self.text.contains(&format!("{place}{chat} "));
        let of_none = !self.text.contains("session{") && !self.text.contains("chat=");
        self.text.contains(session) || of_chat("chat=platform:") || of_none
    }

    /// The chat and the time of a reply that is to be sent again after a pause: that of a doubt, or what the platform
    /// asked for.
    fn pause(&self) -> Option<Span> {
        let (_, after) = self.text.split_once("not delivered; again in ")?;
        let seconds: i64 = after.split_once(' ')?.0.parse().ok()?;
        let (_, chat) = after.split_once("chat=platform:")?;
        // Whole seconds are logged.
        let until = self.at + (seconds + 1) * 1000;
        Some((chat.split_whitespace().next()?.to_owned(), (self.at, until)))
    }

    /// The session that it is of.
    fn session(&self) -> Option<&str> {
        self.text.split_once(" session=")?.1.split(['}', ' ']).next()
    }
}

/// A chat and a time, ms since 1970.
type Span = (String, (i64, i64));

/// Times by chat, in order.
#[derive(Default)]
struct Spans(HashMap<String, Vec<(i64, i64)>>);

impl Spans {
    fn of(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut all = Self::default();
        for (chat, span) in spans {
            all.0.entry(chat).or_default().push(span);
        }
        all.0.values_mut().for_each(|of_chat| of_chat.sort_unstable());
        all
    }

    /// How much of this time they cover, in ms, each moment once.
    fn within(&self, chat: &str, from: i64, to: i64) -> i64 {
        let (mut covered, mut seen) = (0, from);
        for (begin, end) in self.0.get(chat).into_iter().flatten() {
            let (begin, end) = ((*begin).max(seen), (*end).min(to));
            if end > begin {
                covered += end - begin;
                seen = end;
            }
        }
        covered
    }
}

/// What is known of a run's times.
pub struct Story {
    /// The same moment on both clocks.
    anchor: (Instant, i64),
    /// The daemon's log.
    pub lines: Vec<Line>,
    /// By chat: the pauses, the waits for a place and for what a lost nudge left, and all of them together.
    by_design: [Spans; 3],
    together: Spans,
}

/// How much of a time is so by design, or by the test's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByDesign {
    /// Pauses before a reply is sent again, and before a turn that failed is tried again.
    pub paused: Duration,
    /// Waits for a place: there are fewer than chats.
    pub queued: Duration,
    /// Until somebody looked at the rows, after a nudge that the test lost.
    pub unheard: Duration,
    /// All of it, each moment once.
    pub all: Duration,
}

impl Story {
    /// From the log of all daemons and the rows of all groups.
    pub fn of(log: &str, groups: &[Rows]) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let anchor = (Instant::now(), i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let lines: Vec<Line> = log.lines().filter_map(Line::parse).collect();
        let sessions = groups.iter().flat_map(|rows| &rows.sessions);
        let chats: HashMap<&str, &str> = sessions.map(|(id, chat)| (id.as_str(), chat.as_str())).collect();
        let mut pauses: Vec<Span> = lines.iter().filter_map(Line::pause).collect();
        pauses.extend(groups.iter().flat_map(|rows| retries(rows, &chats)));
        let mut unheard = until_its_next(&lines, &chats, NUDGE_LOST);
        unheard.extend(undelivered(&lines, groups));
        let spans = [pauses, until_its_next(&lines, &chats, "asks for a place"), unheard];
        let together = Spans::of(spans.iter().flatten().cloned());
        Self { anchor, lines, by_design: spans.map(Spans::of), together }
    }

    /// How many nudges were lost.
    pub fn nudges_lost(&self) -> usize {
        self.lines.iter().filter(|line| line.text.contains(NUDGE_LOST)).count()
    }

    /// A moment of the run in ms since 1970.
    pub fn ms(&self, at: Instant) -> i64 {
        let (anchor, ms) = self.anchor;
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        ms - millis(anchor.saturating_duration_since(at)) + millis(at.saturating_duration_since(anchor))
    }

    /// How much of a chat's time was so by design.
    pub fn by_design(&self, chat: &str, from: i64, to: i64) -> ByDesign {
        let time = |spans: &Spans| Duration::from_millis(spans.within(chat, from, to).unsigned_abs());
        let [paused, queued, unheard] = self.by_design.each_ref().map(time);
        ByDesign { paused, queued, unheard, all: time(&self.together) }
    }
}

/// From each line of a session's with these words to the next of that session's actor, or until another daemon is there.
fn until_its_next(lines: &[Line], chats: &HashMap<&str, &str>, words: &str) -> Vec<Span> {
    let chat = |session: &str| chats.get(session).map_or_else(String::new, |chat| (*chat).to_owned());
    let mut since: HashMap<&str, i64> = HashMap::new();
    let mut spans = Vec::new();
    for line in lines {
        if line.text.contains("cofferdam::daemon: ready") {
            spans.extend(since.drain().map(|(session, from)| (chat(session), (from, line.at))));
        }
        let Some(session) = line.session() else { continue };
        if line.text.contains(words) {
            since.entry(session).or_insert(line.at);
        } else if let Some(from) = since.remove(session) {
            spans.push((chat(session), (from, line.at)));
        }
    }
    spans
}

/// From each lost nudge of a chat with a reply to the next delivery there.
fn undelivered(lines: &[Line], groups: &[Rows]) -> Vec<Span> {
    let lost = lines.iter().filter(|line| line.text.contains(NUDGE_LOST)).filter_map(|line| {
        let (_, chat) = line.text.split_once("chat=platform:")?;
        let replies = groups.iter().flat_map(|rows| &rows.replies).filter(|reply| reply.chat == chat);
        let next = replies.filter_map(|reply| reply.delivered_at).filter(|at| *at >= line.at).min()?;
        Some((chat.to_owned(), (line.at, next)))
    });
    lost.collect()
}

/// From a turn that failed in a way that can pass to the next of its session.
fn retries(rows: &Rows, chats: &HashMap<&str, &str>) -> Vec<Span> {
    let mut failed: HashMap<&str, i64> = HashMap::new();
    let mut pauses = Vec::new();
    for turn in &rows.turns {
        if let (Some(from), Some(chat)) = (failed.remove(turn.session.as_str()), chats.get(turn.session.as_str())) {
            pauses.push(((*chat).to_owned(), (from, turn.started_at)));
        }
        if let ("failed", Some(at)) = (turn.state.as_str(), turn.finished_at) {
            failed.insert(&turn.session, at);
        }
    }
    pauses
}

#[cfg(test)]
mod tests {
    use super::super::rows::ReplyRow;
    use super::*;

    const LOG: &str = "\
2026-11-27T14:52:14.100000Z  WARN cofferdam::delivery::hand_over: not delivered; again in 10 s reply=3 chat=platform:g0.1 \
why=\"no answer\" tries=1 doubt=true
2026-11-27T14:52:15.000000Z  INFO session{group=g0 session=abc}: cofferdam::supervisor: started
  which goes on
2026-11-27T14:52:16.000000Z  INFO cofferdam: serves
";

    #[test]
    fn lines_are_told_by_what_they_are_about() {
        let story = Story::of(LOG, &[]);
        let about = |session, chat| story.lines.iter().filter(|line| line.concerns(session, chat)).count();
        assert_eq!(story.lines.len(), 3);
        assert_eq!([about("abc", "g0.1"), about("abc", "g0.2"), about("x", "g0")], [3, 2, 1]);
    }

    #[test]
    fn pauses_are_counted_once_and_within_the_time_only() {
        let twice = LOG.lines().next().map(|line| format!("{line}\n{line}\n")).unwrap_or_default();
        let story = Story::of(&twice, &[]);
        let at = story.lines[0].at;
        let paused = |chat, to| story.by_design(chat, at - 5_000, at + to).paused;
        assert_eq!(paused("g0.1", 4_000), Duration::from_secs(4));
        assert_eq!(paused("g0.1", 60_000), Duration::from_secs(11));
        assert_eq!(paused("g0.2", 60_000), Duration::ZERO);
    }

    #[test]
    fn what_is_so_by_design_ends_with_the_next_line_or_the_daemon() {
        let line = |at: u32, text: &str| format!("2026-11-27T14:52:{at}.000000Z {text}\n");
        let of = |at, text| line(at, &format!("DEBUG session{{group=g0 session=abc}}: cofferdam: {text}"));
        let lost = "DEBUG cofferdam: its nudge is lost";
        let log = [
            line(10, &format!("{lost} session=abc")),
            of(13, "asks for a place ahead=0"),
            of(15, "has a place"),
            line(16, &format!("{lost} group=g0 chat=platform:g0.1")),
            of(20, "asks for a place"),
            line(23, "INFO cofferdam::daemon: ready; talk"),
        ];
        let at = Story::of(&log.concat(), &[]).lines[0].at;
        let reply = ReplyRow { chat: "g0.1".into(), delivered_at: Some(at + 12_000), ..ReplyRow::default() };
        let sessions = vec![("abc".to_owned(), "g0.1".to_owned())];
        let rows = Rows { sessions, replies: vec![reply], ..Rows::default() };
        let found = Story::of(&log.concat(), &[rows]).by_design("g0.1", at - 1_000, at + 60_000);
        let seconds = [found.paused, found.queued, found.unheard, found.all].map(|time| time.as_secs());
        assert_eq!(seconds, [0, 2 + 3, 3 + 6, 5 + 7], "from 20 to 22 both");
    }

    #[test]
    fn the_clocks_are_one() {
        let story = Story::of("", &[]);
        let now = Instant::now();
        assert_eq!(story.ms(now + Duration::from_secs(3)) - story.ms(now), 3_000);
    }
}
