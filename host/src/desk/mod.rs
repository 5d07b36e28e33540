//! The front desk: what channels hand in comes here. It knows people and approvals, answers what is Cofferdam's own to answer, and
//! puts the rest into the groups' inboxes.
//!
//! ```text
//! channel ─arrival─▶ Desk ─┬─ message ─▶ router::decide ─┬─▶ files, ① accept, or context
//!                          │                             ├─▶ hold it, and ask an approver
//!                          │                             └─▶ dropped, counted with its reason
//!                          ├─ own command, pairing code ─▶ posts (an outbox that is no group's)
//!                          └─ press ─▶ an approval, or an agent's question
//! ```
//!
//! - [`message`]: what becomes of a message. - `edit`: of a change of one. - `files`, [`placing`]: what came with it.
//! - `floods`, `late`: who writes too fast, and what of it waits. - `patterns`: compiled.
//! - [`approvals`], [`questions`]: what waits for a person; [`decider`]: who may decide on it. - [`pairing`]: codes.
//! - `own`: commands. - `press`: buttons. - `words`: ours. - [`moves`]: chats that got another id.

mod approvals;
mod decider;
mod edit;
mod files;
mod floods;
mod late;
mod message;
mod moves;
mod own;
mod pairing;
mod patterns;
pub mod placing;
mod press;
mod questions;
mod words;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::ids::Folder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::channels::{Arrival, Channels, Content, Intake, NotTaken, Taken, Writers};
use crate::config::home::Home;
use crate::error_chain;
use crate::model::chat::{ChatRef, Due, Move};
use crate::router::DropReason;
use crate::store::group::inbox::Accepted;
use crate::store::posts::NewPost;
use crate::store::{StoreError, Stores};

pub use decider::{DecideError, Decider};
pub use pairing::NewCode;

/// How often approvals whose time is over, and posts whose nudge was lost, are looked for.
const EVERY: Duration = Duration::from_secs(15);

/// Is told of an accepted message.
pub type Accepts = Box<dyn Fn(&Folder, &Accepted) + Send + Sync>;

/// What is held while nothing may be handed over to a chat.
pub type Stillness = Box<dyn Send + Sync>;

/// Whom the desk tells.
pub struct Tells {
    /// ① Something is in an inbox.
    pub accepted: Accepts,
    /// A group's chat may have replies that are due.
    pub deliver: Box<dyn Fn(Due) + Send + Sync>,
    /// A chat may have posts that are due.
    pub post: Box<dyn Fn(ChatRef) + Send + Sync>,
    /// Waits until nothing is being handed over to a chat, in any of its threads; nothing is until the answer is dropped.
    pub still: Box<dyn Fn(ChatRef) -> BoxFuture<'static, Stillness> + Send + Sync>,
}

/// The desk. Clones are the same.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    home: Home,
    stores: Stores,
    channels: Channels,
    tells: Tells,
    patterns: patterns::Patterns,
    floods: floods::Floods,
    /// Commands that wait for nothing have a pace of their own.
    commands: floods::Floods,
    /// Somebody's message waits for its pace, or was held and may be taken in.
    late: tokio::sync::Notify,
    codes: pairing::Tries,
    /// Files that cannot be had.
    lacking: files::Lacking,
    /// Something is due by itself, such as somebody who is to be asked.
    due: tokio::sync::Notify,
    /// What chats have moves.
    moving: moves::Moving,
}

impl Desk {
    /// A desk that nobody comes to yet.
    pub fn new(home: Home, stores: Stores, channels: Channels, tells: Tells) -> Self {
        let inner = Inner {
            home,
            stores,
            channels,
            tells,
            patterns: patterns::Patterns::default(),
            floods: floods::Floods::default(),
            commands: floods::Floods::default(),
            late: tokio::sync::Notify::new(),
            codes: pairing::Tries::default(),
            lacking: files::Lacking::default(),
            due: tokio::sync::Notify::new(),
            moving: moves::Moving::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the channel of this name hands in to.
    pub fn intake(&self, channel: &str, writers: Writers) -> Arc<dyn Intake> {
        Arc::new(Counter { desk: self.clone(), channel: channel.to_owned(), writers })
    }

    /// Does what is due by itself, until it is told to stop: moves what chats have that got another id, takes in what was held
    /// for approvals that were given and for its sender's pace, asks who became known after the question, ends approvals whose
    /// time is over, and nudges posts.
    pub async fn attend(&self, stop: CancellationToken) {
        tokio::join!(self.look_around(stop.clone()), self.move_around(stop.clone()), self.catch_up(stop));
    }

    async fn look_around(&self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::error!(error = %error_chain(&error), "what is due at the desk could not be read; tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.due.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Has [`Desk::attend`] look soon: somebody became known, or may do more.
    pub fn look_soon(&self) {
        self.inner.due.notify_one();
    }

    async fn look(&self) -> Result<(), StoreError> {
        let central = self.inner.stores.central();
        let met = central.settle_met().await?;
        if !met.is_empty() {
            self.inner.late.notify_one();
        }
        let mut news = met;
        news.extend(central.expire_approvals().await?);
        news.extend(central.ask_the_others().await?);
        news.extend(central.due_posts().await?);
        self.told(news);
        // Of approvals that came with a backup; whoever decides lets go at once.
        if central.release_held().await? {
            self.inner.late.notify_one();
        }
        Ok(())
    }

    /// Chats with posts on their way.
    fn told(&self, chats: impl IntoIterator<Item = ChatRef>) {
        chats.into_iter().for_each(|chat| (self.inner.tells.post)(chat));
    }

    async fn take(&self, arrival: Arrival, writers: Writers) -> Result<Taken, NotTaken> {
        let arrival = self.where_it_is(words::harmless(arrival)).await?;
        match &arrival.content {
            Content::Press(data) => self.press(&arrival, data).await,
            Content::Message(written) => self.message(&arrival, written, writers).await,
            Content::Edit(written) => self.edit(&arrival, written).await,
        }
    }

    /// Drops what its channel keeps no more, so that its chat holds up no other.
    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        let arrival = self.where_it_is(words::harmless(arrival)).await?;
        if first {
            self.answer(&arrival, Some(NewPost::new(arrival.chat.clone(), words::backlog()))).await?;
        }
        self.dropped(&arrival, DropReason::Backlog).await.map(drop)
    }

    /// Counts a drop.
    async fn dropped(&self, arrival: &Arrival, reason: DropReason) -> Result<Taken, NotTaken> {
        let (chat, sender) = (&arrival.chat, &arrival.sender.id);
        tracing::info!(%chat, sender, reason = reason.as_str(), "dropped");
        let central = self.inner.stores.central();
        central.record_drop(&chat.channel, &chat.chat_id, sender, reason.as_str()).await.map_err(failed)?;
        Ok(Taken::Dropped(reason.as_str()))
    }
}

/// Whether trying again finds the same until somebody has done something about a group.
fn lasts(error: &StoreError) -> bool {
    error.is_set_aside() || matches!(error, StoreError::Full(_))
}

/// The store's refusals; a full inbox is told apart before.
fn failed(error: StoreError) -> NotTaken {
    NotTaken::Failed(error_chain(&error))
}

/// One channel's way to the desk.
struct Counter {
    desk: Desk,
    channel: String,
    writers: Writers,
}

#[async_trait]
impl Intake for Counter {
    async fn take(&self, mut arrival: Arrival) -> Result<Taken, NotTaken> {
        // No channel speaks for another.
        arrival.chat.channel.clone_from(&self.channel);
        // A bug of ours costs this arrival a while, not its channel.
        let taken = AssertUnwindSafe(self.desk.take(arrival, self.writers)).catch_unwind().await;
        taken.unwrap_or_else(|_| Err(NotTaken::Failed("it broke off inside".to_owned())))
    }

    async fn overflow(&self, mut arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        arrival.chat.channel.clone_from(&self.channel);
        self.desk.overflow(arrival, first).await
    }

    async fn refused(&self, chat: &str, reason: &'static str) {
        let central = self.desk.inner.stores.central();
        match central.record_drop(&self.channel, chat, "", reason).await {
            // Anybody may make many: the log has the first, the second, the fourth …
            Ok(count) if count.is_power_of_two() => {
                tracing::info!(channel = self.channel, chat, reason, count, "turned away");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(chat, reason, error = %error_chain(&error), "a drop was not counted"),
        }
    }

    async fn present(&self, chat: ChatRef) {
        self.desk.told([chat.clone()]);
        match self.desk.inner.stores.central().wirings_of(&chat.channel, &chat.chat_id).await {
            Ok(wirings) => wirings.into_iter().for_each(|wiring| {
                (self.desk.inner.tells.deliver)(Due { folder: wiring.folder, chat: chat.clone() })
            }),
            Err(error) => {
                tracing::warn!(%chat, error = %error_chain(&error), "its replies wait for the next look");
            }
        }
    }

    async fn moved(&self, from: &str, to: &str) -> Result<(), NotTaken> {
        self.desk.moved(Move { channel: self.channel.clone(), from: from.to_owned(), to: to.to_owned() }).await
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        self.desk.inner.stores.central().cursor(&self.channel).await.map_err(failed)
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        self.desk.inner.stores.central().keep_cursor(&self.channel, cursor).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests;
