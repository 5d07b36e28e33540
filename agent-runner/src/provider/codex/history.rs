//! A thread's history as `thread/turns/list` shows it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

#[cfg(doc)]
use super::method;
use super::protocol::TurnStatus;

/// Parameters of [`method::TURNS_LIST`]: the newest come first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnsParams {
    /// The thread.
    pub thread_id: String,
    /// How many.
    pub limit: u32,
    /// With all their items.
    pub items_view: &'static str,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer to [`method::TURNS_LIST`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnsAnswer {
    /// The turns, newest first.
    pub data: Vec<PastTurn>,
    /// Where older ones are.
    pub next_cursor: Option<String>,
}

/// A turn of a thread's history.
#[derive(Debug, Deserialize)]
pub struct PastTurn {
    /// How it ended; a process that died leaves it [`TurnStatus::Interrupted`].
    pub status: TurnStatus,
    /// What is kept of it. One that cannot be read is [`PastItem::Other`].
    #[serde(deserialize_with = "readable")]
    pub items: Vec<PastItem>,
}

/// What a turn of the history consists of.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PastItem {
    /// What was given to the turn.
    UserMessage {
        /// The id that the client gave it.
        client_id: Option<String>,
    },
    /// What the agent said, complete.
    AgentMessage {
        /// What it says.
        text: String,
        /// Whether it is commentary or an answer.
        phase: Option<String>,
        /// Whether it was meant for the user at once.
        delivery: Option<String>,
    },
    /// The history before it was replaced by a summary.
    ContextCompaction {},
    /// Anything else.
    #[serde(other)]
    Other,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PastItem>, D::Error> {
    let items = Vec::<Value>::deserialize(deserializer)?;
    let read = |item| {
        serde_json::from_value(item).unwrap_or_else(|error| {
            tracing::warn!(%error, "an item of the thread's history is malformed");
            PastItem::Other
        })
    };
    Ok(items.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_that_cannot_be_read_does_not_hide_the_others() {
        let strange = [json!({"type": "agentMessage", "text": 7}), json!({"type": "plan"}), json!("x"), json!({})];
        let mut items = strange.to_vec();
        items.push(json!({"type": "userMessage", "clientId": "m:2"}));
        let turn: PastTurn = serde_json::from_value(json!({"status": "completed", "items": items})).unwrap();
        let (last, others) = turn.items.split_last().unwrap();
        assert!(matches!(last, PastItem::UserMessage { client_id: Some(id) } if id == "m:2"));
        assert!(others.len() == 4 && others.iter().all(|item| matches!(item, PastItem::Other)));
    }
}
