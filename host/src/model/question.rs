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
