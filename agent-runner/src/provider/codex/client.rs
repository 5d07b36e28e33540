//! A client of one app-server over its two pipes.
//!
//! One task reads and one writes, and neither ever waits for the rest of the runner: queues are unbounded, so a
//! slow turn cannot block the server, and server requests are answered even between turns.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, oneshot};

use super::jsonrpc::{self, Incoming, METHOD_NOT_FOUND, Notification, Pending, RpcError};
use super::tools::ToolRequest;
use super::{method, protocol};

/// The longest line: four times the largest that was seen (16 MB). A longer one is a broken server.
const MAX_LINE: u64 = 64 * 1024 * 1024;
/// A buffer that has grown beyond this is given back after the line.
const KEEP: usize = 64 * 1024;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server said no.
    #[error("codex refused {0}")]
    Refused(&'static str, #[source] RpcError),
    /// No answer in time.
    #[error("codex did not answer {0} within {1:?}")]
    Timeout(&'static str, Duration),
    /// The server is gone.
    #[error("codex ended before it answered {0}")]
    Closed(&'static str),
    /// A question or an answer that is not what the protocol says.
    #[error("the exchange of {0} with codex is malformed")]
    Malformed(&'static str, #[source] serde_json::Error),
}

type Answer = Result<Box<RawValue>, RpcError>;

#[derive(Default)]
struct State {
    pending: Pending<oneshot::Sender<Answer>>,
    subscriber: Option<mpsc::UnboundedSender<Notification>>,
    outgoing: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// The latest token count that came while nobody listened, such as right after a resume.
    missed_tokens: Option<Notification>,
    /// Who does what the model asks of the client's tools; nobody between turns.
    tools: Option<mpsc::UnboundedSender<ToolRequest>>,
    /// Who hears of MCP servers: they start while no turn runs.
    mcp: Option<mpsc::UnboundedSender<Notification>>,
}

/// The client. Clones speak to the same server.
#[derive(Clone, Default)]
pub struct Client(Arc<Mutex<State>>);

impl Client {
    /// Speaks over these pipes until the reader ends.
    pub fn new(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let client = Self::default();
        let (outgoing, lines) = mpsc::unbounded_channel();
        client.state().outgoing = Some(outgoing);
        tokio::spawn(write(writer, lines));
        let reading = client.clone();
        tokio::spawn(async move {
            if let Err(error) = reading.read(reader).await {
                tracing::warn!(%error, "codex's output cannot be read");
            }
            reading.close();
        });
        client
    }

    /// Asks, and waits for the answer up to `limit`.
    pub async fn request<A: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &impl Serialize,
        limit: Duration,
    ) -> Result<A, RequestError> {
        let (waiter, answer) = oneshot::channel();
        let id = self.state().pending.register(waiter);
        let line = jsonrpc::request(id, method, params).map_err(|error| RequestError::Malformed(method, error))?;
        if !self.send(line) {
            return Err(RequestError::Closed(method));
        }
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|_| RequestError::Closed(method))?,
            Err(_) => {
                self.state().pending.complete(id);
                return Err(RequestError::Timeout(method, limit));
            }
        };
        let result = answer.map_err(|error| RequestError::Refused(method, error))?;
        serde_json::from_str(result.get()).map_err(|error| RequestError::Malformed(method, error))
    }

    /// Tells.
    pub fn notify(&self, method: &'static str) -> Result<(), RequestError> {
        let line = jsonrpc::notification(method).map_err(|error| RequestError::Malformed(method, error))?;
        if self.send(line) { Ok(()) } else { Err(RequestError::Closed(method)) }
    }

    /// All notifications from now on, after the latest token count that nobody heard; they end when the server
    /// does. Replaces an earlier subscriber.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Notification> {
        let (subscriber, notifications) = mpsc::unbounded_channel();
        let mut state = self.state();
        if state.outgoing.is_some() {
            if let Some(missed) = state.missed_tokens.take() {
                let _ = subscriber.send(missed);
            }
            state.subscriber = Some(subscriber);
        }
        notifications
    }

    /// Calls of the client's tools from now on. Replaces an earlier receiver.
    pub fn serve_tools(&self) -> mpsc::UnboundedReceiver<ToolRequest> {
        let (tools, calls) = mpsc::unbounded_channel();
        self.state().tools = Some(tools);
        calls
    }

    /// What is told of MCP servers from now on, turn or not.
    pub fn subscribe_mcp(&self) -> mpsc::UnboundedReceiver<Notification> {
        let (mcp, notifications) = mpsc::unbounded_channel();
        self.state().mcp = Some(mcp);
        notifications
    }

    /// Whether neither side has ended the conversation.
    pub fn is_open(&self) -> bool {
        self.state().outgoing.is_some()
    }

    /// Ends the server's input, which ends the server, and everything that waits here.
    pub fn close(&self) {
        let mut state = self.state();
        state.outgoing = None;
        state.subscriber = None;
        state.tools = None;
        state.mcp = None;
        state.pending.clear();
    }

    fn send(&self, line: Vec<u8>) -> bool {
        self.state().outgoing.as_ref().is_some_and(|outgoing| outgoing.send(line).is_ok())
    }

    async fn read(&self, reader: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            line.shrink_to(KEEP);
            if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            if line.len() as u64 == MAX_LINE {
                return Err(io::Error::other("a line of more than 64 MB"));
            }
            match jsonrpc::read(&line) {
                Ok(incoming) => self.take(incoming),
                Err(error) => tracing::warn!(%error, bytes = line.len(), "a line from codex is skipped"),
            }
        }
    }

    fn take(&self, incoming: Incoming) {
        match incoming {
            Incoming::Response { id, result } => match self.state().pending.complete(id) {
                // Who asked may have stopped waiting.
                Some(waiter) => drop(waiter.send(result)),
                None => tracing::debug!(id, "an answer that nobody waits for"),
            },
            Incoming::Notification(notification) => self.tell(notification),
            Incoming::Request { id, method, params } => self.asked(id, &method, params.as_deref()),
        }
    }

    fn tell(&self, notification: Notification) {
        let mut state = self.state();
        if notification.method == method::MCP_STARTUP
            && let Some(mcp) = &state.mcp
        {
            drop(mcp.send(notification));
            return;
        }
        let unheard = match &state.subscriber {
            Some(subscriber) => subscriber.send(notification).err().map(|unsent| unsent.0),
            None => Some(notification),
        };
        if let Some(notification) = unheard {
            state.subscriber = None;
            if notification.method == method::TOKEN_USAGE {
                state.missed_tokens = Some(notification);
            }
        }
    }

    fn asked(&self, id: Box<RawValue>, method: &str, params: Option<&RawValue>) {
        let responder = Responder { client: self.clone(), id };
        let responder = match params {
            Some(params) if method == method::TOOL_CALL => match self.hand_on(responder, params) {
                Some(unserved) => unserved,
                None => return,
            },
            _ => responder,
        };
        let params = params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null);
        match protocol::answer(method, &params) {
            Some(answer) => responder.answer(&answer),
            None => {
                tracing::warn!(method, "codex asks something unknown");
                responder.refuse(RpcError { code: METHOD_NOT_FOUND, message: format!("unknown method {method}") });
            }
        }
    }

    /// Gives a tool's call to who serves them; comes back when nobody does, or it is malformed.
    fn hand_on(&self, responder: Responder, params: &RawValue) -> Option<Responder> {
        let params = match serde_json::from_str(params.get()) {
            Ok(params) => params,
            Err(error) => {
                tracing::warn!(%error, "a tool's call is malformed");
                return Some(responder);
            }
        };
        let tools = self.state().tools.clone();
        let Some(tools) = tools else { return Some(responder) };
        tools.send(ToolRequest { params, responder }).err().map(|unsent| unsent.0.responder)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request of the server.
pub struct Responder {
    client: Client,
    id: Box<RawValue>,
}

impl Responder {
    /// Sends the answer; one that comes too late is dropped by the server.
    pub fn answer(self, result: &Value) {
        self.send(Ok(result));
    }

    fn refuse(self, error: RpcError) {
        self.send(Err(error));
    }

    fn send(self, result: Result<&Value, RpcError>) {
        match jsonrpc::response(&self.id, result) {
            Ok(line) => drop(self.client.send(line)),
            Err(error) => tracing::error!(%error, id = self.id.get(), "an answer cannot be written"),
        }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Responder").field(&self.id.get()).finish()
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if let Err(error) = writer.write_all(&line).await {
            // The reader sees the end, and tells everyone who waits.
            tracing::debug!(%error, "codex does not take input any more");
            return;
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, Lines};

    use super::*;

    struct Server {
        lines: Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
        writer: tokio::io::WriteHalf<DuplexStream>,
    }

    fn pair() -> (Client, Server) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (reader, writer) = tokio::io::split(ours);
        let client = Client::new(reader, writer);
        let (reader, writer) = tokio::io::split(theirs);
        (client, Server { lines: BufReader::new(reader).lines(), writer })
    }

    impl Server {
        async fn say(&mut self, line: &str) {
            self.writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }

        async fn hear(&mut self) -> Value {
            serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
        }
    }

    #[tokio::test]
    async fn an_unknown_server_request_gets_an_error_and_approvals_are_given() {
        let (_client, mut server) = pair();
        server.say(r#"{"id":"a","method":"some/newThing","params":{"x":1}}"#).await;
        let answer = server.hear().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&"a".into(), &METHOD_NOT_FOUND.into()));
        server.say(r#"{"id":2,"method":"item/commandExecution/requestApproval","params":{}}"#).await;
        assert_eq!(server.hear().await, serde_json::json!({"id": 2, "result": {"decision": "accept"}}));
    }

    #[tokio::test]
    async fn a_tools_call_is_answered_by_who_serves_them_and_else_at_once() {
        let (client, mut server) = pair();
        let call =
            r#"{"id":0,"method":"item/tool/call","params":{"turnId":"t","callId":"c","tool":"x","arguments":{}}}"#;
        server.say(call).await;
        assert_eq!(server.hear().await["result"]["success"], false);
        let mut calls = client.serve_tools();
        server.say(call).await;
        let request = calls.recv().await.unwrap();
        assert_eq!((request.params.tool.as_str(), request.params.call_id.as_str()), ("x", "c"));
        request.responder.answer(&serde_json::json!({"late": true}));
        assert_eq!(server.hear().await["result"]["late"], true);
        drop(calls);
        server.say(call).await;
        assert_eq!(server.hear().await["result"]["success"], false, "the turn is over");
    }

    #[tokio::test]
    async fn bad_lines_and_a_large_one_do_not_stop_the_reader() {
        let (client, mut server) = pair();
        let mut notifications = client.subscribe();
        let large = format!(r#"{{"method":"large","params":{{"t":"{}"}}}}"#, "x".repeat(20_000_000));
        for line in ["", "[]", "{\"id\":", "\u{fffd}", &large] {
            server.say(line).await;
        }
        let large = notifications.recv().await.unwrap();
        assert_eq!(large.method, "large");
        assert!(large.params.get().len() > 20_000_000);
    }

    #[tokio::test]
    async fn a_request_without_an_answer_ends_in_a_timeout() {
        let (client, _server) = pair();
        let answer: Result<Value, _> = client.request("turn/start", &(), Duration::from_millis(5)).await;
        assert!(matches!(answer, Err(RequestError::Timeout("turn/start", _))));
    }

    #[tokio::test]
    async fn the_servers_end_ends_everyone_who_waits() {
        let (client, mut server) = pair();
        let mut notifications = client.subscribe();
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.request::<Value>("x", &(), Duration::from_secs(600)).await }
        });
        server.hear().await;
        drop(server);
        assert!(matches!(asking.await.unwrap(), Err(RequestError::Closed("x"))));
        assert!(notifications.recv().await.is_none());
        assert!(client.subscribe().recv().await.is_none());
        assert!(client.notify("y").is_err());
    }

    #[tokio::test]
    async fn closing_ends_the_servers_input() {
        let (reader, _kept) = tokio::io::duplex(64);
        let (writer, mut input) = tokio::io::duplex(64);
        let client = Client::new(reader, writer);
        client.notify("initialized").unwrap();
        client.close();
        let mut text = String::new();
        input.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "{\"method\":\"initialized\"}\n");
    }
}
