//! Compacting the conversation: when it is due, by hand, and what can go wrong.
//!
//! `thread/compact/start` is answered at once; the compaction is then a turn of its own, whose id only `turn/started`
//! tells. It has succeeded when its item is complete **and** that turn is. Whatever else happens leaves the history as
//! it was, and the next turn is followed by another try.

use std::time::Duration;

use cofferdam_protocol::runner::{
    ActivityKind, Compaction, CompactionCause, CompactionOutcome, EventBody, Failure, FailureKind, Finish, Outcome,
};
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::jsonrpc::Notification;
use super::protocol::{CompactParams, InterruptParams, Item, Notice, RevertParams, TurnStatus};
use super::tokens::Meter;
use super::{Broken, Codex, Scope, method, told};

/// How often the host is told that it still runs: well below any silence time-out.
const SIGN_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to end after it was interrupted (110 ms were seen): for time, and for a stop that is urgent.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_millis(500);
/// How long putting the history back may take.
const REVERT_LIMIT: Duration = Duration::from_secs(30);

/// Where events go.
type Put<'a> = &'a (dyn Fn(EventBody) + Send + Sync);

/// How a compaction ended on an app-server that still works.
#[derive(Debug, PartialEq)]
enum End {
    Completed,
    Failed(Failure),
    /// It was interrupted, for its time or because of a stop.
    Interrupted,
    /// It was interrupted, and nothing came of that.
    Wedged,
    /// The app-server is gone.
    Died,
}

impl Codex {
    /// Compacts when the conversation's tokens have reached the threshold, or its window is full.
    pub(super) async fn compact_when_due(&mut self, put: Put<'_>, interrupt: &CancellationToken) {
        let threshold = self.settings.compaction.threshold_tokens;
        let reached = threshold > 0 && self.conversation.meter.context().since_compaction >= threshold;
        let due = self.conversation.has_turns && (reached || self.conversation.overflowed);
        if due && !interrupt.is_cancelled() {
            // Its failure is told by its event, and it stays due.
            let _ = self.compact(CompactionCause::Threshold, put, interrupt).await;
            self.conversation.meter.take();
        }
    }

    /// `/compact`.
    pub(super) async fn compact_by_hand(&mut self, scope: &Scope, finish: &mut Finish) -> Outcome {
        let begun = Instant::now();
        let put = |body| scope.events.put(body);
        let outcome = match self.compact(CompactionCause::ByHand, &put, &scope.interrupt).await {
            Ok(Some(before)) => {
                let before = thousands(before);
                finish.replies.push(format!(
                    "Compacted: {before} input tokens since the last one; the conversation goes on from a summary."
                ));
                Outcome::Completed
            }
            Ok(None) => {
                finish.replies.push("There is nothing to compact yet.".to_owned());
                Outcome::Completed
            }
            Err(_) if scope.interrupt.is_cancelled() => Outcome::Interrupted,
            Err(failure) => Outcome::Failed(failure),
        };
        finish.usage = self.conversation.meter.take();
        finish.provider_millis = begun.elapsed().as_secs_f64() * 1e3;
        outcome
    }

    /// One compaction, over a restart of the app-server where that helps. The answer is the input tokens since the one
    /// before, or none when there was nothing to compact.
    async fn compact(
        &mut self,
        cause: CompactionCause,
        put: Put<'_>,
        interrupt: &CancellationToken,
    ) -> Result<Option<u64>, Failure> {
        let before = self.conversation.meter.context().since_compaction;
        let begun = Instant::now();
        tracing::info!(?cause, before, "compaction begins");
        let result = self.compact_over_restart(put, interrupt).await;
        let outcome = match &result {
            Ok(false) => return Ok(None),
            Ok(true) => CompactionOutcome::Completed,
            Err(failure) => CompactionOutcome::Failed { message: failure.message.clone() },
        };
        tracing::info!(?outcome, millis = begun.elapsed().as_millis(), "compaction ends");
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let meter = self.conversation.meter.context();
        put(EventBody::Compacted(Compaction { cause, outcome, before, meter, millis }));
        result.map(|_| Some(before))
    }

    async fn compact_over_restart(&mut self, put: Put<'_>, interrupt: &CancellationToken) -> Result<bool, Failure> {
        let (mut restarted, mut reopened) = (false, false);
        loop {
            let broken = match self.try_compaction(put, interrupt).await {
                Ok(done) => return Ok(done),
                Err(broken) => broken,
            };
            match broken {
                broken if interrupt.is_cancelled() => return Err(broken.failure()),
                Broken::Server(failure) if !restarted => {
                    tracing::warn!(error = failure.message, "codex is started again for the compaction");
                    restarted = true;
                }
                Broken::NotFound(error) if !reopened => {
                    self.not_found(&error, false);
                    reopened = true;
                }
                Broken::NotFound(error) => {
                    self.not_found(&error, true);
                    return Err(Broken::NotFound(error).failure());
                }
                broken => return Err(broken.failure()),
            }
        }
    }

    /// The answer is whether there was something to compact.
    async fn try_compaction(&mut self, put: Put<'_>, interrupt: &CancellationToken) -> Result<bool, Broken> {
        if self.conversation.thread.is_none() {
            return Ok(false);
        }
        let opening = self.open();
        let (client, thread) = tokio::select! {
            opened = opening => opened?,
            () = interrupt.cancelled() => return Err(Broken::Turn(interrupted())),
        };
        if !self.conversation.has_turns {
            return Ok(false);
        }
        self.conversation.meter.take();
        let mut notifications = client.subscribe();
        let params = CompactParams { thread_id: thread.clone() };
        if let Err(error) = client.request::<IgnoredAny>(method::COMPACT_START, &params, self.quick()).await {
            return Err(self.broken(error).await);
        }
        let time = Duration::from_secs(self.settings.compaction.timeout_secs.max(1));
        let mut log = CompactionLog::new(&thread, &mut self.conversation.meter);
        let end = follow(&client, &mut log, &mut notifications, time, put, interrupt).await;
        let turn = log.turn.take();
        match end {
            End::Completed => self.check_summary(&client, &thread, turn).await,
            End::Failed(failure) => Err(Broken::Turn(failure)),
            End::Interrupted if interrupt.is_cancelled() => Err(Broken::Turn(interrupted())),
            End::Interrupted => Err(Broken::Turn(overdue(time))),
            End::Wedged => {
                self.kill().await;
                Err(Broken::Server(overdue(time)))
            }
            End::Died => Err(self.died().await),
        }
    }

    /// Codex takes an answer without any text for a summary and forgets everything that the agent said and did. Then
    /// the history is put back.
    async fn check_summary(&mut self, client: &Client, thread: &str, turn: Option<String>) -> Result<bool, Broken> {
        let meter = &mut self.conversation.meter;
        let used = meter.so_far().unwrap_or_default();
        // A vendor that never says how much the model wrote says nothing here either.
        let says_output = meter.total_output() > used.output;
        let is_empty = used.input > 0 && used.output <= used.reasoning && says_output;
        if let (true, Some(before_turn_id)) = (is_empty, turn) {
            let params = RevertParams { thread_id: thread.to_owned(), before_turn_id };
            return match client.request::<IgnoredAny>(method::THREAD_REVERT, &params, REVERT_LIMIT).await {
                Ok(_) => {
                    let message = "the model wrote no summary; the conversation is as it was";
                    Err(Broken::Turn(Failure::new(FailureKind::Upstream, message)))
                }
                // Not once more: it would summarize what is left.
                Err(error) => {
                    let why = self.broken(error).await.failure();
                    let message = format!(
                        "the model wrote no summary, and the conversation before it could not be put back: {}",
                        why.message
                    );
                    Err(Broken::Turn(Failure::new(why.kind, message)))
                }
            };
        }
        meter.compacted();
        self.conversation.overflowed = false;
        Ok(true)
    }
}

fn interrupted() -> Failure {
    Failure::new(FailureKind::Other, "the compaction was interrupted")
}

fn overdue(time: Duration) -> Failure {
    Failure::new(FailureKind::Silence, format!("the compaction did not end within {} s", time.as_secs()))
}

/// What was heard of a compaction.
struct CompactionLog<'a> {
    thread: &'a str,
    meter: &'a mut Meter,
    /// The compaction's turn, once it began.
    turn: Option<String>,
    /// Its item is complete.
    complete: bool,
}

impl<'a> CompactionLog<'a> {
    fn new(thread: &'a str, meter: &'a mut Meter) -> Self {
        Self { thread, meter, turn: None, complete: false }
    }

    /// Takes in one notification; the answer is the end, when it is that.
    fn hear(&mut self, notification: &Notification) -> Option<End> {
        let notice = match Notice::read(&notification.method, notification.params.get()) {
            Ok(notice) => notice,
            Err(error) => {
                tracing::warn!(%error, method = notification.method, "a notification from codex is malformed");
                return None;
            }
        };
        match notice {
            Notice::TurnStarted(event) if event.thread_id == self.thread => self.turn = Some(event.turn.id),
            Notice::Tokens(event) if event.thread_id == self.thread => {
                if self.turn.as_ref() == Some(&event.turn_id) {
                    self.meter.count(&event.token_usage);
                } else {
                    self.meter.rebase(&event.token_usage);
                }
            }
            Notice::ItemCompleted(event) if event.thread_id == self.thread => {
                self.complete |= matches!(event.item, Item::ContextCompaction {});
            }
            Notice::TurnCompleted(event)
                if event.thread_id == self.thread && self.turn.as_ref() == Some(&event.turn.id) =>
            {
                return Some(match (event.turn.status, event.turn.error) {
                    (TurnStatus::Completed, _) if self.complete => End::Completed,
                    (TurnStatus::Interrupted, _) => End::Interrupted,
                    (_, Some(error)) => End::Failed(super::failure::failure(&error)),
                    _ => End::Failed(Failure::new(FailureKind::Other, "codex ended the compaction without one")),
                });
            }
            _ => {}
        }
        None
    }
}

/// Follows a compaction that codex has accepted to its end, and ends it when it is asked to or takes too long.
async fn follow(
    client: &Client,
    log: &mut CompactionLog<'_>,
    notifications: &mut UnboundedReceiver<Notification>,
    time: Duration,
    put: Put<'_>,
    interrupt: &CancellationToken,
) -> End {
    let mut deadline = Instant::now() + time;
    let (mut ending, mut asked) = (false, false);
    let mut signs = tokio::time::interval(SIGN_EVERY);
    signs.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            notification = notifications.recv() => {
                let Some(notification) = notification else { return End::Died };
                if let Some(end) = log.hear(&notification) {
                    return end;
                }
            }
            _ = signs.tick() => {
                put(EventBody::Activity { kind: ActivityKind::Compacting, text: String::new() });
            }
            () = interrupt.cancelled(), if !ending => {
                (ending, deadline) = (true, Instant::now() + STOP_LIMIT);
            }
            () = tokio::time::sleep_until(deadline) => {
                if ending {
                    return End::Wedged;
                }
                (ending, deadline) = (true, Instant::now() + INTERRUPT_LIMIT);
            }
        }
        // Before its turn has begun, there is nothing that could be interrupted.
        if let (true, false, Some(turn)) = (ending, asked, &log.turn) {
            asked = true;
            ask_to_end(client, log.thread, turn);
        }
    }
}

fn ask_to_end(client: &Client, thread: &str, turn: &str) {
    let client = client.clone();
    let params = InterruptParams { thread_id: thread.to_owned(), turn_id: turn.to_owned() };
    tokio::spawn(async move {
        if let Err(error) = client.request::<IgnoredAny>(method::TURN_INTERRUPT, &params, INTERRUPT_LIMIT).await {
            tracing::warn!(error = told(&error), "codex did not take the interrupt of the compaction");
        }
    });
}

/// `41200` as `41,200`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
