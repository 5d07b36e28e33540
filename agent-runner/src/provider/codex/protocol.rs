//! The parts of the app-server protocol that the runner sends and reads, no more.
//!
//! Checked by a test against the schema that the pinned binary prints. What is read is lenient: only the fields
//! that matter are required, and unknown kinds are [`Item::Other`] or [`ErrorInfo::Other`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::RateLimitsUpdated;
use super::method;

/// Parameters of [`method::INITIALIZE`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    client_info: ClientInfo,
    capabilities: Capabilities,
}

#[derive(Debug, Serialize)]
struct ClientInfo {
    name: &'static str,
    title: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    experimental_api: bool,
    opt_out_notification_methods: &'static [&'static str],
}

impl InitializeParams {
    /// What this runner says of itself.
    pub fn ours() -> Self {
        Self {
            client_info: ClientInfo { name: "cofferdam", title: "Cofferdam", version: env!("CARGO_PKG_VERSION") },
            capabilities: Capabilities { experimental_api: true, opt_out_notification_methods: &method::OPT_OUT },
        }
    }
}

/// Parameters of [`method::THREAD_START`], and all but two of [`method::THREAD_RESUME`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadParams {
    /// The agent's working directory.
    pub cwd: String,
    /// The container is the sandbox.
    pub sandbox: &'static str,
    /// Nothing asks a person.
    pub approval_policy: &'static str,
    /// The model, when the settings name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Cofferdam's own instructions, when there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub developer_instructions: Option<String>,
}

/// Parameters of [`method::THREAD_RESUME`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeParams {
    /// The thread.
    pub thread_id: String,
    /// The history can be 16 MB and nobody reads it here.
    pub exclude_turns: bool,
    /// The rest, which is not persisted by codex.
    #[serde(flatten)]
    pub thread: ThreadParams,
}

/// The answer to [`method::THREAD_START`] and [`method::THREAD_RESUME`].
#[derive(Debug, Deserialize)]
pub struct ThreadAnswer {
    /// The thread.
    pub thread: Named,
}

/// Something of which only the id is read.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
}

/// Parameters of [`method::TURN_START`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnParams {
    /// The thread.
    pub thread_id: String,
    /// What the person says; nothing goes on with what the thread ends in.
    pub input: Vec<Input>,
    /// [`super::recovery::client_id`] of the messages; comes back in the thread's history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_user_message_id: Option<String>,
    /// What the model is told besides, by key; see [`super::context`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub additional_context: BTreeMap<String, ContextEntry>,
    /// Reasoning effort, when the settings name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
}

/// A piece of additional context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextEntry {
    /// Whose words they are.
    pub kind: ContextKind,
    /// The words; codex cuts what is longer than about 4,000 characters.
    pub value: String,
    /// What an untrusted piece is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
}

/// Whose words a piece of context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ContextKind {
    /// Ours: the model sees them as the developer's.
    Application,
    /// Anybody's: the model sees them as data.
    Untrusted,
}

/// A piece of input.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Input {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
}

/// The answer to [`method::TURN_START`].
#[derive(Debug, Deserialize)]
pub struct TurnAnswer {
    /// The turn.
    pub turn: Named,
}

/// Parameters of [`method::TURN_INTERRUPT`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterruptParams {
    /// The thread.
    pub thread_id: String,
    /// Its running turn.
    pub turn_id: String,
}

/// Parameters of [`method::TERMINALS_CLEAN`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanParams {
    /// The thread.
    pub thread_id: String,
}

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
    /// The agent speaks. Commentary, partial and final answers alike.
    AgentMessage {
        /// What it says.
        text: String,
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

/// Parameters of [`method::COMPACT_START`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompactParams {
    /// The thread.
    pub thread_id: String,
}

/// Parameters of [`method::THREAD_REVERT`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertParams {
    /// The thread.
    pub thread_id: String,
    /// The first turn that goes.
    pub before_turn_id: String,
}

/// The answer to a server request; none when its method is unknown. Nothing here may ask a person: approvals
/// are given, since the container is the boundary, and questions are declined.
pub fn answer(name: &str, params: &Value) -> Option<Value> {
    use serde_json::json;
    Some(match name {
        method::APPROVE_COMMAND | method::APPROVE_FILES => json!({"decision": "accept"}),
        method::APPROVE_PATCH | method::APPROVE_EXEC => json!({"decision": "approved"}),
        method::APPROVE_PERMISSIONS => {
            let asked = params.get("permissions").filter(|asked| asked.is_object()).cloned();
            json!({"permissions": asked.unwrap_or_else(|| json!({})), "scope": "session"})
        }
        method::TOOL_CALL => {
            let tool = params.get("tool").and_then(Value::as_str).unwrap_or("");
            json!({"contentItems": [{"type": "inputText", "text": format!("no such tool: {tool}")}], "success": false})
        }
        method::USER_INPUT => json!({"answers": {}}),
        method::ELICITATION => json!({"action": "decline"}),
        _ => return None,
    })
}
