//! What the channel looks up: who may call, and what is known of a call.

use std::fmt;

use async_trait::async_trait;
use reqwest::Url;
use secrecy::SecretString;

use crate::model::chat::ChatRef;

pub use super::forms::HookFormat;
pub use crate::model::channel::Came;
pub use crate::model::stand::{Answer, Stand};

/// The longest text that is kept of a fingerprint, in bytes: a thread, a blank and a SHA-256 in hex.
pub const MOST_KEPT: usize = 64 + 1 + 64;

/// A webhook.
#[derive(Clone)]
pub struct Hook {
    /// Its chat: `hook/NAME`, and more where one of its name was removed before.
    pub chat_id: String,
    /// What its callers sign with, and what its callbacks are signed with.
    pub secret: SecretString,
    /// Whose form its calls have.
    pub format: HookFormat,
    /// Where its replies are posted; none is nowhere.
    pub callback: Option<Url>,
    /// The events that are taken, where its form has any; none listed is all of them.
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
    /// Its name.
    pub name: String,
    /// Its chat: `key/NAME`, and more where one of its name was removed before.
    pub chat_id: String,
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

    /// What was kept of this fingerprint for the key with this chat: a thread, or another short text of the channel's.
    async fn thread_of(&self, chat_id: &str, fingerprint: [u8; 32]) -> Result<Option<String>, String>;

    /// Keeps a thread, or another text of at most [`MOST_KEPT`] bytes, in the place of what the fingerprint had. What was not
    /// read for months may be forgotten: its conversation then goes on in a fresh thread.
    async fn keep_thread(&self, chat_id: &str, fingerprint: [u8; 32], thread: &str) -> Result<(), String>;

    /// The same, unless something is kept: answers what is kept then. Of several at once one is the first.
    async fn keep_first(&self, chat_id: &str, fingerprint: [u8; 32], thread: &str) -> Result<String, String>;

    /// How a call with this signature and these words of what it is stands. The words, such as its id, are not signed, so who
    /// copies a call could send it again under others.
    async fn came(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<Came, String>;

    /// Notes that the call comes, before it is handed in. Answers no when the signature came with other words meanwhile, or
    /// the webhook is gone. Kept for months.
    async fn admits(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<bool, String>;

    /// Notes that what the call says was taken.
    async fn call_taken(&self, hook: &str, sha256_of_tag: [u8; 32]);

    /// A call was refused; counted as a drop, with this reason. The chat is `hook` or `key` when it is not known whose it was.
    async fn refused(&self, chat: &str, reason: &'static str);

    /// How the message with this id of the platform stands, in the chat and its thread.
    async fn answer(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, String>;
}
