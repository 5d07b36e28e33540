//! How a message stands, for whoever waits for its answer.

use cofferdam_protocol::ids::TurnId;

/// How a message that was handed in stands. Read from the rows, so that it is the same after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// There is none with that id in that chat.
    Unknown,
    /// It waits for its turn: its first, or the next try.
    Waiting,
    /// This turn has it.
    Running(TurnId),
    /// Its turn waits for the answer to a question: the agent's texts so far, the question in words last.
    Asks(Vec<String>),
    /// It was answered, from the moment that its turn ended, whether the replies were delivered or not: the agent's texts
    /// for its chat after it was accepted, in their order; files and questions in words.
    Said(Vec<String>),
    /// Its turn ended for good in a notice instead: the notice's text.
    Failed(String),
}

impl Stand {
    /// How two groups that have the same message stand together: one that goes on is waited for, and what both said is the
    /// answer.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        use Stand::{Asks, Failed, Running, Said, Unknown, Waiting};
        match (self, other) {
            (Unknown, one) | (one, Unknown) => one,
            (Running(turn), _) | (_, Running(turn)) => Running(turn),
            (Waiting, _) | (_, Waiting) => Waiting,
            (Asks(mut texts) | Said(mut texts), Asks(more)) | (Asks(mut texts), Said(more)) => {
                texts.extend(more);
                Asks(texts)
            }
            (Said(mut texts), Said(more)) => {
                texts.extend(more);
                Said(texts)
            }
            (Asks(texts), Failed(_)) | (Failed(_), Asks(texts)) => Asks(texts),
            (Said(texts), Failed(_)) | (Failed(_), Said(texts)) => Said(texts),
            (Failed(notice), Failed(_)) => Failed(notice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stand::{Asks, Failed, Running, Said, Unknown, Waiting};
    use super::*;

    #[test]
    fn one_that_goes_on_is_waited_for_and_what_both_said_is_the_answer() {
        let said = |text: &str| Said(vec![text.into()]);
        let failed = || Failed("no".into());
        assert_eq!(Unknown.and(said("a")), said("a"));
        assert_eq!(said("a").and(Unknown), said("a"));
        assert_eq!(said("a").and(said("b")), Said(vec!["a".into(), "b".into()]));
        assert_eq!(said("a").and(Waiting), Waiting);
        assert_eq!(Running(TurnId(1)).and(failed()), Running(TurnId(1)));
        assert_eq!(said("a").and(Asks(vec!["?".into()])), Asks(vec!["a".into(), "?".into()]));
        assert_eq!(failed().and(said("a")), said("a"));
        assert_eq!(failed().and(failed()), failed());
    }
}
