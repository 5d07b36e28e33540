//! How a message stands, for whoever waits for its answer.

use cofferdam_protocol::ids::TurnId;
use cofferdam_protocol::runner::Usage;

/// What a message was answered with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The agent's texts, in their order.
    pub texts: Vec<String>,
    /// What its turn took, with the tries before it, as far as the provider said.
    pub usage: Usage,
}

impl Answer {
    /// All that is said, and all that it took.
    fn and(mut self, other: Self) -> Self {
        self.texts.extend(other.texts);
        Self { texts: self.texts, usage: self.usage.and(other.usage) }
    }
}

/// Words that took nothing of a provider's.
impl From<Vec<String>> for Answer {
    fn from(texts: Vec<String>) -> Self {
        Self { texts, usage: Usage::default() }
    }
}

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
    Asks(Answer),
    /// It was answered, from the moment that its turn ended, whether the replies were delivered or not: the agent's texts
    /// for its chat after it was accepted, in their order; files and questions in words.
    Said(Answer),
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
            (Asks(one) | Said(one), Asks(more)) | (Asks(one), Said(more)) => Asks(one.and(more)),
            (Said(one), Said(more)) => Said(one.and(more)),
            (Asks(one), Failed(_)) | (Failed(_), Asks(one)) => Asks(one),
            (Said(one), Failed(_)) | (Failed(_), Said(one)) => Said(one),
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
        let answer = |texts: &[&str], input| Answer {
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            usage: Usage { input, cached_input: 1, output: 2, reasoning: 1 },
        };
        let said = |text: &str| Said(answer(&[text], 3));
        let failed = || Failed("no".into());
        assert_eq!(Unknown.and(said("a")), said("a"));
        assert_eq!(said("a").and(Unknown), said("a"));
        let usage = Usage { input: 6, cached_input: 2, output: 4, reasoning: 2 };
        let both = |texts: &[&str]| Answer { usage, ..answer(texts, 0) };
        assert_eq!(said("a").and(said("b")), Said(both(&["a", "b"])));
        assert_eq!(said("a").and(Waiting), Waiting);
        assert_eq!(Running(TurnId(1)).and(failed()), Running(TurnId(1)));
        assert_eq!(said("a").and(Asks(answer(&["?"], 3))), Asks(both(&["a", "?"])));
        assert_eq!(failed().and(said("a")), said("a"));
        assert_eq!(failed().and(failed()), failed());
    }
}
