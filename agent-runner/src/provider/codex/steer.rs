//! Messages that come while a turn runs, given to that turn.
//!
//! Codex's answer to a steer only says that it waits in memory; a turn that ends first loses it. The turn has a
//! message when it shows it as an item of its own, under the name that it was sent with.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cofferdam_protocol::ids::MessageId;
use cofferdam_protocol::runner::BatchMessage;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::AbortOnDropHandle;

use super::client::{Client, RequestError};
use super::input::input;
use super::protocol::SteerParams;
use super::{method, told};

/// How long codex may take to accept a message (3 ms were seen).
const LIMIT: Duration = Duration::from_secs(10);

type Sending = AbortOnDropHandle<Result<IgnoredAny, RequestError>>;

/// The messages that one turn was offered.
#[derive(Default)]
pub struct Steer {
    waiting: VecDeque<BatchMessage>,
    sending: Option<(MessageId, Sending)>,
    /// Sent, and neither taken nor refused.
    sent: Vec<MessageId>,
    /// All that were ever sent.
    ever_sent: BTreeSet<MessageId>,
    /// One was refused or not answered: to keep the order, those behind it wait for the next turn too.
    closed: bool,
}

/// Where messages are sent.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The app-server.
    pub client: &'a Client,
    /// Its thread.
    pub thread: &'a str,
    /// The running turn.
    pub turn: &'a str,
    /// The agent's working directory.
    pub cwd: &'a str,
}

impl Steer {
    /// Takes in offers and sends them, one after another: their order stays. Never ends; nothing is lost when it is
    /// dropped and called again.
    pub async fn run(&mut self, offers: &mut UnboundedReceiver<Vec<BatchMessage>>, to: Target<'_>) {
        loop {
            if let Some((message, sending)) = &mut self.sending {
                let (message, answer) = (*message, sending.await);
                self.sending = None;
                match answer {
                    Ok(answer) => self.answered(message, answer),
                    Err(error) => tracing::error!(%message, %error, "steering broke off"),
                }
            } else if let Some(message) = self.waiting.pop_front() {
                self.sent.push(message.id);
                self.ever_sent.insert(message.id);
                self.sending = Some((message.id, send(&message, to)));
            } else {
                match offers.recv().await {
                    Some(_) if self.closed => {}
                    Some(messages) => self.waiting.extend(messages),
                    None => std::future::pending().await,
                }
            }
        }
    }

    /// The message of this name, if the turn was given it and now has it.
    pub fn taken(&mut self, client_id: &str) -> Option<MessageId> {
        let at = self.sent.iter().position(|id| name(*id) == client_id)?;
        Some(self.sent.remove(at))
    }

    /// All that the turn was ever sent, taken or not.
    pub fn ever_sent(&self) -> &BTreeSet<MessageId> {
        &self.ever_sent
    }

    /// Another app-server takes the turn over, whose thread shows `shown`: those of them that were not said to be taken
    /// yet. What it does not show was lost; it waits for the next turn, and so does all that comes behind it.
    pub fn taken_over(&mut self, shown: &[MessageId]) -> Vec<MessageId> {
        let (taken, lost) = std::mem::take(&mut self.sent).into_iter().partition(|id| shown.contains(id));
        if !Vec::is_empty(&lost) {
            self.close();
        }
        taken
    }

    fn answered(&mut self, message: MessageId, answer: Result<IgnoredAny, RequestError>) {
        let Err(error) = answer else {
            tracing::info!(%message, "the running turn is steered");
            return;
        };
        // Without an answer it may have it all the same, and would show it.
        if matches!(error, RequestError::Refused(..)) {
            self.sent.retain(|id| *id != message);
        }
        tracing::info!(%message, error = told(&error), "the turn cannot be steered; the message waits for the next");
        self.close();
    }

    fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }
}

fn name(message: MessageId) -> String {
    format!("m:{message}")
}

fn send(message: &BatchMessage, to: Target<'_>) -> Sending {
    let client = to.client.clone();
    let params = SteerParams {
        thread_id: to.thread.to_owned(),
        expected_turn_id: to.turn.to_owned(),
        input: input(std::slice::from_ref(message), to.cwd),
        client_user_message_id: name(message.id),
    };
    let asking = async move { client.request(method::TURN_STEER, &params, LIMIT).await };
    AbortOnDropHandle::new(tokio::spawn(asking))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_steered_past_a_message_that_was_lost_with_its_app_server() {
        let ids = |ids: &[i64]| ids.iter().copied().map(MessageId).collect::<Vec<_>>();
        let mut steer = Steer { sent: ids(&[5, 6]), ..Steer::default() };
        assert_eq!(steer.taken_over(&ids(&[4, 5, 6])), ids(&[5, 6]));
        assert!(!steer.closed, "nothing was lost");
        steer.sent = ids(&[7, 8]);
        assert_eq!(steer.taken_over(&ids(&[7])), ids(&[7]));
        assert!(steer.closed && steer.sent.is_empty());
    }
}
