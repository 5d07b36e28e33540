//! The poll loop: hello, then batches one after another until told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_protocol::RUNNER_PROTOCOL;
use cofferdam_protocol::ids::{Attempt, TurnId};
use cofferdam_protocol::runner::{
    Batch, EventBody, Failure, Finish, HELLO, Hello, NEXT, Next, NextRequest, Outcome, Welcome,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::Config;
use crate::control::{self, Orders};
use crate::door::{DoorError, Lane};
use crate::forward::Forwarder;
use crate::host::Host;
use crate::outbox::{Outbox, TurnEvents};
use crate::provider::{self, Provider, Scope, Started};

/// How long a turn may take to end after it was interrupted by a stop.
const INTERRUPT_GRACE: Duration = Duration::from_millis(800);
/// How long the host may take for the last Finish when stopping.
const LAST_FINISH: Duration = Duration::from_millis(600);
/// How long the provider may take to stop.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// How long the host may take for events that wait meanwhile.
const LAST_EVENTS: Duration = STOP_GRACE;

/// Why the runner ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The async runtime or its signal handlers could not be set up.
    #[error("cannot set up the runtime")]
    Runtime(#[source] std::io::Error),
    /// The port that leads to the door could not be opened.
    #[error("cannot listen on 127.0.0.1:{port} for the agent's traffic")]
    Forward {
        /// The port.
        port: u16,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The host is gone or refuses this runner.
    #[error(transparent)]
    Door(#[from] DoorError),
}

impl RunError {
    /// The process's exit code; the crate's documentation has the table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Door(DoorError::Gone(_)) => 3,
            Self::Door(DoorError::Refused { .. }) => 4,
            Self::Door(_) | Self::Runtime(_) | Self::Forward { .. } => 1,
        }
    }
}

/// Serves one attempt of a session, until the host or a signal says stop.
pub async fn run(config: Config) -> Result<(), RunError> {
    let started = Instant::now();
    let stop = stop_on_signals().map_err(RunError::Runtime)?;
    let mut lane = Lane::new(config.door.clone());
    let hello =
        Hello { protocol: RUNNER_PROTOCOL, version: env!("CARGO_PKG_VERSION").into(), attempt: config.attempt };
    let welcome: Welcome = tokio::select! {
        welcome = lane.call(HELLO, &hello) => welcome?,
        () = stop.cancelled() => return Ok(()),
    };
    lane.authorize(&welcome.token)?;
    let span = tracing::info_span!("runner", session = %welcome.session, attempt = %config.attempt);
    serve(config, welcome, lane, stop, started).instrument(span).await
}

async fn serve(
    config: Config,
    welcome: Welcome,
    lane: Lane,
    stop: CancellationToken,
    started: Instant,
) -> Result<(), RunError> {
    let port = config.forward_port;
    let forward_error = |source| RunError::Forward { port, source };
    let forwarder = Forwarder::listen(port, config.door.clone()).await.map_err(forward_error)?;
    tracing::info!(provider = ?welcome.settings.provider, forward = %forwarder.address().map_err(forward_error)?, "hello");
    tokio::spawn(forwarder.serve());
    let outbox = Outbox::default();
    let sending = lane.another();
    let provider = provider::make(welcome.settings, welcome.thread, &config.codex);
    let mut session = Session {
        provider,
        lane,
        attempt: config.attempt,
        outbox: outbox.clone(),
        stop,
        started,
        start_failure: None,
        last: None,
    };
    tokio::select! {
        ended = session.serve() => ended,
        error = outbox.send_all(sending, config.attempt) => Err(error.into()),
    }
}

fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        told.cancel();
    });
    Ok(stop)
}

struct Session {
    provider: Box<dyn Provider>,
    lane: Lane,
    attempt: Attempt,
    outbox: Outbox,
    stop: CancellationToken,
    started: Instant,
    /// Why the provider did not start while the first batch waited for it.
    start_failure: Option<Failure>,
    /// The last turn that the host acknowledged, in case it is handed out again.
    last: Option<(TurnId, Arc<Finish>)>,
}

impl Session {
    async fn serve(&mut self) -> Result<(), RunError> {
        let mut next = self.start_and_first().await?;
        loop {
            match next {
                Next::Stop => break,
                Next::Idle => {}
                Next::Batch(batch) => {
                    let span = tracing::info_span!("turn", turn = %batch.turn);
                    self.turn(*batch).instrument(span).await?;
                    tokio::select! {
                        () = self.provider.settle(&self.outbox, &self.stop) => {}
                        () = overdue(&self.stop, INTERRUPT_GRACE) => tracing::warn!("what is due between turns is cut off"),
                    }
                }
            }
            next = ask(&mut self.lane, self.attempt, &self.stop).await?;
        }
        let stopping = tokio::time::timeout(STOP_GRACE, self.provider.stop());
        // Such as a compaction's end, which was put a moment ago.
        let sending = tokio::time::timeout(LAST_EVENTS, self.outbox.sent());
        let (stopped, sent) = tokio::join!(stopping, sending);
        if stopped.is_err() {
            tracing::warn!("the provider did not stop in time; it is killed");
        }
        if sent.is_err() {
            tracing::warn!("stopping before the host took the last events");
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Starts the provider while already waiting for the first batch.
    async fn start_and_first(&mut self) -> Result<Next, RunError> {
        let Self { provider, lane, attempt, outbox, stop, started, start_failure, .. } = self;
        let start = async {
            match provider.start().await {
                Ok(Started { generation, continuation, models }) => {
                    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(millis, "the provider is ready");
                    outbox.put(None, EventBody::Ready { generation, continuation, millis, models });
                    None
                }
                Err(failure) => {
                    tracing::warn!(error = %failure.message, "the provider did not start");
                    Some(failure)
                }
            }
        };
        let first = ask(lane, *attempt, stop);
        tokio::pin!(start, first);
        tokio::select! {
            // A turn that comes later tries again, and reports what it finds.
            _ = &mut start => Ok(first.await?),
            next = &mut first => match next? {
                Next::Stop => Ok(Next::Stop),
                next => tokio::select! {
                    failure = start => {
                        *start_failure = failure;
                        Ok(next)
                    }
                    // A batch that was not begun is handed out again to the next attempt.
                    () = stop.cancelled() => Ok(Next::Stop),
                },
            },
        }
    }

    async fn turn(&mut self, batch: Batch) -> Result<(), DoorError> {
        let turn = batch.turn;
        let finish = match &self.last {
            Some((last, finish)) if *last == turn => {
                tracing::warn!("the host hands out a turn that it has acknowledged; sending its end again");
                finish.clone()
            }
            _ => Arc::new(self.run_turn(&batch).await?),
        };
        let sent = self.outbox.finish(turn, Finish::clone(&finish));
        tokio::select! {
            () = sent => self.last = Some((turn, finish)),
            () = overdue(&self.stop, LAST_FINISH) => tracing::warn!("stopping before the host took the turn's end"),
        }
        Ok(())
    }

    async fn run_turn(&mut self, batch: &Batch) -> Result<Finish, DoorError> {
        tracing::info!(messages = batch.messages.len(), "turn begins");
        let begun = Instant::now();
        if let Some(failure) = self.start_failure.take() {
            return Ok(ended_with(Outcome::Failed(failure), begun));
        }
        let (steer, steering) = tokio::sync::mpsc::unbounded_channel();
        let mut scope = Scope {
            events: TurnEvents::new(self.outbox.clone(), batch.turn),
            interrupt: self.stop.child_token(),
            steering,
            host: Host::new(&self.lane, self.attempt),
        };
        let orders = Orders { interrupt: scope.interrupt.clone(), steer };
        let following = control::follow(self.lane.another(), self.attempt, batch.turn, orders);
        let running = self.provider.turn(batch, &mut scope);
        let finish = tokio::select! {
            biased;
            finish = running => finish,
            error = following => return Err(error),
            () = overdue(&self.stop, INTERRUPT_GRACE) => ended_with(Outcome::Interrupted, begun),
        };
        let outcome = match &finish.outcome {
            Outcome::Completed => "completed".to_owned(),
            Outcome::Interrupted => "interrupted".to_owned(),
            Outcome::Failed(failure) => format!("failed ({:?})", failure.kind),
        };
        tracing::info!(outcome, replies = finish.replies.len(), millis = finish.provider_millis, "turn ends");
        Ok(finish)
    }
}

/// The end of a turn of which the provider said nothing.
fn ended_with(outcome: Outcome, begun: Instant) -> Finish {
    let provider_millis = begun.elapsed().as_secs_f64() * 1e3;
    Finish { provider_millis, ..Finish::new(outcome) }
}

/// The next thing to do; a stop that was asked for by signal counts as the host's.
async fn ask(lane: &mut Lane, attempt: Attempt, stop: &CancellationToken) -> Result<Next, DoorError> {
    let request = NextRequest { attempt };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(Next::Stop),
        next = lane.call(NEXT, &request) => next,
    }
}

async fn overdue(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}
