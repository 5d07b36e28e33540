//! One chat's worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, SemaphorePermit};

use super::hand_over::Then;
use super::{Inner, Whose, lock};
use crate::channels::Channel;
use crate::clock;
use crate::model::chat::ChatRef;
use crate::pace::Gate;
use crate::store::group::outbox::NextReply;
use crate::store::{Outbox, StoreError};

/// The pause after the store refused, such as with a full disk.
const AGAIN: Duration = Duration::from_secs(2);
/// The longest such pause: a group that is set aside stays so until a person acts.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// How long a reply may still wait for its turn when we are ending.
const SOON: Duration = Duration::from_millis(500);

/// A chat's worker, seen from outside.
#[derive(Default)]
pub(super) struct Lane {
    again: AtomicBool,
    wake: Notify,
}

impl Lane {
    /// Looks again, now or when what it does is done.
    pub(super) fn nudge(&self) {
        self.again.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Takes a worker that a bug of ours broke off its list, so that whoever looks at the chat next starts another.
struct Broken<'a>(&'a Inner, &'a Whose);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(inner, due) = self;
            lock(&inner.lanes).remove(*due);
        }
    }
}

impl Inner {
    pub(super) async fn work(self: Arc<Self>, due: Whose, lane: Arc<Lane>) {
        let _broken = Broken(&self, &due);
        let mut pause = AGAIN;
        while let Err(error) = self.drain(&due, &lane).await {
            if matches!(error, StoreError::NoGroup(_)) && self.leave(&due, &lane) {
                // The replies went with their group.
                return;
            }
            let error = crate::error_chain(&error);
            tracing::error!(group = due.folder.as_ref().map(tracing::field::display), chat = %due.chat, error, "replies wait; tried again");
            if !self.rest(pause, &lane).await {
                return;
            }
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Delivers until nothing is due.
    async fn drain(&self, due: &Whose, lane: &Lane) -> Result<(), StoreError> {
        let mut open = None;
        loop {
            let store = match open.take() {
                Some(store) => store,
                None => self.outbox(due).await?,
            };
            let goes_on = match store.next_reply(&due.chat).await? {
                NextReply::None => false,
                NextReply::At(at) => {
                    // A platform that is away for a day keeps no database open for that.
                    drop(store);
                    if !self.rest(clock::until(at), lane).await {
                        return Ok(());
                    }
                    continue;
                }
                NextReply::Due | NextReply::Leased(_) => {
                    if let Some(pause) = self.gates.rest_of_pause(&due.chat) {
                        drop(store);
                        if !self.rest(pause, lane).await {
                            return Ok(());
                        }
                        continue;
                    }
                    match self.deliver_next(&store, due).await? {
                        Then::Next => true,
                        Then::Wait => false,
                        Then::End => return Ok(()),
                    }
                }
            };
            if !goes_on && self.leave(due, lane) {
                return Ok(());
            }
            open = Some(store);
        }
    }

    /// Waits for the gate, leases, and hands over.
    async fn deliver_next(&self, store: &Outbox, due: &Whose) -> Result<Then, StoreError> {
        let name = due.chat.channel.as_str();
        let Some(channel) = self.channels.get(name) else {
            return self.no_channel(store, due).await;
        };
        if !channel.is_there(&due.chat) {
            return Ok(Then::Wait);
        }
        let gate = self.gates.of(channel.as_ref());
        let Some(slot) = self.pass((channel.as_ref(), &gate), &due.chat).await else { return Ok(Then::End) };
        if !self.channels.get(name).is_some_and(|now| Arc::ptr_eq(&now, &channel)) {
            // It was changed meanwhile.
            return Ok(Then::Next);
        }
        let _over = self.still.hand_over(&due.chat).await;
        let durable = !channel.abilities().idempotent;
        let NextReply::Leased(mut reply) = store.lease(&due.chat, durable).await? else { return Ok(Then::Next) };
        reply.reply_to.take_if(|_| !channel.abilities().replies);
        crate::hooks::crash_point("lease.after_commit");
        self.hand_over(store, (channel.as_ref(), &gate), slot, &reply).await
    }

    /// Waits at the gate. None: we are ending, and what cannot go soon goes after the next start.
    pub(super) async fn pass<'g>(
        &self,
        (channel, gate): (&dyn Channel, &'g Gate),
        chat: &ChatRef,
    ) -> Option<SemaphorePermit<'g>> {
        let rate = channel.chat_rate(chat);
        tokio::select! {
            slot = gate.pass_at(chat, rate) => slot,
            () = self.stop.cancelled() => tokio::time::timeout(SOON, gate.pass_at(chat, rate)).await.ok().flatten(),
        }
    }

    /// Waits, or until it is nudged. Answers whether to go on.
    pub(super) async fn rest(&self, pause: Duration, lane: &Lane) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
            () = lane.wake.notified() => true,
        }
    }

    /// Ends the worker unless it was nudged since it last looked.
    fn leave(&self, due: &Whose, lane: &Lane) -> bool {
        let mut lanes = lock(&self.lanes);
        if lane.again.swap(false, Ordering::AcqRel) && !self.stop.is_cancelled() {
            return false;
        }
        lanes.remove(due);
        self.left.notify_waiters();
        true
    }
}
