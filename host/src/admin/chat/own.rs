//! Commands that Cofferdam answers itself, in the terminal's chat: answered and done with the answer, waking nobody.

use std::sync::Arc;

use cofferdam_protocol::admin::ChatRequest;

use super::chat_of;
use crate::admin::Admin;
use crate::admin::error::Failed;
use crate::channels::terminal;
use crate::model::chat::Inbound;
use crate::model::own_command::{Asks, OwnCommand};
use crate::router::MAX_MESSAGE_BYTES;
use crate::store::GroupDb;
use crate::store::group::inbox::Accepted;
use crate::store::wirings::Wiring;

/// Such a command, and who listens in its chat: at least one.
pub(super) struct Own {
    command: OwnCommand,
    wirings: Vec<Wiring>,
}

/// The command that a message is, if it is one. In a chat without a group it is a message like any other, and dropped so.
pub(super) async fn asked(admin: &Admin, request: &ChatRequest) -> Result<Option<Own>, Failed> {
    let Asks::Own(command) = Asks::parse(&request.text) else { return Ok(None) };
    if request.text.len() > MAX_MESSAGE_BYTES {
        return Ok(None);
    }
    let chat = chat_of(request);
    let wirings = admin.stores.central().wirings_of(terminal::NAME, &chat.chat_id).await?;
    Ok((!wirings.is_empty()).then_some(Own { command, wirings }))
}

impl Own {
    /// Does it, once: the same message again finds its answer.
    pub(super) async fn done(self, admin: &Admin, message: Inbound) -> Result<(Arc<GroupDb>, Accepted), Failed> {
        let Self { command, wirings } = self;
        let Wiring { folder, terms, .. } = &wirings[0];
        let store = admin.stores.group(folder).await?;
        // With the message known, the words are not looked at.
        let words = if store.has_message(&message.chat, &message.platform_id).await? {
            String::new()
        } else {
            admin.desk.owners_command(&message.chat, &message.platform_id, &wirings, &command).await?
        };
        let key = terms.session_mode.session_key(&message.chat);
        Ok(admin.stores.accept_answered(folder, message, key, words).await?)
    }
}
