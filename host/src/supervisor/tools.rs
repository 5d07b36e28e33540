//! The host's tools, as a session's agent calls them.

use cofferdam_protocol::runner::{ToolAnswer, ToolCall};

use super::actor::Actor;
use crate::door::Refused;

impl Actor {
    /// The agent calls a tool.
    pub(super) async fn on_tool(&mut self, call: ToolCall) -> Result<ToolAnswer, Refused> {
        self.life_of(call.attempt)?;
        Ok(ToolAnswer::Done { success: false, text: format!("no such tool: {}", call.tool) })
    }
}
