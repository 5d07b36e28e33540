//! Words of the command line that name something, parsed once.

use std::fmt;
use std::str::FromStr;

use cofferdam_protocol::admin::{OWN_LETTERS, UsageBy};
use cofferdam_protocol::ids::Folder;

/// A session's id or the beginning of one: hex digits only, so it is safe in a URL.
#[derive(Debug, Clone)]
pub(super) struct SessionWord(String);

impl FromStr for SessionWord {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if (1..=32).contains(&text.len()) && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err("not a session id: `cofferdam session list` shows them")
        }
    }
}

impl fmt::Display for SessionWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A chat on a channel: `CHANNEL:CHAT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChatWord {
    pub channel: String,
    pub chat_id: String,
}

impl FromStr for ChatWord {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((channel, chat_id)) if !channel.is_empty() && !chat_id.is_empty() => {
                Ok(Self { channel: channel.to_owned(), chat_id: chat_id.to_owned() })
            }
            _ => Err("not a chat: it is CHANNEL:CHAT, as `cofferdam wiring list` shows it"),
        }
    }
}

/// Whose dead letters: a group's, or Cofferdam's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LettersOf {
    Group(Folder),
    Own,
}

impl LettersOf {
    /// The group, if it is one.
    pub(super) fn group(&self) -> Option<&Folder> {
        match self {
            Self::Group(folder) => Some(folder),
            Self::Own => None,
        }
    }
}

impl FromStr for LettersOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == OWN_LETTERS {
            return Ok(Self::Own);
        }
        text.parse().map(Self::Group).map_err(|error| format!("{error}; {OWN_LETTERS} are Cofferdam's own words"))
    }
}

impl fmt::Display for LettersOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(folder) => folder.fmt(f),
            Self::Own => f.write_str(OWN_LETTERS),
        }
    }
}

/// A dead letter: `GROUP/NUMBER`, or `@own/NUMBER`.
#[derive(Debug, Clone)]
pub(super) struct LetterWord {
    of: LettersOf,
    number: i64,
}

impl FromStr for LetterWord {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a dead letter: it is GROUP/NUMBER, as `cofferdam dead-letter list` shows it";
        let (of, number) = text.split_once('/').ok_or(WRONG)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or(WRONG)?;
        Ok(Self { of: of.parse().map_err(|_| WRONG)?, number })
    }
}

impl fmt::Display for LetterWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of, self.number)
    }
}

/// A switch.
pub(super) fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say `on` or `off`"),
    }
}

/// What usage is added up by.
pub(super) fn usage_by(word: &str) -> Result<UsageBy, &'static str> {
    UsageBy::parse(word).ok_or("say `group`, `session`, `account`, `model` or `day`")
}
