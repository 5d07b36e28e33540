//! Events on their way to the host: in order, in few calls, kept until acknowledged.
//!
//! Pieces of answers and activities are transient: they are joined, wait up to [`FLUSH`] for company, and the
//! oldest are dropped when the host is away for long. Durable events go out at once and are never dropped.
//! Sequence numbers are given when a batch is made, so that joining leaves no gaps; a batch that was not
//! acknowledged is sent again as it was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::{Attempt, MessageId, Seq, TurnId};
use cofferdam_protocol::runner::{
    ActivityKind, EVENTS, Event, EventAck, EventBatch, EventBody, Finish, MAX_EVENT_BYTES, MAX_EVENTS,
};
use tokio::sync::{Notify, oneshot};

use crate::bounds::{MAX_LINE, MAX_REPLIES, bounded, cut, one_line, short_lines};
use crate::door::{DoorError, Lane};

/// How long a transient event waits for others before it is sent.
pub const FLUSH: Duration = Duration::from_millis(25);
/// The most text of transient events that waits, in bytes.
const MAX_TRANSIENT: usize = 384 * 1024;
/// The most bytes of one batch as JSON. The largest single event fits: replies, and a diff of a
/// quarter of a MiB, with JSON's escapes (at most six bytes for one).
const MAX_BATCH: usize = MAX_EVENT_BYTES - 64 * 1024;
/// What a transient event costs besides its text, in bytes.
const OVERHEAD: usize = 128;

/// Where events are put. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Told when the host has taken a batch.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    transient_bytes: usize,
    durable: usize,
    /// A batch is on its way.
    sending: bool,
    last_seq: i64,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    turn: Option<TurnId>,
    body: EventBody,
    acked: Option<oneshot::Sender<()>>,
}

impl Outbox {
    /// Puts an event.
    pub fn put(&self, turn: Option<TurnId>, body: EventBody) {
        self.queue().push(Entry { turn, body, acked: None });
        self.0.wake.notify_one();
    }

    /// Puts a turn's end and waits until the host has it.
    pub async fn finish(&self, turn: TurnId, finish: Finish) {
        let (acked, kept) = oneshot::channel();
        let body = EventBody::Finish(Box::new(bounded(finish)));
        self.queue().push(Entry { turn: Some(turn), body, acked: Some(acked) });
        self.0.wake.notify_one();
        // An error means that the sender has ended, and with it the runner.
        let _ = kept.await;
    }

    /// Waits until the host has all that was put. Never ends when nobody sends.
    pub async fn sent(&self) {
        loop {
            let taken = self.0.taken.notified();
            let all = {
                let queue = self.queue();
                queue.entries.is_empty() && !queue.sending
            };
            if all {
                return;
            }
            taken.await;
        }
    }

    /// Sends events as they come; ends only when the host does not want them.
    pub async fn send_all(&self, mut lane: Lane, attempt: Attempt) -> DoorError {
        loop {
            self.something_due().await;
            let (events, acks) = self.queue().take();
            let mut batch = EventBatch { attempt, events };
            while let Some(last) = batch.events.last().map(|event| event.seq) {
                let ack: EventAck = match lane.call(EVENTS, &batch).await {
                    Ok(ack) => ack,
                    Err(error) => return error,
                };
                batch.events.retain(|event| event.seq > ack.acked);
                if ack.acked < last {
                    tracing::warn!(acked = %ack.acked, %last, "the host kept a part of the events; sending the rest");
                    tokio::time::sleep(FLUSH).await;
                }
            }
            for ack in acks {
                let _ = ack.send(());
            }
            self.queue().sending = false;
            self.0.taken.notify_waiters();
        }
    }

    async fn something_due(&self) {
        while self.queue().entries.is_empty() {
            self.0.wake.notified().await;
        }
        let flush = tokio::time::sleep(FLUSH);
        tokio::pin!(flush);
        while self.queue().durable == 0 {
            tokio::select! {
                () = &mut flush => return,
                () = self.0.wake.notified() => {}
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An outbox for the events of one turn.
#[derive(Debug, Clone)]
pub struct TurnEvents {
    outbox: Outbox,
    turn: TurnId,
}

impl TurnEvents {
    /// Events of `turn` into `outbox`.
    pub fn new(outbox: Outbox, turn: TurnId) -> Self {
        Self { outbox, turn }
    }

    /// A piece of the answer.
    pub fn delta(&self, text: String) {
        self.outbox.put(Some(self.turn), EventBody::Delta { text });
    }

    /// A reply for the chat at once.
    pub fn reply(&self, mut text: String) {
        cut(&mut text, MAX_REPLIES);
        self.outbox.put(Some(self.turn), EventBody::Reply { text });
    }

    /// The provider has these messages in the running turn.
    pub fn steered(&self, messages: Vec<MessageId>) {
        self.outbox.put(Some(self.turn), EventBody::Steered { messages });
    }

    /// Any other event of the turn.
    pub fn put(&self, body: EventBody) {
        self.outbox.put(Some(self.turn), body);
    }

    /// An event of the session, not of the turn; it may come after the turn's end.
    pub fn session(&self, body: EventBody) {
        self.outbox.put(None, body);
    }

    /// Something the agent does; the text is made one short line, a plan's several.
    pub fn activity(&self, kind: ActivityKind, text: &str) {
        let text = match kind {
            ActivityKind::Plan => short_lines(text),
            _ => one_line(text, MAX_LINE),
        };
        self.outbox.put(Some(self.turn), EventBody::Activity { kind, text });
    }

    /// The turn.
    pub fn turn(&self) -> TurnId {
        self.turn
    }
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        if entry.body.is_durable() {
            self.durable += 1;
            self.entries.push_back(entry);
            return;
        }
        match (self.entries.back_mut(), entry.body) {
            (Some(Entry { turn, body: EventBody::Delta { text: earlier }, .. }), EventBody::Delta { text })
                if *turn == entry.turn =>
            {
                self.transient_bytes += text.len();
                earlier.push_str(&text);
            }
            (_, body) => {
                self.transient_bytes += cost(&body);
                self.entries.push_back(Entry { body, ..entry });
            }
        }
        while self.transient_bytes > MAX_TRANSIENT && self.drop_oldest_transient() {}
    }

    /// Whether there was one to drop.
    fn drop_oldest_transient(&mut self) -> bool {
        let Some(at) = self.entries.iter().position(|entry| !entry.body.is_durable()) else { return false };
        if let Some(entry) = self.entries.remove(at) {
            self.transient_bytes = self.transient_bytes.saturating_sub(cost(&entry.body));
            if self.dropped == 0 {
                tracing::warn!("live events pile up because the host does not take them; dropping the oldest");
            }
            self.dropped += 1;
        }
        true
    }

    /// The next events, as many as the host takes at once.
    fn take(&mut self) -> (Vec<Event>, Vec<oneshot::Sender<()>>) {
        self.sending = true;
        let mut acks = Vec::new();
        let mut events = Vec::with_capacity(self.entries.len().min(MAX_EVENTS));
        let mut room = MAX_BATCH;
        while events.len() < MAX_EVENTS
            && let Some(entry) = self.entries.pop_front()
        {
            let bytes = json_bytes(&entry.body);
            if bytes > room && !events.is_empty() {
                self.entries.push_front(entry);
                break;
            }
            room = room.saturating_sub(bytes);
            if entry.body.is_durable() {
                self.durable -= 1;
            } else {
                self.transient_bytes = self.transient_bytes.saturating_sub(cost(&entry.body));
            }
            self.last_seq += 1;
            acks.extend(entry.acked);
            events.push(Event { seq: Seq(self.last_seq), turn: entry.turn, body: entry.body });
        }
        // A burst must not stay in the memory of an idle runner.
        self.entries.shrink_to(64);
        (events, acks)
    }
}

/// What an event takes in a batch.
fn json_bytes(body: &EventBody) -> usize {
    OVERHEAD + serde_json::to_string(body).map_or(0, |json| json.len())
}

fn cost(body: &EventBody) -> usize {
    OVERHEAD
        + match body {
            EventBody::Delta { text } | EventBody::Activity { text, .. } => text.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::runner::Outcome;

    use super::*;

    fn delta(text: &str) -> EventBody {
        EventBody::Delta { text: text.into() }
    }

    fn finish(replies: Vec<String>) -> Finish {
        Finish { replies, ..Finish::new(Outcome::Completed) }
    }

    #[test]
    fn pieces_of_one_turn_are_joined_and_numbers_have_no_gaps() {
        let outbox = Outbox::default();
        outbox.put(Some(TurnId(1)), delta("a"));
        outbox.put(Some(TurnId(1)), delta("b"));
        outbox.put(Some(TurnId(2)), delta("c"));
        let (events, _) = outbox.queue().take();
        let seen: Vec<_> = events.iter().map(|event| (event.seq.0, event.turn.unwrap().0)).collect();
        assert_eq!(seen, [(1, 1), (2, 2)]);
        assert!(matches!(&events[0].body, EventBody::Delta { text } if text == "ab"));
        outbox.put(None, delta("d"));
        assert_eq!(outbox.queue().take().0[0].seq, Seq(3));
    }

    #[test]
    fn what_piles_up_is_bounded_but_durable_events_stay() {
        let outbox = Outbox::default();
        outbox.put(None, EventBody::Steered { messages: Vec::new() });
        for turn in 0..2_000 {
            outbox.put(Some(TurnId(turn)), delta(&"x".repeat(1_000)));
        }
        let (events, _) = outbox.queue().take();
        assert!(matches!(events[0].body, EventBody::Steered { .. }));
        assert_eq!(events.last().unwrap().turn, Some(TurnId(1_999)));
        let size = serde_json::to_vec(&events).unwrap().len();
        assert!(size < 2 * MAX_TRANSIENT, "{size}");
    }

    /// All that waits, as the host gets it.
    fn batches(outbox: &Outbox) -> Vec<EventBatch> {
        let take = || Some(outbox.queue().take().0).filter(|events| !events.is_empty());
        std::iter::from_fn(take).map(|events| EventBatch { attempt: Attempt(1), events }).collect()
    }

    #[test]
    fn the_largest_batch_is_one_that_the_host_takes() {
        let outbox = Outbox::default();
        let events = TurnEvents::new(outbox.clone(), TurnId(1));
        let worst = |bytes: usize| "\u{1}".repeat(bytes);
        events.delta(worst(MAX_TRANSIENT - OVERHEAD));
        for _ in 0..3 {
            events.reply(worst(2 * MAX_REPLIES));
        }
        let mut end = bounded(finish(vec![worst(3 * MAX_REPLIES), worst(MAX_REPLIES)]));
        assert!(end.replies[0].contains("[cut: "));
        end.diff = Some(crate::provider::codex::progress::bounded_diff(
            &format!("{}\n", worst(99)).repeat(MAX_REPLIES / 100),
        ));
        assert!(end.diff.as_ref().is_some_and(|diff| diff.len() > 256 * 1024 - 100));
        events.put(EventBody::Finish(Box::new(end)));
        let batches = batches(&outbox);
        let sizes: Vec<_> = batches.iter().map(|batch| serde_json::to_vec(batch).unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size < MAX_EVENT_BYTES), "{sizes:?}");
        let seqs = batches.iter().flat_map(|batch| &batch.events).map(|event| event.seq.0);
        assert!(seqs.eq(1..=5));
    }

    #[test]
    fn many_events_go_in_several_batches() {
        let outbox = Outbox::default();
        for turn in 0..2_500 {
            outbox.put(Some(TurnId(turn)), delta("x"));
        }
        let counts: Vec<_> = batches(&outbox).iter().map(|batch| batch.events.len()).collect();
        assert_eq!(counts, [MAX_EVENTS, MAX_EVENTS, 500]);
        let queue = outbox.queue();
        assert_eq!((queue.transient_bytes, queue.durable), (0, 0));
    }
}
