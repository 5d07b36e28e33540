//! A batch's turn, from its messages to its end.
//!
//! An app-server that dies or is wedged on the way is started again, once. Then the thread is asked what it has of the
//! batch, and the turn goes on from there: see [`recovery`].

use std::time::{Duration, SystemTime};

use cofferdam_protocol::runner::{ActivityKind, Batch, EventBody, Failure, FailureKind, Finish, Outcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::failure::naming_models;
use super::protocol::{TurnAnswer, TurnParams};
use super::pulse::Pulse;
use super::recovery::{self, Plan};
use super::steer::{Steer, Target};
use super::tools::Calls;
use super::turn::TurnLog;
use super::watch::{INTERRUPT_LIMIT, Watch, WatchEnd};
use super::{Broken, Codex, Scope, method};
use crate::outbox::TurnEvents;

/// A turn's way through restarts.
#[derive(Default)]
struct Progress {
    /// Messages may have been given to the thread already.
    look: bool,
    restarted: bool,
    /// The thread was not found once, and opened again.
    reopened: bool,
    /// What was said before in the conversation that was lost.
    digest: Option<String>,
    /// When codex was first asked.
    asked: Option<Instant>,
    /// Messages that came while it ran.
    steer: Steer,
}

impl Codex {
    /// One batch's turn, over a restart of the app-server where that helps.
    pub(super) async fn answer(&mut self, batch: &Batch, scope: &mut Scope, finish: &mut Finish) -> Outcome {
        let mut progress = Progress { look: batch.retried, ..Progress::default() };
        let outcome = loop {
            let broken = match self.attempt(batch, scope, &mut progress, finish).await {
                Ok(outcome) => break outcome,
                Err(broken) => broken,
            };
            match broken {
                _ if scope.interrupt.is_cancelled() => break Outcome::Interrupted,
                Broken::Server(failure) if !progress.restarted => {
                    tracing::warn!(error = failure.message, "codex is started again, and the turn goes on");
                    scope.events.activity(ActivityKind::Retrying, "the provider's process is started again");
                    (progress.restarted, progress.look) = (true, true);
                }
                Broken::NotFound(error) if !progress.reopened || self.conversation.has_turns => {
                    self.not_found(&error, progress.reopened);
                    progress.reopened = true;
                }
                broken => break Outcome::Failed(broken.failure()),
            }
        };
        finish.usage = self.conversation.meter.take();
        finish.provider_millis = progress.asked.map_or(0.0, |asked| asked.elapsed().as_secs_f64() * 1e3);
        outcome
    }

    async fn attempt(
        &mut self,
        batch: &Batch,
        scope: &mut Scope,
        progress: &mut Progress,
        finish: &mut Finish,
    ) -> Result<Outcome, Broken> {
        let (client, thread) = tokio::select! {
            opened = self.open() => opened?,
            () = scope.interrupt.cancelled() => return Ok(Outcome::Interrupted),
        };
        self.announce(&scope.events);
        let plan = tokio::select! {
            plan = self.plan(&client, &thread, batch, progress) => plan?,
            () = ignored(&scope.interrupt) => return Ok(self.kill_stopped().await),
        };
        finish.replies.clone_from(&plan.replies);
        finish.found = plan.replies.len();
        let steered = progress.steer.taken_over(&plan.steered);
        if !steered.is_empty() {
            scope.events.steered(steered);
        }
        if plan.is_done() {
            tracing::info!("the turn was answered before; its answer is delivered");
            return Ok(Outcome::Completed);
        }
        self.recall(scope, progress, finish).await;
        self.mcp.started(&scope.events, &scope.interrupt).await;
        if scope.interrupt.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
        let params = self.turn_params(&thread, batch, &plan, progress.digest.as_deref());
        progress.asked.get_or_insert_with(Instant::now);
        self.run(&client, params, scope, &mut progress.steer, finish).await
    }

    /// Tells the host of a thread that it does not know, before anything happens on it.
    fn announce(&mut self, events: &TurnEvents) {
        if self.announced != self.conversation.thread
            && let Some(continuation) = self.conversation.thread.clone()
        {
            self.announced = Some(continuation.clone());
            let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let generation = self.conversation.generation;
            events.put(EventBody::Ready {
                generation,
                continuation,
                millis,
                models: self.models.listed().to_vec(),
            });
        }
    }

    /// What of the batch is still to be done.
    async fn plan(
        &mut self,
        client: &Client,
        thread: &str,
        batch: &Batch,
        progress: &Progress,
    ) -> Result<Plan, Broken> {
        if !progress.look || !self.conversation.has_turns {
            return Ok(Plan::all(&batch.messages));
        }
        match recovery::look(client, thread, batch, progress.steer.ever_sent()).await {
            Ok(plan) => {
                tracing::info!(missing = plan.missing.len(), answered = plan.answered, "looked up the turn");
                Ok(plan)
            }
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// Asks for the digest of a lost conversation, once, and says in the turn's end that it is lost.
    async fn recall(&mut self, scope: &Scope, progress: &mut Progress, finish: &mut Finish) {
        let Some(why) = self.conversation.lost.clone() else { return };
        if progress.digest.is_some() {
            return;
        }
        match scope.host.digest().await {
            Ok(Some(digest)) => {
                (progress.digest, finish.lost_thread) = (Some(digest), Some(why));
            }
            // There was nothing in it.
            Ok(None) => self.conversation.lost = None,
            Err(error) => {
                tracing::warn!(%error, "no digest of the lost conversation");
                finish.lost_thread = Some(why);
            }
        }
    }

    /// Begins a codex turn and follows it to its end.
    async fn run(
        &mut self,
        client: &Client,
        params: TurnParams,
        scope: &mut Scope,
        steer: &mut Steer,
        finish: &mut Finish,
    ) -> Result<Outcome, Broken> {
        let mut notifications = client.subscribe();
        let calls = Calls::new(client.serve_tools(), scope.host.clone(), scope.events.turn());
        let answer = tokio::select! {
            answer = client.request::<TurnAnswer>(method::TURN_START, &params, self.quick()) => answer,
            () = ignored(&scope.interrupt) => {
                // It would begin the turn later, with nobody there.
                return Ok(self.kill_stopped().await);
            }
        };
        let turn = match answer {
            Ok(answer) => answer.turn.id,
            Err(error) => return Err(self.broken(error).await),
        };
        self.conversation.has_turns = true;
        let mut log = TurnLog::new(&params.thread_id, &turn, &mut self.conversation.meter);
        let at = Target { client, thread: &params.thread_id, turn: &turn, cwd: &self.settings.cwd };
        let silence = Duration::from_secs(self.settings.silence_secs.max(1));
        let pulse = Pulse::new(self.server.as_ref().map_or(0, |server| server.pid), silence);
        let watch = Watch { at, silence, pulse, scope, steer, calls, mcp: &mut self.mcp };
        let end = watch.until_end(&mut notifications, &mut log).await;
        log.close(&end, finish);
        self.limits.learn(log.limits.known());
        self.conclude(end).await
    }

    /// The turn was stopped while codex did not answer.
    async fn kill_stopped(&mut self) -> Outcome {
        tracing::warn!("codex does not answer in a turn that was stopped; it is killed");
        self.kill().await;
        Outcome::Interrupted
    }

    async fn conclude(&mut self, end: WatchEnd) -> Result<Outcome, Broken> {
        let outcome = match end {
            WatchEnd::Over(outcome) => outcome,
            WatchEnd::Silent => Outcome::Failed(self.silent()),
            WatchEnd::Mute { ended } => {
                self.kill().await;
                let stuck = || {
                    let message = "codex neither speaks nor ends the turn, and was killed";
                    Failure::new(FailureKind::Silence, message)
                };
                return Err(Broken::Server(if ended { self.silent() } else { stuck() }));
            }
            WatchEnd::Stuck => {
                self.kill().await;
                Outcome::Interrupted
            }
            WatchEnd::Died => return Err(self.died().await),
        };
        // The thread has the turn now, with what was said before the one in whose place it is.
        self.conversation.lost = None;
        Ok(match outcome {
            Outcome::Failed(failure) => {
                self.conversation.overflowed |= failure.kind == FailureKind::ContextWindow;
                Outcome::Failed(self.in_full(failure))
            }
            outcome => outcome,
        })
    }

    fn silent(&self) -> Failure {
        let message = format!("nothing moved for {} s", self.settings.silence_secs.max(1));
        Failure::new(FailureKind::Silence, message)
    }

    /// The failure with what helps: when the account's limit ends, or which models there are.
    fn in_full(&self, mut failure: Failure) -> Failure {
        let surely = failure.kind == FailureKind::UsageLimit;
        if surely || failure.kind == FailureKind::RateLimited {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            failure.resets_at = self.limits.resets_at(surely, now);
        }
        let known: Vec<_> = self.models.listed().iter().map(|model| model.name.as_str()).collect();
        naming_models(failure, &known)
    }
}

/// Ends when codex has not obeyed this for too long.
async fn ignored(interrupt: &CancellationToken) {
    interrupt.cancelled().await;
    tokio::time::sleep(INTERRUPT_LIMIT).await;
}
