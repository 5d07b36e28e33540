//! What the agent said in a turn: which of it is for the chat, and what was said only once more after a cut.

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// For the chat, when the turn ends.
    Reply,
    /// For the chat at once; it has been shown.
    Async,
    /// Progress.
    Commentary,
}

impl Manner {
    /// By codex's words. Those that are not known are replies: better said twice than never.
    pub fn of(phase: Option<&str>, delivery: Option<&str>) -> Self {
        match (phase, delivery) {
            (_, Some("async")) => Self::Async,
            (Some("commentary"), _) => Self::Commentary,
            _ => Self::Reply,
        }
    }
}

/// The complete messages of a turn, in order.
#[derive(Debug, Default)]
pub struct Said {
    messages: Vec<(String, Manner)>,
    /// Where the messages of the current model call begin.
    call: usize,
    /// Messages of calls that were cut and are tried again: the same text once more is a repetition.
    repeatable: Vec<String>,
}

impl Said {
    /// Adds a message; the answer is whether it is one, and not a repetition or blank.
    pub fn add(&mut self, text: &str, manner: Manner) -> bool {
        if let Some(at) = self.repeatable.iter().position(|earlier| *earlier == text) {
            self.repeatable.remove(at);
            return false;
        }
        let says = !text.trim().is_empty();
        if says {
            self.messages.push((text.to_owned(), manner));
        }
        says
    }

    /// The model call was cut, and is made again.
    pub fn call_is_tried_again(&mut self) {
        self.repeatable.extend(self.messages[self.call..].iter().map(|(text, _)| text.clone()));
        self.call = self.messages.len();
    }

    /// The model call came to its end.
    pub fn call_ended(&mut self) {
        self.call = self.messages.len();
        self.repeatable.clear();
    }

    /// The replies for the end of the turn, less those that went out at once; when it has nothing but commentary and
    /// `or_commentary`, its last.
    pub fn replies(&self, or_commentary: bool) -> Vec<String> {
        let of = |wanted| {
            let messages = self.messages.iter().filter(move |(_, manner)| *manner == wanted);
            messages.map(|(text, _)| text.clone())
        };
        let answered = self.messages.iter().any(|(_, manner)| *manner != Manner::Commentary);
        if answered || !or_commentary {
            return of(Manner::Reply).collect();
        }
        of(Manner::Commentary).next_back().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_reply() {
        assert_eq!(Manner::of(Some("commentary"), None), Manner::Commentary);
        assert_eq!(Manner::of(Some("commentary"), Some("async")), Manner::Async);
        for phase in [None, Some("final_answer"), Some("partial_answer"), Some("a_phase_of_tomorrow")] {
            assert_eq!(Manner::of(phase, None), Manner::Reply);
            assert_eq!(Manner::of(phase, Some("by pigeon")), Manner::Reply);
        }
    }

    #[test]
    fn the_last_commentary_is_the_answer_of_a_turn_that_has_no_other() {
        let mut said = Said::default();
        said.add("one", Manner::Commentary);
        said.add("two", Manner::Commentary);
        assert_eq!(said.replies(true), ["two"]);
        assert!(said.replies(false).is_empty());
        said.add("for you", Manner::Async);
        assert!(said.replies(true).is_empty(), "it went out, and is not said again");
        said.add("three", Manner::Reply);
        assert_eq!(said.replies(true), ["three"]);
    }

    #[test]
    fn a_message_for_the_person_at_once_is_not_said_again_after_a_cut() {
        let mut said = Said::default();
        assert!(said.add("a", Manner::Async));
        said.call_is_tried_again();
        assert!(!said.add("a", Manner::Async));
        said.call_ended();
        assert!(said.add("a", Manner::Async));
    }
}
