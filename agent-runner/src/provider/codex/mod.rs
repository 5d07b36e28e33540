//! Codex, by way of `codex app-server`: one process that lives across turns, on one thread.
//!
//! - [`method`] and [`protocol`]: the words, and as types. [`jsonrpc`]: the framing. All plain data.
//! - [`client`]: requests, answers and notifications over two pipes. [`process`]: the child.
//! - [`turn`], [`tokens`], [`failure`]: what notifications mean. No I/O.
//! - [`thread`]: opening a thread: new, resumed, or stale. [`watch`]: following one turn, and interrupting it.
//! - This file: turns, and what to do when one fails.
//!
//! A process that died is started again by the next turn, with a resume. A thread is given up for a new one only
//! when codex says that it does not exist or cannot be read.

pub mod client;
pub mod failure;
pub mod jsonrpc;
pub mod method;
pub mod process;
pub mod protocol;
pub mod thread;
pub mod tokens;
pub mod turn;
pub mod watch;

use std::ffi::OsString;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, Failure, FailureKind, Finish, Outcome, Settings, Thread};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::{Client, RequestError};
use self::process::Process;
use self::protocol::{Input, TurnAnswer, TurnParams};
use self::thread::says;
use self::tokens::Meter;
use self::turn::TurnLog;
use self::watch::{Watch, WatchEnd};
use super::{Provider, Scope, Started};
use crate::outbox::{Outbox, TurnEvents};

/// How long a turn may take to begin.
const TURN_LIMIT: Duration = Duration::from_secs(60);

/// The codex provider.
pub struct Codex {
    program: OsString,
    settings: Settings,
    generation: u64,
    thread: Option<String>,
    meter: Meter,
    server: Option<Process>,
}

/// How an attempt at a turn came out.
enum Tried {
    Ended(Outcome),
    /// The thread does not exist; nothing was run.
    NoThread,
}

impl Codex {
    /// Codex on this thread, or on a new one. Nothing is started yet.
    pub fn new(settings: Settings, thread: Thread, program: OsString) -> Self {
        let Thread { generation, continuation, .. } = thread;
        Self { program, settings, generation, thread: continuation, meter: Meter::resumed(), server: None }
    }

    async fn run(
        &mut self,
        batch: &Batch,
        events: &TurnEvents,
        interrupt: &CancellationToken,
        finish: &mut Finish,
    ) -> Outcome {
        for fresh in [false, true] {
            let (client, mut thread) = match self.open().await {
                Ok(opened) => opened,
                Err(failure) => return Outcome::Failed(failure),
            };
            if fresh {
                thread = match self.new_thread(&client).await {
                    Ok(thread) => thread,
                    Err(error) => return self.broken(error).await,
                };
                self.thread = Some(thread.clone());
            }
            let begun = Instant::now();
            let tried = self.try_turn(&client, &thread, batch, events, interrupt, finish).await;
            finish.provider_millis = begun.elapsed().as_secs_f64() * 1e3;
            match tried {
                Tried::Ended(outcome) => return outcome,
                Tried::NoThread => tracing::warn!(thread, "the thread is gone; starting a new one"),
            }
        }
        Outcome::Failed(Failure::new(FailureKind::StaleThread, "codex does not find a new thread"))
    }

    async fn try_turn(
        &mut self,
        client: &Client,
        thread: &str,
        batch: &Batch,
        events: &TurnEvents,
        interrupt: &CancellationToken,
        finish: &mut Finish,
    ) -> Tried {
        let mut notifications = client.subscribe();
        let params = TurnParams {
            thread_id: thread.to_owned(),
            input: [Input::Text { text: turn::input(&batch.messages) }],
            client_user_message_id: format!("turn-{}", batch.turn),
            effort: batch.options.effort.clone(),
        };
        let turn = match client.request::<TurnAnswer>(method::TURN_START, &params, TURN_LIMIT).await {
            Ok(answer) => answer.turn.id,
            Err(error) if says(&error, "thread not found") => return Tried::NoThread,
            Err(error) => return Tried::Ended(self.broken(error).await),
        };
        let mut log = TurnLog::new(thread, &turn, &mut self.meter);
        let silence = Duration::from_secs(self.settings.silence_secs.max(1));
        let watch = Watch { client, thread, turn: &turn, silence, events, interrupt };
        let end = watch.until_end(&mut notifications, &mut log).await;
        finish.replies = std::mem::take(&mut log.replies);
        finish.usage = self.meter.take();
        Tried::Ended(self.conclude(end, silence).await)
    }

    async fn conclude(&mut self, end: WatchEnd, silence: Duration) -> Outcome {
        match end {
            WatchEnd::Over(outcome) => outcome,
            WatchEnd::Silent { ended } => {
                if !ended && let Some(server) = self.server.take() {
                    tracing::warn!("codex does not even end the interrupted turn; it is killed");
                    server.kill().await;
                }
                let message = format!("nothing moved for {} s", silence.as_secs());
                Outcome::Failed(Failure::new(FailureKind::Silence, message))
            }
            WatchEnd::Stuck => {
                if let Some(server) = self.server.take() {
                    server.kill().await;
                }
                Outcome::Interrupted
            }
            WatchEnd::Died => self.died().await,
        }
    }

    /// The outcome of a request that failed.
    async fn broken(&mut self, error: RequestError) -> Outcome {
        let kind = match &error {
            RequestError::Closed(_) => return self.died().await,
            RequestError::Timeout(..) => {
                if let Some(server) = self.server.take() {
                    server.kill().await;
                }
                FailureKind::Silence
            }
            RequestError::Refused(..) | RequestError::Malformed(..) => FailureKind::Other,
        };
        Outcome::Failed(Failure::new(kind, told(&error)))
    }

    async fn died(&mut self) -> Outcome {
        let message = match self.server.take() {
            Some(mut server) => server.death().await.describe(),
            None => "codex app-server ended".to_owned(),
        };
        Outcome::Failed(Failure::new(FailureKind::ProviderDied, message))
    }
}

#[async_trait]
impl Provider for Codex {
    async fn start(&mut self) -> Result<Started, Failure> {
        let (_, continuation) = self.open().await?;
        Ok(Started { generation: self.generation, continuation, models: Vec::new() })
    }

    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish {
        if batch.generation > self.generation {
            (self.generation, self.thread) = (batch.generation, None);
        }
        let mut finish = Finish::new(Outcome::Completed);
        finish.outcome = self.run(batch, &scope.events, &scope.interrupt, &mut finish).await;
        let (generation, continuation) = (self.generation, self.thread.clone());
        finish.thread = Some(Thread { generation, continuation, ..Thread::default() });
        finish
    }

    async fn settle(&mut self, _: &Outbox, _: &CancellationToken) {}

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
