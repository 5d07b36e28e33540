//! What went, and what it leaves; plain data.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::channels::Rate;
use crate::model::chat::ChatRef;

/// Chats whose rate is remembered before those at rest are forgotten.
pub(super) const REMEMBERED: usize = 1024;

/// What is known of a channel.
pub(super) struct Meters {
    pub(super) all: Meter,
    /// By the platform's id of the chat.
    chats: HashMap<String, OfChat>,
    /// The platform asked for a pause of everything.
    pub(super) paused_until: Instant,
    /// Replies that wait for what all chats share.
    pub(super) inside: usize,
}

/// What is known of a chat.
pub(super) struct OfChat {
    pub(super) meter: Meter,
    /// The platform asked for a pause of it.
    pub(super) paused_until: Instant,
    /// Held by whoever of it goes next.
    pub(super) line: Arc<tokio::sync::Mutex<()>>,
}

/// Why a reply may not go now, and when it may ask again.
pub(super) enum Wait {
    /// Its chat had too much.
    Chat(Instant),
    /// All chats together did.
    All(Instant),
}

impl OfChat {
    fn new(now: Instant) -> Self {
        Self { meter: Meter(now), paused_until: now, line: Arc::default() }
    }

    pub(super) fn free_at(&self, rate: Rate) -> Instant {
        self.meter.free_at(rate).max(self.paused_until)
    }

    /// Whether a reply stands in its line.
    pub(super) fn is_waited_for(&self) -> bool {
        Arc::strong_count(&self.line) > 1
    }

    /// Nothing is lost when it is forgotten.
    fn is_at_rest(&self, now: Instant) -> bool {
        self.meter.is_paid(now) && self.paused_until <= now && !self.is_waited_for()
    }
}

impl Meters {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Meter(now), chats: HashMap::new(), paused_until: now, inside: 0 }
    }

    pub(super) fn of(&mut self, chat: &ChatRef, now: Instant) -> &mut OfChat {
        if self.chats.len() >= REMEMBERED && !self.chats.contains_key(&chat.chat_id) {
            self.chats.retain(|_, of| !of.is_at_rest(now));
        }
        self.chats.entry(chat.chat_id.clone()).or_insert_with(|| OfChat::new(now))
    }

    /// Until when the chat pauses, if anything is known of it.
    pub(super) fn paused_until_of(&self, chat: &ChatRef) -> Option<Instant> {
        self.chats.get(&chat.chat_id).map(|of| of.paused_until)
    }

    #[cfg(test)]
    pub(super) fn chats(&self) -> usize {
        self.chats.len()
    }
}

/// A rate in one number: the time at which everything that went is paid off (the generic cell rate algorithm).
#[derive(Clone, Copy)]
pub(super) struct Meter(Instant);

impl Meter {
    /// When one more may go.
    pub(super) fn free_at(self, rate: Rate) -> Instant {
        let saved = rate.every.saturating_mul(rate.burst.saturating_sub(1));
        self.0.checked_sub(saved).unwrap_or(self.0)
    }

    pub(super) fn count(&mut self, rate: Rate, now: Instant) {
        self.0 = self.0.max(now) + rate.every;
    }

    /// Whether all that went is paid off.
    pub(super) fn is_paid(self, now: Instant) -> bool {
        self.0 <= now
    }

    /// Whether one may go and leave another that can go at once. Where there are no two at once, what comes at the rate's own
    /// beat may be an eighth early: calls are never quite even.
    pub(super) fn spares(self, rate: Rate, now: Instant) -> bool {
        let saved = rate.every.saturating_mul(rate.burst.saturating_sub(2)).max(rate.every / 8);
        self.0.checked_sub(saved).is_none_or(|at| at <= now)
    }
}
