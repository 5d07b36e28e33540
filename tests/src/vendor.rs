//! A model vendor on loopback that speaks the Responses API, notes what it is sent, and says what it is told to.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::home::TestHome;

/// The key that the host has for it; looks like nothing else, so that it is found wherever it should not be.
pub const KEY: &str = "sk-test-6b1f0c9e5d7a48b2";

/// What the next call is answered with.
#[derive(Debug, Clone)]
pub enum Say {
    /// One message.
    Text(String),
    /// A shell command to run.
    Run(String),
    /// A call of a tool: its namespace, such as `mcp__NAME`, its name and its arguments.
    Call(&'static str, &'static str, Value),
    /// An HTTP error with a body.
    Status(u16, Value),
    /// That so many requests are too many, and to come again after so many seconds.
    TooMany(u64),
}

/// A call as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

impl Call {
    /// All the text of its input.
    pub fn input(&self) -> String {
        crate::admin::input_text(&self.body)
    }
}

type Takes = Box<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Default)]
struct Inside {
    script: Mutex<VecDeque<Say>>,
    calls: Mutex<Vec<Call>>,
    /// Which credentials it takes; without it any.
    takes: Mutex<Option<Takes>>,
}

/// The vendor. Answers `vendor answer N` to the Nth call unless it was scripted.
#[derive(Clone)]
pub struct Vendor {
    inside: Arc<Inside>,
    base_url: String,
}

impl Vendor {
    /// Opens it.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same, at an address of this machine, such as one that containers reach.
    pub async fn start_at(ip: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let inside = Arc::new(Inside::default());
        let app = ["/v1", "/backend-api/codex"].into_iter().fold(Router::new(), |app, base| {
            let app = app.route(&format!("{base}/responses"), post(respond));
            app.route(&format!("{base}/models"), get(models))
        });
        let app = app.with_state(inside.clone());
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { inside, base_url }
    }

    /// Makes it what accounts with a ChatGPT login go to.
    pub fn serve_chatgpt(&self, home: &mut TestHome) {
        home.env("COFFERDAM_TEST_CHATGPT", self.address());
    }

    /// Makes it the account of a home's next daemon.
    pub fn serve(&self, home: &mut TestHome) {
        home.env("OPENAI_BASE_URL", &self.base_url).env("OPENAI_API_KEY", KEY);
    }

    /// Its IP and port.
    pub fn address(&self) -> &str {
        self.base_url.trim_start_matches("http://").trim_end_matches("/v1")
    }

    /// Where it is.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Takes this key and no other one from now on.
    pub fn take_only(&self, key: &str) {
        let key = key.to_owned();
        self.take_if(move |sent| sent == key);
    }

    /// Takes the credentials of which this is true.
    pub fn take_if(&self, takes: impl Fn(&str) -> bool + Send + Sync + 'static) {
        *self.inside.takes.lock().expect("a lock") = Some(Box::new(takes));
    }

    /// What it says next.
    pub fn script(&self, says: impl IntoIterator<Item = Say>) {
        self.inside.script.lock().expect("a lock").extend(says);
    }

    /// Says nothing of its script any more.
    pub fn forget_script(&self) {
        self.inside.script.lock().expect("a lock").clear();
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.inside.calls.lock().expect("a lock").clone()
    }
}

/// The refusal of other keys, as vendors do it: with a part of what was sent.
fn refusal(inside: &Inside, headers: &HeaderMap) -> Option<Response> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match &*inside.takes.lock().expect("a lock") {
        Some(takes) if !takes(sent.strip_prefix("Bearer ").unwrap_or_default()) => {
            let message = format!("Incorrect API key provided: {sent}.");
            let body =
                json!({"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}});
            let json = [(header::CONTENT_TYPE, "application/json")];
            Some((StatusCode::UNAUTHORIZED, json, body.to_string()).into_response())
        }
        _ => None,
    }
}

async fn models(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> Response {
    let list = json!({"object": "list", "data": [{"id": "model-a"}, {"id": "model-b"}]});
    refusal(&inside, &headers)
        .unwrap_or_else(|| ([(header::CONTENT_TYPE, "application/json")], list.to_string()).into_response())
}

async fn respond(State(inside): State<Arc<Inside>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = refusal(&inside, &headers) {
        return refused;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let number = {
        let mut calls = inside.calls.lock().expect("a lock");
        calls.push(Call { headers, body });
        calls.len()
    };
    let say = inside.script.lock().expect("a lock").pop_front();
    match say.unwrap_or_else(|| Say::Text(format!("vendor answer {number}"))) {
        Say::Text(text) => stream(
            number,
            // Nothing comes after it, and it says so, as today's models do.
            &json!({"type": "message", "role": "assistant", "phase": "final_answer",
            "content": [{"type": "output_text", "text": text}]}),
        ),
        Say::Run(command) => stream(
            number,
            &json!({"type": "function_call", "name": "exec_command",
            "arguments": json!({"cmd": command}).to_string(), "call_id": format!("call_{number}")}),
        ),
        Say::Call(namespace, name, arguments) => stream(
            number,
            &json!({"type": "function_call", "namespace": namespace, "name": name,
            "arguments": arguments.to_string(), "call_id": format!("call_{number}")}),
        ),
        Say::Status(status, body) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Say::TooMany(secs) => {
            let error =
                json!({"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"});
            let headers =
                [(header::CONTENT_TYPE, "application/json".to_owned()), (header::RETRY_AFTER, secs.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, json!({ "error": error }).to_string()).into_response()
        }
    }
}

fn stream(number: usize, item: &Value) -> Response {
    let mut item = item.clone();
    item["id"] = format!("item_{number}").into();
    let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 110});
    let id = format!("resp_{number}");
    let events = [
        json!({"type": "response.created", "response": {"id": id}}),
        json!({"type": "response.output_item.done", "item": item, "output_index": 0}),
        json!({"type": "response.completed", "response": {"id": id, "usage": usage}}),
    ];
    let text: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("")))
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}
