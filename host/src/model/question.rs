//! The life of a question that the agent asked.
//!
//! ```text
//!         ┌──answer────▶ answered    (the chat's next message)
//!  ask ─▶ open ─expire─▶ expired     (its time is over)
//!         └──withdraw──▶ withdrawn   (its turn ended first)
//! ```

use super::IllegalTransition;

/// Where a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionState {
    /// A person may answer.
    Open,
    /// Somebody has.
    Answered,
    /// Nobody did in time.
    Expired,
    /// Nobody asks any more.
    Withdrawn,
}

super::sql_state!(QuestionState {
    Open = "open",
    Answered = "answered",
    Expired = "expired",
    Withdrawn = "withdrawn",
});

/// What happens to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionEvent {
    /// A message is its answer.
    Answer,
    /// Its time is over.
    Expire,
    /// Its turn ended.
    Withdraw,
}

impl QuestionState {
    /// The state after `event`.
    pub fn next(self, event: QuestionEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Open, QuestionEvent::Answer) => Ok(Self::Answered),
            (Self::Open, QuestionEvent::Expire) => Ok(Self::Expired),
            (Self::Open, QuestionEvent::Withdraw) => Ok(Self::Withdrawn),
            _ => Err(IllegalTransition {
                machine: "question",
                state: format!("{self:?}"),
                event: format!("{event:?}"),
            }),
        }
    }
}

/// The longest answer in a line about it, in characters.
const SHOWN: usize = 200;
/// First words of an option that is a plain yes or no.
const YES: [&str; 6] = ["yes", "approve", "allow", "accept", "ok", "okay"];
const NO: [&str; 7] = ["no", "deny", "decline", "reject", "refuse", "cancel", "abort"];

/// The option that is a plain yes, or no; none where it is not clear which one that is.
pub fn plain(options: &[String], yes: bool) -> Option<&str> {
    let words: &[&str] = if yes { &YES } else { &NO };
    let first = |option: &str| {
        let word = option.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        word.to_lowercase()
    };
    let mut fit = options.iter().filter(|option| words.contains(&first(option).as_str()));
    fit.next().filter(|_| fit.next().is_none()).map(String::as_str)
}

/// How a question ended, in one short line; `answer` is what was said and by whom.
pub fn ended(state: QuestionState, answer: Option<(&str, &str)>) -> String {
    match (state, answer) {
        (QuestionState::Answered, Some((answer, by))) => format!("answered by {by}: {}", shortened(answer)),
        (QuestionState::Answered, None) => "answered".to_owned(),
        // One that still waits, and whose time is over.
        (QuestionState::Open | QuestionState::Expired, _) => "nobody answered in time".to_owned(),
        (QuestionState::Withdrawn, _) => "no longer asked".to_owned(),
    }
}

/// An answer in one line, bounded.
pub fn shortened(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::QuestionEvent::{Answer, Expire, Withdraw};
    use super::QuestionState::{Answered, Expired, Open, Withdrawn};
    use super::*;

    fn reference() -> Reference<QuestionState, QuestionEvent> {
        Reference {
            machine: "question",
            start: Open,
            states: QuestionState::ALL.to_vec(),
            events: vec![Answer, Expire, Withdraw],
            edges: vec![(Open, Answer, Answered), (Open, Expire, Expired), (Open, Withdraw, Withdrawn)],
            ends: vec![Answered, Expired, Withdrawn],
            revivals: Vec::new(),
        }
    }

    #[test]
    fn a_plain_yes_or_no_is_taken_only_where_one_option_says_it() {
        let options = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let both = options(&["Yes, go on", "No", "Ask me later"]);
        assert_eq!((plain(&both, true), plain(&both, false)), (Some("Yes, go on"), Some("No")));
        assert_eq!(plain(&options(&["No", "Cancel all"]), false), None, "which?");
        assert_eq!(plain(&options(&["Nothing", "Yesterday"]), false), None);
        assert_eq!(plain(&options(&["Nothing", "Yesterday"]), true), None);
        assert_eq!(plain(&[], true), None);
    }

    #[test]
    fn an_end_is_one_short_line() {
        let long = format!("a\n{}", "b ".repeat(500));
        let line = ended(Answered, Some((&long, "Ada")));
        assert!(line.starts_with("answered by Ada: a b b") && line.ends_with('…'), "{line}");
        assert!(line.chars().count() < 230 && !line.contains('\n'));
    }

    #[test]
    fn a_question_has_these_steps_and_no_others() {
        reference().holds(QuestionState::next);
    }

    proptest! {
        #[test]
        fn a_question_follows_its_reference(events in proptest::collection::vec(0..3usize, 1..10)) {
            reference().follows(&events, QuestionState::next);
        }
    }
}
