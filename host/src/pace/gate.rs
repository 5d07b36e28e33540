//! What keeps a channel to its platform's pace.
//!
//! Times here are of the monotonic clock and in memory only: after a restart the first replies may come a little early, and
//! the platform says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::meters::{Meters, Wait};
use crate::channels::{Pace, Rate, SendError, Showing};
use crate::model::chat::ChatRef;
use crate::model::delivery::LONGEST_PAUSE;

/// A channel's gate. One reply goes through at a time, in the order of arrival; what waits for its chat's own rate stands
/// outside, in a line of the chat's own. The threads of a chat are one chat: platforms count so. What is only shown has a door
/// beside it, which is open or not, and where nobody waits.
pub struct Gate {
    pace: Pace,
    slots: Semaphore,
    turnstile: tokio::sync::Mutex<()>,
    meters: Mutex<Meters>,
}

/// A reply that waits for what all chats share. It may give up at any time.
struct Inside<'g>(&'g Gate);

impl<'g> Inside<'g> {
    fn of(gate: &'g Gate) -> Self {
        gate.lock().inside += 1;
        Self(gate)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
    }
}

impl Gate {
    pub(super) fn new(pace: Pace) -> Self {
        let slots = Semaphore::new(pace.at_once.clamp(1, Semaphore::MAX_PERMITS));
        let meters = Mutex::new(Meters::new(Instant::now()));
        Self { pace, slots, turnstile: tokio::sync::Mutex::default(), meters }
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Waits until a reply may go to the chat, which takes them at this rate. What is answered is held while it goes.
    pub async fn pass_at(&self, chat: &ChatRef, rate: Rate) -> Option<SemaphorePermit<'_>> {
        let line = self.lock().of(chat, Instant::now()).line.clone();
        let _next = line.lock().await;
        let mut outside = self.lock().of(chat, Instant::now()).free_at(rate);
        loop {
            // Here, where it holds up no other chat.
            if outside > Instant::now() {
                sleep_until(outside).await;
            }
            let _inside = Inside::of(self);
            let slot = self.slots.acquire().await.ok()?;
            let _turn = self.turnstile.lock().await;
            outside = loop {
                match self.take(chat, rate, Instant::now()) {
                    Ok(()) => return Some(slot),
                    // Everybody behind waits for the same.
                    Err(Wait::All(at)) => sleep_until(at).await,
                    Err(Wait::Chat(at)) => break at,
                }
            };
        }
    }

    /// Whether something may be shown in the chat now; then it is counted. Not while the platform wants a pause, not in the
    /// place of a reply that waits, and only where a reply that comes next finds a place at once, as far as the burst allows.
    pub fn shows(&self, chat: &ChatRef, rate: Rate, what: Showing) -> bool {
        let (now, all) = (Instant::now(), self.pace.all);
        let mut meters = self.lock();
        let spare = match what {
            Showing::Message => meters.all.spares(all, now),
            // The least of all that is shown: only when nothing else uses the room.
            Showing::Mark => meters.all.is_paid(now),
        };
        if !spare || meters.inside > 0 || meters.paused_until > now {
            return false;
        }
        let mine = meters.of(chat, now);
        if mine.paused_until > now {
            return false;
        }
        if what == Showing::Message {
            if mine.is_waited_for() || !mine.meter.spares(rate, now) {
                return false;
            }
            mine.meter.count(rate, now);
        }
        meters.all.count(all, now);
        true
    }

    /// Obeys a platform that asks for a pause, of the chat or of everything, whatever the call was for.
    pub fn heed(&self, chat: &ChatRef, said: &SendError) {
        match said {
            SendError::Later { after: Some(after), whole_channel: true, .. } => self.pause(*after),
            SendError::Later { after: Some(after), .. } => self.pause_chat(chat, *after),
            _ => {}
        }
    }

    /// Nothing goes through for so long, or for the longest pause that is obeyed.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + obeyed(pause);
        let mut meters = self.lock();
        meters.paused_until = meters.paused_until.max(until);
    }

    /// The same for one chat, with all its threads.
    pub(super) fn pause_chat(&self, chat: &ChatRef, pause: Duration) {
        let now = Instant::now();
        let mut meters = self.lock();
        let of = meters.of(chat, now);
        of.paused_until = of.paused_until.max(now + obeyed(pause));
    }

    /// How long the chat still pauses because its platform asked for that.
    pub fn rest_of_pause(&self, chat: &ChatRef) -> Option<Duration> {
        let until = self.lock().paused_until_of(chat)?;
        rest(until)
    }

    /// The same, or as long as everything pauses when that is longer.
    pub fn rests(&self, chat: &ChatRef) -> Option<Duration> {
        let meters = self.lock();
        let all = meters.paused_until;
        rest(meters.paused_until_of(chat).map_or(all, |until| until.max(all)))
    }

    /// Counts a reply, or says when it may ask again.
    fn take(&self, chat: &ChatRef, rate: Rate, now: Instant) -> Result<(), Wait> {
        let mut meters = self.lock();
        let at = meters.all.free_at(self.pace.all).max(meters.paused_until);
        let mine = meters.of(chat, now);
        let own = mine.free_at(rate);
        if own > now {
            return Err(Wait::Chat(own));
        }
        if at > now {
            return Err(Wait::All(at));
        }
        mine.meter.count(rate, now);
        meters.all.count(self.pace.all, now);
        Ok(())
    }

    /// How many chats are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.lock().chats()
    }

    fn lock(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn obeyed(pause: Duration) -> Duration {
    pause.min(Duration::from_millis(LONGEST_PAUSE.unsigned_abs()))
}

fn rest(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
}
