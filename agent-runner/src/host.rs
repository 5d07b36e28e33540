//! Calls of a running turn to the host: its tools, and the digest of an earlier conversation.

use cofferdam_protocol::ids::{Attempt, TurnId};
use cofferdam_protocol::runner::{DIGEST, Digest, DigestRequest, TOOL, ToolAnswer, ToolCall};
use serde_json::Value;

use crate::door::{DoorError, Lane};

/// The host, for one attempt. Clones may call at the same time.
pub struct Host {
    lane: Lane,
    attempt: Attempt,
}

impl Clone for Host {
    fn clone(&self) -> Self {
        Self::new(&self.lane, self.attempt)
    }
}

impl Host {
    /// Calls over lanes like this one.
    pub fn new(lane: &Lane, attempt: Attempt) -> Self {
        Self { lane: lane.another(), attempt }
    }

    /// Calls one of the host's tools, and waits for its answer, for as long as a person takes.
    pub async fn tool(
        &self,
        turn: TurnId,
        call_id: &str,
        tool: &str,
        arguments: Value,
    ) -> Result<(bool, String), DoorError> {
        let call =
            ToolCall { attempt: self.attempt, turn, call_id: call_id.to_owned(), tool: tool.to_owned(), arguments };
        let mut lane = self.lane.another();
        loop {
            match lane.call(TOOL, &call).await? {
                ToolAnswer::Done { success, text } => return Ok((success, text)),
                ToolAnswer::Pending => {}
            }
        }
    }

    /// What was said before, for a fresh thread in the place of a lost one.
    pub async fn digest(&self) -> Result<Option<String>, DoorError> {
        let digest: Digest = self.lane.another().call(DIGEST, &DigestRequest { attempt: self.attempt }).await?;
        Ok(digest.text)
    }
}
