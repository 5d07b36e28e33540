//! Opening a thread on a running app-server: a new one, one of an earlier process, or a new one in the place of one
//! that will never open again.
//!
//! A thread is given up only when codex says that it does not exist or cannot be read. One that another process holds
//! is waited for; whatever else is wrong may pass, and leaves it alone.

use std::time::Duration;

use cofferdam_protocol::runner::{ContextMeter, Failure, FailureKind, Thread};
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::client::{Client, RequestError};
use super::models::Catalogue;
use super::process::Process;
use super::protocol::{CleanParams, InitializeParams, ResumeParams, StartParams, ThreadAnswer, ThreadParams};
use super::tokens::Meter;
use super::tools::dynamic_tools;
use super::{Broken, Codex, mcp, method, told};

/// How long each request may take. Starting on a busy machine takes seconds, a resume reads the whole history, and a
/// required MCP server may have more time than that.
const INITIALIZE_LIMIT: Duration = Duration::from_secs(60);
const THREAD_LIMIT: Duration = Duration::from_secs(120);
/// How long another process may hold the thread; one that was killed lets go at once, one that is stopping soon.
const BUSY_LIMIT: Duration = Duration::from_secs(15);
/// How often to look whether it still does.
const BUSY_EVERY: Duration = Duration::from_millis(100);

/// The conversation that the runner is in.
#[derive(Debug)]
pub struct Conversation {
    /// Its number in the session.
    pub generation: u64,
    /// Its thread; none until the first is made.
    pub thread: Option<String>,
    /// Whether the thread has had a turn, as far as is known.
    pub has_turns: bool,
    /// Why the thread before this one was given up; told with the first turn.
    pub lost: Option<String>,
    /// Its tokens.
    pub meter: Meter,
    /// It did not fit into the model's window any more.
    pub overflowed: bool,
}

impl Conversation {
    /// As the host keeps it.
    pub fn kept(thread: Thread) -> Self {
        let Thread { generation, continuation, meter } = thread;
        let fresh = Self::fresh(generation);
        let meter = if continuation.is_some() { Meter::resumed(meter) } else { fresh.meter };
        Self { has_turns: continuation.is_some(), thread: continuation, meter, ..fresh }
    }

    /// Without a thread yet.
    pub fn fresh(generation: u64) -> Self {
        Self { generation, thread: None, has_turns: false, lost: None, meter: Meter::fresh(), overflowed: false }
    }

    /// Gives the thread up for a new one.
    pub fn lose(&mut self, why: String) {
        tracing::warn!(thread = self.thread, why, "the thread cannot be resumed; a new one takes its place");
        let lost = self.lost.take().or_else(|| self.has_turns.then_some(why));
        *self = Self { lost, ..Self::fresh(self.generation) };
    }

    /// For the host to keep.
    pub fn to_keep(&self) -> Thread {
        let meter = if self.thread.is_some() { self.meter.context() } else { ContextMeter::default() };
        Thread { generation: self.generation, continuation: self.thread.clone(), meter }
    }
}

impl Codex {
    /// A running app-server that has the conversation's thread open, and the thread.
    pub(super) async fn open(&mut self) -> Result<(Client, String), Broken> {
        let begins = self.server.as_ref().is_none_or(Process::is_dead);
        if begins {
            // One that has died has its thread's lock freed already.
            self.server = None;
            let launched = self.launch().await?;
            self.mcp.attach(&launched.client);
            self.server = Some(launched);
        }
        let Some(server) = &self.server else { return Err(self.died().await) };
        let client = server.client.clone();
        if let (Some(open), Some(thread)) = (&server.thread, &self.conversation.thread)
            && open == thread
        {
            return Ok((client, thread.clone()));
        }
        let thread = if begins { self.open_and_ask(&client).await? } else { self.open_thread(&client).await? };
        self.conversation.thread = Some(thread.clone());
        let earlier = self.server.as_mut().and_then(|server| server.thread.replace(thread.clone()));
        if let Some(earlier) = earlier {
            let_go(client.clone(), earlier);
        }
        Ok((client, thread))
    }

    /// Opens the thread while a process that has just begun says what it knows of models.
    async fn open_and_ask(&mut self, client: &Client) -> Result<String, Broken> {
        let configured = self.settings.model.clone();
        let asking = Catalogue::ask(client, configured.as_deref());
        let (thread, catalogue) = tokio::join!(self.open_thread(client), asking);
        self.models.know(catalogue);
        thread
    }

    /// Starts an app-server and greets it.
    async fn launch(&self) -> Result<Process, Broken> {
        let failure = |message: String| Failure::new(FailureKind::ProviderStart, message);
        let mut server = Process::spawn(&self.program).map_err(|error| {
            let program = self.program.to_string_lossy();
            Broken::Turn(failure(format!("cannot start '{program}': {error}")))
        })?;
        let client = &server.client;
        let ours = InitializeParams::ours();
        let greeted = match client.request::<IgnoredAny>(method::INITIALIZE, &ours, INITIALIZE_LIMIT).await {
            Ok(_) => client.notify(method::INITIALIZED),
            Err(error) => Err(error),
        };
        let Err(error) = greeted else { return Ok(server) };
        let message = match &error {
            RequestError::Closed(_) => server.death().await.describe(),
            error => told(error),
        };
        server.kill().await;
        Err(match error {
            RequestError::Closed(_) | RequestError::Timeout(..) => Broken::Server(failure(message)),
            RequestError::Refused(..) | RequestError::Malformed(..) => Broken::Turn(failure(message)),
        })
    }

    /// Resumes the conversation's thread on this app-server, or makes a new one.
    async fn open_thread(&mut self, client: &Client) -> Result<String, Broken> {
        if let Some(thread) = self.conversation.thread.clone() {
            match self.resume(client, &thread).await {
                Ok(thread) => return Ok(thread),
                Err(error) if is_stale(&error) => self.conversation.lose(told(&error)),
                Err(error) => return Err(self.not_opened(error).await),
            }
        }
        let params = StartParams { thread: self.thread_params(), dynamic_tools: dynamic_tools(&self.settings) };
        self.mcp.opening();
        match client.request::<ThreadAnswer>(method::THREAD_START, &params, self.thread_limit()).await {
            Ok(answer) => {
                self.models.opened(&answer);
                let lost = self.conversation.lost.take();
                self.conversation = Conversation { lost, ..Conversation::fresh(self.conversation.generation) };
                Ok(answer.thread.id)
            }
            Err(error) => Err(self.not_opened(error).await),
        }
    }

    async fn resume(&mut self, client: &Client, thread: &str) -> Result<String, RequestError> {
        let params =
            ResumeParams { thread_id: thread.to_owned(), exclude_turns: true, thread: self.thread_params() };
        let deadline = Instant::now() + BUSY_LIMIT;
        loop {
            self.mcp.opening();
            match client.request::<ThreadAnswer>(method::THREAD_RESUME, &params, self.thread_limit()).await {
                Ok(answer) => {
                    self.models.opened(&answer);
                    self.conversation.has_turns = true;
                    return Ok(answer.thread.id);
                }
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How long opening a thread may take.
    fn thread_limit(&self) -> Duration {
        THREAD_LIMIT.max(self.mcp.longest_start())
    }

    /// The app-server runs, but the thread does not open: none of it is kept but the thread's name.
    async fn not_opened(&mut self, error: RequestError) -> Broken {
        let kind = match &error {
            RequestError::Closed(_) | RequestError::Timeout(..) => return self.broken(error).await,
            error if is_busy(error) => FailureKind::ThreadBusy,
            // Its configuration, a required MCP server, a version: nothing of the thread's.
            RequestError::Refused(..) | RequestError::Malformed(..) => FailureKind::ProviderStart,
        };
        self.kill().await;
        let message = mcp::required(&told(&error)).unwrap_or_else(|| told(&error));
        Broken::Turn(Failure::new(kind, message))
    }

    /// Codex does not know the thread that it had open. It is resumed; `again` says that this did not help.
    pub(super) fn not_found(&mut self, error: &RequestError, again: bool) {
        if let Some(server) = &mut self.server {
            server.thread = None;
        }
        if again {
            self.conversation.lose(told(error));
        }
    }

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
}

/// Whether the server refused with these words.
pub(super) fn says(error: &RequestError, words: &str) -> bool {
    matches!(error, RequestError::Refused(_, refusal) if refusal.message.contains(words))
}

/// Whether codex does not have the thread of this request.
pub(super) fn is_not_found(error: &RequestError) -> bool {
    says(error, "thread not found")
}

/// Whether another process has the thread.
fn is_busy(error: &RequestError) -> bool {
    says(error, "already has an active writer")
}

/// Whether the answer to a resume means that this thread will never open again.
fn is_stale(error: &RequestError) -> bool {
    let words = ["no rollout found", "invalid session id", "failed to read thread", "thread not found"];
    // SQLite's codes for a file that is damaged, and for one that is no database; others may pass.
    let damaged = ["(code: 11)", "(code: 26)"];
    words.iter().any(|words| says(error, words))
        || (says(error, "failed to list thread history") && damaged.iter().any(|code| says(error, code)))
}

/// Ends a thread that the conversation has left behind, and with it the MCP servers that it keeps running. Its history
/// stays on the disk.
fn let_go(client: Client, thread: String) {
    /// 12 ms were seen; nothing waits for it.
    const LIMIT: Duration = Duration::from_secs(10);
    tokio::spawn(async move {
        let params = CleanParams { thread_id: thread };
        if let Err(error) = client.request::<IgnoredAny>(method::THREAD_ARCHIVE, &params, LIMIT).await {
            tracing::debug!(error = told(&error), "a thread that was left could not be ended");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::jsonrpc::RpcError;
    use super::*;

    fn refused(message: &str) -> RequestError {
        RequestError::Refused(method::THREAD_RESUME, RpcError { code: -32600, message: message.into() })
    }

    fn kept() -> Conversation {
        let meter = ContextMeter { since_compaction: 7, last_total: Some(9) };
        Conversation::kept(Thread { generation: 2, continuation: Some("t".into()), meter })
    }

    #[test]
    fn only_a_thread_that_is_gone_is_stale() {
        for gone in [
            "no rollout found for thread id t",
            "invalid session id: invalid character",
            "failed to read thread: thread-store internal error: failed to read session metadata",
            "thread not found: t",
            "failed to list thread history: error returned from database: (code: 26) file is not a database",
            "failed to list thread history: error returned from database: (code: 11) malformed",
        ] {
            assert!(is_stale(&refused(gone)), "{gone}");
        }
        for passing in [
            "thread t already has an active writer",
            "error resuming thread: Fatal error: Failed to initialize session: required MCP servers failed",
            "unauthorized",
            "unsupported rollout version",
            "failed to list thread history: error returned from database: (code: 14) unable to open database file",
        ] {
            assert!(!is_stale(&refused(passing)), "{passing}");
        }
        assert!(!is_stale(&RequestError::Timeout(method::THREAD_RESUME, THREAD_LIMIT)));
        assert!(!is_stale(&RequestError::Closed(method::THREAD_RESUME)));
    }

    #[test]
    fn what_is_kept_goes_on_and_a_lost_thread_begins_with_nothing() {
        let mut conversation = kept();
        assert_eq!(conversation.to_keep().meter.since_compaction, 7);
        conversation.lose("first".into());
        assert_eq!(conversation.to_keep(), Thread { generation: 2, ..Thread::default() });
        // The new one is lost too, before its first turn: the reason stays the first.
        conversation.thread = Some("u".into());
        conversation.lose("second".into());
        assert_eq!(conversation.lost.as_deref(), Some("first"));
    }

    #[test]
    fn a_thread_without_turns_is_not_missed() {
        let mut conversation = Conversation::fresh(1);
        conversation.thread = Some("t".into());
        conversation.lose("gone".into());
        assert_eq!((conversation.lost, conversation.thread), (None, None));
    }
}
