//! A Responses model that follows a script, on a loopback port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
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
}

pub struct Model {
    pub port: u16,
    script: Mutex<VecDeque<Step>>,
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
        let waiting = async {
            loop {
                let called = self.called.notified();
                if self.calls.lock().unwrap().len() >= count {
                    return;
                }
                called.await;
            }
        };
        tokio::time::timeout(super::door::LIMIT, waiting).await.expect("the model is called");
    }

    async fn answer(&self, call: Call) -> Response<Full<Bytes>> {
        if call.path != "/v1/responses" {
            return json_answer(404, &json!({"error": {"message": "no such path"}}));
        }
        self.keys.lock().unwrap().push(call.authorization);
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(serde_json::from_slice(&call.body).unwrap());
            calls.len()
        };
        self.called.notify_waiters();
        let step = self.script.lock().unwrap().pop_front();
        match step {
            None => stream(number, &[message(&format!("model reply {number}"))], true),
            Some(Step::Text(text)) => stream(number, &[message(text)], true),
            Some(Step::Items(items)) => stream(number, &items, true),
            Some(Step::Cut(text)) => stream(number, &[message(text)], false),
            Some(Step::Status(status, body)) => json_answer(status, &body),
            Some(Step::Hang) => std::future::pending().await,
        }
    }
}

pub fn message(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

pub fn command(command: &str) -> Value {
    let arguments = json!({"cmd": command}).to_string();
    json!({"type": "function_call", "name": "exec_command", "arguments": arguments, "call_id": "call_1"})
}

fn stream(number: usize, items: &[Value], whole: bool) -> Response<Full<Bytes>> {
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
    if whole {
        let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 110});
        let response = json!({"id": format!("resp_{number}"), "usage": usage});
        event(json!({"type": "response.completed", "response": response}));
    }
    reply(200, "text/event-stream", text)
}
