//! Watching a turn that codex has accepted: what moves is shown, messages that come meanwhile are given to it, the
//! host's tools are called for it, and silence or a stop interrupts it.

use std::time::Duration;

use cofferdam_protocol::runner::{ActivityKind, EventBody, Outcome, Usage};
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::jsonrpc::Notification;
use super::mcp::Mcp;
use super::protocol::InterruptParams;
use super::pulse::{Beat, Pulse};
use super::steer::{Steer, Target};
use super::step::Step;
use super::thread::says;
use super::tools::Calls;
use super::turn::TurnLog;
use super::{method, terminals, told};
use crate::outbox::TurnEvents;
use crate::provider::Scope;

/// How long a turn may take to end after it was interrupted (10 ms were seen).
pub(super) const INTERRUPT_LIMIT: Duration = Duration::from_secs(5);
/// The pause before an interrupt that came before the turn's first step is sent again (a few ms pass between
/// codex's answer and that step).
const INTERRUPT_AGAIN: Duration = Duration::from_millis(20);
/// The shortest time between two signs of life that show nothing, and between two counts of tokens.
const SHOW_EVERY: Duration = Duration::from_secs(5);

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
    /// Interrupted for the silence of a command that ran.
    Silent,
    /// Interrupted for the silence of the model, since no command ran; `ended` says whether codex still obeyed.
    Mute {
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
    /// Where it runs.
    pub at: Target<'a>,
    /// How long nothing may move.
    pub silence: Duration,
    /// What works for it, unheard.
    pub pulse: Pulse,
    /// Where to show things, and what steers or stops it.
    pub scope: &'a mut Scope,
    /// Messages that it was offered.
    pub steer: &'a mut Steer,
    /// Its calls of the host's tools.
    pub calls: Calls,
    /// The MCP servers of its thread.
    pub mcp: &'a mut Mcp,
}

impl Watch<'_> {
    /// Follows the turn to its end, one way or another.
    pub async fn until_end(
        mut self,
        notifications: &mut UnboundedReceiver<Notification>,
        log: &mut TurnLog<'_>,
    ) -> WatchEnd {
        let at = self.at;
        let interrupt = self.scope.interrupt.clone();
        let mut interrupted: Option<Interrupted> = None;
        let mut deadline = Instant::now() + self.silence;
        let mut shown = Shown::new();
        loop {
            tokio::select! {
                notification = notifications.recv() => {
                    let Some(notification) = notification else {
                        let asked = interrupted.is_some_and(|by| by.why == Why::Asked);
                        return if asked { WatchEnd::Stuck } else { WatchEnd::Died };
                    };
                    if interrupted.is_none() {
                        self.pulse.heard();
                        deadline = Instant::now() + self.silence;
                    }
                    match log.hear(&notification) {
                        Step::End(outcome) => return Self::ended(at, notifications, outcome, interrupted.map(|by| by.why)).await,
                        step => self.take(step, &mut shown),
                    }
                }
                () = interrupt.cancelled(), if interrupted.is_none() => {
                    interrupted = Some(self.interrupt(Why::Asked));
                    deadline = Instant::now() + INTERRUPT_LIMIT;
                }
                () = self.steer.run(&mut self.scope.steering, at), if interrupted.is_none() => {}
                () = self.calls.advance(at.turn), if interrupted.is_none() => {
                    deadline = Instant::now() + self.silence;
                }
                beat = self.pulse.next(at, log.runs_command()), if interrupted.is_none() => match beat {
                    Beat::Works => {
                        shown.alive(&self.scope.events);
                        deadline = Instant::now() + self.silence;
                    }
                    Beat::Wedged => {
                        tracing::warn!("its commands work, but codex does not answer; interrupting the turn");
                        interrupted = Some(self.interrupt(Why::Silence));
                        deadline = Instant::now() + INTERRUPT_LIMIT;
                    }
                },
                state = self.mcp.changed() => self.scope.events.session(EventBody::Mcp(state)),
                () = tokio::time::sleep_until(deadline) => match &interrupted {
                    None if self.pulse.works(log.runs_command()) => deadline = Instant::now() + self.silence,
                    // A person takes the time that a person takes.
                    None if self.calls.are_pending() => {
                        self.scope.events.activity(ActivityKind::Alive, "");
                        deadline = Instant::now() + self.silence;
                    }
                    None => {
                        tracing::warn!(seconds = self.silence.as_secs(), "nothing moves; interrupting the turn");
                        interrupted = Some(self.interrupt(Why::Silence));
                        deadline = Instant::now() + INTERRUPT_LIMIT;
                    }
                    Some(by) if by.why == Why::Silence => return WatchEnd::Mute { ended: false },
                    Some(_) => return WatchEnd::Stuck,
                },
            }
        }
    }

    fn take(&mut self, step: Step, shown: &mut Shown) {
        let events = &self.scope.events;
        match step {
            Step::Delta(text) => events.delta(text),
            Step::Activity(kind, text) => events.activity(kind, &text),
            Step::Reply(text) => events.reply(text),
            Step::Compacted(compaction) => events.put(EventBody::Compacted(compaction)),
            Step::Taken { client_id, cut } => {
                let Some(message) = self.steer.taken(&client_id) else { return };
                events.steered(vec![message]);
                if cut {
                    events.activity(ActivityKind::Retrying, "a new message came in; the answer begins anew");
                }
            }
            Step::McpFailed { server, error } => {
                self.mcp.call_failed(self.at.client, self.at.thread, &server, &error, events);
            }
            Step::Tokens(usage) => return shown.tokens(usage, events),
            Step::Alive => return shown.alive(events),
            Step::End(_) => return,
        }
        shown.anything = Instant::now();
    }

    async fn ended(
        at: Target<'_>,
        notifications: &mut UnboundedReceiver<Notification>,
        outcome: Outcome,
        interrupted: Option<Why>,
    ) -> WatchEnd {
        if outcome != Outcome::Interrupted {
            return WatchEnd::Over(outcome);
        }
        // An interrupt leaves a running command behind as a background terminal.
        let commands = terminals::end(at.client, at.thread, notifications).await;
        match interrupted {
            Some(Why::Silence) if commands => WatchEnd::Silent,
            Some(Why::Silence) => WatchEnd::Mute { ended: true },
            Some(Why::Asked) | None => WatchEnd::Over(outcome),
        }
    }

    /// Interrupts the turn.
    fn interrupt(&self, why: Why) -> Interrupted {
        let client = self.at.client.clone();
        let params = InterruptParams { thread_id: self.at.thread.to_owned(), turn_id: self.at.turn.to_owned() };
        let asking = tokio::spawn(async move {
            loop {
                match client.request::<IgnoredAny>(method::TURN_INTERRUPT, &params, INTERRUPT_LIMIT).await {
                    Ok(_) => return,
                    Err(error) if says(&error, "no active turn") => tokio::time::sleep(INTERRUPT_AGAIN).await,
                    Err(error) => return tracing::warn!(error = told(&error), "codex did not take the interrupt"),
                }
            }
        });
        Interrupted { why, _asking: AbortOnDropHandle::new(asking) }
    }
}

/// An interrupt on its way.
struct Interrupted {
    why: Why,
    /// Asks until codex obeys, or the turn ends.
    _asking: AbortOnDropHandle<()>,
}

/// When what was shown last, so that nobody is flooded.
struct Shown {
    anything: Instant,
    tokens: Option<Instant>,
}

impl Shown {
    fn new() -> Self {
        Self { anything: Instant::now(), tokens: None }
    }

    fn alive(&mut self, events: &TurnEvents) {
        if self.anything.elapsed() >= SHOW_EVERY {
            events.activity(ActivityKind::Alive, "");
            self.anything = Instant::now();
        }
    }

    fn tokens(&mut self, usage: Usage, events: &TurnEvents) {
        if self.tokens.is_some_and(|last| last.elapsed() < SHOW_EVERY) {
            return;
        }
        let text = format!("{} in, {} out", grouped(usage.input), grouped(usage.output));
        events.activity(ActivityKind::Tokens, &text);
        self.tokens = Some(Instant::now());
        self.anything = Instant::now();
    }
}

/// The number with a comma after each three digits, such as `12,300`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_300, "12,300"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
