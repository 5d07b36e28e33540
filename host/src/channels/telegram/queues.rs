//! What was read and is not taken yet: a queue for each chat, in order, so that a chat that nobody takes from holds up no
//! other.
//!
//! ```text
//!             ┌▶ chat a: 7 9  ─▶ take 7, then 9
//!  poll ── 7 8 9
//!             └▶ chat b: 8    ─▶ take 8 (not taken: the chat is held; pause, again)
//! ```
//!
//! Chats that are not held have bounds together, at which nothing more is read; one that is held has its own, and what comes
//! beyond is dropped.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::taking::{Taking, Task};
use crate::channels::stuck::Flow;
use crate::channels::worker::works;
use crate::channels::{NotTaken, Pauses};
use crate::model::chat::ChatRef;

/// The most updates that wait in chats that are not held, and their most bytes, before nothing more is read; the last batch may
/// go beyond. What waits is kept with the cursor.
const FLOWING: usize = 1000;
const FLOWING_BYTES: usize = 1024 * 1024;
/// The most that wait in a chat that is held, and their most bytes; what comes beyond is dropped when it is stuck for long.
const HELD: usize = 500;
const HELD_BYTES: usize = 512 * 1024;
/// The most in all held chats, as all of it is written with the cursor; a chat that comes to them then keeps what it has.
const ALL_HELD: Load = Load { updates: 5000, bytes: 8 * 1024 * 1024 };
/// What a held chat keeps of its own, whatever the others have. So all may come to more; at twice as much nothing more is read.
const SHARE: Load = Load { updates: 16, bytes: 64 * 1024 };

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
    chats: HashMap<ChatRef, Queue>,
    /// Supergroups whose group's queue has their move: what is said there comes behind it.
    behind: HashMap<String, ChatRef>,
    /// What waits, as it was read, in the order of reading.
    waiting: BTreeMap<u64, Value>,
    flowing: Load,
    held: Load,
    number: u64,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    load: Load,
    flow: Flow,
}

/// Where an update goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Into its chat's queue.
    There,
    /// Nowhere yet.
    None,
    /// Nowhere: its chat has too many, and it was counted as a drop.
    Dropped,
}

/// Whether a chat is held and has too many.
enum Over {
    No,
    /// It may be taken soon.
    Now,
    /// For long; whether what comes now is the first of it.
    Long {
        first: bool,
    },
}

/// How many updates, and their bytes.
#[derive(Default, Clone, Copy)]
struct Load {
    updates: usize,
    bytes: usize,
}

#[derive(Clone)]
struct Item {
    number: u64,
    bytes: usize,
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

    /// Whether there is room for something in its chat; what is too much for it is dropped. After an error it is to be asked again.
    pub(super) async fn room_for(&self, channel: &str, task: &Task) -> Result<Room, NotTaken> {
        let Task::Take(arrival, _) = task else { return Ok(Room::There) };
        let (chat, over) = {
            let state = self.inner.state();
            let chat = state.queue_of(task.chat(channel));
            let over = state.over(&chat);
            (chat, over)
        };
        let first = match over {
            Over::No => return Ok(Room::There),
            Over::Now => return Ok(Room::None),
            Over::Long { first } => first,
        };
        let over = self.inner.taking.intake.overflow(arrival.as_ref().clone(), first).await;
        self.inner.state().dropped(&chat, over.is_ok());
        over.map(|()| Room::Dropped)
    }

    /// Queues what an update of the channel with this name says; `raw` is the update itself.
    pub(super) fn push(&self, channel: &str, raw: Value, bytes: usize, task: Task) {
        let mut state = self.inner.state();
        let chat = state.queue_of(task.chat(channel));
        if let Task::Move(moving) = &task {
            state.behind.insert(moving.to.to_string(), chat.clone());
        }
        state.number += 1;
        let item = Item { number: state.number, bytes, task };
        state.waiting.insert(item.number, raw);
        self.inner.waiting.send_replace(state.waiting.len());
        // Who takes the first takes all that follow.
        if state.push(&chat, item) {
            let inner = self.inner.clone();
            self.inner.workers.spawn(async move {
                works(&chat.to_string(), || inner.take_all(&chat), &inner.stop).await;
            });
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
        state.flowing.updates < FLOWING && state.flowing.bytes < FLOWING_BYTES && !state.held.reaches(ALL_HELD, 2)
    }

    /// Waits until more may be read.
    pub(super) async fn room(&self) {
        let mut waiting = self.inner.waiting.subscribe();
        while !self.has_room() && waiting.changed().await.is_ok() {}
    }

    /// What waits, as it was read.
    pub(super) fn held(&self) -> Vec<Value> {
        self.inner.state().waiting.values().cloned().collect()
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

    fn over(&self, chat: &ChatRef) -> Over {
        let Some(queue) = self.chats.get(chat).filter(|queue| queue.flow.is_stuck()) else { return Over::No };
        // What others have is held against it only while it is held too, and has its share.
        let of_all = queue.flow.is_held() && self.held.reaches(ALL_HELD, 1) && queue.load.reaches(SHARE, 1);
        let is_full = queue.load.updates >= HELD || queue.load.bytes >= HELD_BYTES || of_all;
        match (is_full, queue.flow.drops()) {
            (true, Some(first)) => Over::Long { first },
            (true, None) if queue.flow.is_held() => Over::Now,
            _ => Over::No,
        }
    }

    /// Answers whether its chat had none waiting.
    fn push(&mut self, chat: &ChatRef, item: Item) -> bool {
        let queue = self.chats.entry(chat.clone()).or_default();
        queue.load.add(Load::of(&item));
        if queue.flow.is_held() { &mut self.held } else { &mut self.flowing }.add(Load::of(&item));
        queue.items.push_back(item);
        queue.items.len() == 1
    }

    /// Takes the first of a chat out; the chat flows again. Answers whether more waits; a chat that has none is forgotten.
    fn pop(&mut self, chat: &ChatRef) -> bool {
        let Some(queue) = self.chats.get_mut(chat) else { return false };
        if queue.flow.taken() {
            self.held.take(queue.load);
            self.flowing.add(queue.load);
        }
        if let Some(item) = queue.items.pop_front() {
            queue.load.take(Load::of(&item));
            self.flowing.take(Load::of(&item));
            self.waiting.remove(&item.number);
        }
        let more = !queue.items.is_empty();
        if !more {
            self.chats.remove(chat);
            self.behind.retain(|_, before| before != chat);
        }
        more
    }

    /// Notes that a chat's first was not taken; answers whether that is new.
    fn hold(&mut self, chat: &ChatRef) -> bool {
        let Some(queue) = self.chats.get_mut(chat) else { return false };
        let refused = queue.flow.refused();
        if refused.holds {
            self.flowing.take(queue.load);
            self.held.add(queue.load);
        }
        refused.is_new
    }

    /// Notes whether what was too much for a chat was dropped: then it knows that more is.
    fn dropped(&mut self, chat: &ChatRef, dropped: bool) {
        let Some(queue) = self.chats.get_mut(chat) else { return };
        queue.flow.dropped(dropped);
    }
}

impl Load {
    fn of(item: &Item) -> Self {
        Self { updates: 1, bytes: item.bytes }
    }

    /// Whether either comes to so many times a bound.
    fn reaches(self, bound: Self, times: usize) -> bool {
        self.updates >= times * bound.updates || self.bytes >= times * bound.bytes
    }

    fn add(&mut self, more: Self) {
        self.updates += more.updates;
        self.bytes += more.bytes;
    }

    fn take(&mut self, less: Self) {
        self.updates -= less.updates;
        self.bytes -= less.bytes;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_all(&self, chat: &ChatRef) {
        while let Some(item) = self.first(chat) {
            if !self.take(chat, &item).await || !self.taken(chat) {
                return;
            }
        }
    }

    fn first(&self, chat: &ChatRef) -> Option<Item> {
        self.state().chats.get(chat)?.items.front().cloned()
    }

    /// Forgets what was taken. Answers whether more waits; the next that comes for a chat without any has a worker of its own.
    fn taken(&self, chat: &ChatRef) -> bool {
        let mut state = self.state();
        let more = state.pop(chat);
        self.waiting.send_replace(state.waiting.len());
        more
    }

    /// Hands one in until it is taken. Answers whether it was: not when we end.
    async fn take(&self, chat: &ChatRef, item: &Item) -> bool {
        let mut pauses = Pauses::default();
        while !self.stop.is_cancelled() {
            let Err(why) = self.taking.done(item.task.clone()).await else { return true };
            if self.state().hold(chat) {
                tracing::warn!(%chat, message = item.task.name(), %why, "not taken; tried again by itself");
                // There may be room now.
                self.waiting.send_modify(|_| ());
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pauses.next(None)) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
