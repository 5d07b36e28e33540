//! Who channels are at their platforms, also those that were taken away.

use rusqlite::{Connection, OptionalExtension, params};

use super::db::Durability;
use super::{Central, StoreError};

impl Central {
    /// Who the channel of this name is, or was, at its platform.
    pub async fn identity(&self, channel: &str) -> Result<Option<String>, StoreError> {
        let channel = channel.to_owned();
        self.db.read(move |tx| identity(tx, &channel)).await
    }

    /// Notes who it is.
    pub async fn put_identity(&self, channel: &str, identity: String) -> Result<(), StoreError> {
        let channel = channel.to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute(
                    "INSERT INTO channel_identities (channel, identity) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET identity = excluded.identity",
                    params![channel, identity],
                )?;
                Ok(())
            })
            .await
    }
}

pub(super) fn identity(conn: &Connection, channel: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT identity FROM channel_identities WHERE channel = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([channel], |row| row.get(0)).optional()?)
}
