//! Buttons that somebody pressed.

use super::edit::may_write;
use super::message::inbound;
use super::{DecideError, Decider, Desk, failed, lasts, words};
use crate::channels::{Arrival, NotTaken, Taken, Written};
use crate::model::button::{self, Button};
use crate::router::DropReason;
use crate::store::group::answers::Answer;

impl Desk {
    pub(super) async fn press(&self, arrival: &Arrival, data: &str) -> Result<Taken, NotTaken> {
        match Button::parse(data) {
            Some(Button::Choice { approval, choice }) => self.pressed_choice(arrival, approval, choice).await,
            Some(Button::Option { group, question, option }) => {
                self.pressed_option(arrival, &group, question, option).await
            }
            None => self.dropped(arrival, DropReason::BadPress).await,
        }
    }

    async fn pressed_choice(&self, arrival: &Arrival, id: i64, choice: usize) -> Result<Taken, NotTaken> {
        let central = self.inner.stores.central();
        let known = self.find(arrival, "").await.map_err(failed)?.sender;
        let row = central.approval(id).await.map_err(failed)?;
        let Some(word) = row.and_then(|row| row.choices.get(choice).map(|choice| choice.word.clone())) else {
            return self.dropped(arrival, DropReason::BadPress).await;
        };
        let by = Decider::of(arrival, known);
        match self.decide(&by, id, Some(&word)).await {
            Ok((_, made)) => Ok(Taken::Done(made.label)),
            // It was pressed twice, or by two; or its group was removed.
            Err(error @ (DecideError::Before { .. } | DecideError::Gone { .. })) => {
                Ok(Taken::Done(error.to_string()))
            }
            Err(DecideError::Role(_)) => self.dropped(arrival, DropReason::AboveRole).await,
            Err(DecideError::Store(error)) => Err(failed(error)),
            Err(_) => self.dropped(arrival, DropReason::BadPress).await,
        }
    }

    /// An option of an agent's question: taken in as a message that says it, so that whatever holds for answers holds for it.
    async fn pressed_option(
        &self,
        arrival: &Arrival,
        group: &str,
        question: cofferdam_protocol::ids::QuestionId,
        option: usize,
    ) -> Result<Taken, NotTaken> {
        let found = self.find(arrival, "").await.map_err(failed)?;
        let Some(wiring) = found.wirings.iter().find(|wiring| button::tag(&wiring.folder) == group) else {
            return self.dropped(arrival, DropReason::BadPress).await;
        };
        if !may_write(arrival, &found, &wiring.folder) {
            return self.dropped(arrival, DropReason::UnknownSender).await;
        }
        let asked = match self.find_question(&wiring.folder, question).await {
            Err(error) if lasts(&error) => return Ok(Taken::Done(words::unable(&error))),
            asked => asked.map_err(failed)?,
        };
        let Some(asked) = asked else {
            return self.dropped(arrival, DropReason::BadPress).await;
        };
        let here = (&asked.chat.channel, &asked.chat.chat_id) == (&arrival.chat.channel, &arrival.chat.chat_id);
        let Some(option) = asked.options.get(option).filter(|_| here) else {
            return self.dropped(arrival, DropReason::BadPress).await;
        };
        let answer = Answer { message: inbound(arrival, &Written::default(), option), elsewhere: false };
        match self.give(&wiring.folder, question, answer).await {
            Ok(()) => Ok(Taken::Done(option.clone())),
            // It was pressed twice, or by two.
            Err(error @ DecideError::Before { .. }) => Ok(Taken::Done(error.to_string())),
            Err(DecideError::Store(error)) if lasts(&error) => Ok(Taken::Done(words::unable(&error))),
            Err(DecideError::Store(error)) => Err(failed(error)),
            Err(_) => self.dropped(arrival, DropReason::BadPress).await,
        }
    }
}
