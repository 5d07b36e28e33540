//! The published forms of what the API answers: strict clients refuse what lacks a field, or has another kind of value.

use serde_json::{Value, json};

use super::agent::Act;
use super::streams::stream;
use super::world::{World, told};

/// Fields that must be there, each with the kinds of values that it may have.
type Form = &'static [(&'static str, &'static str)];

const RESPONSE: Form = &[
    ("id", "string"),
    ("object", "string"),
    ("created_at", "number"),
    ("completed_at", "number null"),
    ("status", "string"),
    ("background", "bool"),
    ("error", "object null"),
    ("incomplete_details", "object null"),
    ("instructions", "string null"),
    ("max_output_tokens", "number null"),
    ("max_tool_calls", "number null"),
    ("metadata", "object"),
    ("model", "string"),
    ("output", "array"),
    ("parallel_tool_calls", "bool"),
    ("previous_response_id", "string null"),
    ("prompt_cache_key", "string null"),
    ("reasoning", "object"),
    ("safety_identifier", "string null"),
    ("service_tier", "string"),
    ("store", "bool"),
    ("temperature", "number"),
    ("text", "object"),
    ("tool_choice", "string"),
    ("tools", "array"),
    ("top_logprobs", "number"),
    ("top_p", "number"),
    ("presence_penalty", "number"),
    ("frequency_penalty", "number"),
    ("truncation", "string"),
    ("usage", "object null"),
];
const MESSAGE: Form =
    &[("id", "string"), ("type", "string"), ("role", "string"), ("status", "string"), ("content", "array")];
const TEXT: Form = &[("type", "string"), ("text", "string"), ("annotations", "array"), ("logprobs", "array")];
const COMPLETION: Form = &[
    ("id", "string"),
    ("object", "string"),
    ("created", "number"),
    ("model", "string"),
    ("choices", "array"),
    ("service_tier", "string"),
];
const CHOICE: Form =
    &[("index", "number"), ("message", "object"), ("logprobs", "object null"), ("finish_reason", "string")];
const ANSWER: Form =
    &[("role", "string"), ("content", "string"), ("refusal", "string null"), ("annotations", "array")];
const DELTA: Form =
    &[("index", "number"), ("delta", "object"), ("logprobs", "object null"), ("finish_reason", "string null")];

/// What each event has besides its `type` and its `sequence_number`.
const EVENTS: &[(&str, Form)] = &[
    ("response.created", &[("response", "object")]),
    ("response.in_progress", &[("response", "object")]),
    ("response.output_item.added", &[("output_index", "number"), ("item", "object")]),
    ("response.content_part.added", PART),
    (
        "response.output_text.delta",
        &[OF_TEXT[0], OF_TEXT[1], OF_TEXT[2], ("delta", "string"), ("logprobs", "array")],
    ),
    ("response.output_text.done", &[OF_TEXT[0], OF_TEXT[1], OF_TEXT[2], ("text", "string"), ("logprobs", "array")]),
    ("response.content_part.done", PART),
    ("response.output_item.done", &[("output_index", "number"), ("item", "object")]),
    ("response.completed", &[("response", "object")]),
    ("response.failed", &[("response", "object")]),
];
const OF_TEXT: [(&str, &str); 3] = [("item_id", "string"), ("output_index", "number"), ("content_index", "number")];
const PART: Form = &[OF_TEXT[0], OF_TEXT[1], OF_TEXT[2], ("part", "object")];

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

fn has(form: Form, value: &Value) {
    for (name, kinds) in form {
        let is = kind(value.get(name));
        assert!(kinds.split(' ').any(|kind| kind == is), "'{name}' is {is}, not {kinds}: {value}");
    }
}

fn is_response(response: &Value) {
    has(RESPONSE, response);
    let is_completed = response["status"] == "completed";
    assert_eq!(kind(response.get("usage")), if is_completed { "object" } else { "null" }, "{response}");
    if is_completed {
        let usage = json!({"input_tokens": 1200, "input_tokens_details": {"cached_tokens": 1000}, "output_tokens": 34,
            "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 1234});
        assert_eq!(response["usage"], usage);
    }
    response["output"].as_array().expect("a list").iter().for_each(is_message);
}

fn is_message(message: &Value) {
    has(MESSAGE, message);
    message["content"].as_array().expect("a list").iter().for_each(|part| has(TEXT, part));
}

#[tokio::test]
async fn a_response_has_all_fields_whatever_its_state() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.script("fail", [Act::Fail("The turn failed: no.")]);
    let (_, response) = world.ask(&key, "responses", json!({"model": "demo", "input": "hello"})).await;
    is_response(&response);
    let id = response["id"].as_str().expect("an id");
    let (_, read) = told(world.client.get(format!("{}/v1/responses/{id}", world.url)).bearer_auth(&key)).await;
    is_response(&read);
    assert_eq!(read["status"], "completed");
    for (input, last) in [("hello", "response.completed"), ("fail", "response.failed")] {
        let events = stream(&world, &key, "responses", json!({ "input": input })).await;
        for (at, (name, event)) in events.iter().enumerate() {
            assert_eq!((&event["type"], &event["sequence_number"]), (&json!(name), &json!(at)));
            let form = EVENTS.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("{name}"));
            has(form.1, event);
            event.get("response").into_iter().for_each(is_response);
            event.get("item").into_iter().for_each(is_message);
            event.get("part").into_iter().for_each(|part| has(TEXT, part));
        }
        assert_eq!(events.last().expect("events").0, last);
    }
}

#[tokio::test]
async fn a_completion_and_its_chunks_have_all_fields() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let messages = json!([{"role": "user", "content": "hello"}]);
    let body = json!({"model": "demo", "messages": messages});
    let (_, completion) = world.ask(&key, "chat/completions", body).await;
    has(COMPLETION, &completion);
    has(CHOICE, &completion["choices"][0]);
    has(ANSWER, &completion["choices"][0]["message"]);
    let usage = json!({"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234,
        "prompt_tokens_details": {"cached_tokens": 1000}, "completion_tokens_details": {"reasoning_tokens": 20}});
    assert_eq!(completion["usage"], usage);
    let chunks = stream(&world, &key, "chat/completions", json!({ "messages": messages })).await;
    for (_, chunk) in &chunks[..chunks.len() - 1] {
        has(COMPLETION, chunk);
        has(DELTA, &chunk["choices"][0]);
    }
}
