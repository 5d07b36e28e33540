//! Files that came with messages.

use cofferdam_protocol::ids::MessageId;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::GroupDb;
use super::claim::ClaimedMessage;
use crate::model::chat::{Attachment, ChatRef};
use crate::store::StoreError;

impl GroupDb {
    /// What came with a message that was accepted before, by the platform's id; none when it was not.
    pub async fn files_of_known(
        &self,
        chat: &ChatRef,
        platform_id: &str,
    ) -> Result<Option<Vec<Attachment>>, StoreError> {
        let (chat, platform_id) = (chat.clone(), platform_id.to_owned());
        self.db
            .read(move |tx| {
                let known: Option<i64> = tx
                    .prepare_cached(
                        "SELECT id FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3",
                    )?
                    .query_row(params![chat.channel, chat.chat_id, platform_id], |row| row.get(0))
                    .optional()?;
                known.map(|message| of_message(tx, MessageId(message))).transpose()
            })
            .await
    }
}

/// Part of ①: keeps what came with a message.
pub(super) fn attach(tx: &Savepoint<'_>, message: MessageId, files: &[Attachment]) -> Result<(), StoreError> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO attachments (message, name, path, bytes, image) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for file in files {
        insert.execute(params![message.0, file.name, file.path, file.bytes, file.image])?;
    }
    Ok(())
}

/// What came with a message, in order.
pub(super) fn of_message(tx: &Savepoint<'_>, message: MessageId) -> Result<Vec<Attachment>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT name, path, bytes, image FROM attachments WHERE message = ?1 ORDER BY id")?;
    let rows = statement.query_map([message.0], |row| {
        Ok(Attachment { name: row.get(0)?, path: row.get(1)?, bytes: row.get(2)?, image: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Part of ②: puts files to their messages.
pub(super) fn fill(tx: &Savepoint<'_>, messages: &mut [ClaimedMessage]) -> Result<(), StoreError> {
    for message in messages {
        message.files = of_message(tx, message.id)?;
    }
    Ok(())
}
