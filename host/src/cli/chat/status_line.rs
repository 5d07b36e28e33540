//! One line at the bottom of a terminal that says what a turn does now, and goes away with it.

use cofferdam_protocol::runner::ActivityKind;

use crate::cli::terminal::{Style, clean_line};

/// Takes the line away.
const ERASE: &str = "\r\u{1b}[2K";
/// The terminal cuts a line that is too long for it instead of wrapping it, so that [`ERASE`] takes all of it.
const NO_WRAP: &str = "\u{1b}[?7l";
const WRAP: &str = "\u{1b}[?7h";

/// The line, and whether it is shown just now. The caller writes what it answers.
#[derive(Debug)]
pub(super) struct StatusLine {
    style: Style,
    text: Option<String>,
    shown: bool,
}

impl StatusLine {
    /// Nothing yet.
    pub fn new(style: Style) -> Self {
        Self { style, text: None, shown: false }
    }

    /// Whether this activity is left to the status line: what goes on, as opposed to what was done.
    pub fn covers(&mut self, kind: ActivityKind) -> bool {
        use ActivityKind::{CommandFinished, CommandStarted, Compacting, Plan, Reasoning, Tokens, Tool};
        if kind == CommandFinished {
            // The line would say for a moment more that it runs.
            self.text = None;
        }
        self.style.redraws() && matches!(kind, CommandStarted | Compacting | Plan | Reasoning | Tokens | Tool)
    }

    /// What to show from now on: the first line of `text`.
    pub fn set(&mut self, text: Option<&str>) {
        let line = text.and_then(|text| text.lines().next()).map(|line| clean_line(line, 240));
        self.text = line.filter(|_| self.style.redraws());
    }

    /// What takes the line away, before anything else is written.
    pub fn erase(&mut self) -> &'static str {
        if std::mem::take(&mut self.shown) { ERASE } else { "" }
    }

    /// What shows the line; at the beginning of a line only.
    pub fn draw(&mut self) -> String {
        match &self.text {
            Some(text) if !self.shown => {
                self.shown = true;
                format!("{NO_WRAP}{}{WRAP}", self.style.dim(text))
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_drawn_once_and_taken_away_once() {
        let mut line = StatusLine::new(Style::REDRAWS);
        line.set(Some("$ make · 2 files\u{1b}[2J\n[x] look"));
        assert_eq!(line.draw(), "\u{1b}[?7l$ make · 2 files\u{1b}[?7h");
        assert_eq!((line.draw().as_str(), line.erase(), line.erase()), ("", ERASE, ""));
        line.set(None);
        assert_eq!(line.draw(), "");
    }

    #[test]
    fn without_a_terminal_there_is_no_line_and_every_activity_is_told() {
        let mut line = StatusLine::new(Style::PLAIN);
        line.set(Some("works"));
        assert_eq!((line.draw().as_str(), line.erase()), ("", ""));
        assert!(!line.covers(ActivityKind::CommandStarted));
    }

    #[test]
    fn what_goes_on_is_the_lines_and_what_was_done_takes_it_away() {
        let mut line = StatusLine::new(Style::REDRAWS);
        line.set(Some("$ make"));
        assert!(line.covers(ActivityKind::CommandStarted) && !line.draw().is_empty());
        assert!(!line.covers(ActivityKind::CommandFinished));
        assert_eq!((line.erase(), line.draw().as_str()), (ERASE, ""));
    }
}
