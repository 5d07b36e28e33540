//! A vendor whose every byte a test says, for what no honest one does: [`crate::vendor::Vendor`] is for the others.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::LIMIT;

/// The head of an answer that is a stream of events, each piece of it a chunk.
pub const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// An event of such a stream.
pub const DELTA: &str = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n";
/// The last one, which says that 120 tokens were read and 30 written.
pub const COMPLETED: &str = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"model\":\"sol\",\
    \"usage\":{\"input_tokens\":120,\"output_tokens\":30,\"total_tokens\":150}}}\n\n";

/// The vendor.
pub struct Upstream {
    base_url: String,
    taken: mpsc::UnboundedReceiver<Taken>,
}

/// A call that arrived whole, on a connection that is the test's now. Dropped, the connection closes.
pub struct Taken {
    /// Its request line and headers.
    pub head: String,
    stream: TcpStream,
}

impl Upstream {
    /// Opens it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (give, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let give = give.clone();
                tokio::spawn(async move {
                    // One that closes without a call is none.
                    if let Some(call) = take(stream).await {
                        let _ = give.send(call);
                    }
                });
            }
        });
        Self { base_url, taken }
    }

    /// Where it is.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The next call.
    pub async fn next(&mut self) -> Taken {
        tokio::time::timeout(LIMIT, self.taken.recv()).await.expect("a call arrives").expect("an upstream")
    }

    /// Whether nobody called but those that were taken.
    pub fn is_left_alone(&mut self) -> bool {
        self.taken.try_recv().is_err()
    }
}

async fn take(mut stream: TcpStream) -> Option<Taken> {
    stream.set_nodelay(true).expect("an option");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(Taken { head, stream })
}

impl Taken {
    /// Says this, as it stands.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(text.as_ref()).await.expect("somebody reads");
        self
    }

    /// Says a chunk.
    pub async fn chunk(&mut self, text: &str) -> &mut Self {
        self.say(chunked(text)).await
    }

    /// Says this again and again, to so many bytes; answers how many were taken before the other end closed.
    pub async fn flood(&mut self, text: &[u8], most: usize) -> usize {
        let mut said = 0;
        while said < most && self.stream.write_all(text).await.is_ok() {
            said += text.len();
        }
        said
    }

    /// Waits until the other end has closed.
    pub async fn left(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let read = tokio::time::timeout(LIMIT, self.stream.read_to_end(&mut rest));
        let _ = read.await.expect("the other end closes");
        assert!(rest.is_empty(), "it said {} bytes more", rest.len());
    }

    /// Ends the connection as a crash does.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("an option");
    }
}

/// A piece of a chunked answer.
pub fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The end of a chunked answer.
pub const END: &str = "0\r\n\r\n";

/// As a part of `COFFERDAM_TEST_LIMITS`.
pub fn limits(limits: &[(&str, Duration)]) -> String {
    limits.iter().map(|(name, limit)| format!("{name}={}", limit.as_millis())).collect::<Vec<_>>().join(",")
}
