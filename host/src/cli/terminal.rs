//! Text for a person's terminal. What came from an agent, a chat or the network passes [`Cleaner`] first, so that
//! none of them can drive the terminal.

use std::io::{BufRead, IsTerminal, Write};

use super::error::CliError;
use crate::config::process_env;

/// Removes what a terminal would obey: control characters, escape sequences and reordering marks. Line feeds and
/// tabs stay. A sequence may be split over several pieces.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, until its final letter.
    Control,
    /// In a string such as a title, until BEL or ESC.
    String,
}

impl Cleaner {
    /// The harmless part of the next piece.
    pub fn feed(&mut self, piece: &str) -> String {
        piece.chars().filter(|c| self.keep(*c)).collect()
    }

    fn keep(&mut self, c: char) -> bool {
        // No sequence goes over a line, so one that never ends hides no more than its line.
        if c == '\n' {
            self.state = State::Text;
            return true;
        }
        let (state, keep) = match (self.state, c) {
            (_, '\u{1b}') => (State::Escape, false),
            (State::Escape, '[') | (State::Text, '\u{9b}') => (State::Control, false),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => (State::String, false),
            (State::Text, '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => (State::String, false),
            (State::Escape, ' '..='/') => (State::Escape, false),
            (State::Escape, _) => (State::Text, false),
            (State::Control, '\u{20}'..='\u{3f}') => (State::Control, false),
            (State::Control, _) => (State::Text, false),
            (State::String, '\u{7}' | '\u{9c}') => (State::Text, false),
            (State::String, _) => (State::String, false),
            (State::Text, '\t') => (State::Text, true),
            (State::Text, c) => (State::Text, !c.is_control() && !reorders(c)),
        };
        self.state = state;
        keep
    }
}

/// Marks that make a terminal show text in another order than it is.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// The harmless part of a whole text.
pub(super) fn clean(text: &str) -> String {
    Cleaner::default().feed(text)
}

/// The harmless part of a text, in one line of at most `max` characters.
pub(super) fn clean_line(text: &str, max: usize) -> String {
    let line = clean(text).replace(['\n', '\t'], " ");
    let line = line.trim();
    if line.chars().count() <= max {
        return line.to_owned();
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Prints a line to standard output.
pub(super) fn out(line: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| CliError::output(&error))
}

/// Prints a line to standard error, which may be gone.
pub(super) fn err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// [`err`] where an error could come.
pub(super) fn say(line: &str) -> Result<(), CliError> {
    err(line);
    Ok(())
}

/// Prints to standard error without an end of line.
pub(super) fn err_piece(piece: &str) {
    if !piece.is_empty() {
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(piece.as_bytes()).and_then(|()| stderr.flush());
    }
}

/// Asks for a yes or a no.
pub(super) fn ask(question: &str) -> Result<bool, CliError> {
    err_piece(question);
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::io("the answer cannot be read", &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints a value as JSON in one piece.
pub(super) fn out_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::internal(error.to_string()))?;
    out(&text)
}

/// How text is marked, if the place it goes to shows marks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    marks: bool,
    redraws: bool,
}

impl Style {
    /// Nothing but text.
    pub const PLAIN: Self = Self { marks: false, redraws: false };

    /// A place that shows marks.
    #[cfg(test)]
    pub const MARKS: Self = Self { marks: true, redraws: false };

    /// A terminal without marks.
    #[cfg(test)]
    pub const REDRAWS: Self = Self { marks: false, redraws: true };

    pub fn of(stream: &impl IsTerminal) -> Self {
        let wanted = process_env("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = process_env("TERM").is_some_and(|term| term != "dumb");
        let redraws = stream.is_terminal() && able;
        Self { marks: redraws && wanted, redraws }
    }

    /// Whether a line can be shown and taken away again.
    pub fn redraws(self) -> bool {
        self.redraws
    }

    fn mark(self, code: &str, text: &str) -> String {
        if self.marks { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub fn dim(self, text: &str) -> String {
        self.mark("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.mark("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.mark("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.mark("33", text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_are_removed_whole_and_text_stays() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m b"), "ared b");
        assert_eq!(clean("\u{1b}]0;title\u{7}x\u{1b}]52;c;aGk=\u{1b}\\y"), "xy");
        assert_eq!(clean("\u{9b}2Jx\u{1b}cy\u{1b}(Bz"), "xyz");
        assert_eq!(clean("one\r\ntwo\ttab ünï 🦀\u{8}"), "one\ntwo\ttab ünï 🦀");
        assert_eq!(clean("\u{202e}evil"), "evil");
    }

    #[test]
    fn a_string_that_never_ends_hides_only_its_line() {
        assert_eq!(clean("a\u{1b}]0;hidden\nshown"), "a\nshown");
    }

    #[test]
    fn long_lines_are_cut_with_a_mark() {
        assert_eq!(clean_line("ab\ncd ", 10), "ab cd");
        assert_eq!(clean_line("abcdef", 4), "abc…");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_comes_through(text in any::<String>(), codes in "[\\x00-\\xff]{0,40}") {
            for c in clean(&text).chars().chain(clean(&codes).chars()) {
                prop_assert!(c == '\n' || c == '\t' || !c.is_control());
            }
        }

        #[test]
        fn pieces_are_cleaned_like_the_whole(text in "[a-c\\x1b\\[\\]0-9;m\\x07\\n]{0,40}", at in 0usize..40) {
            let at = text.floor_char_boundary(at.min(text.len()));
            let mut cleaner = Cleaner::default();
            prop_assert_eq!(cleaner.feed(&text[..at]) + &cleaner.feed(&text[at..]), clean(&text));
        }

        #[test]
        fn ordinary_text_is_left_alone(text in "[ -~\\n\\tà-ÿ]{0,60}") {
            prop_assert_eq!(clean(&text), text);
        }
    }
}
