//! All that the desk asks of an arrival, in one look: of a busy home each look is a turn of the database's one thread.

use cofferdam_protocol::ids::Folder;
use rusqlite::{Savepoint, params};

use super::central::folder_of;
use super::late::{self, Ahead};
use super::people::{Known, known};
use super::wirings::{ChatRow, Wiring, known_chat, wirings_of};
use super::{Central, StoreError};
use crate::model::chat::ChatRef;

/// What is known of an arrival's sender and chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Who wrote, as far as anybody knows them.
    pub sender: Known,
    /// The chat, as far as it is known.
    pub chat: Option<ChatRow>,
    /// The chat's wirings, by group.
    pub wirings: Vec<Wiring>,
    /// The groups with which the arrival's thread goes on without being asked again.
    pub engaged: Vec<Folder>,
    /// What of the sender's waits.
    pub ahead: Ahead,
}

impl Central {
    /// Looks up an arrival's chat and sender.
    pub async fn look(&self, chat: &ChatRef, user_id: &str) -> Result<Looked, StoreError> {
        let (chat, user_id) = (chat.clone(), user_id.to_owned());
        self.db
            .read(move |tx| {
                let wirings = wirings_of(tx, &chat.channel, &chat.chat_id)?;
                let sticky = wirings.iter().any(|wiring| wiring.terms.sticky);
                Ok(Looked {
                    sender: known(tx, &chat.channel, &user_id)?,
                    chat: known_chat(tx, &chat.channel, &chat.chat_id)?,
                    engaged: if sticky { engaged(tx, &chat)? } else { Vec::new() },
                    ahead: late::ahead(tx, &chat, &user_id)?,
                    wirings,
                })
            })
            .await
    }
}

fn engaged(tx: &Savepoint<'_>, chat: &ChatRef) -> Result<Vec<Folder>, StoreError> {
    let Some(thread) = &chat.thread_id else { return Ok(Vec::new()) };
    let mut statement = tx.prepare_cached(
        "SELECT folder FROM engaged_threads WHERE channel = ?1 AND chat_id = ?2 AND thread_id = ?3",
    )?;
    let rows =
        statement.query_and_then(params![chat.channel, chat.chat_id, thread], |row| folder_of(row.get(0)?))?;
    rows.collect()
}
