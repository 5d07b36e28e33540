//! The admin socket's client: HTTP/1.1 on a Unix socket, one connection per call.

use std::error::Error as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use cofferdam_protocol::admin::{ChatEvent, ChatRequest, ErrorBody, ErrorKind, FollowEvent, StagedFile, WorkEvent};
use cofferdam_protocol::ids::Folder;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::unix_socket::Reach;

/// The largest answer or line of a stream that is taken, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("the daemon's socket {} cannot be reached", .socket.display())]
    Unreachable { socket: PathBuf, source: std::io::Error },
    /// The connection broke, or what came is not what was agreed on.
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    /// The daemon said no.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
}

impl ClientError {
    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text += &format!(": {error}");
            source = error.source();
        }
        text
    }

    /// Whether no daemon is there, as opposed to one that cannot be used.
    pub fn is_absent(&self) -> bool {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, Self::Unreachable { source, .. } if matches!(source.kind(), NotFound | ConnectionRefused))
    }

    /// Whether the same call may work a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => self.is_absent(),
            Self::Broken(_) => true,
            Self::Refused(body) => body.kind == ErrorKind::Daemon,
        }
    }
}

fn broken(error: impl std::fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}

/// A client of one socket.
#[derive(Debug, Clone)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether somebody listens.
    pub async fn probe(&self) -> Result<(), ClientError> {
        self.connect().await.map(drop)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.call(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    pub async fn put<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::PUT, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn put_with<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        let body = self.call(Method::PUT, path, body.into()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn post_for<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::POST, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn post_nothing(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::POST, path, Bytes::new()).await.map(drop)
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        let body = self.call(Method::POST, path, body.into()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn delete_for<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::DELETE, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Hands in a file for a message of the group.
    pub async fn upload(&self, group: &Folder, name: &str, content: Bytes) -> Result<StagedFile, ClientError> {
        let path = format!("/v1/files?group={group}&name={}", url_encoded(name));
        let body = self.call(Method::POST, &path, content).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    pub async fn patch<T: DeserializeOwned>(&self, path: &str, change: &impl Serialize) -> Result<T, ClientError> {
        let change = serde_json::to_vec(change).map_err(broken)?;
        let body = self.call(Method::PATCH, path, change.into()).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    /// Sends a message; its events follow.
    pub async fn chat(&self, request: &ChatRequest) -> Result<JsonLines<ChatEvent>, ClientError> {
        let body = serde_json::to_vec(request).map_err(broken)?;
        Ok(JsonLines::new(
            self.send(Method::POST, &format!("/v1/chat?group={}", request.group), body.into()).await?,
        ))
    }

    /// Follows what happens at `path`.
    pub async fn follow(&self, path: &str) -> Result<JsonLines<FollowEvent>, ClientError> {
        Ok(JsonLines::new(self.send(Method::GET, path, Bytes::new()).await?))
    }

    /// Asks for long work; how far it is follows.
    pub async fn work<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<JsonLines<WorkEvent<T>>, ClientError> {
        let body = serde_json::to_vec(request).map_err(broken)?;
        Ok(JsonLines::new(self.send(Method::POST, path, body.into()).await?))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let reach = Reach::new(&self.socket).map_err(unreachable)?;
        UnixStream::connect(reach.path()).await.map_err(unreachable)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        collect(self.send(method, path, body).await?).await
    }

    /// The response, if it is not an error.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "cofferdam")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(response).await?;
        Err(match serde_json::from_slice(&body) {
            Ok(body) => ClientError::Refused(body),
            Err(_) => broken(format!("it answered {status}")),
        })
    }
}

/// A text as a value of a URL's query.
fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
    Ok(body.collect().await.map_err(broken)?.to_bytes())
}

/// Events, one JSON object a line.
#[derive(Debug)]
pub(super) struct JsonLines<T> {
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: BytesMut::new(), searched: 0, of: PhantomData }
    }

    /// The next event; an end of the stream is an error, because the reader is the one to end it.
    pub async fn next(&mut self) -> Result<T, ClientError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map_err(broken);
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_ANSWER {
                return Err(broken("a line of its answer is too long"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(broken("it ended too early")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_fits_into_a_query() {
        assert_eq!(url_encoded("a b&c=ü/..\n"), "a%20b%26c%3D%C3%BC%2F..%0A");
    }
}
