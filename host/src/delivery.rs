//! From the outbox to the channels: ⑤ lease, send, ⑥ delivered.
//!
//! One worker per chat that has something due, so replies keep their order within a chat and one slow chat never
//! holds up another. A worker ends when its chat's outbox is empty or its channel has nobody there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channels::{Channels, SendError};
use crate::clock;
use crate::model::chat::Due;
use crate::model::reply::Outbound;
use crate::store::group::outbox::NextReply;
use crate::store::{GroupDb, StoreError, Stores};

/// Delivers replies. Clones are handles to the same.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    stores: Stores,
    channels: Channels,
    lanes: Mutex<HashMap<Due, Arc<Lane>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A chat's worker, seen from outside.
#[derive(Default)]
struct Lane {
    again: AtomicBool,
    wake: Notify,
}

impl Delivery {
    /// Ready to deliver; does nothing until it is nudged.
    pub fn new(stores: Stores, channels: Channels) -> Self {
        let inner = Inner {
            stores,
            channels,
            lanes: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Hints that a chat has something due.
    pub fn nudge(&self, due: Due) {
        if self.inner.stop.is_cancelled() {
            return;
        }
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&due) {
            lane.again.store(true, Ordering::Release);
            lane.wake.notify_one();
            return;
        }
        let lane = Arc::new(Lane::default());
        lanes.insert(due.clone(), lane.clone());
        let inner = self.inner.clone();
        self.inner.tasks.spawn(async move { inner.work(due, lane).await });
    }

    /// The wall clock jumped: whoever waits for a time looks at it again.
    pub fn look_again(&self) {
        for lane in self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).values() {
            lane.wake.notify_one();
        }
    }

    /// Takes no more nudges, and waits for what is being handed over, at most `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(
                "replies were still being handed over at the deadline; they are due again at the next start"
            );
        }
    }
}

impl Inner {
    async fn work(&self, due: Due, lane: Arc<Lane>) {
        /// The pause after the store refused, such as with a full disk.
        const AGAIN: Duration = Duration::from_secs(2);
        while let Err(error) = self.drain(&due, &lane).await {
            tracing::error!(group = %due.folder, chat = %due.chat, error = %crate::error_chain(&error), "tried again");
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn drain(&self, due: &Due, lane: &Lane) -> Result<(), StoreError> {
        let store = self.stores.group(&due.folder).await?;
        loop {
            match store.lease(&due.chat).await? {
                NextReply::Leased(reply) if self.hand_over(&store, &reply).await? => {}
                NextReply::Leased(_) | NextReply::None => {
                    if self.leave(due, lane) {
                        return Ok(());
                    }
                }
                NextReply::At(at) => {
                    let wait = clock::until(at);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = lane.wake.notified() => {}
                        () = self.stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Hands one reply to its channel. Answers whether to go on with the next.
    async fn hand_over(&self, store: &GroupDb, reply: &Outbound) -> Result<bool, StoreError> {
        let Some(channel) = self.channels.get(&reply.chat.channel) else {
            tracing::error!(reply = %reply.id, chat = %reply.chat, "no such channel; the reply is dead");
            store.give_up(reply.id).await?;
            return Ok(true);
        };
        match channel.send(reply).await {
            Ok(()) => store.delivered(reply.id).await.map(|()| true),
            Err(SendError::Absent) => store.retry(reply.id, 0, false).await.map(|()| false),
            Err(SendError::Refused { why }) => {
                tracing::error!(reply = %reply.id, chat = %reply.chat, why, "the channel refused it; the reply is dead");
                store.give_up(reply.id).await.map(|()| true)
            }
            Err(error @ (SendError::Later { .. } | SendError::Doubt { .. })) => {
                tracing::warn!(reply = %reply.id, chat = %reply.chat, %error, "sent again");
                let after = match error {
                    SendError::Later { after: Some(after), .. } => i64::try_from(after.as_millis()).unwrap_or(0),
                    _ => 2_000,
                };
                store.retry(reply.id, now_ms().saturating_add(after), true).await.map(|()| true)
            }
        }
    }

    /// Ends the worker unless it was nudged since it last looked.
    fn leave(&self, due: &Due, lane: &Lane) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lane.again.swap(false, Ordering::AcqRel) && !self.stop.is_cancelled() {
            return false;
        }
        lanes.remove(due);
        true
    }
}
