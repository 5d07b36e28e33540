//! From a channel's message to a group's inbox.

use std::sync::Arc;

use cofferdam_protocol::ids::Folder;

use crate::model::chat::Inbound;
use crate::model::command::Command;
use crate::store::central::Wiring;
use crate::store::group::inbox::Accepted;
use crate::store::{GroupDb, StoreError, Stores};

/// The largest message that is accepted, in bytes.
pub use cofferdam_protocol::admin::MAX_MESSAGE_BYTES;

/// What to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Into this group's inbox, for the session with this key.
    Accept {
        /// The group.
        folder: Folder,
        /// The session's key within the group.
        session_key: String,
        /// What it asks of Cofferdam itself; none is for the agent.
        command: Option<Command>,
    },
    /// Not at all; the reason is counted.
    Drop(DropReason),
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// No wiring for its chat (invariant 5: absent policy means drop).
    Unwired,
    /// No text in it, and no file with it.
    Empty,
    /// Over [`MAX_MESSAGE_BYTES`].
    TooLarge,
}

impl DropReason {
    /// The reason as it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unwired => "unwired",
            Self::Empty => "empty",
            Self::TooLarge => "too-large",
        }
    }
}

/// Decides; pure.
pub fn decide(message: &Inbound, wiring: Option<&Wiring>) -> Decision {
    let wiring = match admitted(message, !message.files.is_empty(), wiring) {
        Ok(wiring) => wiring,
        Err(reason) => return Decision::Drop(reason),
    };
    Decision::Accept {
        folder: wiring.folder.clone(),
        session_key: wiring.session_mode.session_key(&message.chat),
        command: Command::parse(&message.text),
    }
}

/// The wiring that takes a message, with or without files.
fn admitted<'w>(message: &Inbound, files: bool, wiring: Option<&'w Wiring>) -> Result<&'w Wiring, DropReason> {
    let wiring = wiring.ok_or(DropReason::Unwired)?;
    if message.text.trim().is_empty() && !files {
        return Err(DropReason::Empty);
    }
    if message.text.len() > MAX_MESSAGE_BYTES {
        return Err(DropReason::TooLarge);
    }
    Ok(wiring)
}

/// Looks at a message whose files are yet to be put into the workspace: if it is to be dropped, they are not, and the
/// drop is counted.
pub async fn before_files(stores: &Stores, message: &Inbound) -> Result<Option<DropReason>, StoreError> {
    let wiring = stores.central().wiring(&message.chat.channel, &message.chat.chat_id).await?;
    let Err(reason) = admitted(message, true, wiring.as_ref()) else { return Ok(None) };
    drop_it(stores, message, reason).await?;
    Ok(Some(reason))
}

async fn drop_it(stores: &Stores, message: &Inbound, reason: DropReason) -> Result<(), StoreError> {
    tracing::info!(chat = %message.chat, reason = reason.as_str(), "dropped");
    stores.central().record_drop(&message.chat.channel, &message.chat.chat_id, reason.as_str()).await
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

/// Decides on a message and does it.
pub async fn receive(stores: &Stores, message: Inbound) -> Result<Routed, StoreError> {
    let wiring = stores.central().wiring(&message.chat.channel, &message.chat.chat_id).await?;
    match decide(&message, wiring.as_ref()) {
        Decision::Accept { folder, session_key, command } => {
            let (store, accepted) = match stores.accept(&folder, message, session_key, command).await {
                Err(StoreError::Full(waiting)) => {
                    tracing::debug!(group = %folder, waiting, "held back");
                    return Ok(Routed::Full(waiting));
                }
                accepted => accepted?,
            };
            tracing::debug!(group = %folder, session = %accepted.session, message = %accepted.message, "accepted");
            Ok(Routed::Accepted(store, accepted))
        }
        Decision::Drop(reason) => {
            drop_it(stores, &message, reason).await?;
            Ok(Routed::Dropped(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::{ChatRef, SessionMode};

    fn message(text: &str) -> Inbound {
        Inbound {
            chat: ChatRef { channel: "terminal".into(), chat_id: "demo".into(), thread_id: None },
            platform_id: "1".into(),
            sender: "me".into(),
            text: text.into(),
            output_schema: None,
            files: Vec::new(),
        }
    }

    fn wiring() -> Wiring {
        Wiring {
            channel: "terminal".into(),
            chat_id: "demo".into(),
            folder: "demo".parse().unwrap(),
            session_mode: SessionMode::Shared,
            progress: true,
        }
    }

    #[test]
    fn an_unwired_chat_reaches_nobody() {
        assert_eq!(decide(&message("hi"), None), Decision::Drop(DropReason::Unwired));
    }

    #[test]
    fn what_cannot_be_answered_is_dropped_with_its_reason() {
        assert_eq!(decide(&message(" \n"), Some(&wiring())), Decision::Drop(DropReason::Empty));
        let long = "x".repeat(MAX_MESSAGE_BYTES + 1);
        assert_eq!(decide(&message(&long), Some(&wiring())), Decision::Drop(DropReason::TooLarge));
    }

    #[test]
    fn files_are_enough_but_excuse_no_other_fault() {
        let wiring = wiring();
        assert_eq!(admitted(&message(""), true, Some(&wiring)).err(), None);
        let long = message(&"x".repeat(MAX_MESSAGE_BYTES + 1));
        assert_eq!(admitted(&long, true, Some(&wiring)).err(), Some(DropReason::TooLarge));
        assert_eq!(admitted(&message("hi"), true, None).err(), Some(DropReason::Unwired));
    }

    #[test]
    fn a_wired_chat_reaches_its_group() {
        assert!(matches!(decide(&message("hi"), Some(&wiring())), Decision::Accept { .. }));
    }

    #[test]
    fn a_command_is_told_from_a_message() {
        let asks = |text: &str| match decide(&message(text), Some(&wiring())) {
            Decision::Accept { command, .. } => command,
            Decision::Drop(reason) => panic!("{reason:?}"),
        };
        assert_eq!(asks(" /Stop "), Some(Command::Stop));
        assert_eq!(asks("/review the code"), None, "the agent's");
    }
}
