//! Which messages of a chat wake an agent.

use regex::{Regex, RegexBuilder};

/// The most bytes of a compiled pattern, and of what a search with it may keep. A person's patterns take a few hundred.
const PATTERN_BYTES: usize = 1 << 20;

/// Compiles the pattern of an [`EngageMode::Pattern`]. Its searches take time in proportion to the text, whatever the pattern is.
pub fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build()
}

/// When a wiring's group is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngageMode {
    /// By every message.
    Always,
    /// By those that speak to the bot: by name, in answer to it, as a command, or in a direct chat.
    Mention,
    /// By those whose text fits a pattern, and by those that speak to the bot.
    Pattern,
}

super::sql_state!(EngageMode { Always = "always", Mention = "mention", Pattern = "pattern" });

/// What becomes of messages that wake nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Others {
    /// They are dropped.
    Drop,
    /// They are kept, and shown to the agent with the next one that wakes it.
    Context,
}

super::sql_state!(Others { Drop = "drop", Context = "context" });

/// What is known of a message when it is asked whether it engages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// It speaks to the bot.
    pub addressed: bool,
    /// The wiring's pattern fits it.
    pub fits: bool,
    /// It is in a thread in which one engaged before, of a sticky wiring.
    pub goes_on: bool,
}

impl EngageMode {
    /// Whether a message wakes the agent.
    pub fn engages(self, heard: Heard) -> bool {
        match self {
            Self::Always => true,
            Self::Mention => heard.addressed || heard.goes_on,
            Self::Pattern => heard.addressed || heard.fits || heard.goes_on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_woken_by_what_it_says() {
        for number in 0..8 {
            let heard = Heard { addressed: number & 1 > 0, fits: number & 2 > 0, goes_on: number & 4 > 0 };
            assert!(EngageMode::Always.engages(heard));
            assert_eq!(EngageMode::Mention.engages(heard), heard.addressed || heard.goes_on);
            assert_eq!(EngageMode::Pattern.engages(heard), number > 0);
        }
    }
}
