//! A chat platform, as the cloud has them: it keeps what people wrote until it is acknowledged, takes replies, fails as
//! platforms fail, and notes everything that it took.
//!
//! The daemon's side is [`cofferdam::channels::platform`], which has the words on the wire.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam::channels::platform::{FromPlatform, Sending, ToPlatform, Update, WINDOW};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::LIMIT;

/// What goes wrong with one send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is taken, and never answered.
    TakenUnanswered,
    /// It is not taken, and never answered.
    Unanswered,
    /// It is taken and answered twice.
    AnsweredTwice,
    /// It is taken, and the connection breaks before the answer.
    TakenCut,
    /// The connection breaks before it is taken.
    Cut,
    /// It is not taken: too fast, again after so many ms.
    Later(u64),
    /// It is not taken, and never will be.
    Refused,
}

/// Decides what goes wrong with a send, if anything does.
pub type Weather = Box<dyn FnMut(&Sending) -> Option<Fault> + Send>;

/// A reply that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// When.
    pub at: Instant,
    /// Its chat.
    pub chat: String,
    /// Whether it is the agent's, rather than Cofferdam's own.
    pub agent: bool,
    /// Its text.
    pub text: String,
    /// The sender's name for it.
    pub key: String,
    /// The sender's number for it.
    pub reply: i64,
}

/// The platform. Dropping it closes its socket.
pub struct Platform {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// How many replies were taken.
    taken: watch::Sender<usize>,
    /// There is something to push.
    push: Notify,
    /// The connection is to be cut.
    cut: Notify,
    /// Which chats know a repeated send by its key.
    knows_keys: fn(&str) -> bool,
}

#[derive(Default)]
struct State {
    /// Not acknowledged, oldest first.
    waiting: VecDeque<Update>,
    posted: u64,
    /// The newest update pushed over the present connection.
    pushed: u64,
    taken: Vec<Taken>,
    keys: HashSet<String>,
    /// Sends that were known by their key.
    repeats: usize,
    faults: VecDeque<Fault>,
    weather: Option<Weather>,
    /// Whether the daemon is connected.
    connected: bool,
}

impl Platform {
    /// Opens the platform at `socket`; the chats that `knows_keys` names take a repeated send once.
    pub fn start(socket: &Path, knows_keys: fn(&str) -> bool) -> Self {
        let listener = UnixListener::bind(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            taken: watch::Sender::new(0),
            push: Notify::new(),
            cut: Notify::new(),
            knows_keys,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { socket: socket.to_owned(), shared, accepting }
    }

    /// Its socket, for `COFFERDAM_TEST_PLATFORM`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Somebody writes to a chat. Answers the message's id.
    pub fn post(&self, chat: &str, text: &str) -> String {
        let message = format!("m{}", self.shared.state().posted + 1);
        self.tell(chat, &message, text);
        message
    }

    /// Tells of a message of this id; of one that was told before, it tells again.
    pub fn tell(&self, chat: &str, message: &str, text: &str) {
        let mut state = self.shared.state();
        state.posted += 1;
        let update = state.posted;
        let (chat, message, text) = (chat.to_owned(), message.to_owned(), text.to_owned());
        state.waiting.push_back(Update { update, chat, message, text });
        drop(state);
        self.shared.push.notify_one();
    }

    /// Messages that nobody acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// The next sends go wrong like this, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state().faults.extend(faults);
    }

    /// From now on `weather` decides what goes wrong.
    pub fn set_weather(&self, weather: Option<Weather>) {
        self.shared.state().weather = weather;
    }

    /// Breaks the connection, if there is one. What was not acknowledged is sent again over the next.
    pub fn cut(&self) {
        if self.shared.state().connected {
            self.shared.cut.notify_one();
        }
    }

    /// Everything taken so far, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.state().taken.clone()
    }

    /// What was taken after the first `from`, in order.
    pub fn taken_since(&self, from: usize) -> Vec<Taken> {
        self.shared.state().taken.get(from..).unwrap_or_default().to_vec()
    }

    /// Sends that were known by their key, and not taken again.
    pub fn repeats(&self) -> usize {
        self.shared.state().repeats
    }

    /// How many replies were taken, and whenever that changes.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.shared.taken.subscribe()
    }

    /// Waits until so many replies were taken; answers all of them.
    pub async fn until_taken(&self, many: usize) -> Vec<Taken> {
        let mut taken = self.watch();
        let waited = tokio::time::timeout(LIMIT, taken.wait_for(|taken| *taken >= many)).await;
        assert!(waited.is_ok(), "the platform has {:#?}, and {many} are expected", self.taken());
        self.taken()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next update to push, within the window.
    fn next_update(&self) -> Option<Update> {
        let mut state = self.state();
        let pushed = state.pushed;
        let update = state.waiting.iter().take(WINDOW).find(|update| update.update > pushed)?.clone();
        state.pushed = update.update;
        Some(update)
    }

    /// Takes a send, or not. Answers what is said of it, and whether the connection is cut then.
    fn receive(&self, sending: Sending) -> (Vec<FromPlatform>, bool) {
        let mut state = self.state();
        let weather = |state: &mut State| state.weather.as_mut().and_then(|weather| weather(&sending));
        let fault = state.faults.pop_front().or_else(|| weather(&mut state));
        let call = sending.call;
        let taken = FromPlatform::Taken { call };
        let answer = match fault {
            None => (vec![taken], false),
            Some(Fault::AnsweredTwice) => (vec![taken.clone(), taken], false),
            Some(Fault::TakenUnanswered) => (Vec::new(), false),
            Some(Fault::TakenCut) => (Vec::new(), true),
            Some(Fault::Unanswered) => return (Vec::new(), false),
            Some(Fault::Cut) => return (Vec::new(), true),
            Some(Fault::Later(after_ms)) => return (vec![FromPlatform::Later { call, after_ms }], false),
            Some(Fault::Refused) => {
                return (vec![FromPlatform::Refused { call, why: "the chat is gone".to_owned() }], false);
            }
        };
        state.take(sending, self.knows_keys);
        let many = state.taken.len();
        drop(state);
        self.taken.send_replace(many);
        answer
    }
}

impl State {
    fn take(&mut self, sending: Sending, knows_keys: fn(&str) -> bool) {
        let Sending { chat, agent, text, key, reply, .. } = sending;
        if knows_keys(&chat) && !self.keys.insert(key.clone()) {
            self.repeats += 1;
            return;
        }
        self.taken.push(Taken { at: Instant::now(), chat, agent, text, key, reply });
    }
}

/// One connection at a time: a new one ends the one before, as when a daemon was killed.
async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let mut serving: Option<JoinHandle<()>> = None;
    while let Ok((stream, _)) = listener.accept().await {
        if let Some(before) = serving.take() {
            before.abort();
            let _ = before.await;
        }
        {
            let mut state = shared.state();
            state.pushed = 0;
            state.connected = true;
        }
        shared.push.notify_one();
        serving = Some(tokio::spawn(serve(stream, shared.clone())));
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    loop {
        let (answers, cut) = tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => on_line(&shared, &line),
                _ => break,
            },
            () = shared.push.notified() => (Vec::new(), false),
            () = shared.cut.notified() => (Vec::new(), true),
        };
        for answer in answers {
            if !say(&mut writing, &answer).await {
                return;
            }
        }
        if cut {
            break;
        }
        while let Some(update) = shared.next_update() {
            if !say(&mut writing, &FromPlatform::Update(update)).await {
                return;
            }
        }
    }
    shared.state().connected = false;
}

fn on_line(shared: &Shared, line: &str) -> (Vec<FromPlatform>, bool) {
    match serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) {
        ToPlatform::Ack(update) => {
            shared.state().waiting.retain(|waiting| waiting.update != update);
            (Vec::new(), false)
        }
        ToPlatform::Send(sending) => shared.receive(sending),
    }
}

/// Answers whether somebody is there to hear it.
async fn say(writing: &mut OwnedWriteHalf, what: &FromPlatform) -> bool {
    /// A daemon that was stopped, not killed, reads nothing; what it was told comes again.
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut text = serde_json::to_string(what).expect("JSON");
    text.push('\n');
    matches!(tokio::time::timeout(PATIENCE, writing.write_all(text.as_bytes())).await, Ok(Ok(())))
}
