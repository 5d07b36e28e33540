//! `POST /v1/chat/completions`: its request, its answer and its chunks.

use axum::http::HeaderMap;
use cofferdam_protocol::runner::Usage;
use serde_json::{Value, json};

use super::asked::{Asked, schema};
use super::error::ApiError;
use super::usage::of_completion;

/// What a request asks.
pub(super) fn read(headers: &HeaderMap, request: &Value) -> Result<Asked, ApiError> {
    let messages = request["messages"].as_array();
    let messages = messages.ok_or_else(|| ApiError::bad("messages", "'messages' is no list"))?;
    let mut asked = Asked::read(headers, request, ("messages", messages), None)?;
    let format = &request["response_format"];
    asked.schema = match format["type"].as_str() {
        None if format.is_null() => None,
        Some("text") => None,
        Some("json_schema") => schema(&format["json_schema"]["schema"], "response_format.json_schema.schema")?,
        _ => return Err(ApiError::unsupported("response_format", "use 'json_schema' with a schema, or 'text'")),
    };
    Ok(asked)
}

/// A completion's own facts.
#[derive(Debug, Clone)]
pub(super) struct Completion {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    /// Its stream tells what it took.
    pub(super) include_usage: bool,
}

impl Completion {
    /// The whole answer.
    pub(super) fn whole(&self, text: &str, usage: Usage) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": text, "refusal": null, "annotations": []},
            }],
            "usage": of_completion(usage), "service_tier": "default",
        })
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> String {
        self.data(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), None)
    }

    fn data(&self, choices: Value, usage: Option<Usage>) -> String {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices, "service_tier": "default",
        });
        if self.include_usage {
            chunk["usage"] = usage.map_or(Value::Null, of_completion);
        }
        data(&chunk)
    }

    pub(super) fn begins(&self) -> String {
        self.chunk(json!({"role": "assistant", "content": ""}), None)
    }

    pub(super) fn says(&self, words: &str) -> String {
        self.chunk(json!({"content": words}), None)
    }

    pub(super) fn ends(&self, usage: Usage) -> String {
        let mut events = self.chunk(json!({}), Some("stop"));
        if self.include_usage {
            events += &self.data(json!([]), Some(usage));
        }
        events + "data: [DONE]\n\n"
    }

    pub(super) fn fails(&self, error: &ApiError) -> String {
        data(&error.body())
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}
