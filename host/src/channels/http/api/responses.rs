//! `POST /v1/responses`: its request, its object and the events of its stream.

use axum::http::HeaderMap;
use cofferdam_protocol::runner::Usage;
use serde_json::{Value, json};

use super::asked::{Asked, schema};
use super::error::ApiError;
use super::usage::of_response;

/// What a request asks.
pub(super) fn read(headers: &HeaderMap, request: &Value) -> Result<Asked, ApiError> {
    let one;
    let input = match &request["input"] {
        Value::String(text) => {
            one = [json!({"role": "user", "content": text})];
            &one[..]
        }
        Value::Array(items) => items,
        _ => return Err(ApiError::bad("input", "'input' is neither a text nor a list of messages")),
    };
    let mut asked = Asked::read(headers, request, ("input", input), request["instructions"].as_str())?;
    asked.previous = request["previous_response_id"].as_str().map(ToOwned::to_owned);
    let format = &request["text"]["format"];
    asked.schema = match format["type"].as_str() {
        None if format.is_null() => None,
        Some("text") => None,
        Some("json_schema") => schema(&format["schema"], "text.format.schema")?,
        _ => return Err(ApiError::unsupported("text.format", "use 'json_schema' with a schema, or 'text'")),
    };
    Ok(asked)
}

/// A response's own facts.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) id: String,
    /// Its message's.
    pub(super) message: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) previous: Option<String>,
    pub(super) metadata: Value,
    /// The place of the next event.
    pub(super) sequence: u64,
}

impl Response {
    /// The object, with all that strict clients look for. What only tunes a model stands as when nobody asks for it.
    fn object(&self, status: &str, output: &[Value]) -> Value {
        let metadata = if self.metadata.is_null() { json!({}) } else { self.metadata.clone() };
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "completed_at": null, "status": status,
            "background": false, "error": null, "incomplete_details": null, "instructions": null,
            "max_output_tokens": null, "max_tool_calls": null, "metadata": metadata, "model": self.model,
            "output": output, "parallel_tool_calls": false, "previous_response_id": self.previous,
            "prompt_cache_key": null, "reasoning": {"effort": null, "summary": null}, "safety_identifier": null,
            "service_tier": "default", "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "presence_penalty": 0.0,
            "frequency_penalty": 0.0, "truncation": "disabled", "usage": null, "user": null,
        })
    }

    pub(super) fn completed(&self, text: &str, usage: Usage) -> Value {
        let mut object = self.object("completed", &[self.item("completed", Some(text))]);
        object["usage"] = of_response(usage);
        object
    }

    pub(super) fn in_progress(&self) -> Value {
        self.object("in_progress", &[])
    }

    pub(super) fn failed(&self, notice: &str) -> Value {
        let mut object = self.object("failed", &[]);
        object["error"] = json!({"code": "server_error", "message": notice});
        object
    }

    fn item(&self, status: &str, text: Option<&str>) -> Value {
        let content: Vec<Value> = text.into_iter().map(part).collect();
        json!({"id": self.message, "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn event(&mut self, kind: &str, mut body: Value) -> String {
        body["type"] = json!(kind);
        body["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        format!("event: {kind}\ndata: {body}\n\n")
    }

    /// An event about the message's text.
    fn of_text(&mut self, kind: &str, mut body: Value) -> String {
        body["item_id"] = json!(self.message);
        body["output_index"] = json!(0);
        body["content_index"] = json!(0);
        self.event(kind, body)
    }

    pub(super) fn begins(&mut self) -> String {
        let (response, item) = (self.in_progress(), self.item("in_progress", None));
        [
            self.event("response.created", json!({ "response": response })),
            self.event("response.in_progress", json!({ "response": response })),
            self.event("response.output_item.added", json!({"output_index": 0, "item": item})),
            self.of_text("response.content_part.added", json!({"part": part("")})),
        ]
        .concat()
    }

    pub(super) fn says(&mut self, words: &str) -> String {
        self.of_text("response.output_text.delta", json!({"delta": words, "logprobs": []}))
    }

    pub(super) fn ends(&mut self, text: &str, usage: Usage) -> String {
        let (response, item) = (self.completed(text, usage), self.item("completed", Some(text)));
        [
            self.of_text("response.output_text.done", json!({"text": text, "logprobs": []})),
            self.of_text("response.content_part.done", json!({"part": part(text)})),
            self.event("response.output_item.done", json!({"output_index": 0, "item": item})),
            self.event("response.completed", json!({ "response": response })),
        ]
        .concat()
    }

    /// The agent's turn ended in a notice.
    pub(super) fn fails(&mut self, notice: &str) -> String {
        let response = self.failed(notice);
        self.event("response.failed", json!({ "response": response }))
    }

    /// The stream ends, and the turn may go on.
    pub(super) fn breaks(&mut self, error: &ApiError) -> String {
        let body = json!({"code": error.code.unwrap_or(error.kind), "message": error.message, "param": null});
        self.event("error", body)
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
