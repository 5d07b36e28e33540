//! What a program says, made fit for people and for logs: bounded, in one line, and without its secrets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::settings::Secrets;

/// The most characters of a name.
pub(super) const NAME: usize = 128;
/// The most characters of a reason, or of a line of a log.
pub(super) const REASON: usize = 500;

/// Shorter secrets would be found in every other word.
const SHORTEST: usize = 4;
/// Lines that a program may have logged in each [`SPAN`]; what comes beyond is counted.
const LINES: u32 = 200;
const SPAN: Duration = Duration::from_secs(60);

/// Knows what is not to be shown, and how much was shown lately.
#[derive(Debug)]
pub(super) struct Words {
    channel: String,
    secrets: Secrets,
    budget: Mutex<Budget>,
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    since: Instant,
    lines: u32,
}

impl Words {
    /// Of a channel, with what its program must not say.
    pub(super) fn new(channel: &str, secrets: Secrets) -> Self {
        let budget = Mutex::new(Budget { since: Instant::now(), lines: 0 });
        Self { channel: channel.to_owned(), secrets, budget }
    }

    /// In one line of at most so many characters.
    pub(super) fn line(&self, text: &str, most: usize) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.texts().filter(|secret| secret.len() >= SHORTEST) {
            if text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        plain(&text, most)
    }

    /// Logs a line of the program's, unless there were too many.
    pub(super) fn log(&self, level: Level, text: &str) {
        let (channel, line) = (&self.channel, self.line(text, REASON));
        if line.is_empty() || !self.may_log() {
            return;
        }
        match level {
            Level::Error => tracing::error!(channel, "{line}"),
            Level::Warn => tracing::warn!(channel, "{line}"),
            Level::Info => tracing::info!(channel, "{line}"),
            Level::Debug => tracing::debug!(channel, "{line}"),
        }
    }

    fn may_log(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.since.elapsed() >= SPAN {
            *budget = Budget { since: Instant::now(), lines: 0 };
        }
        budget.lines = budget.lines.saturating_add(1);
        if budget.lines == LINES {
            tracing::warn!(
                channel = self.channel,
                "its program says too much; the rest of this minute is left out"
            );
        }
        budget.lines < LINES
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// Something happened.
    Info,
    /// For whoever writes the program.
    Debug,
}

impl Level {
    /// By its name; what is unknown is information.
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "debug" | "trace" => Self::Debug,
            _ => Self::Info,
        }
    }
}

/// One line of at most so many characters: no control characters, and none that turn the text around them.
fn plain(text: &str, most: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let spaced = text.chars().filter(|c| !turns(*c)).map(|c| if breaks(c) { ' ' } else { c });
    let mut line: String = spaced.skip_while(|c| c.is_whitespace()).take(most + 1).collect();
    if line.chars().count() > most {
        line.pop();
        line.pop();
        line.push('…');
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> Words {
        let secret = secrecy::SecretString::from(r#"{"password": "hush-hush", "short": "a"}"#);
        Words::new("c", Secrets::parse(Some(&secret)).unwrap())
    }

    #[test]
    fn a_line_has_no_secret_and_nothing_that_a_terminal_obeys() {
        let said = "\u{1b}[31mlogin with hush-hush\r\nfailed\u{202e}\t";
        assert_eq!(words().line(said, 100), "[31mlogin with ***  failed");
        assert_eq!(words().line("abcdef", 4), "abc…");
        assert_eq!(words().line("abcd", 4), "abcd");
    }

    #[test]
    fn a_flood_is_not_logged() {
        let words = words();
        assert_eq!((0..1000).filter(|_| words.may_log()).count() as u32, LINES - 1);
    }

    proptest! {
        #[test]
        fn any_text_is_one_bounded_line(text in "(?s).{0,80}", most in 1usize..60) {
            let line = words().line(&text, most);
            prop_assert!(line.chars().count() <= most);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
