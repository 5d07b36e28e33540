//! What an HTTP channel looks up, in the rows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::SecretString;

use crate::channels::http::book::{Book, Hook, Key, Stand};
use crate::error_chain;
use crate::gateway::accounts::Accounts;
use crate::model::chat::ChatRef;
use crate::store::channels::SecretOf;
use crate::store::hooks::HookRow;
use crate::store::{StoreError, Stores};

/// How often the use of a key is noted.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// The rows of one channel.
pub(super) struct Rows {
    channel: String,
    stores: Stores,
    secrets: Accounts,
    /// Webhooks' secrets, each beside what it was opened from: the vault is asked once for each.
    opened: Mutex<HashMap<String, (Vec<u8>, SecretString)>>,
    /// When a key's use was noted.
    noted: Mutex<HashMap<String, Instant>>,
}

impl Rows {
    pub(super) fn new(channel: &str, stores: Stores, secrets: Accounts) -> Self {
        Self { channel: channel.to_owned(), stores, secrets, opened: Mutex::default(), noted: Mutex::default() }
    }

    async fn secret(&self, name: &str, sealed: Vec<u8>) -> Result<Option<SecretString>, String> {
        if let Some((from, secret)) = lock(&self.opened).get(name)
            && *from == sealed
        {
            return Ok(Some(secret.clone()));
        }
        let opened = self.secrets.open_other(SecretOf::hook(&self.channel, name)).await;
        let Some(secret) = opened.map_err(|error| error_chain(&error))? else { return Ok(None) };
        lock(&self.opened).insert(name.to_owned(), (sealed, secret.clone()));
        Ok(Some(secret))
    }

    /// Whether the use of a key is to be noted; from here on it counts as noted.
    fn is_to_note(&self, key: &str) -> bool {
        let mut noted = lock(&self.noted);
        let is_fresh = noted.get(key).is_some_and(|at| at.elapsed() < NOTED_EVERY);
        if !is_fresh {
            noted.insert(key.to_owned(), Instant::now());
        }
        !is_fresh
    }

    async fn stand(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, StoreError> {
        let mut stand = Stand::Unknown;
        for wiring in self.stores.central().wirings_of(&self.channel, &chat.chat_id).await? {
            let store = self.stores.group(&wiring.folder).await?;
            stand = stand.and(store.stand(chat, platform_id).await?);
        }
        Ok(stand)
    }
}

#[async_trait]
impl Book for Rows {
    async fn hook(&self, name: &str) -> Result<Option<Hook>, String> {
        let found = self.stores.central().hook(&self.channel, name).await.map_err(|error| error_chain(&error))?;
        let Some((row, Some(sealed))) = found else { return Ok(None) };
        let HookRow { format, callback, events, .. } = row;
        let Some(secret) = self.secret(name, sealed).await? else { return Ok(None) };
        let callback = callback.map(|url| url.parse()).transpose();
        let callback = callback.map_err(|_| format!("the callback address of the webhook '{name}' is none"))?;
        Ok(Some(Hook { secret, format, callback, events }))
    }

    async fn key(&self, sha256_of_key: [u8; 32]) -> Result<Option<Key>, String> {
        let row = self.stores.central().key(&self.channel, sha256_of_key).await;
        let row = row.map_err(|error| error_chain(&error))?;
        Ok(row.map(|row| Key {
            name: row.name,
            model: row.model,
            expires_at: row.expires_at,
            revoked: row.revoked_at.is_some(),
        }))
    }

    async fn used(&self, key: &str) {
        if !self.is_to_note(key) {
            return;
        }
        if let Err(error) = self.stores.central().key_used(&self.channel, key).await {
            tracing::warn!(key, error = %error_chain(&error), "the use of a key was not noted");
        }
    }

    async fn thread_of(&self, key: &str, fingerprint: [u8; 32]) -> Result<Option<String>, String> {
        let thread = self.stores.central().api_thread(&self.channel, key, fingerprint).await;
        thread.map_err(|error| error_chain(&error))
    }

    async fn keep_thread(&self, key: &str, fingerprint: [u8; 32], thread: &str) -> Result<(), String> {
        let kept = self.stores.central().keep_api_thread(&self.channel, key, fingerprint, thread).await;
        kept.map_err(|error| error_chain(&error))
    }

    async fn admits(&self, hook: &str, sha256_of_tag: [u8; 32], id: &str) -> Result<bool, String> {
        let admits = self.stores.central().admits(&self.channel, hook, sha256_of_tag, id).await;
        admits.map_err(|error| error_chain(&error))
    }

    async fn refused(&self, chat: &str, reason: &'static str) {
        tracing::info!(channel = self.channel, chat, reason, "a call was refused");
        if let Err(error) = self.stores.central().record_drop(&self.channel, chat, "", reason).await {
            tracing::warn!(chat, reason, error = %error_chain(&error), "a drop was not counted");
        }
    }

    async fn answer(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, String> {
        self.stand(chat, platform_id).await.map_err(|error| error_chain(&error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
