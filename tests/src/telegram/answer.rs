//! What the API answers, and what goes wrong when a test says so.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct No {
    pub(crate) code: u16,
    pub(crate) description: String,
    pub(crate) parameters: Value,
}

impl No {
    pub(crate) fn new(code: u16, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), parameters: Value::Null }
    }

    /// A bad request; the words are Telegram's own.
    pub(crate) fn bad(description: &str) -> Self {
        Self::new(400, format!("Bad Request: {description}"))
    }

    pub(crate) fn too_many(seconds: u64) -> Self {
        let parameters = json!({"retry_after": seconds});
        Self { parameters, ..Self::new(429, format!("Too Many Requests: retry after {seconds}")) }
    }

    pub(crate) fn moved(to: i64) -> Self {
        let parameters = json!({"migrate_to_chat_id": to});
        Self { parameters, ..Self::bad("group chat was upgraded to a supergroup chat") }
    }

    pub(crate) fn json(&self) -> Value {
        let mut json = json!({"ok": false, "error_code": self.code, "description": self.description});
        if !self.parameters.is_null() {
            json["parameters"] = self.parameters.clone();
        }
        json
    }
}

/// What comes of the next call of a method, instead of what should.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is refused, with this code and these words of Telegram's; nothing is done.
    No(u16, &'static str),
    /// It is refused: too many, again after so many seconds; nothing is done.
    TooMany(u64),
    /// This status with a page of HTML, as something between us and Telegram answers; nothing is done.
    Page(u16),
    /// This is the result; nothing is done.
    Result(Value),
    /// This is the whole body, whatever it is; nothing is done.
    Body(String),
    /// It is done, and the answer is no JSON.
    Malformed,
    /// It is done, and the answer is cut off.
    Cut,
    /// It is done, and never answered.
    Unanswered,
    /// It is done, and the connection is closed instead of an answer.
    DoneAndClosed,
    /// The connection is closed; nothing is done.
    Closed,
    /// Nothing is done and nothing is answered.
    Dead,
    /// All goes its way once this is told.
    Held(Arc<Notify>),
}
