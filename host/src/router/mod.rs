//! From a channel's message to a group's inbox: [`decide`](decide::decide) is pure, ① [`accept`] does it.

pub mod decide;

use std::sync::Arc;

use cofferdam_protocol::ids::Folder;

use crate::model::chat::{ChatKind, Inbound, SessionMode};
use crate::model::command::Command;
use crate::model::own_command::Asks;
use crate::model::people::{Role, UnknownPolicy};
use crate::store::group::inbox::Accepted;
use crate::store::wirings::Wiring;
use crate::store::{GroupDb, StoreError, Stores};

use decide::{Decision, Fate, Listener, Said, decide};

/// The largest message that is accepted, in bytes.
pub use cofferdam_protocol::admin::MAX_MESSAGE_BYTES;

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// No wiring for its chat (invariant 5: absent policy means drop).
    Unwired,
    /// No text in it, and no file with it.
    Empty,
    /// Over [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// Nobody knows its sender, and the chat's policy does not let them in.
    UnknownSender,
    /// Its sender's role does not allow what it asks for.
    AboveRole,
    /// It woke nobody, and its wirings keep no others.
    NotEngaged,
    /// Its sender was refused.
    Denied,
    /// Its sender writes faster than is read.
    Flood,
    /// So much of its chat waits to be taken that its channel keeps no more.
    Backlog,
    /// So many approvals wait, or so many of its messages are held, that no more are.
    TooManyAsk,
    /// A button that is none of ours, or not this person's, or was decided before.
    BadPress,
    /// A pairing code that opens nothing.
    BadCode,
}

impl DropReason {
    /// The reason as it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unwired => "unwired",
            Self::Empty => "empty",
            Self::TooLarge => "too-large",
            Self::UnknownSender => "unknown-sender",
            Self::AboveRole => "above-role",
            Self::NotEngaged => "not-engaged",
            Self::Denied => "denied",
            Self::Flood => "flood",
            Self::Backlog => "backlog",
            Self::TooManyAsk => "too-many-ask",
            Self::BadPress => "bad-press",
            Self::BadCode => "bad-code",
        }
    }
}

/// Looks at a message whose files are yet to be put into the workspace: if it is to be dropped, they are not, and the
/// drop is counted.
pub async fn before_files(stores: &Stores, message: &Inbound) -> Result<Option<DropReason>, StoreError> {
    let Err(reason) = owners(stores, message, true).await? else { return Ok(None) };
    drop_it(stores, message, reason).await?;
    Ok(Some(reason))
}

async fn drop_it(stores: &Stores, message: &Inbound, reason: DropReason) -> Result<(), StoreError> {
    tracing::info!(chat = %message.chat, reason = reason.as_str(), "dropped");
    let chat = &message.chat;
    stores.central().record_drop(&chat.channel, &chat.chat_id, "", reason.as_str()).await.map(drop)
}

/// What became of a message.
#[derive(Clone)]
pub enum Routed {
    /// ① It is in the inbox, durably. The caller tells the supervisor.
    Accepted(Arc<GroupDb>, Accepted),
    /// It was dropped, and the drop counted.
    Dropped(DropReason),
    /// So many messages of its session wait that it was not taken: the channel holds it back and hands it in later.
    Full(u64),
}

/// Decides on a message of somebody who owns the home, as everybody at the admin socket does, and does it. Cofferdam's own
/// commands are not for here.
pub async fn receive(stores: &Stores, message: Inbound) -> Result<Routed, StoreError> {
    let (wiring, asks) = match owners(stores, &message, false).await? {
        Ok(found) => found,
        Err(reason) => {
            drop_it(stores, &message, reason).await?;
            return Ok(Routed::Dropped(reason));
        }
    };
    let command = match asks {
        Asks::Conversation(command) => Some(command),
        Asks::Agent | Asks::Own(_) => None,
    };
    accept(stores, &wiring.folder, wiring.terms.session_mode, message, command).await
}

/// ① Puts a message into a group's inbox.
pub async fn accept(
    stores: &Stores,
    folder: &Folder,
    mode: SessionMode,
    message: Inbound,
    command: Option<Command>,
) -> Result<Routed, StoreError> {
    let key = mode.session_key(&message.chat);
    let (store, accepted) = match stores.accept(folder, message, key, command).await {
        Err(StoreError::Full(waiting)) => {
            tracing::debug!(group = %folder, waiting, "held back");
            return Ok(Routed::Full(waiting));
        }
        accepted => accepted?,
    };
    tracing::debug!(group = %folder, session = %accepted.session, message = %accepted.message, "accepted");
    Ok(Routed::Accepted(store, accepted))
}

/// What the owner's message asks for, and of which group.
async fn owners(
    stores: &Stores,
    message: &Inbound,
    files: bool,
) -> Result<Result<(Wiring, Asks), DropReason>, StoreError> {
    let mut wirings = stores.central().wirings_of(&message.chat.channel, &message.chat.chat_id).await?;
    let asks = match Asks::parse(&message.text) {
        Asks::Own(_) => Asks::Agent,
        asks => asks,
    };
    let said = Said {
        kind: ChatKind::Direct,
        addressed: true,
        asks: &asks,
        empty: message.text.trim().is_empty() && !files && message.files.is_empty(),
        too_large: message.text.len() > MAX_MESSAGE_BYTES,
    };
    let listeners: Vec<Listener> = wirings.iter().map(|wiring| listener(wiring, Some(Role::Owner))).collect();
    Ok(match decide(said, UnknownPolicy::Drop, Some(Role::Owner), &listeners) {
        Decision::Drop(reason) => Err(reason),
        Decision::Own | Decision::AskWiring => Err(DropReason::Unwired),
        Decision::Groups(fates) => match fates.iter().position(|fate| *fate == Fate::Accept) {
            Some(at) => Ok((wirings.swap_remove(at), asks)),
            None => Err(DropReason::NotEngaged),
        },
    })
}

/// A wiring as it listens; what depends on the message is the caller's to say.
pub fn listener(wiring: &Wiring, role: Option<Role>) -> Listener {
    Listener {
        folder: wiring.folder.clone(),
        session_mode: wiring.terms.session_mode,
        engage: wiring.terms.engage,
        fits: false,
        goes_on: false,
        others: wiring.terms.others,
        role,
    }
}

#[cfg(test)]
mod tests;
