//! What a program handed in and is not taken yet: a queue for each chat, and the bounds of all.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::calls::Wire;
use super::marks::Marks;
use crate::channels::stuck::Flow;
use crate::channels::{Arrival, Content};

/// The most that wait in chats that are not held, and their most bytes; then the program waits.
const FLOWING: usize = 1000;
const FLOWING_BYTES: usize = 16 * 1024 * 1024;
/// The most that wait in a chat that is held, and their most bytes; what comes beyond is dropped when it is stuck for long.
const HELD: usize = 500;
const HELD_BYTES: usize = 2 * 1024 * 1024;
/// The most bytes that wait in all held chats. Twice as many are everybody's trouble, and the program waits.
const ALL_HELD_BYTES: usize = 32 * 1024 * 1024;
/// What a held chat keeps of its own, whatever the others have: so many, and bytes.
const SHARE: usize = 16;
const SHARE_BYTES: usize = 64 * 1024;
/// What each counts beside its texts, in bytes.
const OVERHEAD: usize = 1024;

/// An arrival, and whom to tell that it was taken.
pub(super) struct Waiting {
    pub(super) arrival: Arrival,
    pub(super) place: u64,
    pub(super) marks: Arc<Marks>,
    pub(super) wire: Arc<Wire>,
}

/// All that waits, by chat.
#[derive(Default)]
pub(super) struct Queues {
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
    /// Somebody hands it in, also while none waits.
    has_worker: bool,
}

/// Where an arrival goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Into its chat's queue.
    There,
    /// It is there already.
    Taken,
    /// Nowhere yet.
    None,
    /// Nowhere: its chat is held for long, and has too many. Whether that is the first.
    Over(bool),
}

impl Queues {
    pub(super) fn room_for(&self, waiting: &Waiting) -> Room {
        let queue = self.chats.get(&waiting.arrival.chat.chat_id);
        let Some(queue) = queue.filter(|queue| queue.flow.is_stuck()) else { return self.room_to_flow() };
        match (self.is_full(queue), queue.flow.drops(), queue.flow.is_held()) {
            (true, Some(first), _) => Room::Over(first),
            (true, None, true) => Room::None,
            (false, _, true) if self.has_room_to_hold() => Room::There,
            (false, _, true) => Room::None,
            (_, _, false) => self.room_to_flow(),
        }
    }

    /// Whether a chat that is stuck has too much. What others have is held against it only while it is held too, and has its share.
    fn is_full(&self, queue: &Queue) -> bool {
        let has_share = queue.waiting.len() >= SHARE || queue.bytes >= SHARE_BYTES;
        let of_all = queue.flow.is_held() && self.held_bytes >= ALL_HELD_BYTES && has_share;
        queue.waiting.len() >= HELD || queue.bytes >= HELD_BYTES || of_all
    }

    /// This bounds what all held chats have, also of shares.
    fn has_room_to_hold(&self) -> bool {
        self.held_bytes < 2 * ALL_HELD_BYTES
    }

    fn room_to_flow(&self) -> Room {
        let has_room = self.flowing < FLOWING && self.flowing_bytes < FLOWING_BYTES;
        if has_room && self.has_room_to_hold() { Room::There } else { Room::None }
    }

    /// Whether an arrival waits already, handed in by a program of before: its present one is told then when it is taken.
    pub(super) fn waits(&mut self, new: &Waiting) -> bool {
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

    /// Answers whether its chat needs a worker.
    pub(super) fn push(&mut self, waiting: Waiting) -> bool {
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
        !std::mem::replace(&mut queue.has_worker, true)
    }

    /// The first in a chat; a chat without one is forgotten.
    pub(super) fn first(&mut self, chat: &str) -> Option<Arrival> {
        let first = self.chats.get(chat)?.waiting.front().map(|waiting| waiting.arrival.clone());
        if first.is_none() {
            self.chats.remove(chat);
        }
        first
    }

    /// Takes the first of a chat out; the chat flows again.
    pub(super) fn pop(&mut self, chat: &str) -> Option<Waiting> {
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
    pub(super) fn hold(&mut self, chat: &str) -> bool {
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
    pub(super) fn dropped(&mut self, chat: &str, dropped: bool) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{Sender, Written};
    use crate::model::chat::{ChatKind, ChatRef};

    fn waiting(chat: &str, bytes: usize) -> Waiting {
        let written = Written { text: "x".repeat(bytes), ..Written::default() };
        let arrival = Arrival {
            chat: ChatRef { channel: "c".into(), chat_id: chat.into(), thread_id: None },
            kind: ChatKind::Group,
            title: None,
            platform_id: "1".into(),
            sender: Sender { id: "u".into(), name: "U".into() },
            content: Content::Message(written),
        };
        Waiting { arrival, place: 0, marks: Arc::default(), wire: Wire::new().0 }
    }

    /// So many held chats as have all that held ones may.
    fn all_held(queues: &mut Queues) {
        let all = ALL_HELD_BYTES / HELD_BYTES;
        for number in 0..all {
            let chat = format!("other {number}");
            queues.push(waiting(&chat, HELD_BYTES));
            queues.hold(&chat);
        }
        assert!(queues.held_bytes >= ALL_HELD_BYTES);
    }

    fn stuck_for_long(queues: &mut Queues, chat: &str) {
        queues.push(waiting(chat, 1));
        queues.hold(chat);
    }

    #[test]
    fn a_chat_has_one_worker_also_while_what_it_took_last_is_being_noted() {
        let mut queues = Queues::default();
        assert!(queues.push(waiting("x", 1)));
        assert!(!queues.push(waiting("x", 1)));
        assert!(queues.pop("x").is_some() && queues.pop("x").is_some());
        assert!(!queues.push(waiting("x", 1)), "its worker comes back to it");
        assert!(queues.pop("x").is_some() && queues.first("x").is_none(), "and ends");
        assert!(queues.push(waiting("x", 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_hold_costs_a_chat_nothing_that_flows_again() {
        let mut queues = Queues::default();
        stuck_for_long(&mut queues, "x");
        for _ in 0..SHARE * 2 {
            queues.push(waiting("x", 1));
        }
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        all_held(&mut queues);
        assert_eq!(queues.room_for(&waiting("x", 1)), Room::Over(true), "it has its share, and is held");
        queues.pop("x");
        assert_eq!(queues.room_for(&waiting("x", 1)), Room::There, "one was taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_chat_keeps_a_share_whatever_others_hold_until_it_is_everybodys_trouble() {
        let mut queues = Queues::default();
        stuck_for_long(&mut queues, "x");
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        all_held(&mut queues);
        for _ in 1..SHARE {
            assert_eq!(queues.room_for(&waiting("x", 1)), Room::There);
            queues.push(waiting("x", 1));
        }
        assert_eq!(queues.room_for(&waiting("x", 1)), Room::Over(true));
        stuck_for_long(&mut queues, "y");
        queues.held_bytes *= 2;
        assert_eq!(queues.room_for(&waiting("y", 1)), Room::None, "the program waits");
    }
}
