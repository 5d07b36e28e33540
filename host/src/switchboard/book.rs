//! What an HTTP channel looks up, in the rows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::channels::http::book::{Book, Came, Hook, HookFormat, Key, Stand};
use crate::channels::http::shown;
use crate::error_chain;
use crate::gateway::accounts::Accounts;
use crate::model::chat::ChatRef;
use crate::store::channels::SecretOf;
use crate::store::hooks::{HookRow, HookSeals};
use crate::store::{StoreError, Stores};

/// How often the use of a key is noted.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// A secret, and what it was opened from.
type Opened = (Vec<u8>, SecretString);

/// The rows of one channel.
pub(super) struct Rows {
    channel: String,
    stores: Stores,
    secrets: Accounts,
    /// Webhooks' secrets and callbacks, by what they are for: the vault is asked once for each.
    opened: Mutex<HashMap<(String, String), Opened>>,
    /// When a key's use was noted.
    noted: Mutex<HashMap<String, Instant>>,
}

impl Rows {
    pub(super) fn new(channel: &str, stores: Stores, secrets: Accounts) -> Self {
        Self { channel: channel.to_owned(), stores, secrets, opened: Mutex::default(), noted: Mutex::default() }
    }

    async fn open(&self, of: SecretOf, sealed: Vec<u8>) -> Result<Option<SecretString>, String> {
        let entry = (of.purpose.clone(), of.name.clone());
        if let Some((from, secret)) = lock(&self.opened).get(&entry)
            && *from == sealed
        {
            return Ok(Some(secret.clone()));
        }
        let opened = self.secrets.open_other(of).await;
        let Some(secret) = opened.map_err(|error| error_chain(&error))? else { return Ok(None) };
        lock(&self.opened).insert(entry, (sealed, secret.clone()));
        Ok(Some(secret))
    }

    /// The address of a webhook's callback: what is sealed, or what the row had in the clear before that was done.
    async fn callback(&self, row: &HookRow, sealed: Option<Vec<u8>>) -> Result<Option<SecretString>, String> {
        let Some(kept) = &row.callback else { return Ok(None) };
        let name = &row.name;
        let address = match sealed {
            Some(sealed) => self.open(SecretOf::callback(&self.channel, name), sealed).await?,
            None => Some(kept.clone()).filter(|kept| shown(kept).as_ref() != Some(kept)).map(SecretString::from),
        };
        address.map(Some).ok_or_else(|| {
            format!("the callback address of the webhook '{name}' is not here: `cofferdam hook add` takes it again")
        })
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
        let Some((row, HookSeals { secret: Some(secret), callback })) = found else { return Ok(None) };
        let Some(secret) = self.open(SecretOf::hook(&self.channel, name), secret).await? else { return Ok(None) };
        let callback = self.callback(&row, callback).await?.map(|address| address.expose_secret().parse());
        let callback = callback.transpose();
        let callback = callback.map_err(|_| format!("the callback address of the webhook '{name}' is none"))?;
        let HookRow { chat_id, format, events, .. } = row;
        let format = HookFormat::parse(&format)
            .ok_or_else(|| format!("this Cofferdam does not know the form '{format}' of the webhook '{name}'"))?;
        Ok(Some(Hook { chat_id, secret, format, callback, events }))
    }

    async fn key(&self, sha256_of_key: [u8; 32]) -> Result<Option<Key>, String> {
        let row = self.stores.central().key(&self.channel, sha256_of_key).await;
        let row = row.map_err(|error| error_chain(&error))?;
        Ok(row.map(|row| Key {
            name: row.name,
            chat_id: row.chat_id,
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

    async fn thread_of(&self, chat_id: &str, fingerprint: [u8; 32]) -> Result<Option<String>, String> {
        let thread = self.stores.central().api_thread(&self.channel, chat_id, fingerprint).await;
        thread.map_err(|error| error_chain(&error))
    }

    async fn keep_thread(&self, chat_id: &str, fingerprint: [u8; 32], thread: &str) -> Result<(), String> {
        let kept = self.stores.central().keep_api_thread(&self.channel, chat_id, fingerprint, thread).await;
        kept.map_err(|error| error_chain(&error))
    }

    async fn keep_first(&self, chat_id: &str, fingerprint: [u8; 32], thread: &str) -> Result<String, String> {
        let kept = self.stores.central().keep_first_api_thread(&self.channel, chat_id, fingerprint, thread).await;
        kept.map_err(|error| error_chain(&error))
    }

    async fn came(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<Came, String> {
        let came = self.stores.central().call_came(&self.channel, hook, sha256_of_tag, call).await;
        came.map_err(|error| error_chain(&error))
    }

    async fn admits(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<bool, String> {
        let admits = self.stores.central().admits(&self.channel, hook, sha256_of_tag, call).await;
        admits.map_err(|error| error_chain(&error))
    }

    async fn call_taken(&self, hook: &str, sha256_of_tag: [u8; 32]) {
        if let Err(error) = self.stores.central().call_taken(&self.channel, hook, sha256_of_tag).await {
            tracing::warn!(hook, error = %error_chain(&error), "that a call was taken was not noted");
        }
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
