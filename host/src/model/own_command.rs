//! Commands that are no conversation's: Cofferdam answers them itself, at once, whatever a turn does.

use cofferdam_protocol::ids::WaitingId;

use super::command::Command;
use super::people::Act;

/// Such a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnCommand {
    /// `/help`.
    Help,
    /// A bare `/start`, which platforms send for people who meet the bot: of a stranger it asks to be let in, of others for help.
    Start,
    /// `/status`.
    Status,
    /// `/approve [ID] [WORD]`.
    Approve(Verdict),
    /// `/deny [ID]`.
    Deny(Verdict),
    /// `/pair CODE`; `/start CODE`, as a link has it.
    Pair(String),
}

/// What is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// About what; none is what waits in the chat, or the only approval that waits.
    pub of: Option<WaitingId>,
    /// Which of its choices, by word, or words that answer a question; none is a plain yes.
    pub word: Option<String>,
}

/// The longest pairing code, in characters.
const MOST_CODE: usize = 32;

impl OwnCommand {
    /// The command that a message's whole text is, if it is one; the same form as [`Command::parse`].
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.trim();
        if line.contains(['\n', '\r']) {
            return None;
        }
        let mut words = line.split_whitespace();
        let word = words.next()?.strip_prefix('/')?;
        let word = word.to_ascii_lowercase();
        let arguments: Vec<&str> = words.collect();
        match (word.as_str(), arguments.as_slice()) {
            ("help", []) => Some(Self::Help),
            ("start", []) => Some(Self::Start),
            ("status", []) => Some(Self::Status),
            ("pair" | "start", [code]) if code.chars().count() <= MOST_CODE => Some(Self::Pair((*code).to_owned())),
            ("approve", arguments) => Verdict::of(arguments).map(Self::Approve),
            ("deny", arguments) => Verdict::of(arguments).map(Self::Deny),
            _ => None,
        }
    }
}

impl Verdict {
    fn of(arguments: &[&str]) -> Option<Self> {
        let Some((first, words)) = arguments.split_first() else { return Some(Self::default()) };
        let said = |words: &[&str]| (!words.is_empty()).then(|| words.join(" "));
        match (first.parse().ok(), words.len()) {
            (None, 0) => Some(Self { of: None, word: said(arguments) }),
            (Some(of @ WaitingId::Question(..)), _) | (Some(of @ WaitingId::Approval(_)), 0 | 1) => {
                Some(Self { of: Some(of), word: said(words) })
            }
            _ => None,
        }
    }
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// An answer of the agent.
    Agent,
    /// Something of its conversation.
    Conversation(Command),
    /// Something of Cofferdam.
    Own(OwnCommand),
}

impl Asks {
    /// What a message's text asks for. Words with a slash that nobody knows are the agent's.
    pub fn parse(text: &str) -> Self {
        if let Some(own) = OwnCommand::parse(text) {
            return Self::Own(own);
        }
        Command::parse(text).map_or(Self::Agent, Self::Conversation)
    }

    /// What it takes to ask that; none: anybody may, as a code shows who they are.
    pub fn act(&self) -> Option<Act> {
        match self {
            Self::Agent => Some(Act::Write),
            Self::Conversation(Command::Stop | Command::Clear | Command::Compact) => Some(Act::Steer),
            Self::Conversation(_) => Some(Act::Choose),
            Self::Own(OwnCommand::Help | OwnCommand::Start | OwnCommand::Status) => Some(Act::Look),
            Self::Own(OwnCommand::Approve(_) | OwnCommand::Deny(_)) => Some(Act::Decide),
            Self::Own(OwnCommand::Pair(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_commands_are_told_from_the_conversations_and_the_agents() {
        let verdict = |of: Option<i64>, word: Option<&str>| Verdict {
            of: of.map(WaitingId::Approval),
            word: word.map(Into::into),
        };
        let question =
            |word: Option<&str>| Verdict { of: Some("demo/7".parse().unwrap()), word: word.map(Into::into) };
        let own = |command| Asks::Own(command);
        for (text, asks) in [
            ("/help", own(OwnCommand::Help)),
            (" /START ", own(OwnCommand::Start)),
            ("/start@another_bot", Asks::Agent),
            ("/help@another_bot", Asks::Agent),
            ("/approve@another_bot 12", Asks::Agent),
            ("/start abc", own(OwnCommand::Pair("abc".into()))),
            ("/pair K7Q4-9XPM", own(OwnCommand::Pair("K7Q4-9XPM".into()))),
            ("/status", own(OwnCommand::Status)),
            ("/approve", own(OwnCommand::Approve(verdict(None, None)))),
            ("/approve 12", own(OwnCommand::Approve(verdict(Some(12), None)))),
            ("/approve #12 demo", own(OwnCommand::Approve(verdict(Some(12), Some("demo"))))),
            ("/approve demo", own(OwnCommand::Approve(verdict(None, Some("demo"))))),
            ("/approve demo/7", own(OwnCommand::Approve(question(None)))),
            ("/approve demo/7  the blue one", own(OwnCommand::Approve(question(Some("the blue one"))))),
            ("/deny demo/7", own(OwnCommand::Deny(question(None)))),
            ("/approve 7 the blue one", Asks::Agent),
            ("/deny 3", own(OwnCommand::Deny(verdict(Some(3), None)))),
            ("/stop", Asks::Conversation(Command::Stop)),
            ("/help me", Asks::Agent),
            ("/deny the request of Bob", Asks::Agent),
            ("/approve a b", Asks::Agent),
            ("/help\nplease", Asks::Agent),
            ("help", Asks::Agent),
            ("/", Asks::Agent),
        ] {
            assert_eq!(Asks::parse(text), asks, "{text:?}");
        }
    }
}
