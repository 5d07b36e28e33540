//! The channel, as a daemon has it: in a runtime of its own, so that it can be killed.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use cofferdam::channels::telegram::Telegram as Channel;
use cofferdam::channels::{Channel as _, Intake, Piece, Receipt, SendError, State};
use cofferdam::model::action::Action;
use cofferdam::model::chat::ChatRef;
use cofferdam::model::reply::Outbound;
use cofferdam::trust::Trust;
use cofferdam_tests::eventually;
use cofferdam_tests::recorder::{self, buttons};
use cofferdam_tests::telegram::{SECRET, Telegram};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::desk::Desk;

/// A running channel. Whatever ends it, nothing that it logged has the token.
pub struct Bot {
    pub channel: Channel,
    stop: CancellationToken,
    running: Option<tokio::task::JoinHandle<()>>,
    runtime: Option<Runtime>,
}

/// The channel of this Telegram's bot; it does not run.
pub fn channel(telegram: &Telegram) -> Channel {
    channel_with(telegram, json!({"api_url": telegram.url()}))
}

pub fn channel_with(telegram: &Telegram, settings: Value) -> Channel {
    logs();
    Channel::new("tg", settings, telegram.token().into(), &Trust::MACHINE).expect("good settings")
}

impl Bot {
    pub fn start(telegram: &Telegram, desk: &Desk) -> Self {
        Self::start_with(telegram, desk, json!({"api_url": telegram.url()}))
    }

    pub fn start_with(telegram: &Telegram, desk: &Desk, settings: Value) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (channel, stop) = (channel_with(telegram, settings), CancellationToken::new());
        let (own, intake, stops) = (channel.clone(), Arc::new(desk.clone()) as Arc<dyn Intake>, stop.clone());
        let running = runtime.spawn(async move { own.run(intake, stops).await });
        Self { channel, stop, running: Some(running), runtime: Some(runtime) }
    }

    /// Ends it as a daemon that is told to end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) {
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(cofferdam_tests::LIMIT, running).await.expect("an end").expect("no panic");
    }

    /// Ends it where it stands.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits until it stands so.
    pub async fn stands(&self, what: &str, so: impl Fn(&State) -> bool) -> State {
        eventually(what, async || Some(self.channel.state()).filter(|state| so(state))).await
    }

    pub async fn connects(&self) {
        self.stands("connected", |state| *state == State::Connected).await;
    }

    /// Waits until it waits for something, and says so with these words.
    pub async fn waits(&self, words: &str) {
        self.stands(words, |state| matches!(state, State::Waiting { why, .. } if why.contains(words))).await;
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            nothing_has_the_token();
        }
    }
}

/// Everything that was logged in this process, at every level.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Logs {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| {
        let logs = Logs::default();
        let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        all.with_writer(logs.clone()).init();
        logs
    })
}

/// What was logged so far.
pub fn logged() -> String {
    String::from_utf8_lossy(&logs().0.lock().expect("a lock")).into_owned()
}

pub fn nothing_has_the_token() {
    let logged = logged();
    assert!(logged.contains("connected") || !logged.is_empty(), "the logs are looked at");
    let found = logged.lines().find(|line| line.contains(SECRET));
    assert!(found.is_none(), "the token is in the log: {found:?}");
}

/// A reply into a chat.
pub fn reply(chat: i64, text: &str) -> Outbound {
    recorder::reply(&ChatRef { channel: "tg".to_owned(), chat_id: chat.to_string(), thread_id: None }, text)
}

/// A reply that does something instead of showing its text.
pub fn doing(chat: i64, action: Action) -> Outbound {
    Outbound { buttons: buttons(&action), action: Some(action), ..reply(chat, "in words") }
}

/// Sends all pieces of a reply, the first onto a message; answers the receipts. No error has the token.
pub async fn send(channel: &Channel, reply: &Outbound, onto: Option<&str>) -> Result<Vec<Receipt>, SendError> {
    let mut receipts = Vec::new();
    for (place, piece) in channel.pieces(reply).iter().enumerate() {
        receipts.push(hand_at(channel, reply, (place, piece), onto.filter(|_| place == 0)).await?);
    }
    Ok(receipts)
}

/// Sends one piece, as the reply's first. No error has the token.
pub async fn hand(
    channel: &Channel,
    reply: &Outbound,
    piece: &Piece,
    onto: Option<&str>,
) -> Result<Receipt, SendError> {
    hand_at(channel, reply, (0, piece), onto).await
}

async fn hand_at(
    channel: &Channel,
    reply: &Outbound,
    piece: (usize, &Piece),
    onto: Option<&str>,
) -> Result<Receipt, SendError> {
    let sent = channel.send(reply, piece, onto).await;
    if let Err(error) = &sent {
        assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}");
    }
    sent
}
