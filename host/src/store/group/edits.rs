//! What people change of what they wrote.

use rusqlite::{OptionalExtension, params};

use super::GroupDb;
use crate::model::chat::{ChatRef, FILE_NOTE};
use crate::model::command::MessageKind;
use crate::store::StoreError;
use crate::store::db::Durability;

impl GroupDb {
    /// Gives a message another text while nobody has read it: no turn had it, nor was offered it, and it is no question's
    /// answer. Only who wrote it can. What became of its files stays. Answers whether there is such a message.
    pub async fn edit(
        &self,
        chat: &ChatRef,
        platform_id: &str,
        sender_id: &str,
        text: &str,
    ) -> Result<bool, StoreError> {
        let key = (chat.channel.clone(), chat.chat_id.clone(), platform_id.to_owned(), sender_id.to_owned());
        let text = text.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                let found: Option<(i64, String)> = tx
                    .prepare_cached(
                        "SELECT id, text FROM inbox
                         WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3 AND sender_id = ?4 AND kind = ?5
                           AND state = 'pending' AND turn IS NULL AND NOT offered
                           AND NOT EXISTS (SELECT 1 FROM questions WHERE message = inbox.id)",
                    )?
                    .query_row(params![key.0, key.1, key.2, key.3, MessageKind::Message.as_str()], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()?;
                let Some((id, before)) = found else { return Ok(false) };
                let notes = before.find(FILE_NOTE).map_or("", |at| &before[at..]);
                tx.prepare_cached("UPDATE inbox SET text = ?1 WHERE id = ?2")?
                    .execute(params![format!("{text}{notes}"), id])?;
                Ok(true)
            })
            .await
    }
}
