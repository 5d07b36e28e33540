//! A chat platform that tests play, with every fault that real ones have. **For tests only**: it is compiled in with the
//! feature `test-hooks`, and added when `COFFERDAM_TEST_PLATFORM` names its socket.
//!
//! ```text
//!            ── update ──▶              kept by the platform, and sent again, until it is acknowledged
//!  platform  ◀── ack ───    daemon      after ①, never before
//!            ◀── send ──                with a key by which a repeated one can be known
//!            ── taken, later, refused ─▶
//! ```
//!
//! One connection, a line of JSON each way; the daemon connects, and connects again. Updates come in order and are taken
//! in order. A send whose connection breaks, or that is not answered in time, is in doubt. The chats `FOLDER` and
//! `FOLDER.N` are the group FOLDER's, each with a session of its own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Abilities, Arrival, Channel, Content, Intake, Piece, Receipt, SendError, Sender, Written};
use crate::model::chat::{ChatKind, ChatRef};
use crate::model::reply::{Outbound, ReplyKind};

/// The channel's name.
pub const NAME: &str = "platform";

/// Updates that the platform sends ahead of their acknowledgement, at most.
pub const WINDOW: usize = 32;

/// How long the platform may take to answer a send.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The pause before the first try to connect again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What the daemon writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToPlatform {
    /// This update is taken for good.
    Ack(u64),
    /// A reply for a chat.
    Send(Sending),
}

/// A reply for a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Names the send in its answer.
    pub call: u64,
    /// The platform's id of the chat.
    pub chat: String,
    /// Whether it is the agent's, rather than Cofferdam's own.
    pub agent: bool,
    /// The text.
    pub text: String,
    /// The same for each try of the same reply, and for no other reply.
    pub key: String,
    /// Its place in the group's outbox, for the tests' books.
    pub reply: i64,
}

/// What the platform writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromPlatform {
    /// Somebody wrote.
    Update(Update),
    /// It has the reply.
    Taken {
        /// Which send.
        call: u64,
    },
    /// It does not take replies so fast.
    Later {
        /// Which send.
        call: u64,
        /// When it may be tried again, ms from now.
        after_ms: u64,
    },
    /// It will never take the reply.
    Refused {
        /// Which send.
        call: u64,
        /// Why.
        why: String,
    },
}

/// A message that somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its place among all updates.
    pub update: u64,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the message.
    pub message: String,
    /// The text.
    pub text: String,
}

/// The test platform's channel. Clones are handles to the same.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    socket: PathBuf,
    line: Mutex<Option<Line>>,
    absent: Mutex<HashSet<ChatRef>>,
    no_intake: CancellationToken,
}

/// The connection, while there is one.
struct Line {
    out: mpsc::UnboundedSender<ToPlatform>,
    calls: HashMap<u64, oneshot::Sender<FromPlatform>>,
    next: u64,
}

impl Platform {
    /// The channel of the platform at this socket; not connected yet.
    pub fn new(socket: &Path) -> Self {
        let inner = Inner {
            socket: socket.to_owned(),
            line: Mutex::default(),
            absent: Mutex::default(),
            no_intake: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }
}

#[async_trait]
impl Channel for Platform {
    fn name(&self) -> &str {
        NAME
    }

    /// Connects, and connects again, for as long as the process lives: replies go out also when nothing is taken in.
    async fn run(&self, intake: Arc<dyn Intake>, stop: CancellationToken) {
        tokio::spawn(self.inner.clone().run(intake));
        stop.cancelled().await;
        self.inner.no_intake.cancel();
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn patience(&self, _: &Outbound) -> Duration {
        // Its own is over by then.
        PATIENCE * 2
    }

    async fn send(&self, reply: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        let Some(answer) = self.inner.call(reply) else { return Err(SendError::Absent) };
        match timeout(PATIENCE, answer).await {
            Ok(Ok(FromPlatform::Later { after_ms, .. })) => {
                Err(SendError::later("the platform wants fewer replies", Some(Duration::from_millis(after_ms))))
            }
            Ok(Ok(FromPlatform::Refused { why, .. })) => Err(SendError::Refused { why }),
            Ok(Ok(_)) => Ok(Receipt::NONE),
            Ok(Err(_)) => Err(SendError::Doubt { why: "the connection broke before the answer".to_owned() }),
            Err(_) => Err(SendError::Doubt { why: format!("no answer within {} s", PATIENCE.as_secs()) }),
        }
    }
}

impl Inner {
    /// Puts a send on the line; none without a line.
    fn call(&self, reply: &Outbound) -> Option<oneshot::Receiver<FromPlatform>> {
        let mut line = lock(&self.line);
        let Some(line) = line.as_mut() else {
            lock(&self.absent).insert(reply.chat.clone());
            return None;
        };
        let (answer, answered) = oneshot::channel();
        let call = line.next;
        line.next += 1;
        line.calls.insert(call, answer);
        let sending = Sending {
            call,
            chat: reply.chat.chat_id.clone(),
            agent: reply.kind == ReplyKind::Reply,
            text: reply.text.clone(),
            key: reply.key.clone(),
            reply: reply.id.0,
        };
        // A line that broke this moment answers by dropping the call.
        let _ = line.out.send(ToPlatform::Send(sending));
        Some(answered)
    }

    async fn run(self: Arc<Self>, intake: Arc<dyn Intake>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    pause = FIRST_PAUSE;
                    let error = self.serve(stream, &intake).await;
                    lock(&self.line).take();
                    tracing::info!(%error, "the platform's connection ended");
                }
                Err(error) => tracing::debug!(%error, "the platform is not there"),
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Serves one connection until it breaks.
    async fn serve(&self, stream: UnixStream, intake: &Arc<dyn Intake>) -> io::Error {
        let (reading, writing) = stream.into_split();
        let (out, lines) = mpsc::unbounded_channel();
        let (updates, queue) = mpsc::channel(WINDOW);
        *lock(&self.line) = Some(Line { out: out.clone(), calls: HashMap::new(), next: 1 });
        let waiting: Vec<ChatRef> = lock(&self.absent).drain().collect();
        for chat in waiting {
            intake.present(chat).await;
        }
        // An update that is being taken when the connection breaks is not acknowledged: it comes again.
        tokio::select! {
            error = self.read(reading, updates) => error,
            error = write(writing, lines) => error,
            () = self.take_in(intake.as_ref(), queue, out) => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    async fn read(&self, reading: OwnedReadHalf, updates: mpsc::Sender<Update>) -> io::Error {
        let mut lines = BufReader::new(reading).lines();
        loop {
            let line = match lines.next_line().await {
                Ok(Some(line)) => line,
                Ok(None) => return io::ErrorKind::UnexpectedEof.into(),
                Err(error) => return error,
            };
            match serde_json::from_str(&line) {
                // The platform keeps to the window, so this never waits long.
                Ok(FromPlatform::Update(update)) => {
                    if updates.send(update).await.is_err() {
                        return io::ErrorKind::UnexpectedEof.into();
                    }
                }
                Ok(answer) => self.answered(answer),
                Err(error) => return io::Error::new(io::ErrorKind::InvalidData, error),
            }
        }
    }

    /// Ends a send. An answer that comes a second time ends nothing.
    fn answered(&self, answer: FromPlatform) {
        let (FromPlatform::Taken { call } | FromPlatform::Later { call, .. } | FromPlatform::Refused { call, .. }) =
            answer
        else {
            return;
        };
        if let Some(waiting) = lock(&self.line).as_mut().and_then(|line| line.calls.remove(&call)) {
            let _ = waiting.send(answer);
        }
    }

    /// Takes updates one after the other, each until it is durable: the order of a chat is kept.
    async fn take_in(
        &self,
        intake: &dyn Intake,
        mut queue: mpsc::Receiver<Update>,
        out: mpsc::UnboundedSender<ToPlatform>,
    ) {
        while let Some(update) = queue.recv().await {
            let mut pause = FIRST_PAUSE;
            loop {
                if self.no_intake.is_cancelled() {
                    // Replies still go out over the line.
                    return std::future::pending().await;
                }
                let Err(why) = intake.take(arrival(&update)).await else { break };
                tracing::warn!(update = update.update, %why, "not taken; the platform keeps it");
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            let _ = out.send(ToPlatform::Ack(update.update));
        }
    }
}

fn arrival(update: &Update) -> Arrival {
    Arrival {
        chat: ChatRef { channel: NAME.to_owned(), chat_id: update.chat.clone(), thread_id: None },
        kind: ChatKind::Group,
        title: None,
        platform_id: update.message.clone(),
        // Each message is somebody else's: no flood of a test is one person's.
        sender: Sender { id: format!("tester-{}", update.update), name: "tester".to_owned() },
        content: Content::Message(Written { text: update.text.clone(), ..Written::default() }),
    }
}

async fn write(mut writing: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<ToPlatform>) -> io::Error {
    while let Some(line) = lines.recv().await {
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        if let Err(error) = writing.write_all(text.as_bytes()).await {
            return error;
        }
    }
    io::ErrorKind::UnexpectedEof.into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
