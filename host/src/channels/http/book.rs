//! What the channel looks up: who may call, and what is known of a call.

use std::fmt;

use async_trait::async_trait;
use reqwest::Url;
use secrecy::SecretString;

use crate::model::chat::ChatRef;

pub use crate::model::channel::HookFormat;
pub use crate::model::stand::Stand;

/// A webhook.
#[derive(Clone)]
pub struct Hook {
    /// What its callers sign with, and what its callbacks are signed with.
    pub secret: SecretString,
    /// Whose form its calls have.
    pub format: HookFormat,
    /// Where its replies are posted; none is nowhere.
    pub callback: Option<Url>,
    /// The events of GitHub that are taken; none listed is all of them.
    pub events: Vec<String>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may have a token in it.
        let callback = self.callback.as_ref().map(|url| url.host_str().unwrap_or_default());
        f.debug_struct("Hook").field("format", &self.format).field("callback", &callback).finish_non_exhaustive()
    }
}

/// A key of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name; the chat is `key/NAME`.
    pub name: String,
    /// What callers call the agent.
    pub model: String,
    /// Until when it is good, ms since 1970.
    pub expires_at: Option<i64>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What the channel looks up and keeps. Errors are for people; a call that meets one can be made again.
#[async_trait]
pub trait Book: Send + Sync {
    /// The webhook of this name.
    async fn hook(&self, name: &str) -> Result<Option<Hook>, String>;

    /// The key with this SHA-256.
    async fn key(&self, sha256_of_key: [u8; 32]) -> Result<Option<Key>, String>;

    /// The key of this name was used.
    async fn used(&self, key: &str);

    /// What was kept of this fingerprint for the key: a thread, or another short text of the channel's.
    async fn thread_of(&self, key: &str, fingerprint: [u8; 32]) -> Result<Option<String>, String>;

    /// Keeps a thread, or another text of at most 64 bytes, in the place of what the fingerprint had. What was not read for
    /// months may be forgotten: its conversation then goes on in a fresh thread.
    async fn keep_thread(&self, key: &str, fingerprint: [u8; 32], thread: &str) -> Result<(), String>;

    /// Whether this signature may come with this call's id: it is new, or came with that id before. The id is not signed, so
    /// who copies a call could send it again under another one. Kept as long as [`Book::thread_of`]'s.
    async fn admits(&self, hook: &str, sha256_of_tag: [u8; 32], id: &str) -> Result<bool, String>;

    /// A call was refused; counted as a drop, with this reason. The chat is `hook` or `key` when it is not known whose it was.
    async fn refused(&self, chat: &str, reason: &'static str);

    /// How the message with this id of the platform stands, in the chat and its thread.
    async fn answer(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, String>;
}
