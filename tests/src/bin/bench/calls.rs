//! A caller of models, as thin as it can be: one kept-alive connection, to an endpoint itself or through a session's door.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use cofferdam::unix_socket::Reach;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::Trouble;

/// Bytes of a call: about what Codex sends with its instructions and tools in a young conversation.
const CALL_BYTES: usize = 48 * 1024;

/// A call of that size.
pub fn body() -> Bytes {
    let filler = "x".repeat(CALL_BYTES);
    Bytes::from(serde_json::json!({ "model": "m", "stream": true, "input": filler }).to_string())
}

/// One connection.
pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
}

impl Caller {
    /// To an endpoint on loopback.
    pub async fn direct(port: u16) -> Result<Self, Trouble> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Through a session's door.
    pub async fn through(door: &Path) -> Result<Self, Trouble> {
        Self::over(UnixStream::connect(Reach::new(door)?.path()).await?).await
    }

    async fn over<S>(stream: S) -> Result<Self, Trouble>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Milliseconds from the call to the first byte of its streamed body; the rest is read too, piece by piece.
    pub async fn call(&mut self, body: &Bytes, mut piece: impl FnMut(&[u8])) -> Result<f64, Trouble> {
        let request = Request::post("/v1/responses")
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(Full::new(body.clone()))?;
        self.sender.ready().await?;
        let begun = Instant::now();
        let mut answer: Response<Incoming> = self.sender.send_request(request).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            let words = answer.into_body().collect().await?.to_bytes();
            return Err(Trouble::Odd(format!(
                "the endpoint answered {status}: {}",
                String::from_utf8_lossy(&words)
            )));
        }
        let mut first = None;
        while let Some(frame) = answer.frame().await {
            if let Some(data) = frame?.data_ref() {
                first.get_or_insert_with(|| begun.elapsed().as_secs_f64() * 1e3);
                piece(data);
            }
        }
        first.ok_or_else(|| Trouble::Odd("an empty answer".to_owned()))
    }
}
