//! A chat that its platform gave another id: all that the group has of it, in one commit. Doing it again changes nothing.

use rusqlite::{Savepoint, params};

use super::GroupDb;
use crate::model::chat::Move;
use crate::store::StoreError;
use crate::store::db::Durability;

impl GroupDb {
    /// Moves what the group has of a chat: its conversations go on under the new id. Nobody may be handing a reply over there.
    /// What the platform knew its messages by is forgotten, as it numbers anew: nothing of before is changed or reacted to.
    pub async fn move_chat(&self, chat: Move) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                sessions(tx, &chat)?;
                let ids = [&chat.channel, &chat.from, &chat.to];
                // See `Move::message`.
                for table in ["inbox", "context"] {
                    let sql = format!(
                        "UPDATE OR IGNORE {table} SET chat_id = ?3, platform_id = ?2 || '/' || platform_id
                         WHERE channel = ?1 AND chat_id = ?2"
                    );
                    tx.execute(&sql, ids)?;
                }
                tx.execute(
                    "UPDATE outbox SET chat_id = ?3,
                         sent = CASE WHEN json_valid(sent) THEN (SELECT json_group_array(NULL) FROM json_each(outbox.sent)) END,
                         action = CASE WHEN state <> 'delivered' AND json_type(action, '$.react') = 'object'
                             THEN json_set(action, '$.react.platform_id',
                                           ?2 || '/' || json_extract(action, '$.react.platform_id'))
                             ELSE action END
                     WHERE channel = ?1 AND chat_id = ?2",
                    ids,
                )?;
                tx.execute("UPDATE questions SET chat_id = ?3 WHERE channel = ?1 AND chat_id = ?2", ids)?;
                tx.execute("DELETE FROM shown WHERE channel = ?1 AND chat_id = ?2", [&chat.channel, &chat.from])?;
                Ok(())
            })
            .await
    }
}

fn sessions(tx: &Savepoint<'_>, chat: &Move) -> Result<(), StoreError> {
    let Move { channel, from, to } = chat;
    let found: Vec<(String, String)> = tx
        .prepare("SELECT id, key FROM sessions WHERE channel = ?1 AND chat_id = ?2")?
        .query_map([channel, from], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, key) in found {
        tx.execute("UPDATE sessions SET chat_id = ?2 WHERE id = ?1", [&id, to])?;
        let Some(key) = chat.session_key(&key) else { continue };
        // Where somebody wrote under the new id before we knew, that conversation goes on.
        if tx.execute("UPDATE OR IGNORE sessions SET key = ?2 WHERE id = ?1", params![id, key])? == 0 {
            tracing::warn!(session = id, from, to, "the chat had a conversation under its new id already");
        }
    }
    Ok(())
}
