//! Telegram's published limits: about one message a second into a chat, 20 a minute into a group, 30 a second in all
//! (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::answer::No;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Counts new messages. Edits and typing marks are not counted: Telegram publishes nothing about them.
#[derive(Default)]
pub(crate) struct Meter {
    sent: VecDeque<(Instant, i64)>,
    /// Refuses what is too fast, instead of only noting it.
    pub(crate) strict: bool,
    pub(crate) violations: Vec<String>,
}

impl Meter {
    /// A new message into a chat; groups have negative ids.
    pub(crate) fn message(&mut self, chat: i64, now: Instant) -> Result<(), No> {
        while self.sent.front().is_some_and(|(at, _)| now - *at >= MINUTE) {
            self.sent.pop_front();
        }
        let within = |time: Duration, only: Option<i64>| {
            let counts = |(at, to): &&(Instant, i64)| now - *at < time && only.is_none_or(|only| only == *to);
            self.sent.iter().filter(counts).count()
        };
        // One a second, and short bursts: more than ten in five seconds are none.
        let broken = [
            (within(SECOND, None) >= 30, "30 a second in all", 1),
            (chat < 0 && within(MINUTE, Some(chat)) >= 20, "20 a minute in a group", 30),
            (chat > 0 && within(SECOND * 5, Some(chat)) >= 10, "one a second in a chat", 3),
        ];
        if let Some((_, limit, pause)) = broken.into_iter().find(|(broken, ..)| *broken) {
            self.violations.push(format!("more than {limit}, in chat {chat}"));
            if self.strict {
                return Err(No::too_many(pause));
            }
        }
        self.sent.push_back((now, chat));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_noted_and_refused_when_strict() {
        let mut meter = Meter { strict: true, ..Meter::default() };
        let start = Instant::now();
        for number in 0..20 {
            meter.message(-1, start + SECOND * number).expect("below the limit");
        }
        assert!(meter.message(-1, start + SECOND * 20).is_err());
        assert!(meter.message(-1, start + MINUTE).is_ok());
        for _ in 0..10 {
            meter.message(1, start + MINUTE).expect("a burst");
        }
        assert_eq!(meter.message(1, start + MINUTE).expect_err("too many").code, 429);
        for chat in 2..21 {
            meter.message(chat, start + MINUTE).expect("another chat");
        }
        assert!(meter.message(99, start + MINUTE).is_err(), "the thirty-first");
        assert_eq!(meter.violations.len(), 3);
    }
}
