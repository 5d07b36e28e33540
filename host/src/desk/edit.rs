//! People change what they wrote. What nobody has read yet changes with it; what was read stays as it was read, without a word.

use cofferdam_protocol::ids::Folder;

use super::message::{Found, policy};
use super::{Desk, failed};
use crate::channels::{Arrival, NotTaken, Taken, Written};
use crate::error_chain;
use crate::model::chat::quoting;
use crate::model::own_command::Asks;
use crate::model::people::{Act, Role, UnknownPolicy};
use crate::router::MAX_MESSAGE_BYTES;
use crate::store::StoreError;

impl Desk {
    /// A message changed. Nothing but the text does: it wakes nobody whom it did not wake, and becomes no command.
    pub(super) async fn edit(&self, arrival: &Arrival, written: &Written) -> Result<Taken, NotTaken> {
        let found = self.find(arrival, &written.text).await.map_err(failed)?;
        let empty = written.text.trim().is_empty() && written.files.is_empty();
        if found.asks != Asks::Agent || empty || written.text.len() > MAX_MESSAGE_BYTES {
            return Ok(Taken::Known);
        }
        let central = self.inner.stores.central();
        let (chat, id, sender) = (&arrival.chat, &arrival.platform_id, &arrival.sender.id);
        let waits =
            central.edit_held(chat, id, sender, (&written.text, written.quote.as_deref())).await.map_err(failed)?;
        let changed = self.edit_in_groups(arrival, written, &found).await?;
        Ok(if waits || changed { Taken::Accepted } else { Taken::Known })
    }

    /// Changes it where it waits in an inbox, if its sender may still write there; one group's trouble keeps it from no other. Answers
    /// whether it does anywhere.
    pub(super) async fn edit_in_groups(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
    ) -> Result<bool, NotTaken> {
        let (mut changed, mut missed) = (false, Ok(()));
        for wiring in found.wirings.iter().filter(|wiring| may_write(arrival, found, &wiring.folder)) {
            match self.edit_in(&wiring.folder, arrival, written).await {
                Ok(here) => changed |= here,
                // What it has there is out of reach like all of the group's, and may come back as a backup has it.
                Err(error) if error.is_set_aside() => {
                    let error = error_chain(&error);
                    tracing::warn!(group = %wiring.folder, chat = %arrival.chat, error, "a change is not made there");
                }
                Err(error) => missed = missed.and(Err(failed(error))),
            }
        }
        missed.map(|()| changed)
    }

    async fn edit_in(&self, folder: &Folder, arrival: &Arrival, written: &Written) -> Result<bool, StoreError> {
        let store = self.inner.stores.group(folder).await?;
        let text = quoting(written.quote.as_deref(), &written.text);
        store.edit(&arrival.chat, &arrival.platform_id, &arrival.sender.id, &text).await
    }
}

/// Whether the sender may write to this group.
pub(super) fn may_write(arrival: &Arrival, found: &Found, folder: &Folder) -> bool {
    let public = (policy(arrival, found) == UnknownPolicy::Public).then_some(Role::Guest);
    found.sender.role(folder).max(public).is_some_and(|role| role.may(Act::Write))
}
