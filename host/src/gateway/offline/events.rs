//! Responses objects and the events of their stream, in the vendor's form and order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};

use super::failure::Failure;
use super::plan::{Act, Plan, Speech};
use super::{BYTES_PER_TOKEN, tools::ToolCall};

/// Characters in a text delta without a pace.
const DELTA_CHARS: usize = 256;
/// Deltas per second, at most, with a pace.
const DELTAS_PER_SECOND: f64 = 20.0;

/// A fresh id such as `msg_0f…`.
pub(super) fn id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::new_v4().simple())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A response's `usage`.
pub(super) fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input.saturating_add(output),
    })
}

/// A message without its content. What is neither progress nor the end of an answer has no phase, as with older models.
fn message(id: &str, status: &str, speech: &Speech) -> Value {
    let mut item = json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": [] });
    if speech.commentary {
        item["phase"] = json!("commentary");
    } else if speech.is_final {
        item["phase"] = json!("final_answer");
    }
    item
}

/// A piece of the stream and the silence before it.
#[derive(Debug)]
pub(super) struct Beat {
    /// The silence.
    pub(super) pause: Duration,
    /// The piece.
    pub(super) bytes: Bytes,
}

/// A whole answer, written before its first byte leaves: texts are short, and so pace is only a matter of play.
#[derive(Debug)]
pub(super) struct Score {
    /// The stream. Neighbours without silence between them are one beat.
    pub(super) beats: Vec<Beat>,
    /// The response object, as a call without streaming gets it.
    pub(super) response: Value,
    /// What comes after the last beat.
    pub(super) ending: Ending,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should be.
    Proper,
    /// The connection breaks.
    Cut,
    /// There is none: nothing more is said until the client goes.
    Silence,
}

impl Score {
    /// Writes down a plan.
    pub(super) fn of(plan: Plan, model: &str) -> Self {
        let response = json!({
            "id": id("resp"), "object": "response", "created_at": now(), "status": "in_progress", "error": null,
            "incomplete_details": null, "instructions": null, "model": model, "output": [],
            "parallel_tool_calls": false, "store": false, "tool_choice": "auto", "tools": [], "metadata": {},
            "usage": null,
        });
        let mut pen = Pen { response, ..Pen::default() };
        pen.life_sign("response.created");
        pen.life_sign("response.in_progress");
        let ending = pen.acts(plan);
        pen.flush();
        Self { beats: pen.beats, response: pen.response, ending }
    }
}

#[derive(Default)]
struct Pen {
    beats: Vec<Beat>,
    /// Silence before what is in `text`.
    pause: Duration,
    text: String,
    sequence: u64,
    output: Vec<Value>,
    output_chars: u64,
    response: Value,
}

impl Pen {
    fn acts(&mut self, plan: Plan) -> Ending {
        for act in plan.acts {
            match act {
                Act::Pause(pause) => self.rest(pause),
                Act::Say(speech) => self.message(&speech),
                Act::Call(call) => self.call(&call),
                Act::Compaction(item) => self.whole(item),
                Act::Cut(speech) => {
                    let half = speech.text.chars().count() / 2;
                    let text: String = speech.text.chars().take(half).collect();
                    self.begin_message(&id("msg"), &Speech { text, ..speech });
                    return Ending::Cut;
                }
                Act::Fail(failure) => {
                    self.fail(&failure);
                    return Ending::Proper;
                }
                Act::Hang => return Ending::Silence,
            }
        }
        self.finish("completed", plan.input_tokens);
        self.life_sign("response.completed");
        Ending::Proper
    }

    fn finish(&mut self, status: &str, input_tokens: u64) {
        let output_tokens = self.output_chars.div_ceil(BYTES_PER_TOKEN);
        self.response["status"] = json!(status);
        self.response["output"] = json!(self.output);
        self.response["usage"] = usage(input_tokens, output_tokens);
    }

    fn fail(&mut self, failure: &Failure) {
        self.response["status"] = json!("failed");
        self.response["error"] = failure.error();
        self.response["output"] = json!(self.output);
        self.life_sign("response.failed");
    }

    fn message(&mut self, speech: &Speech) {
        let id = id("msg");
        self.begin_message(&id, speech);
        let index = self.output.len();
        let part = json!({ "type": "output_text", "text": speech.text, "annotations": [], "logprobs": [] });
        self.event(
            "response.output_text.done",
            json!({ "item_id": id, "output_index": index, "content_index": 0, "text": speech.text, "logprobs": [] }),
        );
        self.event(
            "response.content_part.done",
            json!({ "item_id": id, "output_index": index, "content_index": 0, "part": part }),
        );
        let mut item = message(&id, "completed", speech);
        item["content"] = json!([part]);
        self.done(item);
    }

    fn begin_message(&mut self, id: &str, speech: &Speech) {
        let index = self.output.len();
        self.added(message(id, "in_progress", speech));
        let part = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
        self.event(
            "response.content_part.added",
            json!({ "item_id": id, "output_index": index, "content_index": 0, "part": part }),
        );
        let chars: Vec<char> = speech.text.chars().collect();
        let size = speech.pace.map_or(DELTA_CHARS, |pace| (pace / DELTAS_PER_SECOND).ceil() as usize).max(1);
        for piece in chars.chunks(size) {
            if let Some(pace) = speech.pace {
                self.rest(Duration::from_secs_f64(piece.len() as f64 / pace));
            }
            let delta: String = piece.iter().collect();
            self.event(
                "response.output_text.delta",
                json!({ "item_id": id, "output_index": index, "content_index": 0, "delta": delta, "logprobs": [] }),
            );
        }
    }

    fn call(&mut self, call: &ToolCall) {
        let (field, event) = match call.item["type"].as_str() {
            Some("custom_tool_call") => ("input", "response.custom_tool_call_input"),
            Some("function_call") => ("arguments", "response.function_call_arguments"),
            _ => return self.whole(call.item.clone()),
        };
        let (id, index) = (&call.item["id"], self.output.len());
        let mut begun = call.item.clone();
        begun["status"] = json!("in_progress");
        begun[field] = json!("");
        self.added(begun);
        let text = &call.item[field];
        self.event(&format!("{event}.delta"), json!({ "item_id": id, "output_index": index, "delta": text }));
        self.event(&format!("{event}.done"), json!({ "item_id": id, "output_index": index, field: text }));
        self.done(call.item.clone());
    }

    /// An item that comes in one piece.
    fn whole(&mut self, item: Value) {
        self.added(item.clone());
        self.done(item);
    }

    fn added(&mut self, item: Value) {
        let index = self.output.len();
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }));
    }

    fn done(&mut self, item: Value) {
        let index = self.output.len();
        self.output_chars += item.to_string().len() as u64;
        self.event("response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
    }

    /// An event that carries the response itself.
    fn life_sign(&mut self, name: &str) {
        let response = self.response.clone();
        self.event(name, json!({ "response": response }));
    }

    fn event(&mut self, name: &str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        self.text.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    }

    fn rest(&mut self, pause: Duration) {
        if !pause.is_zero() {
            self.flush();
            self.pause += pause;
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.text));
            self.beats.push(Beat { pause: std::mem::take(&mut self.pause), bytes });
        }
    }
}
