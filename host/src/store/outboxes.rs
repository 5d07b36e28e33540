//! The two kinds of outbox, as delivery sees them: a group's, and Cofferdam's own.

use std::sync::Arc;

use cofferdam_protocol::ids::{Folder, ReplyId, TurnId};

use super::group::outbox::{NextReply, Sent};
use super::group::shown::ShownMessage;
use super::{Central, GroupDb, StoreError};
use crate::model::chat::ChatRef;
use crate::model::delivery::{Miss, Next};

/// An outbox.
#[derive(Clone)]
pub enum Outbox {
    /// A group's.
    Group(Arc<GroupDb>),
    /// Cofferdam's own.
    Own(Central),
}

impl Outbox {
    /// The group; none is Cofferdam.
    pub fn folder(&self) -> Option<&Folder> {
        match self {
            Self::Group(store) => Some(store.folder()),
            Self::Own(_) => None,
        }
    }

    /// How the oldest undelivered reply of a chat stands. Never [`NextReply::Leased`].
    pub async fn next_reply(&self, chat: &ChatRef) -> Result<NextReply, StoreError> {
        match self {
            Self::Group(store) => store.next_reply(chat).await,
            Self::Own(central) => central.next_post(chat).await,
        }
    }

    /// ⑤ Takes the oldest; see [`GroupDb::lease`].
    pub async fn lease(&self, chat: &ChatRef, durable: bool) -> Result<NextReply, StoreError> {
        match self {
            Self::Group(store) => store.lease(chat, durable).await,
            Self::Own(central) => central.lease_post(chat).await,
        }
    }

    /// The channel took a piece of it; with the last it is ⑥ delivered.
    pub async fn sent(&self, reply: ReplyId, sent: Sent, last: bool) -> Result<(), StoreError> {
        match self {
            Self::Group(store) => store.sent(reply, sent, last).await,
            Self::Own(central) => central.post_sent(reply, sent, last).await,
        }
    }

    /// The channel did not take it, or may not have. Answers what becomes of it.
    pub async fn missed(&self, reply: ReplyId, miss: Miss, why: String) -> Result<Next, StoreError> {
        match self {
            Self::Group(store) => store.missed(reply, miss, why).await,
            Self::Own(central) => central.post_missed(reply, miss, why).await,
        }
    }

    /// What a turn shows, if anything.
    pub async fn shown(&self, turn: TurnId) -> Result<Option<ShownMessage>, StoreError> {
        match self {
            Self::Group(store) => store.shown(turn).await,
            Self::Own(_) => Ok(None),
        }
    }
}
