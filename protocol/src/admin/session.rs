//! A session in depth, what its turns changed in files, and what happens in it as it happens.

use serde::{Deserialize, Serialize};

use super::{ChatOutcome, ErrorKind, Session, SessionState};
use crate::ids::{Attempt, ReplyId, TurnId};
use crate::runner::{ActivityKind, CompactionCause, CompactionOutcome, FailureKind, McpState, Usage};

/// A session in depth: the answer of `GET /v1/sessions/{id}`. Lists are bounded and newest first, but for the MCP
/// servers, which go by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionDetail {
    /// What every listing shows of it.
    #[serde(flatten)]
    pub session: Session,
    /// The conversation and how it is run.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// Its latest compactions.
    pub compactions: Vec<CompactionRecord>,
    /// The MCP servers of its newest start.
    pub mcp_servers: Vec<McpState>,
    /// Its latest calls of the host's tools.
    pub tool_calls: Vec<ToolCallRecord>,
    /// Questions of the agent that wait for an answer.
    pub questions: Vec<OpenQuestion>,
    /// Its latest turns that did not end well.
    pub failures: Vec<TurnFailure>,
    /// Its latest replies that did not simply arrive.
    pub deliveries: Vec<HardDelivery>,
}

/// The conversation and how it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conversation {
    /// Counts the session's conversations from 0: +1 at every `/clear`.
    pub generation: u64,
    /// The model of its next turn.
    pub model: Setting,
    /// The reasoning effort of its next turn.
    pub effort: Setting,
    /// What happens to messages that come while a turn runs: `queue` or `steer`; none when `container.json` has errors.
    pub during_turn: Option<String>,
    /// How full it is.
    pub context: ContextView,
}

/// A setting and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value; none when it is the provider's and nobody knows it.
    pub value: Option<String>,
    /// Who said so.
    pub from: SettingSource,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// Somebody chose it in the chat, for this session.
    Chat,
    /// The group's `container.json`.
    Group,
    /// The account's default, which the host's configuration gives.
    Account,
    /// Nobody chose: the provider's own default.
    Provider,
}

/// How full a conversation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextView {
    /// Input tokens since the last compaction.
    pub since_compaction: u64,
    /// The conversation is compacted when they reach this many; 0 is never, none when `container.json` has errors.
    pub threshold: Option<u64>,
}

/// A compaction that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionRecord {
    /// Why it ran.
    pub cause: CompactionCause,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: CompactionOutcome,
    /// Input tokens since the compaction before it, when it began.
    pub before: u64,
    /// How long it took, ms.
    pub millis: u64,
    /// When it ended: RFC 3339, UTC.
    pub at: String,
}

/// A call of one of the host's tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallRecord {
    /// The turn that called it.
    pub turn: TurnId,
    /// The tool.
    pub tool: String,
    /// What it was called with, shortened.
    pub summary: String,
    /// Where it is in its life.
    pub state: ToolCallState,
    /// What the agent was told, shortened; none while it waits.
    pub answer: Option<String>,
    /// When it was called: RFC 3339, UTC.
    pub called_at: String,
    /// When it was done: RFC 3339, UTC.
    pub finished_at: Option<String>,
}

/// Where a tool call is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCallState {
    /// It waits, such as for a person.
    Waiting,
    /// It did what it should.
    Done,
    /// It did not.
    Failed,
}

/// A question of the agent that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// The turn that asked.
    pub turn: TurnId,
    /// Where it was asked: `channel:chat` and `#thread`, if any.
    pub chat: String,
    /// What it wants to know.
    pub text: String,
    /// What can be answered; none of them is a free answer.
    pub options: Vec<String>,
    /// When it asked: RFC 3339, UTC.
    pub asked_at: String,
    /// Until when it waits: RFC 3339, UTC.
    pub expires_at: String,
}

/// A turn that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFailure {
    /// The turn.
    pub turn: TurnId,
    /// The attempt that ran it.
    pub attempt: Attempt,
    /// What sort of failure.
    pub kind: FailureKind,
    /// What the provider said, shortened.
    pub message: String,
    /// When it ended: RFC 3339, UTC.
    pub at: String,
}

/// A reply that did not simply arrive: a try failed, or nobody knows whether it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardDelivery {
    /// The reply.
    pub reply: ReplyId,
    /// Where it goes: `channel:chat` and `#thread`, if any.
    pub chat: String,
    /// Where it is.
    pub state: DeliveryState,
    /// Tries that failed.
    pub tries: u64,
    /// How often its channel may have got it without our knowing: its chat may show it so many times more.
    pub doubts: u64,
    /// Why the last try failed, shortened; none when only a crash left a doubt.
    pub error: Option<String>,
    /// When it is tried again: RFC 3339, UTC. None unless it waits for that.
    pub again_at: Option<String>,
}

/// Where a reply is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// In the outbox.
    Waiting,
    /// Its channel has it.
    Delivered,
    /// It was tried for the last time; there is a dead letter.
    Dead,
}

/// What a turn changed in files: the answer of `GET /v1/sessions/{id}/diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnDiff {
    /// The turn; none when no turn of the session changed files.
    pub turn: Option<TurnId>,
    /// When it ended: RFC 3339, UTC. None while it runs.
    pub at: Option<String>,
    /// The unified diff; none when it changed nothing.
    pub diff: Option<String>,
}

/// How many lines of the newest attempt's log a follower gets before new ones.
pub const FOLLOW_TAIL_LINES: usize = 20;

/// What happens in a session: a line of `GET /v1/sessions/{id}/follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FollowEvent {
    /// From here on the log is this attempt's.
    Attempt {
        /// The attempt.
        attempt: Attempt,
    },
    /// A line of its log, as the container wrote it.
    Log {
        /// The line, without its end.
        line: String,
        /// The attempt whose log it is.
        attempt: Attempt,
        /// Where the log goes on after the line, in bytes. With the attempt it makes a later call go on from here.
        offset: u64,
    },
    /// The session's life moved on.
    State {
        /// Where it is now.
        state: SessionState,
        /// In words.
        note: Option<String>,
    },
    /// The session cannot go on by itself just now.
    Blocked {
        /// What sort of trouble.
        kind: ErrorKind,
        /// What failed, and what to do.
        message: String,
    },
    /// A turn began.
    Started {
        /// The turn.
        turn: TurnId,
        /// The attempt that runs it.
        attempt: Attempt,
    },
    /// A line of what the agent writes.
    Text {
        /// The line, without its end.
        line: String,
    },
    /// Something the agent does.
    Activity {
        /// What kind.
        kind: ActivityKind,
        /// In words.
        text: String,
    },
    /// A turn failed in a way that can pass: its messages are tried again.
    Retrying {
        /// The turn that failed.
        turn: TurnId,
        /// When they are tried again: RFC 3339, UTC.
        at: String,
    },
    /// Messages ended, most often with their turn.
    Ended {
        /// The turn; none when they ended without one.
        turn: Option<TurnId>,
        /// How.
        #[serde(flatten)]
        outcome: ChatOutcome,
        /// Tokens, when the provider said.
        usage: Option<Usage>,
    },
    /// The follower was too slow and missed something.
    Missed {
        /// So many events.
        events: u64,
    },
}
