//! What codex tells: the notifications that are read, and the items that turns consist of.
//!
//! Lenient as all that is read: see [`super::protocol`], through which these types are used.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::limits::RateLimitsUpdated;
use super::method;
use super::protocol::Named;

/// A notification that is read.
#[derive(Debug)]
pub enum Notice {
    /// [`method::TURN_STARTED`].
    TurnStarted(TurnStarted),
    /// [`method::TURN_COMPLETED`].
    TurnCompleted(TurnCompleted),
    /// [`method::ITEM_STARTED`].
    ItemStarted(ItemEvent),
    /// [`method::ITEM_COMPLETED`].
    ItemCompleted(ItemEvent),
    /// [`method::MESSAGE_DELTA`].
    Delta(Delta),
    /// [`method::ERROR`].
    Error(ErrorEvent),
    /// [`method::TOKEN_USAGE`].
    Tokens(TokenEvent),
    /// [`method::WARNING`].
    Warning(Warning),
    /// [`method::RATE_LIMITS`].
    RateLimits(RateLimitsUpdated),
    /// [`method::PLAN_UPDATED`].
    Plan(PlanEvent),
    /// [`method::DIFF_UPDATED`].
    Diff(DiffEvent),
    /// Anything else: a sign of life.
    Other,
}

impl Notice {
    /// Reads a notification's parameters by its method.
    pub fn read(name: &str, params: &str) -> Result<Self, serde_json::Error> {
        Ok(match name {
            method::TURN_STARTED => Self::TurnStarted(serde_json::from_str(params)?),
            method::TURN_COMPLETED => Self::TurnCompleted(serde_json::from_str(params)?),
            method::ITEM_STARTED => Self::ItemStarted(serde_json::from_str(params)?),
            method::ITEM_COMPLETED => Self::ItemCompleted(serde_json::from_str(params)?),
            method::MESSAGE_DELTA => Self::Delta(serde_json::from_str(params)?),
            method::ERROR => Self::Error(serde_json::from_str(params)?),
            method::TOKEN_USAGE => Self::Tokens(serde_json::from_str(params)?),
            method::WARNING => Self::Warning(serde_json::from_str(params)?),
            method::RATE_LIMITS => Self::RateLimits(serde_json::from_str(params)?),
            method::PLAN_UPDATED => Self::Plan(serde_json::from_str(params)?),
            method::DIFF_UPDATED => Self::Diff(serde_json::from_str(params)?),
            _ => Self::Other,
        })
    }
}

/// The beginning of a turn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnStarted {
    /// Its thread.
    pub thread_id: String,
    /// The turn.
    pub turn: Named,
}

/// The end of a turn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnCompleted {
    /// Its thread.
    pub thread_id: String,
    /// The turn.
    pub turn: Turn,
}

/// A turn at its end.
#[derive(Debug, Deserialize)]
pub struct Turn {
    /// Its id.
    pub id: String,
    /// How it ended.
    pub status: TurnStatus,
    /// Why it failed.
    pub error: Option<TurnError>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TurnStatus {
    /// Well.
    Completed,
    /// By [`method::TURN_INTERRUPT`].
    Interrupted,
    /// With an error.
    Failed,
    /// Not yet.
    InProgress,
}

/// What went wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnError {
    /// For people; sometimes the upstream's whole JSON body.
    pub message: String,
    /// The sort of error.
    pub codex_error_info: Option<ErrorInfo>,
    /// More words.
    pub additional_details: Option<String>,
}

/// `codexErrorInfo`: a word, or a word with an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ErrorInfo {
    /// Such as `"usageLimitExceeded"`.
    Word(String),
    /// Such as `{"httpConnectionFailed":{"httpStatusCode":403}}`.
    Http(BTreeMap<String, HttpStatus>),
    /// A shape of a later version.
    Other(Value),
}

/// The object of an [`ErrorInfo::Http`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpStatus {
    /// The upstream's status, if it came to one.
    pub http_status_code: Option<u16>,
}

/// A model call that failed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorEvent {
    /// Its thread.
    pub thread_id: String,
    /// What went wrong.
    pub error: TurnError,
    /// Whether codex tries again by itself.
    pub will_retry: bool,
}

/// A beginning or end of an item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemEvent {
    /// Its thread.
    pub thread_id: String,
    /// The item.
    pub item: Item,
}

/// What a turn consists of.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Item {
    /// People said something, and the turn has it.
    UserMessage {
        /// What the input was called when it was sent.
        client_id: Option<String>,
    },
    /// The agent speaks.
    AgentMessage {
        /// What it says.
        text: String,
        /// `commentary`, `partial_answer` or `final_answer`; none of older models.
        phase: Option<String>,
        /// `async` is meant for the person at once.
        delivery: Option<String>,
    },
    /// A command runs.
    CommandExecution {
        /// As it was run, in its shell.
        command: String,
        /// As the model wrote it.
        command_actions: Vec<CommandAction>,
        /// At its end.
        exit_code: Option<i32>,
    },
    /// Files change.
    FileChange {
        /// Which ones.
        changes: Vec<FileChange>,
    },
    /// The model thinks.
    Reasoning {},
    /// A tool of an MCP server is called.
    McpToolCall {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// What went wrong in codex or on the way to the server; none when the server itself says no.
        error: Option<McpCallError>,
    },
    /// One of the client's tools is called.
    DynamicToolCall {
        /// The tool.
        tool: String,
    },
    /// The web is searched.
    WebSearch {
        /// For what.
        query: String,
    },
    /// The history is replaced by a summary.
    ContextCompaction {},
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A part of a command, as codex understood it.
#[derive(Debug, Deserialize)]
pub struct CommandAction {
    /// The part's text.
    pub command: String,
}

/// A changed file.
#[derive(Debug, Deserialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
}

/// Why a call of an MCP server came to nothing.
#[derive(Debug, Deserialize)]
pub struct McpCallError {
    /// In codex's words, with a backtrace.
    pub message: String,
}

/// The agent's plan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEvent {
    /// Its thread.
    pub thread_id: String,
    /// Its steps.
    pub plan: Vec<PlanStep>,
}

/// A step of a plan.
#[derive(Debug, Deserialize)]
pub struct PlanStep {
    /// What is to be done.
    pub step: String,
    /// `pending`, `inProgress` or `completed`.
    pub status: String,
}

/// What a turn has changed in files so far.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffEvent {
    /// The turn.
    pub turn_id: String,
    /// All of it, as a unified diff.
    pub diff: String,
}

/// A piece of an agent's message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// Its thread.
    pub thread_id: String,
    /// The piece.
    pub delta: String,
}

/// Tokens so far.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEvent {
    /// The thread.
    pub thread_id: String,
    /// The turn.
    pub turn_id: String,
    /// The counts.
    pub token_usage: TokenUsage,
}

/// Counts of tokens.
#[derive(Debug, Deserialize)]
pub struct TokenUsage {
    /// Over the thread's life; can go down.
    pub total: Tokens,
    /// Of the latest model call.
    pub last: Tokens,
}

/// Tokens by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Input, cached included.
    pub input_tokens: i64,
    /// Cached input.
    pub cached_input_tokens: i64,
    /// Output, reasoning included.
    pub output_tokens: i64,
    /// Reasoning.
    pub reasoning_output_tokens: i64,
}

/// Something that a person should know.
#[derive(Debug, Deserialize)]
pub struct Warning {
    /// What.
    pub message: String,
}
