//! Codex, by way of `codex app-server`: one process that lives across turns, on one thread.
//!
//! - [`method`] and [`protocol`]: the words, and as types. [`jsonrpc`]: the framing. All plain data.
//! - [`client`]: requests, answers and notifications over two pipes. [`process`]: the child.
//! - [`turn`], [`tokens`], [`limits`], [`failure`], [`context`]: what notifications mean, and what is told. No I/O.
//! - [`thread`]: opening a thread: new, resumed, or stale. [`recovery`]: what of a batch it has already.
//! - [`watch`]: following one turn, and interrupting it. [`compaction`]: the same for a compaction.
//! - This file: a batch's turn, and what to do when the app-server does not come to its end.
//!
//! `docs/codex-provider.md` has the states. A process that died or is wedged is started again once in a turn, and the
//! turn goes on.

pub mod client;
pub mod compaction;
pub mod context;
pub mod failure;
pub mod jsonrpc;
pub mod limits;
pub mod method;
pub mod process;
pub mod protocol;
pub mod recovery;
pub mod thread;
pub mod tokens;
pub mod turn;
pub mod watch;

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cofferdam_protocol::runner::{
    Batch, BatchMessage, EventBody, Failure, FailureKind, Finish, Outcome, Settings, Thread, Work,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::{Client, RequestError};
use self::context::Context;
use self::limits::Limits;
use self::process::Process;
use self::protocol::{Input, TurnAnswer, TurnParams};
use self::recovery::Plan;
use self::thread::Conversation;
use self::turn::TurnLog;
use self::watch::{Watch, WatchEnd};
use super::{Provider, Scope, Started};
use crate::outbox::{Outbox, TurnEvents};

/// The longest that codex may take to answer what it answers at once (3 ms were seen); the group's silence time-out
/// when that is shorter.
const QUICK_LIMIT: Duration = Duration::from_secs(60);
/// `-32602`: the parameters are not taken, such as a text that is too large.
const INVALID_PARAMS: i64 = -32602;

/// The codex provider.
pub struct Codex {
    program: OsString,
    settings: Settings,
    conversation: Conversation,
    /// The thread that the host was last told of.
    announced: Option<String>,
    limits: Limits,
    server: Option<Process>,
    begun: Instant,
}

/// Why something came to nothing.
enum Broken {
    /// The app-server died, or was killed because it did not answer. Another one may do better.
    Server(Failure),
    /// Codex does not know the thread that it had open.
    NotFound(RequestError),
    /// Nothing that a new process would mend.
    Turn(Failure),
}

impl Broken {
    fn failure(self) -> Failure {
        match self {
            Self::Server(failure) | Self::Turn(failure) => failure,
            Self::NotFound(error) => Failure::new(FailureKind::StaleThread, told(&error)),
        }
    }
}

/// A turn's way through restarts.
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
}

impl Codex {
    /// Codex on this thread, or on a new one. Nothing is started yet.
    pub fn new(settings: Settings, thread: Thread, program: OsString) -> Self {
        Self {
            program,
            settings,
            conversation: Conversation::kept(thread),
            announced: None,
            limits: Limits::default(),
            server: None,
            begun: Instant::now(),
        }
    }

    /// One batch's turn, over a restart of the app-server where that helps.
    async fn answer(&mut self, batch: &Batch, scope: &mut Scope, finish: &mut Finish) -> Outcome {
        let look = batch.retried;
        let mut progress = Progress { look, restarted: false, reopened: false, digest: None, asked: None };
        let outcome = loop {
            let broken = match self.attempt(batch, scope, &mut progress, finish).await {
                Ok(outcome) => break outcome,
                Err(broken) => broken,
            };
            match broken {
                _ if scope.interrupt.is_cancelled() => break Outcome::Interrupted,
                Broken::Server(failure) if !progress.restarted => {
                    tracing::warn!(error = failure.message, "codex is started again, and the turn goes on");
                    (progress.restarted, progress.look) = (true, true);
                }
                Broken::NotFound(error) if self.conversation.has_turns => {
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
        let plan = self.plan(&client, &thread, batch, progress).await?;
        finish.replies.clone_from(&plan.replies);
        if plan.is_done() {
            tracing::info!("the turn was answered before; its answer is delivered");
            return Ok(Outcome::Completed);
        }
        self.recall(scope, progress, finish).await;
        let params = self.turn_params(&thread, batch, &plan, progress);
        progress.asked.get_or_insert_with(Instant::now);
        self.run(&client, params, scope, finish).await
    }

    /// Tells the host of a thread that it does not know, before anything happens on it.
    fn announce(&mut self, events: &TurnEvents) {
        if self.announced != self.conversation.thread
            && let Some(continuation) = self.conversation.thread.clone()
        {
            self.announced = Some(continuation.clone());
            let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let generation = self.conversation.generation;
            events.put(EventBody::Ready { generation, continuation, millis, models: Vec::new() });
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
        match recovery::look(client, thread, &batch.messages).await {
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

    fn turn_params(&self, thread: &str, batch: &Batch, plan: &Plan, progress: &Progress) -> TurnParams {
        let missing = |message: &&BatchMessage| plan.missing.contains(&message.id);
        let messages: Vec<_> = batch.messages.iter().filter(missing).cloned().collect();
        let mut context = Context::default();
        if let Some(digest) = progress.digest.as_deref().filter(|_| plan.given.is_empty()) {
            context.untrusted("earlier_conversation", self.conversation.meter.compactions(), digest);
        }
        if let Some(note) = plan.note() {
            context.ours(&recovery::note_key(batch.turn), &note);
        }
        let input = if messages.is_empty() { vec![] } else { vec![Input::Text { text: turn::input(&messages) }] };
        TurnParams {
            thread_id: thread.to_owned(),
            input,
            client_user_message_id: recovery::client_id(&messages),
            additional_context: context.into_entries(),
            effort: batch.options.effort.clone(),
        }
    }

    /// Begins a codex turn and follows it to its end.
    async fn run(
        &mut self,
        client: &Client,
        params: TurnParams,
        scope: &mut Scope,
        finish: &mut Finish,
    ) -> Result<Outcome, Broken> {
        let mut notifications = client.subscribe();
        let turn = match client.request::<TurnAnswer>(method::TURN_START, &params, self.quick()).await {
            Ok(answer) => answer.turn.id,
            Err(error) => return Err(self.broken(error).await),
        };
        self.conversation.has_turns = true;
        let mut log = TurnLog::new(&params.thread_id, &turn, &mut self.conversation.meter);
        let watch = Watch {
            client,
            thread: &params.thread_id,
            turn: &turn,
            silence: Duration::from_secs(self.settings.silence_secs.max(1)),
            events: &scope.events,
            interrupt: &scope.interrupt,
        };
        let end = watch.until_end(&mut notifications, &mut log).await;
        finish.replies.append(&mut log.replies);
        self.limits.learn(log.limits.known());
        self.conclude(end).await
    }

    async fn conclude(&mut self, end: WatchEnd) -> Result<Outcome, Broken> {
        let outcome = match end {
            WatchEnd::Over(outcome) => outcome,
            WatchEnd::Silent { ended: true } => {
                let message = format!("nothing moved for {} s", self.settings.silence_secs.max(1));
                Outcome::Failed(Failure::new(FailureKind::Silence, message))
            }
            WatchEnd::Silent { ended: false } => {
                self.kill().await;
                let message = "codex neither speaks nor ends the turn, and was killed";
                return Err(Broken::Server(Failure::new(FailureKind::Silence, message)));
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
                Outcome::Failed(self.dated(failure))
            }
            outcome => outcome,
        })
    }

    /// The failure with the time at which the account's limit ends, when it is one and that is known.
    fn dated(&self, mut failure: Failure) -> Failure {
        let surely = failure.kind == FailureKind::UsageLimit;
        if surely || failure.kind == FailureKind::RateLimited {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            failure.resets_at = self.limits.resets_at(surely, now);
        }
        failure
    }

    /// How long codex may take to answer what it answers at once.
    fn quick(&self) -> Duration {
        QUICK_LIMIT.min(Duration::from_secs(self.settings.silence_secs.max(1)))
    }

    /// What a request's failure means. An app-server that does not answer is killed: it would do later what was asked.
    async fn broken(&mut self, error: RequestError) -> Broken {
        match &error {
            RequestError::Closed(_) => self.died().await,
            // It did what was asked, but nobody knows what.
            RequestError::Timeout(..) | RequestError::Malformed(..) => {
                self.kill().await;
                Broken::Server(Failure::new(FailureKind::Silence, told(&error)))
            }
            error_ if thread::is_not_found(error_) => Broken::NotFound(error),
            RequestError::Refused(_, refusal) => {
                let kind = if refusal.code == INVALID_PARAMS { FailureKind::Refused } else { FailureKind::Other };
                Broken::Turn(Failure::new(kind, told(&error)))
            }
        }
    }

    async fn died(&mut self) -> Broken {
        let message = match self.server.take() {
            Some(mut server) => server.death().await.describe(),
            None => "codex app-server ended".to_owned(),
        };
        Broken::Server(Failure::new(FailureKind::ProviderDied, message))
    }

    async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }
}

#[async_trait]
impl Provider for Codex {
    async fn start(&mut self) -> Result<Started, Failure> {
        let opened = match self.open().await {
            Err(Broken::Server(failure)) => {
                tracing::warn!(error = failure.message, "codex did not start; once more");
                self.open().await
            }
            opened => opened,
        };
        let (_, continuation) = opened.map_err(Broken::failure)?;
        self.announced = Some(continuation.clone());
        Ok(Started { generation: self.conversation.generation, continuation, models: Vec::new() })
    }

    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish {
        if batch.generation > self.conversation.generation {
            self.conversation = Conversation::fresh(batch.generation);
        }
        let mut finish = Finish::new(Outcome::Completed);
        finish.outcome = match batch.work {
            Work::Answer => self.answer(batch, scope, &mut finish).await,
            Work::Compact => self.compact_by_hand(scope, &mut finish).await,
        };
        finish.thread = Some(self.conversation.to_keep());
        finish
    }

    async fn settle(&mut self, outbox: &Outbox, interrupt: &CancellationToken) {
        self.compact_when_due(&|body| outbox.put(None, body), interrupt).await;
    }

    async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

/// The error with the server's own words, on one line.
fn told(error: &RequestError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => crate::outbox::one_line(&format!("{error}: {cause}"), 800),
        None => error.to_string(),
    }
}
