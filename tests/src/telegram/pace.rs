//! Telegram's published limits (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>), and the pauses
//! that it asks for.
//!
//! | published | here |
//! |---|---|
//! | in a single chat not more than one message a second; short bursts may go over it | ten in any five seconds: five, and a burst of five |
//! | in a group not more than 20 messages a minute | 20 in any minute, its topics together |
//! | in all not more than 30 messages a second "or so" | 30 in any second |
//!
//! A change of a message counts in its chat as a new one does: "they share the limit"
//! (<https://github.com/tdlib/td/issues/2592>). Nothing is published about typing marks, reactions and what is taken away: they only
//! have to keep the pauses.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::answer::No;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// What was on its way when a pause was asked for is not held against anybody.
const ON_ITS_WAY: Duration = SECOND;

/// A call that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// A new message: in its chat and in all.
    New,
    /// A changed one: in its chat.
    Change,
}

/// Counts messages and their changes.
pub(crate) struct Meter {
    sent: VecDeque<(Instant, i64, Counts)>,
    /// When each chat was last told to pause, and until when.
    pauses: HashMap<i64, (Instant, Instant)>,
    /// How long a group's minute lasts: tests have no time for whole ones.
    minute: Duration,
    /// Refuses what is too fast, instead of only noting it.
    strict: bool,
    pub(crate) violations: Vec<String>,
}

impl Default for Meter {
    fn default() -> Self {
        let (sent, pauses) = (VecDeque::new(), HashMap::new());
        Self { sent, pauses, minute: MINUTE, strict: false, violations: Vec::new() }
    }
}

impl Meter {
    /// Refuses from now on. A group's minute lasts the `shorter`th part of one.
    pub(crate) fn is_strict(&mut self, shorter: u32) {
        (self.strict, self.minute) = (true, MINUTE / shorter);
    }

    /// A call about a chat, whatever it does.
    pub(crate) fn call(&mut self, method: &str, chat: i64, now: Instant) -> Result<(), No> {
        let Some((told, until)) = self.pauses.get(&chat).copied().filter(|(_, until)| now < *until) else {
            return Ok(());
        };
        if !self.strict {
            return Ok(());
        }
        if now - told > ON_ITS_WAY {
            self.violations.push(format!("{method} in a pause, in chat {chat}"));
        }
        Err(No::too_many((until - now).as_secs() + 1))
    }

    /// Asks for a pause.
    pub(crate) fn pause(&mut self, chat: i64, seconds: u64, now: Instant) -> No {
        self.pauses.insert(chat, (now, now + SECOND * u32::try_from(seconds).unwrap_or(u32::MAX)));
        No::too_many(seconds)
    }

    /// A new message in a chat, or a changed one; groups have negative ids.
    pub(crate) fn message(&mut self, chat: i64, what: Counts, now: Instant) -> Result<(), No> {
        while self.sent.front().is_some_and(|(at, ..)| now - *at >= MINUTE) {
            self.sent.pop_front();
        }
        let within = |time: Duration, counts: &dyn Fn(i64, Counts) -> bool| {
            self.sent.iter().filter(|(at, to, what)| now - *at < time && counts(*to, *what)).count()
        };
        let new = |_: i64, what: Counts| what == Counts::New;
        let here = |to: i64, _: Counts| to == chat;
        let broken = [
            (what == Counts::New && within(SECOND, &new) >= 30, "30 a second in all", 1),
            (chat < 0 && within(self.minute, &here) >= 20, "20 a minute in a group", 30),
            (within(SECOND * 5, &here) >= 10, "one a second in a chat", 3),
        ];
        if let Some((_, limit, pause)) = broken.into_iter().find(|(broken, ..)| *broken) {
            self.violations.push(format!("more than {limit}, in chat {chat}"));
            if self.strict {
                return Err(self.pause(chat, pause, now));
            }
        }
        self.sent.push_back((now, chat, what));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict() -> Meter {
        let mut meter = Meter::default();
        meter.is_strict(1);
        meter
    }

    #[test]
    fn each_limit_is_noted_and_refused_when_strict() {
        let (mut meter, start) = (strict(), Instant::now());
        for number in 0..20 {
            let what = if number % 2 == 0 { Counts::New } else { Counts::Change };
            meter.message(-1, what, start + SECOND * number).expect("below the limit");
        }
        assert!(meter.message(-1, Counts::Change, start + SECOND * 20).is_err(), "changes count too");
        assert!(meter.message(-1, Counts::New, start + MINUTE).is_ok());
        for _ in 0..10 {
            meter.message(1, Counts::New, start + MINUTE).expect("a burst");
        }
        assert_eq!(meter.message(1, Counts::New, start + MINUTE).expect_err("too many").code, 429);
        for chat in 2..21 {
            meter.message(chat, Counts::New, start + MINUTE).expect("another chat");
        }
        meter.message(98, Counts::Change, start + MINUTE).expect("no new message");
        assert!(meter.message(99, Counts::New, start + MINUTE).is_err(), "the thirty-first");
        assert_eq!(meter.violations.len(), 3);
        for _ in 0..10 {
            meter.message(-2, Counts::Change, start + MINUTE * 2).expect("a burst");
        }
        assert!(meter.message(-2, Counts::Change, start + MINUTE * 2).is_err(), "a group is a chat too");
    }

    #[test]
    fn a_chat_that_pauses_takes_nothing_and_only_what_was_on_its_way_is_forgiven() {
        let (mut meter, start) = (strict(), Instant::now());
        meter.pause(-1, 5, start);
        assert!(meter.call("sendChatAction", -1, start + SECOND / 2).is_err());
        assert!(meter.violations.is_empty());
        meter.call("sendChatAction", -2, start + SECOND * 2).expect("another chat");
        assert!(meter.call("sendChatAction", -1, start + SECOND * 2).is_err());
        assert_eq!(meter.violations, ["sendChatAction in a pause, in chat -1"]);
        meter.call("sendMessage", -1, start + SECOND * 5).expect("it is over");
    }
}
