//! The poll loop's API: what the runner asks of the door, and what it is told.
//!
//! All are `POST` with a JSON body. `hello` needs no token and hands one out **once** per attempt; every other
//! call carries it as `Authorization: Bearer`. Answers other than 200 carry a [`Refusal`]:
//! 401 no or wrong token · 409 stale attempt, or a second `hello` (the runner must exit) · 426 another protocol
//! version · 400 malformed · 503 the host cannot just now (try again).
//!
//! - [`batch`]: what there is to do. - [`control`]: what changes while it is done. - [`events`]: what came of it.
//! - [`tool`]: the host's tools, and the digest of an earlier conversation. - [`failure`]: sorts of failures.

pub mod batch;
pub mod control;
pub mod events;
pub mod failure;
pub mod tool;

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, SessionId};

pub use batch::{Batch, BatchMessage, InboundFile, Next, NextRequest, TurnOptions, Work};
pub use control::{CONTROL, Control, ControlRequest};
pub use events::{
    ActivityKind, Compaction, CompactionCause, CompactionOutcome, ContextMeter, EVENTS, Event, EventAck,
    EventBatch, EventBody, Finish, MAX_EVENT_BYTES, MAX_EVENTS, McpState, McpStatus, Model, Outcome, Usage,
};
pub use failure::{Failure, FailureKind};
pub use tool::{DIGEST, Digest, DigestRequest, TOOL, ToolAnswer, ToolCall, ToolSpec};

/// Path of [`Hello`] → [`Welcome`].
pub const HELLO: &str = "/runner/hello";
/// Path of [`NextRequest`] → [`Next`]; answered when there is something to say, or after [`LONG_POLL_SECS`].
pub const NEXT: &str = "/runner/next";
/// How long the host holds a long poll open, in seconds. Below the minute after which idle proxies cut.
pub const LONG_POLL_SECS: u64 = 50;

/// Environment variable with the attempt's number.
pub const ENV_ATTEMPT: &str = "COFFERDAM_ATTEMPT";
/// Environment variable with the path of the door's socket inside the container.
pub const ENV_DOOR: &str = "COFFERDAM_DOOR";
/// Where the door's socket is in the container when [`ENV_DOOR`] is not set.
pub const DOOR_SOCKET: &str = "/run/cofferdam/door.sock";
/// The loopback port in the container that the runner forwards to the door.
pub const FORWARD_PORT: u16 = 8787;

/// The runner's first words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::RUNNER_PROTOCOL`] of the runner.
    pub protocol: u32,
    /// The runner's own version, for logs.
    pub version: String,
    /// The attempt that the container was started with.
    pub attempt: Attempt,
}

/// The host's answer to [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// Bearer token for the other calls, given once; it lives in the runner's memory only.
    pub token: String,
    /// The session that this container serves.
    pub session: SessionId,
    /// Where the conversation stands.
    pub thread: Thread,
    /// What to run, and how.
    pub settings: Settings,
}

/// Where a session's conversation stands, as the host keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Counts the conversations of the session: +1 at every `/clear`.
    pub generation: u64,
    /// The provider thread to resume; none for a fresh conversation.
    pub continuation: Option<String>,
    /// Its tokens since the last compaction.
    pub meter: ContextMeter,
}

/// Which provider drives the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// `codex app-server`.
    Codex,
    /// Answers at once by itself; for tests of everything else.
    Mock,
}

/// A session's settings as the runner needs them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The provider.
    pub provider: ProviderKind,
    /// The model that a thread starts with; none leaves it to the provider's configuration.
    pub model: Option<String>,
    /// Cofferdam's own instructions for the agent; the same as long as the group's settings are.
    pub instructions: String,
    /// The agent's working directory in the container.
    pub cwd: String,
    /// A turn in which nothing moves for so many seconds is interrupted.
    pub silence_secs: u64,
    /// When to compact.
    pub compaction: CompactionSettings,
    /// The host's tools that the agent may call.
    pub tools: Vec<ToolSpec>,
    /// The MCP servers in the provider's configuration; the first turn waits until each is ready or has failed.
    pub mcp_servers: Vec<McpServer>,
}

/// When a conversation is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionSettings {
    /// After so many input tokens since the last compaction; 0 is never.
    pub threshold_tokens: u64,
    /// A compaction that takes longer, in seconds, is given up until after the next turn.
    pub timeout_secs: u64,
}

/// An MCP server in the provider's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServer {
    /// Its name there.
    pub name: String,
    /// How long it may take to start, in seconds.
    pub startup_timeout_secs: u64,
}

/// Why a call was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// One line for logs.
    pub error: String,
}
