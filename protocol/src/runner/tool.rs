//! The host's tools, as the agent calls them through the runner.

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, TurnId};

/// Path of [`ToolCall`] → [`ToolAnswer`].
pub const TOOL: &str = "/runner/tool";
/// Path of [`DigestRequest`] → [`Digest`].
pub const DIGEST: &str = "/runner/digest";

/// A tool of the host, as the model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: serde_json::Value,
}

/// A call of a tool. Calling again with the same turn and id is the same call: it is done once, and answered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The caller's attempt.
    pub attempt: Attempt,
    /// The running turn.
    pub turn: TurnId,
    /// The provider's id of the call.
    pub call_id: String,
    /// The tool.
    pub tool: String,
    /// What the model gave it.
    pub arguments: serde_json::Value,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ToolAnswer {
    /// It is done.
    Done {
        /// Whether it worked.
        success: bool,
        /// For the model: the result, or why not.
        text: String,
    },
    /// It waits for a person: call again with the same id.
    Pending,
}

/// Asks for a digest of the session's conversation before the running turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestRequest {
    /// The caller's attempt.
    pub attempt: Attempt,
}

/// The latest messages and replies of a conversation whose thread is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Bounded, marked as history; none when nothing was said before.
    pub text: Option<String>,
}
