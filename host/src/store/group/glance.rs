//! How a conversation stands, in one look.

use rusqlite::{OptionalExtension, params};

use super::GroupDb;
use crate::model::chat::ChatRef;
use crate::store::StoreError;

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// A turn runs.
    pub running: bool,
    /// Messages that wait.
    pub waiting: u64,
    /// When messages that failed are tried again, ms.
    pub retry_at: Option<i64>,
    /// A question waits for an answer.
    pub question: bool,
    /// The model that was chosen in the chat.
    pub model: Option<String>,
    /// The effort that was chosen in the chat.
    pub effort: Option<String>,
    /// Input tokens since the last compaction.
    pub tokens: i64,
    /// The last start failed so.
    pub start_error: Option<String>,
}

impl Glance {
    /// It in one line.
    pub fn words(&self) -> String {
        let mut parts = vec![match (self.question, self.running) {
            (true, _) => "waits for your answer".to_owned(),
            (false, true) => "works".to_owned(),
            (false, false) => "is idle".to_owned(),
        }];
        match self.waiting {
            0 => {}
            1 => parts.push("1 message waits".to_owned()),
            many => parts.push(format!("{many} messages wait")),
        }
        if let Some(at) = self.retry_at {
            parts.push(format!("tries again at {}", crate::store::rfc3339(at)));
        }
        if let Some(error) = &self.start_error {
            parts.push(format!("its last start failed: {error}"));
        }
        parts.extend(self.model.as_ref().map(|model| format!("model {model}")));
        parts.extend(self.effort.as_ref().map(|effort| format!("effort {effort}")));
        parts.push(format!("{} tokens since the last compaction", self.tokens));
        parts.join(" · ")
    }
}

impl GroupDb {
    /// The conversation with this session key.
    pub async fn glance(&self, key: String) -> Result<Option<Glance>, StoreError> {
        self.db
            .read(move |tx| {
                let now = crate::store::now_ms();
                Ok(tx
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM turns WHERE session = s.id AND state = 'running'),
                                (SELECT count(*) FROM inbox WHERE session = s.id AND state = 'pending'),
                                (SELECT min(due_at) FROM inbox WHERE session = s.id AND state = 'pending' AND due_at > ?2),
                                EXISTS (SELECT 1 FROM questions WHERE session = s.id AND state = 'open' AND expires_at > ?2),
                                model, effort, since_compaction, start_error
                         FROM sessions AS s WHERE key = ?1",
                    )?
                    .query_row(params![key, now], |row| {
                        Ok(Glance {
                            running: row.get(0)?,
                            waiting: row.get(1)?,
                            retry_at: row.get(2)?,
                            question: row.get(3)?,
                            model: row.get(4)?,
                            effort: row.get(5)?,
                            tokens: row.get(6)?,
                            start_error: row.get(7)?,
                        })
                    })
                    .optional()?)
            })
            .await
    }

    /// Whether a message is in the inbox, by the platform's id.
    pub async fn has_message(&self, chat: &ChatRef, platform_id: &str) -> Result<bool, StoreError> {
        let (chat, platform_id) = (chat.clone(), platform_id.to_owned());
        self.db
            .read(move |tx| {
                let sql =
                    "SELECT EXISTS (SELECT 1 FROM inbox WHERE channel = ?1 AND chat_id = ?2 AND platform_id = ?3)";
                let key = params![chat.channel, chat.chat_id, platform_id];
                Ok(tx.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
            })
            .await
    }
}
