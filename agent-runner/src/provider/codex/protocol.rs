//! The parts of the app-server protocol that the runner sends and reads, no more.
//!
//! Checked by a test against the schema that the pinned binary prints. What is read is lenient: only the fields
//! that matter are required, and unknown kinds are [`Item::Other`] or [`ErrorInfo::Other`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::method;
pub use super::notice::*;
use super::tools::{DynamicTool, tool_answer};

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

/// Parameters of [`method::THREAD_START`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartParams {
    /// What a resume states too.
    #[serde(flatten)]
    pub thread: ThreadParams,
    /// Our tools; codex keeps them with the thread.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dynamic_tools: Vec<DynamicTool>,
}

/// What [`method::THREAD_START`] and [`method::THREAD_RESUME`] have in common.
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
#[serde(rename_all = "camelCase")]
pub struct ThreadAnswer {
    /// The thread.
    pub thread: Named,
    /// The model that its next turn uses.
    pub model: Option<String>,
    /// The effort that was set for it; none when none ever was.
    pub reasoning_effort: Option<String>,
}

/// Something of which only the id is read.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
}

/// Parameters of [`method::TURN_START`].
#[derive(Debug, Default, Serialize)]
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
    /// The model from here on; none keeps the thread's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Reasoning effort from here on; none keeps the thread's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// JSON Schema of this turn's last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

/// A piece of additional context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextEntry {
    /// Whose words they are.
    pub kind: ContextKind,
    /// The words; codex cuts what is longer than 4,000 bytes.
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

/// Parameters of [`method::TURN_STEER`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SteerParams {
    /// The thread.
    pub thread_id: String,
    /// The turn that must be running.
    pub expected_turn_id: String,
    /// What a person says.
    pub input: Vec<Input>,
    /// `m:<id>`; comes back with the input when the turn takes it.
    pub client_user_message_id: String,
}

/// A piece of input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Input {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image that codex reads and makes small enough.
    LocalImage {
        /// Its path.
        path: String,
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

/// Parameters of [`method::TERMINALS_CLEAN`], [`method::TERMINALS_LIST`] and [`method::THREAD_ARCHIVE`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanParams {
    /// The thread.
    pub thread_id: String,
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
            tool_answer(false, &format!("{tool} cannot be called now: no turn is running"))
        }
        method::USER_INPUT => json!({"answers": {}}),
        method::ELICITATION => json!({"action": "decline"}),
        _ => return None,
    })
}
