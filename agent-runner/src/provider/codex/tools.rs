//! The host's tools: offered to the model, and called for it.
//!
//! A call may wait for a person for as long as it takes. It runs beside the turn, and whatever became of the turn,
//! its answer is harmless: codex drops an answer that comes too late.

use std::time::Duration;

use cofferdam_protocol::ids::TurnId;
use cofferdam_protocol::runner::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Responder;
use crate::door::DoorError;
use crate::host::Host;

/// How long a call goes on after its turn's end: what it had asked for just then is still done.
const AFTER_THE_END: Duration = Duration::from_secs(2);

/// One of our tools, as codex offers it to the model.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DynamicTool {
    /// A function.
    Function {
        /// Its name.
        name: String,
        /// What it does, for the model.
        description: String,
        /// JSON Schema of its arguments.
        input_schema: Value,
    },
}

/// The host's tools, for a thread that starts. A resumed one keeps those that it started with.
pub fn dynamic_tools(settings: &Settings) -> Vec<DynamicTool> {
    let tool = |tool: &cofferdam_protocol::runner::ToolSpec| DynamicTool::Function {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: tool.input_schema.clone(),
    };
    settings.tools.iter().map(tool).collect()
}

/// What [`method::TOOL_CALL`] asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCallParams {
    /// The turn.
    pub turn_id: String,
    /// The call's id, of the model or of code mode.
    pub call_id: String,
    /// The tool.
    pub tool: String,
    /// What the model gives it.
    pub arguments: Value,
}

/// The answer to [`method::TOOL_CALL`].
pub fn tool_answer(success: bool, text: &str) -> Value {
    serde_json::json!({"contentItems": [{"type": "inputText", "text": text}], "success": success})
}

/// A call that waits for its answer.
#[derive(Debug)]
pub struct ToolRequest {
    /// What is called.
    pub params: ToolCallParams,
    /// Takes the answer.
    pub responder: Responder,
}

/// The calls of one turn. Dropping it lets them end.
pub struct Calls {
    requests: UnboundedReceiver<ToolRequest>,
    host: Host,
    turn: TurnId,
    running: JoinSet<()>,
    over: CancellationToken,
}

impl Calls {
    /// The calls that come from here, for this turn of the host.
    pub fn new(requests: UnboundedReceiver<ToolRequest>, host: Host, turn: TurnId) -> Self {
        Self { requests, host, turn, running: JoinSet::new(), over: CancellationToken::new() }
    }

    /// Whether one waits for its answer.
    pub fn are_pending(&self) -> bool {
        !self.running.is_empty()
    }

    /// Begins the next call of codex's turn `turn`, or sees one end. Nothing is lost when it is dropped.
    pub async fn advance(&mut self, turn: &str) {
        tokio::select! {
            Some(request) = self.requests.recv() => self.begin(request, turn),
            Some(_) = self.running.join_next() => {}
            else => std::future::pending().await,
        }
    }

    fn begin(&mut self, request: ToolRequest, turn: &str) {
        let ToolRequest { params, responder } = request;
        if params.turn_id != turn {
            tracing::warn!(tool = params.tool, "a tool is called by a turn that does not run");
            return responder.answer(&tool_answer(false, "this turn is over"));
        }
        let (host, turn, over) = (self.host.clone(), self.turn, self.over.clone());
        self.running.spawn(async move {
            let answer = tokio::select! {
                answer = host.tool(turn, &params.call_id, &params.tool, params.arguments) => answer,
                () = ended_for(&over, AFTER_THE_END) => return,
            };
            let (success, text) = answer.unwrap_or_else(|error| (false, words(&params.tool, &error)));
            responder.answer(&tool_answer(success, &text));
        });
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.over.cancel();
        self.running.detach_all();
    }
}

async fn ended_for(over: &CancellationToken, grace: Duration) {
    over.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// What the model is told when the host gave no answer.
fn words(tool: &str, error: &DoorError) -> String {
    tracing::warn!(tool, %error, "a tool of the host could not be called");
    format!("{tool} could not be called: {error}")
}
