//! What people can ask of Cofferdam itself in a chat. Everything else goes to the agent.

/// The longest name of a model or an effort, in characters.
const MOST_CHARS: usize = 128;

/// What a message asks for; all but a message are commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// An answer of the agent.
    Message,
    /// `/stop`, and what Cofferdam answers itself: done when it is accepted.
    Stop,
    /// `/clear`.
    Clear,
    /// `/compact`.
    Compact,
    /// `/model`, and `/account`, which is a setting of the same kind.
    Model,
    /// `/effort`.
    Effort,
}

super::sql_state!(MessageKind {
    Message = "message",
    Stop = "stop",
    Clear = "clear",
    Compact = "compact",
    Model = "model",
    Effort = "effort",
});

impl MessageKind {
    /// Whether it is done although messages of its chat before it wait for another try: it may be what helps them.
    pub fn overtakes(self) -> bool {
        matches!(self, Self::Model | Self::Effort)
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// End the running turn, or what waits.
    Stop,
    /// Begin a fresh conversation.
    Clear,
    /// Sum the conversation up.
    Compact,
    /// Show or choose the model.
    Model(Choice),
    /// Show or choose the effort.
    Effort(Choice),
    /// Show or choose the account.
    Account(Choice),
}

/// What is asked of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// How it stands.
    Show,
    /// Take the chat's choice back.
    Default,
    /// This one; not checked yet.
    Named(String),
}

impl Command {
    /// The command that a message's whole text is, if it is one: one line, the word in any case. With a name behind it
    /// (`/stop@bot`) it is for somebody else: a channel takes our own away.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.trim();
        if line.contains(['\n', '\r']) {
            return None;
        }
        let mut words = line.split_whitespace();
        let word = words.next()?.strip_prefix('/')?;
        let argument = words.next();
        if words.next().is_some() {
            return None;
        }
        match (word.to_ascii_lowercase().as_str(), argument) {
            ("stop", None) => Some(Self::Stop),
            ("clear", None) => Some(Self::Clear),
            ("compact", None) => Some(Self::Compact),
            ("model", argument) => Some(Self::Model(Choice::of(argument))),
            ("account", argument) => Some(Self::Account(Choice::of(argument))),
            ("effort", argument) => Some(Self::Effort(Choice::of(argument))),
            _ => None,
        }
    }

    /// Its kind of message.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Stop => MessageKind::Stop,
            Self::Clear => MessageKind::Clear,
            Self::Compact => MessageKind::Compact,
            Self::Model(_) | Self::Account(_) => MessageKind::Model,
            Self::Effort(_) => MessageKind::Effort,
        }
    }
}

impl Choice {
    fn of(argument: Option<&str>) -> Self {
        match argument {
            None => Self::Show,
            Some(word) if word.eq_ignore_ascii_case("default") => Self::Default,
            Some(word) => Self::Named(word.to_owned()),
        }
    }
}

/// Whether a word can be the name of a model or an effort; as `container.json` has it.
pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.chars().count() <= MOST_CHARS
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@+-".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_a_messages_whole_text() {
        let named = |name: &str| Choice::Named(name.into());
        for (text, command) in [
            ("/stop", Command::Stop),
            ("  /STOP\n", Command::Stop),
            ("/Clear", Command::Clear),
            ("/compact ", Command::Compact),
            ("/model", Command::Model(Choice::Show)),
            ("/model Default", Command::Model(Choice::Default)),
            ("/model  gpt-6.1-Sol ", Command::Model(named("gpt-6.1-Sol"))),
            ("/effort high", Command::Effort(named("high"))),
        ] {
            assert_eq!(Command::parse(text), Some(command), "{text:?}");
        }
    }

    #[test]
    fn everything_else_is_the_agents() {
        for text in [
            "",
            "/",
            "stop",
            "please /stop",
            "/stop now",
            "/stop\nand go on",
            "/model a b",
            "/review",
            "/stopp",
            "/ stop",
            "/stop@",
            "/stop@another_bot",
            "/model@another_bot x",
            "//stop",
            "/clear all",
        ] {
            assert_eq!(Command::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_plain() {
        assert!(is_name("gpt-6.1-sol") && is_name("meta/llama:70b"));
        for name in ["", "-x", "a b", "a\u{1b}[2J", "a`b", &"x".repeat(129)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    proptest! {
        /// Its own kind parses back, whatever surrounds it, and no text is too odd.
        #[test]
        fn parsing_is_total(text in ".{0,40}", space in "[ \t\n]{0,3}") {
            if let Some(command) = Command::parse(&text) {
                prop_assert_eq!(Command::parse(&format!("{space}{text}{space}")), Some(command.clone()));
                prop_assert_eq!(MessageKind::parse(command.kind().as_str()), Some(command.kind()));
            }
        }
    }
}
