//! The host's side of the runner protocol, kept in memory: hello once, the same turn until it is finished,
//! events once each.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_protocol::ids::{Attempt, MessageId, Seq, TurnId};
use cofferdam_protocol::runner::*;
use http_body_util::Full;
use hyper::Response;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::http::{Call, json, reply, serve};
use super::orders::Orders;

const TOKEN: &str = "Bearer token-of-the-test";
/// Far longer than anything here takes, so that only a real hang meets it.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often what cannot be awaited is looked at; it takes nobody's time meanwhile.
pub const AGAIN: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    hellos: u32,
    stop: bool,
    turns: i64,
    waiting: VecDeque<Batch>,
    options: TurnOptions,
    last_seq: i64,
    events: Vec<Event>,
    /// Refuse every call but hello with this status.
    refuse: Option<u16>,
    /// Swallow so many answers to `events` after keeping them, as a daemon that dies in between.
    lose_acks: u32,
    /// Hand this turn out again although it was finished.
    again: Option<Batch>,
    /// What was said before, for a thread in the place of a lost one.
    digest: Option<String>,
    digests: u32,
    nexts: u32,
    handed: Vec<TurnId>,
}

pub struct Door {
    pub directory: tempfile::TempDir,
    welcome: Welcome,
    state: Mutex<State>,
    changed: Notify,
    serving: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// Where `/v1/…` calls are counted, for the forwarder.
    pub gateway: Mutex<Vec<String>>,
    /// What the host says while a turn runs.
    pub orders: Orders,
}

pub fn settings(provider: ProviderKind, cwd: &Path) -> Settings {
    Settings {
        provider,
        model: None,
        instructions: "You are in a test.".into(),
        cwd: cwd.to_str().unwrap().into(),
        silence_secs: 60,
        compaction: CompactionSettings { threshold_tokens: 0, timeout_secs: 60 },
        tools: Vec::new(),
        mcp_servers: Vec::new(),
    }
}

fn batch(turn: TurnId, messages: Vec<BatchMessage>) -> Batch {
    Batch {
        turn,
        work: Work::Answer,
        generation: 0,
        retried: false,
        apart: false,
        context: String::new(),
        options: TurnOptions::default(),
        messages,
    }
}

/// A message of somebody.
pub fn message(id: i64, text: &str) -> BatchMessage {
    BatchMessage {
        id: MessageId(id),
        sender: "ann".into(),
        time: "2026-11-21 14:03 Europe/Berlin".into(),
        files: Vec::new(),
        text: text.into(),
    }
}

impl Door {
    pub fn open(settings: Settings, continuation: Option<&str>) -> Arc<Self> {
        Self::open_on(settings, Thread { continuation: continuation.map(str::to_owned), ..Thread::default() })
    }

    /// As for a session whose conversation stands there.
    pub fn open_on(settings: Settings, thread: Thread) -> Arc<Self> {
        let welcome = Welcome {
            token: TOKEN.strip_prefix("Bearer ").unwrap().into(),
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            thread,
            settings,
        };
        let door = Arc::new(Self {
            directory: tempfile::tempdir().unwrap(),
            welcome,
            state: Mutex::default(),
            changed: Notify::new(),
            serving: Mutex::default(),
            gateway: Mutex::default(),
            orders: Orders::default(),
        });
        door.bind();
        door
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("door.sock")
    }

    /// Begins to listen, as a daemon that starts.
    pub fn bind(self: &Arc<Self>) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let door = self.clone();
        let answer = Arc::new(move |call: Call| {
            let door = door.clone();
            async move { door.answer(call).await }
        });
        *self.serving.lock().unwrap() = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answer.clone()));
            }
        }));
    }

    /// Cuts every connection and removes the socket, as a daemon that dies.
    pub async fn unbind(&self) {
        let serving = self.serving.lock().unwrap().take().unwrap();
        serving.abort();
        let _ = serving.await;
        std::fs::remove_file(self.socket()).unwrap();
    }

    /// Puts a message; the answer is its turn.
    /// How later turns are run.
    pub fn with_options(&self, options: TurnOptions) {
        self.change(|state| state.options = options);
    }

    pub fn say(&self, text: &str) -> TurnId {
        self.say_all(&[text])
    }

    /// Puts several messages for one turn.
    pub fn say_all(&self, texts: &[&str]) -> TurnId {
        self.put(texts, |_| {})
    }

    /// Puts a batch of these messages after `shape` has changed it.
    pub fn put(&self, texts: &[&str], shape: impl FnOnce(&mut Batch)) -> TurnId {
        let mut state = self.state.lock().unwrap();
        state.turns += 1;
        let turn = TurnId(state.turns);
        let message = |(at, text): (usize, &&str)| BatchMessage {
            id: MessageId(turn.0 * 10 + at as i64),
            sender: format!("sender{at}"),
            time: "2026-01-02T03:04:05Z".into(),
            files: Vec::new(),
            text: (*text).into(),
        };
        let options = state.options.clone();
        let messages = texts.iter().enumerate().map(message).collect();
        let mut batch = Batch { options, ..batch(turn, messages) };
        shape(&mut batch);
        state.waiting.push_back(batch);
        drop(state);
        self.changed.notify_waiters();
        turn
    }

    /// What a digest call is told.
    pub fn keep_digest(&self, digest: &str) {
        self.change(|state| state.digest = Some(digest.to_owned()));
    }

    /// How often the digest was asked for.
    pub fn digests(&self) -> u32 {
        self.state.lock().unwrap().digests
    }

    /// The compactions that were reported.
    pub fn compactions(&self) -> Vec<Compaction> {
        compactions(&self.events())
    }

    /// Waits until `count` compactions were reported; the answer is the last.
    pub async fn compacted(&self, count: usize) -> Compaction {
        self.wait("compaction", |events| compactions(events).get(count - 1).cloned()).await
    }

    /// Puts one message for a turn whose batch the test makes its own.
    pub fn say_as(&self, text: &str, own: impl FnOnce(&mut Batch)) -> TurnId {
        let mut state = self.state.lock().unwrap();
        state.turns += 1;
        let turn = TurnId(state.turns);
        let options = state.options.clone();
        let mut batch = Batch { options, ..batch(turn, vec![message(turn.0 * 10, text)]) };
        own(&mut batch);
        state.waiting.push_back(batch);
        drop(state);
        self.changed.notify_waiters();
        turn
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
    }

    pub fn stop(&self) {
        self.change(|state| state.stop = true);
    }

    pub fn refuse(&self, status: u16) {
        self.change(|state| state.refuse = Some(status));
    }

    pub fn lose_acks(&self, count: u32) {
        self.change(|state| state.lose_acks = count);
    }

    pub fn hand_out_again(&self, turn: TurnId) {
        let message = BatchMessage {
            id: MessageId(1),
            sender: "a".into(),
            time: "t".into(),
            text: "again".into(),
            files: Vec::new(),
        };
        self.change(|state| state.again = Some(batch(turn, vec![message])));
    }

    pub fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    pub fn hellos(&self) -> u32 {
        self.state.lock().unwrap().hellos
    }

    /// Waits until `found` finds something in the events.
    pub async fn wait<T>(&self, what: &str, found: impl Fn(&[Event]) -> Option<T>) -> T {
        self.wait_state(what, |state| found(&state.events)).await
    }

    /// Waits until the runner has asked for a batch `count` times.
    pub async fn asked(&self, count: u32) {
        self.wait_state("next", |state| (state.nexts >= count).then_some(())).await;
    }

    /// Waits until the turn was handed out.
    pub async fn handed(&self, turn: TurnId) {
        self.wait_state("hand-out", |state| state.handed.contains(&turn).then_some(())).await;
    }

    async fn wait_state<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = found(&self.state.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(LIMIT, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("no {what} within {LIMIT:?}; events: {:#?}", self.events()),
        }
    }

    pub async fn finish(&self, turn: TurnId) -> Finish {
        self.wait("finish", |events| finishes(events, turn).pop()).await
    }

    pub async fn ready(&self) -> String {
        self.wait("ready", |events| {
            events.iter().find_map(|event| match &event.body {
                EventBody::Ready { continuation, .. } => Some(continuation.clone()),
                _ => None,
            })
        })
        .await
    }

    /// All activities of a turn.
    pub fn activities(&self, turn: TurnId) -> Vec<(ActivityKind, String)> {
        let of_turn = |event: Event| match event.body {
            EventBody::Activity { kind, text } if event.turn == Some(turn) => Some((kind, text)),
            _ => None,
        };
        self.events().into_iter().filter_map(of_turn).collect()
    }

    /// Waits until a turn showed something of this kind; the answer is its text.
    pub async fn shown(&self, turn: TurnId, wanted: ActivityKind) -> String {
        self.wait("activity", |events| {
            events.iter().find_map(|event| match &event.body {
                EventBody::Activity { kind, text } if event.turn == Some(turn) && *kind == wanted => {
                    Some(text.clone())
                }
                _ => None,
            })
        })
        .await
    }

    /// Waits until a turn has shown this much of its answer.
    pub async fn said(&self, turn: TurnId, text: &str) {
        self.wait("piece of the answer", |events| pieces(events, turn).contains(text).then_some(())).await;
    }

    /// The messages that a turn said it has been steered with, in order.
    pub fn steered(&self, turn: TurnId) -> Vec<MessageId> {
        steered(&self.events(), turn)
    }

    /// Waits until they are these.
    pub async fn steered_with(&self, turn: TurnId, ids: &[MessageId]) {
        self.wait("steered messages", |events| (steered(events, turn) == ids).then_some(())).await;
    }

    /// All pieces of a turn's answers, joined.
    pub fn deltas(&self, turn: TurnId) -> String {
        pieces(&self.events(), turn)
    }

    async fn answer(&self, call: Call) -> Response<Full<Bytes>> {
        if call.path == HELLO {
            return self.hello(&serde_json::from_slice(&call.body).unwrap());
        }
        if call.path.starts_with("/v1/") {
            self.gateway.lock().unwrap().push(call.path.clone());
            return reply(200, "text/plain", format!("gateway saw {} bytes", call.body.len()));
        }
        if call.authorization.as_deref() != Some(TOKEN) {
            return refusal(401, "no token");
        }
        if let Some(status) = self.state.lock().unwrap().refuse {
            return refusal(status, "refused by the test");
        }
        match call.path.as_str() {
            NEXT => self.next(&serde_json::from_slice(&call.body).unwrap()).await,
            EVENTS => self.keep(serde_json::from_slice(&call.body).unwrap()),
            DIGEST => {
                self.change(|state| state.digests += 1);
                json(200, &Digest { text: self.state.lock().unwrap().digest.clone() })
            }
            CONTROL => self.orders.control(serde_json::from_slice(&call.body).unwrap()).await,
            TOOL => self.orders.tool(serde_json::from_slice(&call.body).unwrap()).await,
            _ => refusal(404, "no such call"),
        }
    }

    fn hello(&self, hello: &Hello) -> Response<Full<Bytes>> {
        assert_eq!(hello.protocol, cofferdam_protocol::RUNNER_PROTOCOL);
        let mut state = self.state.lock().unwrap();
        state.hellos += 1;
        if state.hellos > 1 { refusal(409, "a second hello") } else { json(200, &self.welcome) }
    }

    async fn next(&self, request: &NextRequest) -> Response<Full<Bytes>> {
        assert_eq!(request.attempt, Attempt(1));
        self.change(|state| state.nexts += 1);
        let next = self
            .wait_state("work", |state| {
                if let Some(status) = state.refuse {
                    return Some(Err(status));
                }
                if let Some(batch) = &state.again {
                    return Some(Ok(Next::Batch(Box::new(batch.clone()))));
                }
                let unfinished = |batch: &&Batch| finishes(&state.events, batch.turn).is_empty();
                match state.waiting.iter().find(unfinished) {
                    Some(batch) => Some(Ok(Next::Batch(Box::new(batch.clone())))),
                    None => state.stop.then_some(Ok(Next::Stop)),
                }
            })
            .await;
        self.change(|state| {
            state.again = None;
            if let Ok(Next::Batch(batch)) = &next {
                state.handed.push(batch.turn);
            }
        });
        next.map_or_else(|status| refusal(status, "refused by the test"), |next| json(200, &next))
    }

    fn keep(&self, batch: EventBatch) -> Response<Full<Bytes>> {
        assert_eq!(batch.attempt, Attempt(1));
        let mut state = self.state.lock().unwrap();
        for event in batch.events {
            if event.seq.0 > state.last_seq {
                assert_eq!(event.seq.0, state.last_seq + 1, "a gap in the events");
                state.last_seq = event.seq.0;
                state.events.push(event);
            }
        }
        let acked = Seq(state.last_seq);
        let lost = state.lose_acks > 0;
        state.lose_acks = state.lose_acks.saturating_sub(1);
        drop(state);
        self.changed.notify_waiters();
        if lost { refusal(503, "lost by the test") } else { json(200, &EventAck { acked }) }
    }
}

fn steered(events: &[Event], turn: TurnId) -> Vec<MessageId> {
    let of_turn = |event: &Event| match &event.body {
        EventBody::Steered { messages } if event.turn == Some(turn) => messages.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(of_turn).collect()
}

fn pieces(events: &[Event], turn: TurnId) -> String {
    let of_turn = |event: &Event| match &event.body {
        EventBody::Delta { text } if event.turn == Some(turn) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(of_turn).collect()
}

/// The ends of a turn among the events.
pub fn finishes(events: &[Event], turn: TurnId) -> Vec<Finish> {
    let of_turn = |event: &Event| match &event.body {
        EventBody::Finish(finish) if event.turn == Some(turn) => Some(Finish::clone(finish)),
        _ => None,
    };
    events.iter().filter_map(of_turn).collect()
}

/// The compactions among the events.
pub fn compactions(events: &[Event]) -> Vec<Compaction> {
    let of = |event: &Event| match &event.body {
        EventBody::Compacted(compaction) => Some(compaction.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

pub fn refusal(status: u16, error: &str) -> Response<Full<Bytes>> {
    json(status, &Refusal { error: error.into() })
}
