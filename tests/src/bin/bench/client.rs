//! A client of the admin socket, as thin as it can be: it shares the machine with what it measures.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use cofferdam::unix_socket::Reach;
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, Finished};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::Trouble;

/// One keep-alive connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// One message and its answer, seen from the client.
pub struct Chat {
    /// Milliseconds from before the request was written until the reply's line was read.
    pub reply_ms: f64,
    /// The last line, not yet parsed.
    finished: Bytes,
}

impl Chat {
    pub fn finished(&self) -> Result<Finished, Trouble> {
        Ok(serde_json::from_slice(&self.finished)?)
    }

    /// The milliseconds and the end, if that is a reply.
    pub fn replied(&self) -> Result<(f64, Finished), Trouble> {
        let finished = self.finished()?;
        match finished.outcome {
            ChatOutcome::Replied => Ok((self.reply_ms, finished)),
            ref other => Err(Trouble::NoReply(format!("{other:?}"))),
        }
    }
}

/// Numbers the messages of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A message with an id of its own.
pub fn message(group: &str, thread: Option<&str>, text: &str) -> Value {
    let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    json!({ "group": group, "thread": thread, "message_id": id, "sender": "bench", "text": text })
}

impl Client {
    pub async fn connect(socket: &Path) -> Result<Self, Trouble> {
        let stream = UnixStream::connect(Reach::new(socket)?.path()).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Any call; the answer's body must be small.
    pub async fn call(&mut self, method: Method, path: &str) -> Result<Bytes, Trouble> {
        let request = Request::builder().method(method).uri(path).header("host", "admin").body(Full::default())?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refused(path, status, &body)) }
    }

    /// Sends a message and waits until its turn ended in a reply and was handed over.
    pub async fn chat(&mut self, group: &str, thread: Option<&str>, text: &str) -> Result<Chat, Trouble> {
        self.send(group, thread, text).await?.end().await
    }

    /// Sends a message and waits until it was accepted.
    pub async fn send(&mut self, group: &str, thread: Option<&str>, text: &str) -> Result<Sent, Trouble> {
        self.post(&message(group, thread, text)).await
    }

    /// Sends a [`message`], which may have been sent before, and waits until it was accepted.
    pub async fn post(&mut self, message: &Value) -> Result<Sent, Trouble> {
        let group = message["group"].as_str().unwrap_or_default();
        let request = Request::post(format!("/v1/chat?group={group}"))
            .header("host", "admin")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(message.to_string())))?;
        self.sender.ready().await?;
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            return Err(refused("/v1/chat", status, &body));
        }
        Ok(Sent { begun, answer, read: BytesMut::new() })
    }

    /// As [`Client::chat`], parsed, and its outcome checked.
    pub async fn turn(
        &mut self,
        group: &str,
        thread: Option<&str>,
        text: &str,
    ) -> Result<(f64, Finished), Trouble> {
        self.chat(group, thread, text).await?.replied()
    }

    /// Stops a session's container; answers when it is gone.
    pub async fn stop(&mut self, session: &str) -> Result<(), Trouble> {
        self.call(Method::POST, &format!("/v1/sessions/{session}/stop")).await.map(drop)
    }
}

/// A message that was accepted.
pub struct Sent {
    begun: Instant,
    answer: Response<Incoming>,
    /// What was read behind the last whole line.
    read: BytesMut,
}

impl Sent {
    /// Waits until its turn ended in a reply and was handed over.
    pub async fn end(mut self) -> Result<Chat, Trouble> {
        let (mut reply_ms, mut finished) = (None, None);
        while let Some(line) = self.line().await? {
            // Lines begin with their tag: no need to parse those that nobody reads.
            if line.starts_with(br#"{"event":"reply""#) {
                reply_ms.get_or_insert_with(|| self.begun.elapsed().as_secs_f64() * 1e3);
            } else if line.starts_with(br#"{"event":"finished""#) {
                finished = Some(line);
            } else if line.starts_with(br#"{"event":"notice""#) || line.starts_with(br#"{"event":"blocked""#) {
                return Err(Trouble::NoReply(String::from_utf8_lossy(&line).into_owned()));
            }
        }
        match (reply_ms, finished) {
            (Some(reply_ms), Some(finished)) => Ok(Chat { reply_ms, finished }),
            _ => Err(Trouble::NoReply("the answer ended early".to_owned())),
        }
    }

    /// What is told of it next; none when there is no more.
    pub async fn event(&mut self) -> Result<Option<ChatEvent>, Trouble> {
        let line = self.line().await?;
        Ok(line.map(|line| serde_json::from_slice(&line)).transpose()?)
    }

    async fn line(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end).freeze();
                self.read.advance(1);
                return Ok(Some(line));
            }
            match self.answer.frame().await {
                Some(frame) => self.read.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new())),
                None => return Ok(None),
            }
        }
    }
}

fn refused(path: &str, status: StatusCode, body: &[u8]) -> Trouble {
    Trouble::NoReply(format!("{path} answered {status}: {}", String::from_utf8_lossy(body)))
}
