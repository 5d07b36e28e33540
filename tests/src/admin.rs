//! A client of the daemon's admin socket that answers with the protocol's own types.

use std::path::Path;

use cofferdam_protocol::admin::{
    ChatEvent, ChatOutcome, ChatRequest, ErrorBody, ErrorKind, Finished, Group, Session, StagedFile, Status,
};
use cofferdam_protocol::ids::{MessageId, SessionId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::{Client, Method, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::LIMIT;

/// Speaks to one daemon.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) client: Client,
}

impl Admin {
    /// A client of the socket at `path`.
    pub fn new(path: &Path) -> Self {
        Self { client: Client::builder().unix_socket(path).no_proxy().build().expect("a client") }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response, ErrorBody> {
        let request = self.client.request(method, format!("http://cofferdam{path}"));
        checked(request.timeout(LIMIT).send().await.expect("the daemon answers")).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.send(Method::GET, path).await.unwrap_or_else(|error| panic!("GET {path}: {error:?}"));
        answer.json().await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The process that answers, if one does.
    pub async fn pid(&self) -> Option<u32> {
        let answer = self.client.get("http://cofferdam/v1/status").timeout(LIMIT).send().await.ok()?;
        Some(answer.json::<Status>().await.ok()?.pid)
    }

    /// The daemon as a whole.
    pub async fn status(&self) -> Status {
        self.get("/v1/status").await
    }

    /// A registered group.
    pub async fn group(&self, folder: &str) -> Group {
        self.get(&format!("/v1/groups/{folder}")).await
    }

    /// Registers a folder.
    pub async fn put_group(&self, folder: &str) -> Result<Group, ErrorBody> {
        let answer = self.send(Method::PUT, &format!("/v1/groups/{folder}")).await?;
        Ok(answer.json().await.expect("a group"))
    }

    /// Forgets a group.
    pub async fn delete_group(&self, folder: &str) -> Result<(), ErrorBody> {
        self.send(Method::DELETE, &format!("/v1/groups/{folder}")).await.map(drop)
    }

    /// All sessions, or those of one group.
    pub async fn sessions(&self, group: Option<&str>) -> Vec<Session> {
        let query = group.map(|group| format!("?group={group}")).unwrap_or_default();
        self.get(&format!("/v1/sessions{query}")).await
    }

    /// A session.
    pub async fn session(&self, id: &SessionId) -> Session {
        self.get(&format!("/v1/sessions/{id}")).await
    }

    /// Stops a session's container; answers when it is gone.
    pub async fn stop(&self, id: &SessionId) {
        self.send(Method::POST, &format!("/v1/sessions/{id}/stop")).await.expect("stopped");
    }

    /// An attempt's log; the newest one's without a number.
    pub async fn logs(&self, id: &SessionId, attempt: Option<i64>) -> Result<String, ErrorBody> {
        let query = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
        let answer = self.send(Method::GET, &format!("/v1/sessions/{id}/logs{query}")).await?;
        Ok(answer.text().await.expect("a log"))
    }

    /// Hands in a file for a message of the group.
    pub async fn upload(&self, group: &str, name: &str, content: Vec<u8>) -> Result<StagedFile, ErrorBody> {
        let mut url = reqwest::Url::parse("http://cofferdam/v1/files").expect("a URL");
        url.query_pairs_mut().append_pair("group", group).append_pair("name", name);
        let request = self.client.post(url);
        let answer =
            checked(request.body(content).timeout(LIMIT).send().await.expect("the daemon answers")).await?;
        Ok(answer.json().await.expect("a staged file"))
    }

    async fn post(&self, request: &ChatRequest) -> reqwest::Result<Response> {
        let url = format!("http://cofferdam/v1/chat?group={}", request.group);
        self.client.post(url).json(request).send().await
    }

    /// Sends a message and answers with its stream.
    pub async fn request(&self, request: &ChatRequest) -> Result<Chat, ErrorBody> {
        let answer = checked(self.post(request).await.expect("the daemon answers")).await?;
        let mut chat = Chat::of(answer);
        chat.until("accepted", |event| matches!(event, ChatEvent::Accepted { .. })).await;
        Ok(chat)
    }

    /// Sends a message to a daemon that may die over it. None when it was not accepted before that.
    pub async fn offer(&self, request: &ChatRequest) -> Option<Chat> {
        let sent = self.post(request).await.ok()?;
        let answer = match checked(sent).await {
            Ok(answer) => answer,
            // It is told to end, or has too much to do.
            Err(error) if error.kind == ErrorKind::Daemon => return None,
            Err(error) => panic!("refused: {error:?}"),
        };
        let mut chat = Chat::of(answer);
        chat.next().await.map(|_| chat)
    }

    /// Sends a message to a group's main chat.
    pub async fn send_text(&self, group: &str, text: &str) -> Chat {
        self.request(&message(group, text)).await.unwrap_or_else(|error| panic!("{group}: {error:?}"))
    }

    /// Sends a message and waits for its end.
    pub async fn chat(&self, group: &str, text: &str) -> Answer {
        self.send_text(group, text).await.end().await
    }
}

pub(crate) async fn checked(answer: Response) -> Result<Response, ErrorBody> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    Err(serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} without an error body: {text}")))
}

/// A fresh message to a group's main chat.
pub fn message(group: &str, text: &str) -> ChatRequest {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ChatRequest {
        group: group.parse().expect("a folder"),
        thread: None,
        message_id: format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        sender: "tester".to_owned(),
        text: text.to_owned(),
        schema: None,
        files: Vec::new(),
    }
}

/// The stream of one message.
pub struct Chat {
    body: BoxStream<'static, Option<Vec<u8>>>,
    buffer: Vec<u8>,
    /// What came so far.
    pub events: Vec<ChatEvent>,
}

impl Chat {
    fn of(answer: Response) -> Self {
        let body = answer.bytes_stream().map(|piece| piece.ok().map(|b| b.to_vec())).boxed();
        Self { body, buffer: Vec::new(), events: Vec::new() }
    }

    /// The next event; none when the stream ended.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: ChatEvent = serde_json::from_slice(&line).expect("an event");
                self.events.push(event.clone());
                return Some(event);
            }
            let piece = tokio::time::timeout(LIMIT, self.body.next()).await;
            match piece.unwrap_or_else(|_| panic!("nothing more came after {:#?}", self.events)) {
                Some(Some(piece)) => self.buffer.extend(piece),
                Some(None) | None => return None,
            }
        }
    }

    /// Reads up to the first event that is wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&ChatEvent) -> bool) -> ChatEvent {
        loop {
            match self.next().await {
                Some(event) if wanted(&event) => return event,
                Some(_) => {}
                None => panic!("the stream ended before {what}: {:#?}", self.events),
            }
        }
    }

    /// Reads until a turn over the message began; answers its container.
    pub async fn started(&mut self) -> String {
        match self.until("the turn's start", |event| matches!(event, ChatEvent::Started { .. })).await {
            ChatEvent::Started { container: Some(container), .. } => container,
            other => panic!("a turn without a container: {other:?}"),
        }
    }

    /// The message's session.
    pub fn session(&self) -> SessionId {
        self.accepted().1
    }

    /// The message's row, session, and whether it was a repeat.
    pub fn accepted(&self) -> (MessageId, SessionId, bool) {
        match self.events.first() {
            Some(ChatEvent::Accepted { message, session, duplicate }) => (*message, session.clone(), *duplicate),
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Reads to the end.
    pub async fn end(mut self) -> Answer {
        let last = self.until("the end", |event| matches!(event, ChatEvent::Finished(_))).await;
        let ChatEvent::Finished(finished) = last else { unreachable!("just matched") };
        assert!(self.next().await.is_none(), "something came after the end: {:?}", self.events.last());
        Answer { finished, events: self.events }
    }

    /// Reads whatever comes until the connection ends, as when the daemon dies.
    pub async fn drain(mut self) -> Vec<ChatEvent> {
        while self.next().await.is_some() {}
        self.events
    }
}

/// A message's end and the way to it.
#[derive(Debug)]
pub struct Answer {
    /// The last event.
    pub finished: Finished,
    /// All events.
    pub events: Vec<ChatEvent>,
}

impl Answer {
    /// The replies' texts.
    pub fn replies(&self) -> Vec<&str> {
        let texts = self.events.iter().filter_map(|event| match event {
            ChatEvent::Reply { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The notices' texts.
    pub fn notices(&self) -> Vec<&str> {
        let texts = self.events.iter().filter_map(|event| match event {
            ChatEvent::Notice { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// All replies as one text; the turn must have ended in a reply.
    pub fn text(&self) -> String {
        assert_eq!(self.finished.outcome, ChatOutcome::Replied, "{:#?}", self.events);
        self.replies().join("\n")
    }

    /// The container's id, as people see it.
    pub fn container(&self) -> &str {
        self.finished.container.as_deref().unwrap_or_else(|| panic!("no container: {:?}", self.finished))
    }
}

/// All the text of a model call's input, in order.
pub fn input_text(call: &Value) -> String {
    fn walk(value: &Value, into: &mut String) {
        match value {
            Value::String(text) => {
                into.push_str(text);
                into.push('\n');
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, into)),
            Value::Object(values) => values.values().for_each(|value| walk(value, into)),
            _ => {}
        }
    }
    let mut text = String::new();
    walk(&call["input"], &mut text);
    text
}
