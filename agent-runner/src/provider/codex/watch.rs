//! Watching a turn that codex has accepted: what moves is shown, and silence or a stop interrupts it.

use std::time::Duration;

use cofferdam_protocol::runner::{ActivityKind, EventBody, Outcome};
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::jsonrpc::Notification;
use super::protocol::{CleanParams, InterruptParams};
use super::turn::{Step, TurnLog};
use super::{method, told};
use crate::outbox::TurnEvents;

/// How long a turn may take to end after it was interrupted (10 ms were seen).
const INTERRUPT_LIMIT: Duration = Duration::from_secs(5);
/// The shortest time between two signs of life that show nothing.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Why a turn was interrupted by us.
#[derive(Clone, Copy, PartialEq)]
enum Why {
    Asked,
    Silence,
}

/// How watching a turn came out.
pub enum WatchEnd {
    /// Codex ended it.
    Over(Outcome),
    /// Interrupted for silence; `ended` says whether codex still obeyed.
    Silent {
        /// Whether the turn is over.
        ended: bool,
    },
    /// Interrupted as asked, but codex did not end the turn.
    Stuck,
    /// The app-server is gone.
    Died,
}

/// A turn that codex has accepted.
pub struct Watch<'a> {
    /// To speak to the app-server.
    pub client: &'a Client,
    /// Its thread.
    pub thread: &'a str,
    /// Its id.
    pub turn: &'a str,
    /// How long nothing may move.
    pub silence: Duration,
    /// Where to show things.
    pub events: &'a TurnEvents,
    /// Cancelled when it shall stop.
    pub interrupt: &'a CancellationToken,
}

impl Watch<'_> {
    /// Follows the turn to its end, one way or another.
    pub async fn until_end(
        &self,
        notifications: &mut UnboundedReceiver<Notification>,
        log: &mut TurnLog<'_>,
    ) -> WatchEnd {
        let mut interrupted = None;
        let mut deadline = Instant::now() + self.silence;
        let mut shown = Instant::now();
        loop {
            tokio::select! {
                notification = notifications.recv() => {
                    let Some(notification) = notification else {
                        return if interrupted == Some(Why::Asked) { WatchEnd::Stuck } else { WatchEnd::Died };
                    };
                    if interrupted.is_none() {
                        deadline = Instant::now() + self.silence;
                    }
                    match log.hear(&notification) {
                        Step::End(outcome) => return self.ended(outcome, interrupted),
                        step => self.show(step, &mut shown),
                    }
                }
                () = self.interrupt.cancelled(), if interrupted.is_none() => {
                    interrupted = Some(Why::Asked);
                    deadline = self.ask_to_end();
                }
                () = tokio::time::sleep_until(deadline) => match interrupted {
                    None => {
                        tracing::warn!(seconds = self.silence.as_secs(), "nothing moves; interrupting the turn");
                        interrupted = Some(Why::Silence);
                        deadline = self.ask_to_end();
                    }
                    Some(Why::Silence) => return WatchEnd::Silent { ended: false },
                    Some(Why::Asked) => return WatchEnd::Stuck,
                },
            }
        }
    }

    fn show(&self, step: Step, shown: &mut Instant) {
        match step {
            Step::Delta(text) => self.events.delta(text),
            Step::Activity(kind, text) => self.events.activity(kind, &text),
            Step::Compacted(compaction) => self.events.put(EventBody::Compacted(compaction)),
            Step::Alive if shown.elapsed() >= ALIVE_EVERY => self.events.activity(ActivityKind::Alive, ""),
            Step::Alive | Step::End(_) => return,
        }
        *shown = Instant::now();
    }

    fn ended(&self, outcome: Outcome, interrupted: Option<Why>) -> WatchEnd {
        if outcome != Outcome::Interrupted {
            return WatchEnd::Over(outcome);
        }
        // An interrupt leaves a running command behind as a background terminal.
        let (client, params) = (self.client.clone(), CleanParams { thread_id: self.thread.to_owned() });
        tokio::spawn(async move {
            let cleaned = client.request::<IgnoredAny>(method::TERMINALS_CLEAN, &params, INTERRUPT_LIMIT).await;
            if let Err(error) = cleaned {
                tracing::debug!(error = told(&error), "left-over commands could not be ended");
            }
        });
        match interrupted {
            Some(Why::Silence) => WatchEnd::Silent { ended: true },
            Some(Why::Asked) | None => WatchEnd::Over(outcome),
        }
    }

    /// Interrupts the turn; the answer is when to stop waiting for its end.
    fn ask_to_end(&self) -> Instant {
        let client = self.client.clone();
        let params = InterruptParams { thread_id: self.thread.to_owned(), turn_id: self.turn.to_owned() };
        tokio::spawn(async move {
            let asked = client.request::<IgnoredAny>(method::TURN_INTERRUPT, &params, INTERRUPT_LIMIT).await;
            if let Err(error) = asked {
                tracing::warn!(error = told(&error), "codex did not take the interrupt");
            }
        });
        Instant::now() + INTERRUPT_LIMIT
    }
}
