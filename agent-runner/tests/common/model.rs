//! A Responses model that follows a script, on a loopback port.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::http::{Call, json as json_answer, reply, serve};

/// What the next model call answers.
pub enum Step {
    /// One message.
    Text(&'static str),
    /// Several items.
    Items(Vec<Value>),
    /// An HTTP error.
    Status(u16, Value),
    /// A message, complete, and then the stream ends without its end.
    Cut(&'static str),
    /// No answer at all.
    Hang,
    /// Several items, and then nothing more, for ever.
    Stall(Vec<Value>),
    /// A message begins, but neither it nor the stream ends.
    Begun(&'static str),
    /// A message begins, and ends once the test says so.
    Slowly(&'static str, Arc<Notify>),
    /// Several items, once the test says so.
    When(Arc<Notify>, Vec<Value>),
    /// Several items, with so many input and output tokens.
    Counted(Vec<Value>, u64, u64),
    /// An HTTP error with more headers.
    Refused(u16, Value, Vec<(&'static str, String)>),
}

/// What the model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Answer,
    /// To write a summary of the conversation.
    Summary,
}

type Streamed = UnsyncBoxBody<Bytes, Infallible>;

pub struct Model {
    pub port: u16,
    script: Mutex<VecDeque<Step>>,
    summaries: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<Value>>,
    keys: Mutex<Vec<Option<String>>>,
    called: Notify,
}

impl Model {
    pub async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let model = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            script: Mutex::default(),
            summaries: Mutex::default(),
            calls: Mutex::default(),
            keys: Mutex::default(),
            called: Notify::new(),
        });
        let serving = model.clone();
        let answer = Arc::new(move |call: Call| {
            let model = serving.clone();
            async move { model.answer(call).await }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        model
    }

    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        let mut script = self.script.lock().unwrap();
        script.clear();
        script.extend(steps);
    }

    /// The same for calls that ask for a summary.
    pub fn script_summaries(&self, steps: impl IntoIterator<Item = Step>) {
        *self.summaries.lock().unwrap() = steps.into_iter().collect();
    }

    /// The bodies of all calls of that sort.
    pub fn asked(&self, sort: Asked) -> Vec<Value> {
        self.calls().into_iter().filter(|call| asked(call) == sort).collect()
    }

    /// Waits until there were so many calls of that sort.
    pub async fn asked_for(&self, sort: Asked, count: usize) {
        self.until(|calls| calls.iter().filter(|call| asked(call) == sort).count() >= count).await;
    }

    /// No call carried this text of a person more than once.
    pub fn assert_told_once(&self, text: &str) {
        for call in self.calls() {
            let told = said_by("user", &call).iter().filter(|said| said.contains(text)).count();
            assert!(told <= 1, "{text} was told {told} times: {:#}", call["input"]);
        }
    }

    /// The bodies of all calls so far.
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }

    /// The text of everything that the last call carried as input.
    pub fn last_input(&self) -> String {
        self.calls().last().unwrap()["input"].to_string()
    }

    pub fn last_key(&self) -> Option<String> {
        self.keys.lock().unwrap().last().unwrap().clone()
    }

    /// Waits until there were `count` calls.
    pub async fn called(&self, count: usize) {
        self.until(|calls| calls.len() >= count).await;
    }

    async fn until(&self, holds: impl Fn(&[Value]) -> bool) {
        let waiting = async {
            loop {
                let called = self.called.notified();
                if holds(&self.calls.lock().unwrap()) {
                    return;
                }
                called.await;
            }
        };
        tokio::time::timeout(super::door::LIMIT, waiting).await.expect("the model is called");
    }

    async fn answer(&self, call: Call) -> Response<Streamed> {
        if call.path != "/v1/responses" {
            return whole(json_answer(404, &json!({"error": {"message": "no such path"}})));
        }
        self.keys.lock().unwrap().push(call.authorization);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let sort = asked(&body);
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(body);
            calls.len()
        };
        let script = if sort == Asked::Summary { &self.summaries } else { &self.script };
        let step = script.lock().unwrap().pop_front();
        self.called.notify_waiters();
        match step {
            None if sort == Asked::Summary => stream(number, &[message("the summary")], Some((100, 10))),
            None => stream(number, &[message(&format!("model reply {number}"))], Some((100, 10))),
            Some(Step::Text(text)) => stream(number, &[message(text)], Some((100, 10))),
            Some(Step::Items(items)) => stream(number, &items, Some((100, 10))),
            Some(Step::Counted(items, input, output)) => stream(number, &items, Some((input, output))),
            Some(Step::Cut(text)) => stream(number, &[message(text)], None),
            Some(Step::Stall(items)) => stall(stream(number, &items, None)),
            Some(Step::Status(status, body)) => whole(json_answer(status, &body)),
            Some(Step::Refused(status, body, headers)) => {
                let mut answer = whole(json_answer(status, &body));
                for (name, value) in headers {
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
                answer
            }
            Some(Step::Begun(text)) => pause(stream(number, &[message(text)], None), None),
            Some(Step::Slowly(text, told)) => pause(stream(number, &[message(text)], Some((100, 10))), Some(told)),
            Some(Step::When(told, items)) => {
                told.notified().await;
                stream(number, &items, Some((100, 10)))
            }
            Some(Step::Hang) => std::future::pending().await,
        }
    }
}

pub fn message(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

/// A message of a phase.
pub fn in_phase(phase: &str, text: &str) -> Value {
    let mut message = message(text);
    message["phase"] = phase.into();
    message
}

/// A call of a function, such as one of the client's tools.
pub fn call(name: &str, arguments: Value, call_id: &str) -> Value {
    json!({"type": "function_call", "name": name, "arguments": arguments.to_string(), "call_id": call_id})
}

/// A call of a tool of an MCP server.
pub fn mcp_call(server: &str, tool: &str, arguments: Value, call_id: &str) -> Value {
    let mut call = call(tool, arguments, call_id);
    call["namespace"] = format!("mcp__{server}").into();
    call
}

/// A script for the models of code mode.
pub fn code(script: &str, call_id: &str) -> Value {
    json!({"type": "custom_tool_call", "name": "exec", "input": script, "call_id": call_id})
}

pub fn command(command: &str) -> Value {
    let arguments = json!({"cmd": command}).to_string();
    json!({"type": "function_call", "name": "exec_command", "arguments": arguments, "call_id": "call_1"})
}

fn asked(call: &Value) -> Asked {
    let metadata = call["client_metadata"]["x-codex-turn-metadata"].as_str().unwrap_or_default();
    let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
    if metadata["request_kind"] == "compaction" { Asked::Summary } else { Asked::Answer }
}

/// The texts of a call's messages of one role.
pub fn said_by(role: &str, call: &Value) -> Vec<String> {
    let messages = call["input"].as_array().unwrap().iter().filter(|item| item["role"] == role);
    let texts = messages.flat_map(|item| item["content"].as_array().unwrap().iter());
    texts.filter_map(|part| part["text"].as_str().map(str::to_owned)).collect()
}

fn whole(answer: Response<Full<Bytes>>) -> Response<Streamed> {
    answer.map(BodyExt::boxed_unsync)
}

/// The same stream without its end.
fn stall(answer: Response<Streamed>) -> Response<Streamed> {
    let (parts, body) = answer.into_parts();
    let frames = futures_util::stream::once(async move { body.collect().await.unwrap().to_bytes() });
    let frames = frames.map(|bytes| Ok(Frame::data(bytes))).chain(futures_util::stream::pending());
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// The same stream, which goes on from the end of its first item when the test says so, or never.
fn pause(answer: Response<Streamed>, told: Option<Arc<Notify>>) -> Response<Streamed> {
    let (parts, body) = answer.into_parts();
    let frames = futures_util::stream::once(async move { body.collect().await.unwrap().to_bytes() });
    let frames = frames.flat_map(move |bytes| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, tail) = text.split_at(text.find("event: response.output_item.done").unwrap());
        let (head, tail, told) = (Bytes::from(head.to_owned()), Bytes::from(tail.to_owned()), told.clone());
        let rest = async move {
            match told {
                Some(told) => told.notified().await,
                None => std::future::pending().await,
            }
            tail
        };
        futures_util::stream::once(async { head }).chain(futures_util::stream::once(rest))
    });
    Response::from_parts(parts, StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
}

/// The items as a stream, with its end when it has counts of input and output tokens.
fn stream(number: usize, items: &[Value], counts: Option<(u64, u64)>) -> Response<Streamed> {
    let mut text = String::new();
    let mut event = |value: Value| {
        text.push_str(&format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()));
    };
    event(json!({"type": "response.created", "response": {"id": format!("resp_{number}")}}));
    for (at, item) in items.iter().enumerate() {
        let mut item = item.clone();
        item["id"] = format!("item_{number}_{at}").into();
        let mut begun = item.clone();
        if item["type"] == "message" {
            begun["content"] = json!([]);
        }
        event(json!({"type": "response.output_item.added", "item": begun, "output_index": at}));
        if let Some(said) = item.pointer("/content/0/text").and_then(Value::as_str) {
            for piece in said.split_inclusive(' ') {
                event(json!({"type": "response.output_text.delta", "delta": piece, "item_id": item["id"],
                    "output_index": at, "content_index": 0}));
            }
        }
        event(json!({"type": "response.output_item.done", "item": item, "output_index": at}));
    }
    if let Some((input, output)) = counts {
        let (cached, reasoning) = (input * 2 / 5, output * 3 / 10);
        let usage = json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": input + output});
        let response = json!({"id": format!("resp_{number}"), "usage": usage});
        event(json!({"type": "response.completed", "response": response}));
    }
    whole(reply(200, "text/event-stream", text))
}
