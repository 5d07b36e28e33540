//! What a turn has shown so far, and its words.

use cofferdam_protocol::runner::ActivityKind;

/// The most characters of a status text: what every platform takes in one message.
pub const MAX_CHARS: usize = 1000;
/// The most characters of one of its lines.
const MAX_LINE: usize = 160;
/// The most lines of a plan that are shown.
const MAX_STEPS: usize = 12;
/// The most changed files that are named.
const MAX_FILES: usize = 8;
/// The most changed files that are told apart.
const KNOWN_FILES: usize = 200;

/// The most lines of a plan that are counted.
const KNOWN_STEPS: usize = 200;
/// The most characters that are kept of a line, a path or a command.
const MAX_KEPT: usize = 400;

/// What a turn has shown so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// What it does now, in words.
    now: Option<String>,
    /// The lines of its plan.
    plan: Vec<String>,
    /// Files that it changed, oldest first.
    files: Vec<String>,
    /// Tokens so far, in words.
    tokens: Option<String>,
}

impl Work {
    /// Takes in something that the agent does. Answers whether there is anything new to show.
    pub fn see(&mut self, kind: ActivityKind, text: &str) -> bool {
        let before = self.clone();
        match kind {
            ActivityKind::CommandStarted => self.now = Some(format!("$ {}", clean(text))),
            ActivityKind::Tool => self.now = Some(format!("tool {}", clean(text))),
            ActivityKind::Commentary => self.now = Some(clean(text)),
            ActivityKind::Retrying => self.now = Some(format!("tries again: {}", clean(text))),
            ActivityKind::Compacting => self.now = Some("compacts the conversation".to_owned()),
            ActivityKind::CommandFinished | ActivityKind::Reasoning => self.now = None,
            ActivityKind::FileChange => self.add_files(text),
            ActivityKind::Plan => {
                let lines = text.lines().take(KNOWN_STEPS).map(clean);
                self.plan = lines.filter(|line| !line.is_empty()).collect();
            }
            ActivityKind::Tokens => self.tokens = Some(clean(text)),
            ActivityKind::Alive => {}
        }
        *self != before
    }

    fn add_files(&mut self, text: &str) {
        for path in text.split(", ").map(clean).filter(|path| !path.is_empty()) {
            if self.files.len() == KNOWN_FILES {
                return;
            }
            if !self.files.contains(&path) {
                self.files.push(path);
            }
        }
    }

    /// The status text: at most [`MAX_CHARS`], without control characters. Its first line stands for itself.
    pub fn text(&self) -> String {
        let mut lines = vec![self.summary()];
        lines.extend(self.steps().iter().map(|step| cut(step)));
        if !self.files.is_empty() {
            let named = self.files.iter().rev().take(MAX_FILES).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = self.files.len().saturating_sub(MAX_FILES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(cut(&format!("changed: {named}")) + &more);
        }
        let mut text = String::new();
        for line in lines {
            // The newline counts too.
            if text.chars().count() + line.chars().count() + 1 > MAX_CHARS {
                break;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text += &line;
        }
        text
    }

    /// One line for all of it.
    fn summary(&self) -> String {
        let now = self.now.as_deref().filter(|now| !now.is_empty()).unwrap_or("works");
        let mut parts = vec![cut(now)];
        let done = self.plan.iter().filter(|line| line.starts_with("[x]")).count();
        if !self.plan.is_empty() {
            parts.push(format!("{done} of {} steps done", self.plan.len()));
        }
        match self.files.len() {
            0 => {}
            1 => parts.push("1 file changed".to_owned()),
            files => parts.push(format!("{files} files changed")),
        }
        parts.extend(self.tokens.as_deref().map(|tokens| format!("tokens {}", cut(tokens))));
        parts.join(" · ")
    }

    /// The steps of the plan that fit, those around the current one first.
    fn steps(&self) -> &[String] {
        let open = self.plan.iter().position(|line| !line.starts_with("[x]")).unwrap_or(0);
        // What is done matters less than what comes, but one done step shows where it stands.
        let last = self.plan.len().saturating_sub(MAX_STEPS);
        let from = open.saturating_sub(1).min(last);
        &self.plan[from..self.plan.len().min(from + MAX_STEPS)]
    }
}

/// The harmless part of a text, in one line of at most [`MAX_KEPT`] characters: platforms and terminals obey other characters.
fn clean(text: &str) -> String {
    let spaced = text.trim_start().chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let plain: String = spaced.filter(|c| is_plain(*c)).take(MAX_KEPT).collect();
    plain.trim().to_owned()
}

fn is_plain(c: char) -> bool {
    let reorders =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    !c.is_control() && !reorders
}

fn cut(line: &str) -> String {
    if line.chars().count() <= MAX_LINE {
        return line.to_owned();
    }
    line.chars().take(MAX_LINE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn work(seen: &[(ActivityKind, &str)]) -> Work {
        let mut work = Work::default();
        for (kind, text) in seen {
            work.see(*kind, text);
        }
        work
    }

    #[test]
    fn a_turn_that_showed_nothing_works() {
        assert_eq!(Work::default().text(), "works");
    }

    #[test]
    fn all_parts_are_told_and_the_first_line_stands_for_itself() {
        let text = work(&[
            (ActivityKind::Plan, "[x] look\n[>] build\n[ ] test"),
            (ActivityKind::FileChange, "src/a.rs, src/b.rs"),
            (ActivityKind::FileChange, "src/a.rs"),
            (ActivityKind::Tokens, "1,234 in, 56 out"),
            (ActivityKind::CommandStarted, "cargo build\n--release"),
        ])
        .text();
        insta::assert_snapshot!(text, @r"
        $ cargo build --release · 1 of 3 steps done · 2 files changed · tokens 1,234 in, 56 out
        [x] look
        [>] build
        [ ] test
        changed: src/b.rs, src/a.rs
        ");
    }

    #[test]
    fn what_ended_is_not_shown_as_going_on() {
        let mut work = work(&[(ActivityKind::CommandStarted, "sleep 1")]);
        assert!(work.see(ActivityKind::CommandFinished, "exit code 0: sleep 1"));
        assert_eq!(work.text(), "works");
    }

    #[test]
    fn only_news_is_news() {
        let mut work = Work::default();
        assert!(!work.see(ActivityKind::Alive, ""));
        assert!(work.see(ActivityKind::CommandStarted, "ls"));
        assert!(!work.see(ActivityKind::CommandStarted, "ls"));
        assert!(!work.see(ActivityKind::Reasoning, "") || work.text() == "works");
    }

    #[test]
    fn a_long_plan_shows_where_it_stands_and_many_files_are_counted() {
        let mut plan: Vec<String> = (0..30).map(|i| format!("[x] step {i}")).collect();
        plan.extend((30..60).map(|i| format!("[ ] step {i}")));
        let files: Vec<String> = (0..30).map(|i| format!("f{i}")).collect();
        let text =
            work(&[(ActivityKind::Plan, &plan.join("\n")), (ActivityKind::FileChange, &files.join(", "))]).text();
        assert!(
            text.starts_with("works · 30 of 60 steps done · 30 files changed\n[x] step 29\n[ ] step 30\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1 + MAX_STEPS + 1);
        assert!(text.ends_with("and 22 more"), "{text}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "x".repeat(100_000);
        let work = work(&[
            (ActivityKind::Plan, &format!("[ ] {long}\n").repeat(300)),
            (ActivityKind::CommandStarted, &long),
            (ActivityKind::FileChange, &long),
        ]);
        assert!(work.plan.len() == KNOWN_STEPS && work.plan.iter().all(|line| line.len() <= MAX_KEPT));
        assert!(work.now.unwrap().len() <= MAX_KEPT + 2 && work.files[0].len() <= MAX_KEPT);
    }

    proptest! {
        #[test]
        fn the_text_is_bounded_and_harmless_whatever_an_agent_does(
            seen in proptest::collection::vec((0usize..11, "\\PC{0,30}|[\\x00-\\xff]{0,400}|(\\[x\\] a{0,300}\n){0,40}"), 0..20),
        ) {
            const KINDS: [ActivityKind; 11] = [
                ActivityKind::CommandStarted, ActivityKind::CommandFinished, ActivityKind::FileChange,
                ActivityKind::Reasoning, ActivityKind::Tool, ActivityKind::Retrying, ActivityKind::Commentary,
                ActivityKind::Plan, ActivityKind::Tokens, ActivityKind::Compacting, ActivityKind::Alive,
            ];
            let mut work = Work::default();
            for (kind, text) in &seen {
                work.see(KINDS[*kind], text);
            }
            let text = work.text();
            prop_assert!(!text.is_empty() && text.chars().count() <= MAX_CHARS);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
        }
    }
}
