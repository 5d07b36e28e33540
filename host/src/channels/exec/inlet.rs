//! What a program hands in, on its way to the intake: a queue for each chat, so that a chat whose messages are not taken
//! holds up no other.
//!
//! ```text
//!            put (waits for room)      one worker per chat with messages
//!  program ────────────────────▶ chat ─────────────────────────────────▶ intake.take ──▶ taken, cursor
//!                                 ▲ held: it was refused, and is handed in again after a pause; too many for long: dropped
//! ```
//!
//! What waits outlives its program: a platform without a history says nothing twice. While the program waits for room, nothing of
//! it is read, also no answer; so there is much room, and a file that a worker waits for has its time all the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::Wire;
use super::marks::Marks;
use super::orders::ToProgram;
use super::words::{REASON, Words};
use crate::channels::stuck::Flow;
use crate::channels::{Arrival, Content, Intake, Taken};
use crate::model::chat::ChatRef;

/// The most that wait in chats that are not held, and their most bytes; then the program waits.
const FLOWING: usize = 1000;
const FLOWING_BYTES: usize = 16 * 1024 * 1024;
/// The most that wait in a chat that is held, and their most bytes; what comes beyond is dropped when it is stuck for long.
const HELD: usize = 500;
const HELD_BYTES: usize = 2 * 1024 * 1024;
/// The most bytes that wait in all held chats. Twice as many are everybody's trouble, and the program waits.
const ALL_HELD_BYTES: usize = 32 * 1024 * 1024;
/// What each counts beside its texts, in bytes.
const OVERHEAD: usize = 1024;
/// The pauses before a refused arrival is handed in again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long the end waits for what came before it.
const LAST: Duration = Duration::from_secs(2);

/// An arrival, and whom to tell that it was taken.
pub(super) struct Waiting {
    pub(super) arrival: Arrival,
    pub(super) place: u64,
    pub(super) marks: Arc<Marks>,
    pub(super) wire: Arc<Wire>,
}

/// The way in. It is shared by one program after the other.
pub(super) struct Inlet {
    intake: Arc<dyn Intake>,
    words: Arc<Words>,
    queues: Mutex<Queues>,
    room: Notify,
    keeping: tokio::sync::Mutex<()>,
    workers: TaskTracker,
    /// Nothing more is taken in.
    ending: CancellationToken,
    /// Nothing at all is handed to the intake.
    over: CancellationToken,
}

#[derive(Default)]
struct Queues {
    chats: HashMap<String, Queue>,
    flowing: usize,
    flowing_bytes: usize,
    held_bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    flow: Flow,
}

/// Where an arrival goes.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// Into its chat's queue.
    There,
    /// It is there already.
    Taken,
    /// Nowhere yet.
    None,
    /// Nowhere: its chat is held for long, and has too many. Whether that is the first.
    Over(bool),
}

impl Inlet {
    pub(super) fn new(intake: Arc<dyn Intake>, words: Arc<Words>) -> Arc<Self> {
        Arc::new(Self {
            intake,
            words,
            queues: Mutex::default(),
            room: Notify::new(),
            keeping: tokio::sync::Mutex::default(),
            workers: TaskTracker::new(),
            ending: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    /// Where programs left off.
    pub(super) async fn cursor(&self) -> Result<Option<String>, String> {
        self.intake.cursor().await.map_err(|error| error.to_string())
    }

    /// Tells that these chats can be reached.
    pub(super) fn present(self: &Arc<Self>, chats: Vec<ChatRef>) {
        let intake = self.intake.clone();
        self.workers.spawn(async move {
            for chat in chats {
                intake.present(chat).await;
            }
        });
    }

    /// Counts what cannot be an arrival.
    pub(super) async fn refused(&self, chat: &str) {
        self.intake.refused(chat, "bad-line").await;
    }

    /// Puts an arrival into its chat's queue, when there is room. After the end it is left out, and so never acknowledged.
    pub(super) async fn put(self: &Arc<Self>, waiting: Waiting) {
        let wire = waiting.wire.clone();
        while !self.ending.is_cancelled() {
            let room = self.room.notified();
            let found = {
                let mut queues = self.queues();
                if queues.waits(&waiting) { Room::Taken } else { queues.room_for(&waiting) }
            };
            match found {
                Room::Taken => break,
                Room::There => {
                    self.push(waiting);
                    break;
                }
                Room::Over(first) => {
                    if self.drop_it(&waiting, first).await {
                        break;
                    }
                }
                Room::None => {}
            }
            wire.hold_up(true);
            tokio::select! {
                () = room => {}
                () = sleep(FIRST_PAUSE) => {}
                () = self.ending.cancelled() => {}
            }
        }
        wire.hold_up(false);
    }

    fn push(self: &Arc<Self>, waiting: Waiting) {
        let chat = waiting.arrival.chat.chat_id.clone();
        if self.queues().push(waiting) {
            self.workers.spawn(self.clone().work(chat));
        }
    }

    /// Has an arrival dropped and counted. Answers whether it was.
    async fn drop_it(&self, waiting: &Waiting, first: bool) -> bool {
        let arrival = &waiting.arrival;
        if let Err(why) = self.intake.overflow(arrival.clone(), first).await {
            tracing::warn!(chat = %arrival.chat, %why, "too many messages of this chat wait, and it cannot be dropped");
            self.queues().dropped(&arrival.chat.chat_id, false);
            return false;
        }
        self.queues().dropped(&arrival.chat.chat_id, true);
        self.taken(waiting, Taken::Known).await;
        true
    }

    /// Hands in what waits in a chat, until nothing does.
    async fn work(self: Arc<Self>, chat: String) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(arrival) = self.queues().first(&chat) else { return };
            let taken = tokio::select! {
                biased;
                () = self.over.cancelled() => return,
                taken = self.intake.take(arrival) => taken,
            };
            match taken {
                Ok(taken) => {
                    pause = FIRST_PAUSE;
                    let waiting = self.queues().pop(&chat);
                    self.room.notify_one();
                    if let Some(waiting) = waiting {
                        self.taken(&waiting, taken).await;
                    }
                }
                Err(why) => {
                    let why = self.words.line(&why.to_string(), REASON);
                    let first = self.queues().hold(&chat);
                    if first {
                        tracing::warn!(chat, why, "messages of this chat are not taken now; they wait");
                    }
                    self.room.notify_one();
                    tokio::select! {
                        () = self.ending.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Tells the program, and keeps how far it has read.
    async fn taken(&self, waiting: &Waiting, taken: Taken) {
        let Arrival { chat, platform_id, content, .. } = &waiting.arrival;
        let answer = match (&taken, content) {
            (Taken::Done(answer), Content::Press(_)) => Some(answer.as_str()),
            _ => None,
        };
        let line = ToProgram::Taken { id: platform_id, chat: &chat.chat_id, text: answer }.line();
        waiting.wire.taken(line);
        // One after the other: what is kept never goes back.
        let _alone = self.keeping.lock().await;
        if let Some(cursor) = waiting.marks.taken(waiting.place)
            && let Err(why) = self.intake.keep_cursor(cursor).await
        {
            tracing::warn!(%chat, %why, "how far the channel has read was not kept; the next message tries again");
        }
    }

    /// Takes nothing in any more. What came before has a moment to be taken; what is left then comes again, if its
    /// platform has a history.
    pub(super) async fn end(&self) {
        self.ending.cancel();
        self.workers.close();
        if timeout(LAST, self.workers.wait()).await.is_err() {
            tracing::info!("messages of a channel are not taken yet; their platform is to hand them in again");
        }
        self.over.cancel();
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn room_for(&self, waiting: &Waiting) -> Room {
        let queue = self.chats.get(&waiting.arrival.chat.chat_id);
        let Some(queue) = queue.filter(|queue| queue.flow.is_stuck()) else { return self.room_to_flow() };
        let is_full = queue.waiting.len() >= HELD || queue.bytes >= HELD_BYTES || self.held_bytes >= ALL_HELD_BYTES;
        match (is_full, queue.flow.drops(), queue.flow.is_held()) {
            (true, Some(first), _) => Room::Over(first),
            (true, None, true) => Room::None,
            (false, _, true) => Room::There,
            (_, _, false) => self.room_to_flow(),
        }
    }

    fn room_to_flow(&self) -> Room {
        let has_room = self.flowing < FLOWING && self.flowing_bytes < FLOWING_BYTES;
        if has_room && self.held_bytes < 2 * ALL_HELD_BYTES { Room::There } else { Room::None }
    }

    /// Whether an arrival waits already, handed in by a program of before: its present one is told then when it is taken.
    fn waits(&mut self, new: &Waiting) -> bool {
        let Some(queue) = self.chats.get_mut(&new.arrival.chat.chat_id) else { return false };
        let is_it = |old: &&mut Waiting| {
            !Arc::ptr_eq(&old.marks, &new.marks)
                && old.arrival.platform_id == new.arrival.platform_id
                && old.arrival.content == new.arrival.content
        };
        let Some(old) = queue.waiting.iter_mut().find(is_it) else { return false };
        (old.place, old.marks, old.wire) = (new.place, new.marks.clone(), new.wire.clone());
        true
    }

    /// Answers whether its chat had none waiting.
    fn push(&mut self, waiting: Waiting) -> bool {
        let queue = self.chats.entry(waiting.arrival.chat.chat_id.clone()).or_default();
        let bytes = waiting.bytes();
        queue.bytes += bytes;
        if queue.flow.is_held() {
            self.held_bytes += bytes;
        } else {
            self.flowing += 1;
            self.flowing_bytes += bytes;
        }
        queue.waiting.push_back(waiting);
        queue.waiting.len() == 1
    }

    /// The first in a chat; a chat without one is forgotten.
    fn first(&mut self, chat: &str) -> Option<Arrival> {
        let first = self.chats.get(chat)?.waiting.front().map(|waiting| waiting.arrival.clone());
        if first.is_none() {
            self.chats.remove(chat);
        }
        first
    }

    /// Takes the first of a chat out; the chat flows again.
    fn pop(&mut self, chat: &str) -> Option<Waiting> {
        let queue = self.chats.get_mut(chat)?;
        if queue.flow.taken() {
            self.flowing += queue.waiting.len();
            self.flowing_bytes += queue.bytes;
            self.held_bytes -= queue.bytes;
        }
        let waiting = queue.waiting.pop_front()?;
        let bytes = waiting.bytes();
        queue.bytes -= bytes;
        self.flowing -= 1;
        self.flowing_bytes -= bytes;
        Some(waiting)
    }

    /// Notes that a chat's first was not taken; answers whether that is new.
    fn hold(&mut self, chat: &str) -> bool {
        let Some(queue) = self.chats.get_mut(chat) else { return false };
        let refused = queue.flow.refused();
        if refused.holds {
            self.flowing -= queue.waiting.len();
            self.flowing_bytes -= queue.bytes;
            self.held_bytes += queue.bytes;
        }
        refused.is_new
    }

    /// Notes whether what was too much for a chat was dropped: then it knows that more is.
    fn dropped(&mut self, chat: &str, dropped: bool) {
        let Some(queue) = self.chats.get_mut(chat) else { return };
        queue.flow.dropped(dropped);
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        let text = match &self.arrival.content {
            Content::Message(written) | Content::Edit(written) => {
                written.text.len()
                    + written.files.iter().map(|file| file.reference.len() + file.name.len()).sum::<usize>()
            }
            Content::Press(data) => data.len(),
        };
        OVERHEAD + text
    }
}
