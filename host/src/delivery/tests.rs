//! Delivery with a channel that does what it is told, on real stores.

use std::collections::VecDeque;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::channels::{Abilities, Channel, Pace, Piece, Rate, Receipt, SendError};
use crate::config::home::Home;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;
use crate::store::group::outbox::NextReply;
use crate::store::group::outbox_tests::Kept;
use crate::store::{GroupDb, now_ms};

mod any_answer;
mod faults;
mod still;

const FAULTY: &str = "faulty";
/// The faulty channel's patience. A test waits for it, so it is short; what goes well goes at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the channel does with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Takes,
    /// Shows it twice and says so once.
    TakesTwice,
    /// Never answers, and never has it.
    Hangs,
    /// Has it, and never answers.
    TakesAndHangs,
    /// Has it, and the connection breaks.
    TakesAndBreaks,
    /// The connection breaks before.
    Breaks,
    Later(Option<Duration>),
    PauseAll(Duration),
    Refuses,
    Panics,
    /// Before it is sent, where nothing of ours expects it.
    PanicsEarly,
    Absent,
}

/// A reply that the chat shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    chat: String,
    text: String,
    key: String,
}

struct Faulty {
    idempotent: bool,
    /// Has edits and buttons.
    edits: std::sync::atomic::AtomicBool,
    pace: Pace,
    /// By text; what is not there is taken.
    script: Mutex<HashMap<String, VecDeque<Answer>>>,
    shown: watch::Sender<Vec<Shown>>,
    /// Every call, by text.
    sent: watch::Sender<Vec<String>>,
}

impl Faulty {
    fn show(&self, reply: &Outbound) {
        let shown = Shown { chat: reply.chat.chat_id.clone(), text: reply.text.clone(), key: reply.key.clone() };
        self.shown.send_modify(|all| {
            if !self.idempotent || all.iter().all(|earlier| earlier.key != shown.key) {
                all.push(shown);
            }
        });
    }
}

#[async_trait]
impl Channel for Faulty {
    fn name(&self) -> &str {
        FAULTY
    }

    fn abilities(&self) -> Abilities {
        let edits = self.edits.load(std::sync::atomic::Ordering::Relaxed);
        Abilities { idempotent: self.idempotent, edit: edits, buttons: edits, ..Abilities::default() }
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn patience(&self, reply: &Outbound) -> Duration {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) =
            script.get_mut(&reply.text).filter(|answers| answers.front() == Some(&Answer::PanicsEarly))
        {
            answers.pop_front();
            drop(script);
            panic!("as told");
        }
        PATIENCE
    }

    async fn send(&self, reply: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        self.sent.send_modify(|sent| sent.push(reply.text.clone()));
        let answer = self.script.lock().unwrap().get_mut(&reply.text).and_then(VecDeque::pop_front);
        let why = "as told".to_owned();
        match answer.unwrap_or(Answer::Takes) {
            Answer::Takes => self.show(reply),
            Answer::TakesTwice => {
                self.show(reply);
                self.show(reply);
            }
            Answer::Hangs => std::future::pending().await,
            Answer::TakesAndHangs => {
                self.show(reply);
                std::future::pending().await
            }
            Answer::TakesAndBreaks => {
                self.show(reply);
                return Err(SendError::Doubt { why });
            }
            Answer::Breaks => return Err(SendError::Doubt { why }),
            Answer::Later(after) => return Err(SendError::later(why, after)),
            Answer::PauseAll(after) => {
                return Err(SendError::Later { why, after: Some(after), whole_channel: true });
            }
            Answer::Refuses => return Err(SendError::Refused { why }),
            Answer::Panics | Answer::PanicsEarly => panic!("as told"),
            Answer::Absent => return Err(SendError::Absent),
        }
        Ok(Receipt::NONE)
    }
}

/// A group with its chats on the faulty channel.
struct Fixture {
    _dir: tempfile::TempDir,
    stores: Stores,
    db: Arc<GroupDb>,
    channel: Arc<Faulty>,
    delivery: Delivery,
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: FAULTY.into(), chat_id: id.into(), thread_id: None }
}

impl Fixture {
    async fn new(idempotent: bool) -> Self {
        Self::at_pace(idempotent, Pace::UNLIMITED).await
    }

    async fn at_pace(idempotent: bool, pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let stores = Stores::open(Home::new(dir.path()).unwrap()).unwrap();
        stores.central().put_group(&"demo".parse().unwrap(), "{}".into(), String::new()).await.unwrap();
        let db = stores.group(&"demo".parse().unwrap()).await.unwrap();
        let channel = Arc::new(Faulty {
            idempotent,
            edits: Default::default(),
            pace,
            script: Mutex::default(),
            shown: watch::Sender::default(),
            sent: watch::Sender::default(),
        });
        let delivery = Self::delivery(&stores, &channel);
        Self { _dir: dir, stores, db, channel, delivery }
    }

    fn delivery(stores: &Stores, channel: &Arc<Faulty>) -> Delivery {
        let channels = Channels::default();
        channels.add(channel.clone());
        Delivery::new(stores.clone(), channels, Default::default(), true)
    }

    /// What the channel does with the replies of this text, in turn.
    fn script(&self, text: &str, answers: &[Answer]) {
        self.channel.script.lock().unwrap().insert(text.to_owned(), answers.iter().copied().collect());
    }

    /// Puts replies into the outbox and nudges.
    async fn say(&self, to: &str, texts: &[&str]) {
        for text in texts {
            self.db.put_reply(&chat(to), text).await;
        }
        self.nudge(to);
    }

    fn nudge(&self, to: &str) {
        self.delivery.nudge(self.due(to));
    }

    fn due(&self, to: &str) -> Due {
        Due { folder: self.db.folder().clone(), chat: chat(to) }
    }

    /// Waits until the chats show so many.
    async fn shown(&self, count: usize) -> Vec<Shown> {
        let mut shown = self.channel.shown.subscribe();
        shown.wait_for(|shown| shown.len() >= count).await.unwrap().clone()
    }

    /// Waits until the channel was called so often.
    async fn sent(&self, count: usize) -> Vec<String> {
        let mut sent = self.channel.sent.subscribe();
        sent.wait_for(|sent| sent.len() >= count).await.unwrap().clone()
    }

    /// Waits until the chat's rows are so.
    async fn until(&self, of: &str, so: impl Fn(&[Kept]) -> bool) -> Vec<Kept> {
        loop {
            let kept = self.db.kept(&chat(of)).await;
            if so(&kept) {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the chat's first reply failed so often, and then lets its pause pass.
    async fn pause_passes(&self, of: &str, tries: i64) {
        self.until(of, |kept| {
            kept.iter().any(|reply| reply.state == "pending" && reply.tries == tries && reply.next_try_at > 1)
        })
        .await;
        self.db.reply_time_passes().await;
        self.delivery.look_again();
    }

    async fn all_delivered(&self, of: &str) -> Vec<Kept> {
        self.until(of, |kept| kept.iter().all(|reply| reply.state == "delivered")).await
    }
}

fn texts(shown: &[Shown]) -> Vec<&str> {
    shown.iter().map(|shown| shown.text.as_str()).collect()
}
