//! What keeps a channel to its platform's pace.
//!
//! Times here are of the monotonic clock and in memory only: after a restart the first replies may come a little early, and
//! the platform says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::channels::{Pace, Rate};
use crate::model::chat::ChatRef;
use crate::model::delivery::LONGEST_PAUSE;

/// Chats whose rate is remembered before those at rest are forgotten.
const REMEMBERED: usize = 1024;

/// A channel's gate. One reply goes through at a time, in the order of arrival; what waits for its chat's own rate stands
/// outside, in a line of the chat's own. The threads of a chat are one chat: platforms count so.
pub(super) struct Gate {
    pace: Pace,
    slots: Semaphore,
    turnstile: tokio::sync::Mutex<()>,
    meters: Mutex<Meters>,
}

struct Meters {
    all: Meter,
    /// By the platform's id of the chat.
    chats: HashMap<String, OfChat>,
    /// The platform asked for a pause of everything.
    paused_until: Instant,
}

/// What is known of a chat.
struct OfChat {
    meter: Meter,
    /// The platform asked for a pause of it.
    paused_until: Instant,
    /// Held by whoever of it goes next.
    line: Arc<tokio::sync::Mutex<()>>,
}

/// Why a reply may not go now, and when it may ask again.
enum Wait {
    /// Its chat had too much.
    Chat(Instant),
    /// All chats together did.
    All(Instant),
}

impl OfChat {
    fn new(now: Instant) -> Self {
        Self { meter: Meter(now), paused_until: now, line: Arc::default() }
    }

    fn free_at(&self, rate: Rate) -> Instant {
        self.meter.free_at(rate).max(self.paused_until)
    }

    /// Nothing is lost when it is forgotten.
    fn is_at_rest(&self, now: Instant) -> bool {
        self.meter.0 <= now && self.paused_until <= now && Arc::strong_count(&self.line) == 1
    }
}

impl Meters {
    fn of(&mut self, chat: &ChatRef, now: Instant) -> &mut OfChat {
        if self.chats.len() >= REMEMBERED && !self.chats.contains_key(&chat.chat_id) {
            self.chats.retain(|_, of| !of.is_at_rest(now));
        }
        self.chats.entry(chat.chat_id.clone()).or_insert_with(|| OfChat::new(now))
    }
}

impl Gate {
    pub(super) fn new(pace: Pace) -> Self {
        let now = Instant::now();
        let meters = Meters { all: Meter(now), chats: HashMap::new(), paused_until: now };
        let slots = Semaphore::new(pace.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self { pace, slots, turnstile: tokio::sync::Mutex::default(), meters: Mutex::new(meters) }
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Waits until a reply may go to the chat, which takes them at this rate. What is answered is held while it goes.
    pub(super) async fn pass_at(&self, chat: &ChatRef, rate: Rate) -> Option<SemaphorePermit<'_>> {
        let line = self.lock().of(chat, Instant::now()).line.clone();
        let _next = line.lock().await;
        let mut outside = self.lock().of(chat, Instant::now()).free_at(rate);
        loop {
            // Here, where it holds up no other chat.
            if outside > Instant::now() {
                sleep_until(outside).await;
            }
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
    pub(super) fn rest_of_pause(&self, chat: &ChatRef) -> Option<Duration> {
        let meters = self.lock();
        let until = meters.chats.get(&chat.chat_id)?.paused_until;
        Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
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

    fn lock(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn obeyed(pause: Duration) -> Duration {
    pause.min(Duration::from_millis(LONGEST_PAUSE.unsigned_abs()))
}

/// A rate in one number: the time at which everything that went is paid off (the generic cell rate algorithm).
#[derive(Clone, Copy)]
struct Meter(Instant);

impl Meter {
    /// When one more may go.
    fn free_at(self, rate: Rate) -> Instant {
        let saved = rate.every.saturating_mul(rate.burst.saturating_sub(1));
        self.0.checked_sub(saved).unwrap_or(self.0)
    }

    fn count(&mut self, rate: Rate, now: Instant) {
        self.0 = self.0.max(now) + rate.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(id: &str) -> ChatRef {
        ChatRef { channel: "faulty".into(), chat_id: id.into(), thread_id: None }
    }

    fn pace(chat: Rate, all: Rate) -> Pace {
        Pace { chat, all, at_once: 2 }
    }

    const SECOND: Duration = Duration::from_secs(1);

    impl Gate {
        async fn pass(&self, chat: &ChatRef) -> Option<SemaphorePermit<'_>> {
            self.pass_at(chat, self.pace.chat).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_of_another_kind_has_its_own_rate() {
        let gate = Gate::new(pace(Rate::each(SECOND), Rate::UNLIMITED));
        let start = Instant::now();
        for _ in 0..3 {
            drop(gate.pass_at(&chat("slow"), Rate::each(SECOND * 3)).await);
        }
        assert_eq!(start.elapsed(), SECOND * 6);
        let start = Instant::now();
        for _ in 0..3 {
            drop(gate.pass(&chat("quick")).await);
        }
        assert_eq!(start.elapsed(), SECOND * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_then_one_each_so_often() {
        let gate = Gate::new(pace(Rate { burst: 3, every: SECOND }, Rate::UNLIMITED));
        let start = Instant::now();
        let mut went = Vec::new();
        for _ in 0..6 {
            drop(gate.pass(&chat("a")).await);
            went.push(start.elapsed().as_secs());
        }
        assert_eq!(went, [0, 0, 0, 1, 2, 3]);
        tokio::time::sleep(SECOND * 10).await;
        let start = Instant::now();
        for _ in 0..3 {
            drop(gate.pass(&chat("a")).await);
        }
        assert!(start.elapsed().is_zero(), "saved up again, and not more than a burst");
        drop(gate.pass(&chat("a")).await);
        assert_eq!(start.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_at_its_limit_holds_up_no_other() {
        let gate = Gate::new(pace(Rate::each(SECOND * 60), Rate::UNLIMITED));
        drop(gate.pass(&chat("a")).await);
        let start = Instant::now();
        let (a, b) = (chat("a"), chat("b"));
        let slow = gate.pass(&a);
        tokio::pin!(slow);
        tokio::select! {
            _ = &mut slow => panic!("its minute is not over"),
            slot = gate.pass(&b) => assert!(slot.is_some()),
        }
        assert!(start.elapsed().is_zero());
        drop(slow.await);
        assert_eq!(start.elapsed(), SECOND * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn two_of_one_chat_wake_together_and_the_second_holds_up_no_other_chat() {
        let gate = Gate::new(pace(Rate::each(SECOND * 10), Rate::UNLIMITED));
        let thread = |id: &str| ChatRef { thread_id: Some(id.to_owned()), ..chat("a") };
        drop(gate.pass(&chat("a")).await);
        let start = Instant::now();
        let went = Mutex::new(Vec::new());
        let pass = async |chat: ChatRef, name: &str, after: Duration| {
            tokio::time::sleep(after).await;
            drop(gate.pass(&chat).await);
            went.lock().unwrap().push((name.to_owned(), start.elapsed().as_secs()));
        };
        tokio::join!(
            pass(thread("1"), "first", Duration::ZERO),
            pass(thread("2"), "second", Duration::ZERO),
            pass(chat("b"), "other", SECOND * 11),
        );
        let expected = [("first", 10), ("other", 11), ("second", 20)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(*went.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_a_chat_holds_all_its_threads_and_no_other_chat() {
        let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
        let thread = |id: &str| ChatRef { thread_id: Some(id.to_owned()), ..chat("a") };
        gate.pause_chat(&thread("1"), SECOND * 5);
        assert_eq!(gate.rest_of_pause(&thread("2")), Some(SECOND * 5));
        assert_eq!(gate.rest_of_pause(&chat("b")), None);
        let start = Instant::now();
        drop(gate.pass(&chat("b")).await);
        assert!(start.elapsed().is_zero());
        drop(gate.pass(&thread("2")).await);
        assert_eq!(start.elapsed(), SECOND * 5);
        // One that comes while somebody is at the gate already.
        let b = thread("3");
        gate.pause(SECOND);
        let late = gate.pass(&b);
        tokio::pin!(late);
        tokio::select! {
            biased;
            _ = &mut late => panic!("everything pauses"),
            () = std::future::ready(()) => gate.pause_chat(&thread("1"), SECOND * 3),
        }
        drop(late.await);
        assert_eq!(start.elapsed(), SECOND * 8);
    }

    #[tokio::test(start_paused = true)]
    async fn all_chats_share_the_platforms_limit_in_the_order_of_arrival() {
        let gate = Gate::new(pace(Rate::UNLIMITED, Rate::each(SECOND)));
        let start = Instant::now();
        let went = Mutex::new(Vec::new());
        let pass = async |id: &str| {
            drop(gate.pass(&chat(id)).await);
            went.lock().unwrap().push((id.to_owned(), start.elapsed().as_secs()));
        };
        tokio::join!(pass("a"), pass("b"), pass("c"));
        let expected = [("a", 0), ("b", 1), ("c", 2)].map(|(id, at)| (id.to_owned(), at));
        assert_eq!(*went.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_platform_stops_every_chat_and_only_so_many_go_at_once() {
        let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
        gate.pause(SECOND * 5);
        gate.pause(SECOND);
        let start = Instant::now();
        let first = gate.pass(&chat("a")).await;
        assert_eq!(start.elapsed(), SECOND * 5, "the longer one holds");
        let _second = gate.pass(&chat("b")).await;
        let c = chat("c");
        let third = gate.pass(&c);
        tokio::pin!(third);
        tokio::select! {
            biased;
            _ = &mut third => panic!("two are going"),
            () = tokio::time::sleep(SECOND) => {}
        }
        drop(first);
        assert!(third.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_without_end_is_the_longest_that_is_obeyed() {
        let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
        gate.pause(Duration::MAX);
        let start = Instant::now();
        drop(gate.pass(&chat("a")).await);
        assert_eq!(start.elapsed(), SECOND * 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn chats_at_rest_are_forgotten() {
        let gate = Gate::new(pace(Rate::each(Duration::from_millis(1)), Rate::UNLIMITED));
        for at in 0..REMEMBERED * 3 {
            drop(gate.pass(&chat(&at.to_string())).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(gate.meters.lock().unwrap().chats.len() <= REMEMBERED);
    }
}
