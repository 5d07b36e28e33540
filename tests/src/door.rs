//! A session's door, and clients that use it in whatever way.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use cofferdam_protocol::admin::ModelCall;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::home::TestHome;
use crate::{LIMIT, eventually};

/// A daemon before an upstream, with a live session of the group `demo`.
pub struct Doorway {
    /// The home.
    pub home: TestHome,
    /// The session's door.
    pub door: PathBuf,
}

/// The door of a group's session, which is open while its container lives.
pub async fn of_group(home: &TestHome, group: &str) -> PathBuf {
    let session = home.admin().chat(group, "hello").await.finished.session;
    home.root().join("run/doors").join(session.as_str()).join("door.sock")
}

impl Doorway {
    /// Opens it, with these limits of patience.
    pub async fn before(base_url: &str, limits: &str) -> Self {
        let mut home = TestHome::new();
        home.env("OPENAI_BASE_URL", base_url).env("OPENAI_API_KEY", crate::vendor::KEY);
        home.env("COFFERDAM_TEST_LIMITS", limits);
        home.up().await;
        home.group("demo", &json!({"provider": "mock"})).await;
        let door = of_group(&home, "demo").await;
        Self { home, door }
    }

    /// Begins a call.
    pub fn call(&self) -> tokio::task::JoinHandle<Came> {
        let door = self.door.clone();
        tokio::spawn(async move { came(post(&door, call()).await).await })
    }

    /// The newest of the group's calls, once so many are over.
    pub async fn told(&self, calls: usize) -> ModelCall {
        eventually("the call is written down", || async {
            let told = self.home.cli(&["account", "activity", "demo", "--json"]).await.json();
            let mut told: Vec<ModelCall> = serde_json::from_value(told).expect("calls");
            (told.len() == calls).then(|| told.swap_remove(0))
        })
        .await
    }

    /// The most memory that the daemon had since the last time, in bytes.
    pub fn peak(&self) -> u64 {
        let process = PathBuf::from("/proc").join(self.home.pid().to_string());
        let status = std::fs::read_to_string(process.join("status")).expect("a process");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        std::fs::write(process.join("clear_refs"), "5").expect("its peak begins anew");
        kib.expect("a peak").trim().parse::<u64>().expect("a number") * 1024
    }

    /// How many sockets and files the daemon has open.
    pub fn open_files(&self) -> usize {
        let dir = format!("/proc/{}/fd", self.home.pid());
        std::fs::read_dir(dir).expect("a process").count()
    }
}

/// A small model call.
pub fn call() -> Bytes {
    Bytes::from(json!({"model": "model-a", "stream": true, "input": "hello"}).to_string())
}

/// Sends a call on a connection of its own; answers when an answer begins.
pub async fn post(door: &Path, body: Bytes) -> Response<Incoming> {
    try_post(door, body).await.expect("an answer")
}

/// The same for a call that the door refuses while it is sent: the connection may break before the answer is read.
pub async fn post_again(door: &Path, body: Bytes) -> Response<Incoming> {
    const TRIES: usize = 10;
    for _ in 1..TRIES {
        if let Ok(answer) = try_post(door, body.clone()).await {
            return answer;
        }
    }
    post(door, body).await
}

async fn try_post(door: &Path, body: Bytes) -> hyper::Result<Response<Incoming>> {
    let stream = UnixStream::connect(door).await.expect("the door is open");
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let request = Request::post("/v1/responses").header("host", "door").header("content-type", "application/json");
    let request = request.body(Full::new(body)).expect("a request");
    tokio::time::timeout(LIMIT, sender.send_request(request)).await.expect("an answer")
}

/// What came of a call.
#[derive(Debug)]
pub struct Came {
    /// The status.
    pub status: u16,
    /// The answer's headers.
    pub headers: hyper::HeaderMap,
    /// The first 64 KiB of the body.
    pub text: Vec<u8>,
    /// How long the body was, in bytes.
    pub length: usize,
    /// Whether it came to its end, and did not break off.
    pub whole: bool,
}

impl Came {
    /// The code of an error in the vendor's form.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.text).expect("JSON");
        assert!(body["error"]["message"].is_string(), "{body}");
        body["error"]["code"].as_str().expect("a code").to_owned()
    }
}

/// Reads an answer to its end.
pub async fn came(answer: Response<Incoming>) -> Came {
    let (parts, mut body) = answer.into_parts();
    let (mut text, mut length) = (Vec::new(), 0);
    let whole = loop {
        match tokio::time::timeout(LIMIT, body.frame()).await.expect("the answer goes on") {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                length += data.len();
                text.extend_from_slice(&data[..data.len().min(64 * 1024 - text.len())]);
            }
        }
    };
    Came { status: parts.status.as_u16(), headers: parts.headers, text, length, whole }
}

/// Sends the head of a call and a part of its body on a connection that is the test's; with no length the body is chunked.
pub async fn begin(door: &Path, length: Option<usize>, body: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(door).await.expect("the door is open");
    let length =
        length.map_or("transfer-encoding: chunked".to_owned(), |length| format!("content-length: {length}"));
    let head = format!("POST /v1/responses HTTP/1.1\r\nhost: door\r\n{length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(body).await.expect("written");
    stream
}
