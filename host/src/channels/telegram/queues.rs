//! What was read and is not taken yet: a queue for each chat, in order, so that a chat that nobody takes from holds up no
//! other.
//!
//! ```text
//!             ┌▶ chat a: 7 9  ─▶ take 7, then 9
//!  poll ── 7 8 9
//!             └▶ chat b: 8    ─▶ take 8 (not taken: pause, again)
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::seen::Seen;
use super::taking::{Taking, Task};
use crate::channels::Pauses;
use crate::model::chat::ChatRef;

/// The most updates that wait, and their most bytes, before nothing more is read; the last batch may go beyond. They are kept
/// with the cursor.
const MOST: usize = 1000;
const MOST_BYTES: usize = 1024 * 1024;

/// The queues. Clones are the same.
#[derive(Clone)]
pub(super) struct Queues {
    inner: Arc<Inner>,
}

struct Inner {
    taking: Taking,
    state: Mutex<State>,
    /// How many wait.
    waiting: watch::Sender<usize>,
    workers: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    chats: HashMap<ChatRef, VecDeque<Item>>,
    /// Supergroups whose group's queue has their move: what is said there comes behind it.
    behind: HashMap<String, ChatRef>,
    /// What waits, as it was read, in the order of reading.
    held: BTreeMap<u64, (Value, usize)>,
    bytes: usize,
    number: u64,
}

#[derive(Clone)]
struct Item {
    number: u64,
    task: Task,
}

impl Queues {
    pub(super) fn new(taking: Taking, stop: CancellationToken) -> Self {
        let inner = Inner {
            taking,
            state: Mutex::default(),
            waiting: watch::Sender::new(0),
            workers: TaskTracker::new(),
            stop,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Queues what an update of the channel with this name says; `raw` is the update itself.
    pub(super) fn push(&self, channel: &str, raw: Value, bytes: usize, seen: Seen) {
        let task = match Task::of(seen) {
            Ok(task) => task,
            Err(why) => return tracing::debug!(why, "an update is passed over"),
        };
        let mut state = self.inner.state();
        let chat = state.queue_of(task.chat(channel));
        if let Task::Move(moving) = &task {
            state.behind.insert(moving.to.to_string(), chat.clone());
        }
        state.number += 1;
        let item = Item { number: state.number, task };
        state.held.insert(item.number, (raw, bytes));
        state.bytes += bytes;
        self.inner.waiting.send_replace(state.held.len());
        let queue = state.chats.entry(chat.clone()).or_default();
        queue.push_back(item);
        // Who takes the first takes all that follow.
        if queue.len() == 1 {
            self.inner.workers.spawn(self.inner.clone().take_all(chat));
        }
    }

    /// Waits until nothing waits any more.
    pub(super) async fn empty(&self) {
        let mut waiting = self.inner.waiting.subscribe();
        let _ = waiting.wait_for(|waiting| *waiting == 0).await;
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        let state = self.inner.state();
        state.held.len() < MOST && state.bytes < MOST_BYTES
    }

    /// Waits until more may be read.
    pub(super) async fn room(&self) {
        let mut waiting = self.inner.waiting.subscribe();
        while !self.has_room() && waiting.changed().await.is_ok() {}
    }

    /// What waits, as it was read.
    pub(super) fn held(&self) -> Vec<Value> {
        self.inner.state().held.values().map(|(raw, _)| raw.clone()).collect()
    }

    /// Waits until nobody takes any more, after the stop.
    pub(super) async fn ended(&self) {
        self.inner.workers.close();
        self.inner.workers.wait().await;
    }
}

impl State {
    /// The queue that a chat's next one goes into.
    fn queue_of(&self, chat: ChatRef) -> ChatRef {
        self.behind.get(&chat.chat_id).cloned().unwrap_or(chat)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_all(self: Arc<Self>, chat: ChatRef) {
        while let Some(item) = self.first(&chat) {
            if !self.take(&chat, &item).await || !self.taken(&chat, item.number) {
                return;
            }
        }
    }

    fn first(&self, chat: &ChatRef) -> Option<Item> {
        self.state().chats.get(chat)?.front().cloned()
    }

    /// Forgets what was taken. Answers whether more waits; a chat that has none is forgotten, and the next one that comes has a
    /// worker of its own.
    fn taken(&self, chat: &ChatRef, number: u64) -> bool {
        let mut state = self.state();
        let more = state.chats.get_mut(chat).is_some_and(|queue| {
            queue.pop_front();
            !queue.is_empty()
        });
        if !more {
            state.chats.remove(chat);
            state.behind.retain(|_, before| before != chat);
        }
        if let Some((_, bytes)) = state.held.remove(&number) {
            state.bytes -= bytes;
        }
        self.waiting.send_replace(state.held.len());
        more
    }

    /// Hands one in until it is taken. Answers whether it was: not when we end.
    async fn take(&self, chat: &ChatRef, item: &Item) -> bool {
        let mut pauses = Pauses::default();
        let mut said = false;
        while !self.stop.is_cancelled() {
            let Err(why) = self.taking.done(item.task.clone()).await else { return true };
            if !said {
                tracing::warn!(%chat, message = item.task.name(), %why, "not taken; tried again by itself");
                said = true;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pauses.next(None)) => {}
            }
        }
        false
    }
}
