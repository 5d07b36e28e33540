//! Codex, by way of `codex app-server`: one process that lives across turns, on one thread.
//!
//! - [`method`], [`protocol`] and [`notice`]: the words, and as types. [`jsonrpc`]: the framing. All plain data.
//! - [`client`]: requests, answers and notifications over two pipes. [`process`]: the child.
//! - [`turn`], [`tokens`], [`limits`], [`failure`], [`context`]: what notifications mean, and what is told. No I/O.
//! - [`thread`]: opening a thread: new, resumed, or stale. [`recovery`], [`history`]: what of a batch it has already.
//! - [`watch`]: following one turn, and interrupting it. [`compaction`]: the same for a compaction.
//! - What a turn is given: [`input`], [`models`], [`steer`]; what it may call: [`tools`], [`mcp`]; what it says and
//!   leaves: [`said`], [`progress`], [`terminals`].
//! - [`answer`]: a batch's turn, over a restart. This file: what a request's failure means.
//!
//! `docs/codex-provider.md` has the states. A process that died or is wedged is started again once in a turn, and the
//! turn goes on.

pub mod answer;
pub mod client;
pub mod compaction;
pub mod context;
pub mod failure;
pub mod history;
pub mod input;
pub mod jsonrpc;
pub mod limits;
pub mod mcp;
pub mod method;
pub mod models;
pub mod notice;
pub mod process;
pub mod progress;
pub mod protocol;
pub mod pulse;
pub mod recovery;
pub mod said;
pub mod steer;
pub mod step;
pub mod terminals;
pub mod thread;
pub mod tokens;
pub mod tools;
pub mod turn;
pub mod watch;

use std::ffi::OsString;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, Failure, FailureKind, Finish, Outcome, Settings, Thread, Work};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::RequestError;
use self::limits::Limits;
use self::mcp::Mcp;
use self::models::Models;
use self::process::Process;
use self::thread::Conversation;
use super::{Provider, Scope, Started};
use crate::outbox::Outbox;

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
    models: Models,
    mcp: Mcp,
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

impl Codex {
    /// Codex on this thread, or on a new one. Nothing is started yet.
    pub fn new(settings: Settings, thread: Thread, program: OsString) -> Self {
        let mcp = Mcp::new(settings.mcp_servers.clone());
        Self {
            program,
            settings,
            conversation: Conversation::kept(thread),
            announced: None,
            limits: Limits::default(),
            models: Models::default(),
            mcp,
            server: None,
            begun: Instant::now(),
        }
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
        Ok(Started {
            generation: self.conversation.generation,
            continuation,
            models: self.models.listed().to_vec(),
        })
    }

    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish {
        if batch.generation > self.conversation.generation {
            self.conversation = Conversation::fresh(batch.generation);
        }
        self.mcp.turn_begins(&scope.events);
        let mut finish = Finish::new(Outcome::Completed);
        finish.outcome = match batch.work {
            Work::Answer => self.answer(batch, scope, &mut finish).await,
            Work::Compact => self.compact_by_hand(scope, &mut finish).await,
        };
        finish.thread = Some(self.conversation.to_keep());
        finish
    }

    async fn settle(&mut self, outbox: &Outbox, interrupt: &CancellationToken) {
        self.mcp.settled(outbox, interrupt).await;
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
        Some(cause) => crate::bounds::one_line(&format!("{error}: {cause}"), 800),
        None => error.to_string(),
    }
}
