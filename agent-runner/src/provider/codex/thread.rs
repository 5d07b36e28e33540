//! Opening a thread on a running app-server: a new one, one of an earlier process, or a new one in the place of one
//! that will never open again.

use std::time::Duration;

use cofferdam_protocol::runner::{Failure, FailureKind};
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::client::{Client, RequestError};
use super::process::Process;
use super::protocol::{InitializeParams, ResumeParams, ThreadAnswer, ThreadParams};
use super::tokens::Meter;
use super::{Codex, method, told};

/// How long each request may take. Starting on a busy machine takes seconds, a resume reads the whole history.
const INITIALIZE_LIMIT: Duration = Duration::from_secs(60);
const THREAD_LIMIT: Duration = Duration::from_secs(120);
/// How long the thread of a process that was killed may stay locked.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

impl Codex {
    fn thread_params(&self) -> ThreadParams {
        let instructions = self.settings.instructions.trim();
        ThreadParams {
            cwd: self.settings.cwd.clone(),
            sandbox: "danger-full-access",
            approval_policy: "never",
            model: self.settings.model.clone(),
            developer_instructions: (!instructions.is_empty()).then(|| instructions.to_owned()),
        }
    }

    /// A process that has the thread open, and the thread.
    pub(super) async fn open(&mut self) -> Result<(Client, String), Failure> {
        if let (Some(server), Some(thread)) = (&self.server, &self.thread)
            && !server.is_dead()
        {
            return Ok((server.client.clone(), thread.clone()));
        }
        // One that has died has its thread's lock freed already.
        self.server = None;
        let mut server = Process::spawn(&self.program).map_err(|error| {
            let message = format!("cannot start '{}': {error}", self.program.to_string_lossy());
            Failure::new(FailureKind::ProviderStart, message)
        })?;
        let client = server.client.clone();
        match self.greet_and_open(&client).await {
            Ok(thread) => {
                self.thread = Some(thread.clone());
                self.server = Some(server);
                Ok((client, thread))
            }
            Err((kind, error)) => {
                let message = match &error {
                    RequestError::Closed(_) => server.death().await.describe(),
                    error => told(error),
                };
                server.kill().await;
                Err(Failure::new(kind, message))
            }
        }
    }

    async fn greet_and_open(&mut self, client: &Client) -> Result<String, (FailureKind, RequestError)> {
        let start = |error| (FailureKind::ProviderStart, error);
        let ours = InitializeParams::ours();
        let _: IgnoredAny = client.request(method::INITIALIZE, &ours, INITIALIZE_LIMIT).await.map_err(start)?;
        client.notify(method::INITIALIZED).map_err(start)?;
        if let Some(thread) = self.thread.clone() {
            match self.resume(client, &thread).await {
                Ok(thread) => return Ok(thread),
                Err(error) if is_stale(&error) => {
                    tracing::warn!(thread, error = told(&error), "the thread is gone; starting a new one");
                }
                Err(error @ RequestError::Refused(..)) => return Err((FailureKind::StaleThread, error)),
                Err(error) => return Err(start(error)),
            }
        }
        self.new_thread(client).await.map_err(start)
    }

    pub(super) async fn new_thread(&mut self, client: &Client) -> Result<String, RequestError> {
        let answer: ThreadAnswer =
            client.request(method::THREAD_START, &self.thread_params(), THREAD_LIMIT).await?;
        self.meter = Meter::fresh();
        Ok(answer.thread.id)
    }

    async fn resume(&mut self, client: &Client, thread: &str) -> Result<String, RequestError> {
        let params =
            ResumeParams { thread_id: thread.to_owned(), exclude_turns: true, thread: self.thread_params() };
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            let answer = client.request::<ThreadAnswer>(method::THREAD_RESUME, &params, THREAD_LIMIT).await;
            match answer {
                Ok(answer) => {
                    self.meter = Meter::resumed();
                    return Ok(answer.thread.id);
                }
                Err(error) if says(&error, "already has an active writer") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the server refused with these words.
pub(super) fn says(error: &RequestError, words: &str) -> bool {
    matches!(error, RequestError::Refused(_, refusal) if refusal.message.contains(words))
}

/// Whether the answer to a resume means that this thread will never open again.
fn is_stale(error: &RequestError) -> bool {
    ["no rollout found", "invalid session id", "failed to read thread", "thread not found"]
        .iter()
        .any(|words| says(error, words))
}
