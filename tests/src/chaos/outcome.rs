//! What ended a message, by its group's rows. Not by words: a notice is told by what its rows ended.
//!
//! | the notice's row | it is |
//! |---|---|
//! | of no turn, and a message names it | the end of those messages |
//! | of no turn, and nobody names it | on the way: a start takes long (its words are checked) |
//! | of a turn that ended messages, the last one, the agent said nothing | the end of those messages |
//! | of a turn that failed, and ended no message | on the way: it is tried again |
//! | of a turn that was abandoned or interrupted, and ended no message | on the way if it says that it goes on after outages; else astray: they should have ended |
//! | else | on the way: the thread was lost |

use std::collections::HashMap;

use cofferdam::model::failure::{Recovery, recovery};
use cofferdam::model::notice;

use super::rows::{Letter, MessageRow, ReplyRow, Rows, TurnRow};

/// Why a message ended in a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its container ended in its turn, too often.
    Container,
    /// Its session did not start, too often.
    Start,
    /// Its turn failed in a way that can pass, too often.
    Passing,
    /// Its turn failed in another way.
    Provider,
    /// Its turn ended, and it is not kept as a dead letter.
    Unkept,
}

impl Cause {
    /// What it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container ended",
            Self::Start => "not started",
            Self::Passing => "provider failed again",
            Self::Provider => "provider failed",
            Self::Unkept => "no dead letter",
        }
    }
}

/// One group's rows, by what they belong to.
pub struct Books<'a> {
    turns: HashMap<i64, &'a TurnRow>,
    replies: HashMap<i64, &'a ReplyRow>,
    said: HashMap<i64, Vec<&'a ReplyRow>>,
    letters: HashMap<i64, Vec<&'a Letter>>,
    /// How many messages each turn ended.
    ended_by_turn: HashMap<i64, usize>,
    /// How many messages name each notice.
    ended_by_notice: HashMap<i64, usize>,
}

impl<'a> Books<'a> {
    /// Opens them.
    pub fn of(rows: &'a Rows) -> Self {
        let mut books = Self {
            turns: rows.turns.iter().map(|turn| (turn.id, turn)).collect(),
            replies: rows.replies.iter().map(|reply| (reply.id, reply)).collect(),
            said: HashMap::new(),
            letters: HashMap::new(),
            ended_by_turn: HashMap::new(),
            ended_by_notice: HashMap::new(),
        };
        for reply in &rows.replies {
            if let Some(turn) = reply.turn {
                books.said.entry(turn).or_default().push(reply);
            }
        }
        for letter in &rows.letters {
            books.letters.entry(letter.message).or_default().push(letter);
        }
        for message in rows.messages.iter().filter(|message| message.state == "done") {
            match (message.notice, message.turn) {
                (Some(notice), _) => *books.ended_by_notice.entry(notice).or_default() += 1,
                (None, Some(turn)) => *books.ended_by_turn.entry(turn).or_default() += 1,
                (None, None) => {}
            }
        }
        books
    }

    /// The turn of this number.
    pub fn turn(&self, turn: i64) -> Option<&'a TurnRow> {
        self.turns.get(&turn).copied()
    }

    /// The reply of this number.
    pub fn reply(&self, reply: i64) -> Option<&'a ReplyRow> {
        self.replies.get(&reply).copied()
    }

    /// A message's dead letters.
    pub fn letters(&self, message: i64) -> &[&'a Letter] {
        self.letters.get(&message).map_or(&[], Vec::as_slice)
    }

    /// The notice that is a message's end, by its row; none of one that the agent answered, or that has no end.
    pub fn last_notice(&self, message: &MessageRow) -> Option<&'a ReplyRow> {
        match (message.notice, message.turn) {
            (Some(notice), _) => self.reply(notice),
            (None, Some(turn)) => self.last_words(turn),
            (None, None) => None,
        }
    }

    /// Why a message ended in a notice.
    pub fn cause(&self, message: &MessageRow) -> Cause {
        let failure = || {
            let kind = self.turn(message.turn?)?.failure.as_deref()?;
            serde_json::from_value(kind.into()).ok().map(recovery)
        };
        match self.letters(message.id).last().map(|letter| letter.cause.as_str()) {
            Some("container") => Cause::Container,
            Some("start") => Cause::Start,
            Some(_) if failure() == Some(Recovery::Later) => Cause::Passing,
            Some(_) => Cause::Provider,
            None => Cause::Unkept,
        }
    }

    /// Whether a notice should have ended messages, and none of them has ended with it.
    pub fn is_astray(&self, notice: &ReplyRow) -> bool {
        let Some(turn) = notice.turn else {
            return !self.ended_by_notice.contains_key(&notice.id) && !tells_of_a_wait(&notice.text);
        };
        let ends = matches!(self.turn(turn).map(|turn| turn.state.as_str()), Some("abandoned" | "interrupted"));
        ends && !self.ended_by_turn.contains_key(&turn) && !tells_of_a_pause(&notice.text)
    }

    /// The notice that a turn ended its messages in.
    fn last_words(&self, turn: i64) -> Option<&'a ReplyRow> {
        self.ended_by_turn.get(&turn)?;
        let said = self.said.get(&turn)?;
        let spoke = self.turn(turn)?.state == "completed" && said.iter().any(|reply| reply.agent);
        let last = said.iter().rev().find(|reply| !reply.agent).copied();
        last.filter(|_| !spoke)
    }
}

/// Whether a notice says that a message is kept until a start succeeds. No row tells that one.
fn tells_of_a_wait(text: &str) -> bool {
    let words = notice::waits("", "");
    words.split_once(':').is_some_and(|(beginning, _)| text.starts_with(beginning))
}

/// Whether a notice says that a turn goes on after a pause, because outages ended it again and again. No row tells that one
/// from an end either.
fn tells_of_a_pause(text: &str) -> bool {
    let is_count = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let words = notice::cut_off_again(4, 0);
    words.split_once('4').is_some_and(|(beginning, _)| text.strip_prefix(beginning).is_some_and(is_count))
}

/// The dead letters that a notice names, as `GROUP/NUMBER`: those that it says its messages are kept as.
pub fn letters_named(text: &str) -> Vec<(String, i64)> {
    let letter = |word: &str| {
        let word = word.trim_end_matches(|last: char| !last.is_ascii_digit());
        let (group, number) = word.split_once('/')?;
        Some((group.to_owned(), number.parse().ok()?))
    };
    let Some((_, after)) = text.rsplit_once(" kept as dead letter") else { return Vec::new() };
    let named: Vec<(String, i64)> = after.split_whitespace().filter_map(letter).collect();
    let numbers = || named.iter().map(|(_, number)| *number);
    let (Some((group, _)), Some(first), Some(last)) = (named.first(), numbers().min(), numbers().max()) else {
        return Vec::new();
    };
    (first..=last).map(|number| (group.clone(), number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_the_dead_letters_of_its_messages() {
        let named = |letters: &[i64]| letters_named(&notice::with_letters("It failed (a/b 1/2).", "g0", letters));
        assert_eq!(named(&[]), []);
        assert_eq!(named(&[3]), [("g0".to_owned(), 3)]);
        assert_eq!(named(&[4, 5, 6]).iter().map(|(_, number)| *number).collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn a_wait_is_told_from_an_end() {
        assert!(tells_of_a_wait(&notice::waits("the engine is away", "it answers")));
        assert!(!tells_of_a_wait(&notice::not_started("the engine is away", 8)));
        assert!(tells_of_a_pause(&notice::cut_off_again(5, 45_000)));
        assert!(
            !tells_of_a_pause(&notice::cut_off(10)) && !tells_of_a_pause(&notice::container_gone("exit code 1"))
        );
    }
}
