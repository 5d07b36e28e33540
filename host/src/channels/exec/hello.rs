//! What a program says of itself.

use std::time::Duration;

use super::wire::{self, Markup, PROTOCOL};
use super::words::{NAME, Words};
use crate::channels::markup::Measure;
use crate::channels::{Abilities, Pace, Rate};

/// The room in a message that a program must have, and the most that is used of it.
const LIMIT: std::ops::RangeInclusive<u64> = 64..=100_000;
/// The longest pause between two messages that a program may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How long a call may take, unless the program says otherwise, and what it may say.
const ANSWER: Duration = Duration::from_secs(60);
const LONGEST_ANSWER: Duration = Duration::from_secs(600);
/// The most calls at once.
const AT_ONCE: usize = 64;

/// A program's hello, within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// What it can do.
    pub(super) abilities: Abilities,
    /// What it takes text in.
    pub(super) markup: Markup,
    /// The most of a text in one message, by the measure.
    pub(super) limit: usize,
    /// What is counted for that.
    pub(super) measure: Measure,
    /// How fast it takes messages.
    pub(super) pace: Pace,
    /// How long it may take over an answer.
    pub(super) answer: Duration,
    /// Who it is, for people.
    pub(super) who: String,
}

impl Hello {
    /// Reads it; else why the program cannot be a channel.
    pub(super) fn parse(words: &Words, hello: wire::Hello) -> Result<Self, String> {
        if hello.protocol != PROTOCOL {
            return Err(format!("it speaks version {} of the protocol, and this is {PROTOCOL}", hello.protocol));
        }
        let limit = hello.text.limit.min(*LIMIT.end());
        if !LIMIT.contains(&limit) {
            return Err(format!("its hello has a text.limit of {limit}, and at least {} is needed", LIMIT.start()));
        }
        let can = hello.abilities;
        Ok(Self {
            abilities: Abilities {
                files: can.files,
                threads: can.threads,
                edit: can.edit,
                react: can.react,
                buttons: can.buttons,
                progress: can.progress,
                replies: can.replies,
                idempotent: can.idempotent,
            },
            markup: hello.text.markup,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            measure: match hello.text.measure {
                wire::MeasureName::Bytes => Measure::Bytes,
                wire::MeasureName::Chars => Measure::Chars,
                wire::MeasureName::Utf16 => Measure::Utf16,
            },
            pace: pace(&hello.pace),
            answer: hello.answer_ms.map_or(ANSWER, Duration::from_millis).clamp(ANSWER, LONGEST_ANSWER),
            who: words.line(&hello.who, NAME),
        })
    }
}

fn pace(pace: &wire::Pace) -> Pace {
    let rate = |ms: u64, burst: Option<u32>| match ms {
        0 => Rate::UNLIMITED,
        ms => Rate { burst: burst.unwrap_or(1).max(1), every: Duration::from_millis(ms).min(LONGEST_PAUSE) },
    };
    Pace {
        chat: rate(pace.chat_ms, pace.chat_burst),
        all: rate(pace.all_ms, pace.all_burst),
        at_once: pace.at_once.unwrap_or(Pace::UNLIMITED.at_once).clamp(1, AT_ONCE),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::settings::Secrets;
    use super::*;

    fn hello(change: impl FnOnce(&mut Value)) -> Result<Hello, String> {
        let mut line = json!({"protocol": 1, "text": {"markup": "plain", "limit": 400, "measure": "bytes"}});
        change(&mut line);
        Hello::parse(&Words::new("c", Secrets::default()), serde_json::from_value(line).unwrap())
    }

    #[test]
    fn what_is_not_said_is_not_there() {
        let hello = hello(|_| ()).unwrap();
        assert_eq!((hello.abilities, hello.pace, hello.answer), (Abilities::default(), Pace::UNLIMITED, ANSWER));
    }

    #[test]
    fn what_is_said_is_bounded() {
        assert!(hello(|line| line["protocol"] = 2.into()).unwrap_err().contains("version 2"));
        assert!(hello(|line| line["text"]["limit"] = 9.into()).unwrap_err().contains("text.limit"));
        let most = u64::MAX;
        let hello = hello(|line| {
            line["text"]["limit"] = most.into();
            line["answer_ms"] = most.into();
            line["pace"] = json!({"chat_ms": most, "chat_burst": 0, "at_once": 0});
            line["who"] = "w\n".repeat(999).into();
        });
        let hello = hello.unwrap();
        assert_eq!((hello.limit, hello.answer), (100_000, LONGEST_ANSWER));
        assert_eq!(hello.pace.chat, Rate { burst: 1, every: LONGEST_PAUSE });
        assert_eq!((hello.pace.at_once, hello.who.chars().count()), (1, NAME));
    }
}
