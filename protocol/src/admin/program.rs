//! Programs that call agents over HTTP: webhooks, and keys of the API.

use serde::{Deserialize, Serialize};

use super::Hidden;
use crate::ids::Folder;

/// A webhook as it is shown: nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its channel.
    pub channel: String,
    /// Its name.
    pub name: String,
    /// Its chat: `hook/NAME`, or `hook/NAME/2` and so on where one of the name was removed.
    pub chat: String,
    /// The groups that its calls reach.
    pub groups: Vec<Folder>,
    /// Whose form its calls have: `plain` or `github`.
    pub format: String,
    /// Whether its calls are of events, of which some may be chosen.
    #[serde(default)]
    pub has_events: bool,
    /// The events that are taken; none listed is all of them.
    pub events: Vec<String>,
    /// Where its replies are posted: scheme and host, as the rest may be a secret.
    #[serde(default)]
    pub callback: Option<String>,
    /// Where it is called, as this machine reaches it.
    pub url: String,
}

/// Adds a webhook or changes one: the body of `PUT /v1/channels/{channel}/hooks/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookPut {
    /// The group that its calls reach.
    pub group: Folder,
    /// Whose form its calls have: `plain` or `github`; none keeps what is there, or is `plain`.
    #[serde(default)]
    pub format: Option<String>,
    /// The events that are taken, where the form has any; an empty list is all of them. None keeps what is there.
    #[serde(default)]
    pub events: Option<Vec<String>>,
    /// Where its replies are posted; an address may have a token in it. None keeps what is there.
    #[serde(default)]
    pub callback: Option<Hidden>,
    /// Its replies are posted nowhere any more.
    #[serde(default)]
    pub no_callback: bool,
    /// What its calls are signed with; none keeps what is there, or makes one.
    #[serde(default)]
    pub secret: Option<Hidden>,
    /// Makes a fresh secret in the place of the one that is there.
    #[serde(default)]
    pub fresh_secret: bool,
}

/// A webhook that was added or changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HookMade {
    /// It.
    pub hook: Hook,
    /// Its secret when one was made: it is shown this once.
    #[serde(default)]
    pub secret: Option<Hidden>,
}

/// A key as it is shown; the key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its channel.
    pub channel: String,
    /// Its name.
    pub name: String,
    /// Its chat: `key/NAME`, or `key/NAME/2` and so on where one of the name was removed.
    pub chat: String,
    /// The groups that its calls reach.
    pub groups: Vec<Folder>,
    /// What the API calls its agent.
    pub model: String,
    /// `good`, `expired` or `revoked`.
    pub state: String,
    /// Until when it is good: RFC 3339, UTC; none is for ever.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// When it was used last, to the minute: RFC 3339, UTC.
    #[serde(default)]
    pub used_at: Option<String>,
    /// When it was made: RFC 3339, UTC.
    pub created_at: String,
    /// The API's base address, as this machine reaches it.
    pub url: String,
}

/// A new key: the body of `POST /v1/channels/{channel}/keys/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyNew {
    /// The group that its calls reach.
    pub group: Folder,
    /// What the API calls its agent; none is the group's name.
    #[serde(default)]
    pub model: Option<String>,
    /// For how many days it is good; none is for ever.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A key that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKeyMade {
    /// How it is shown from here on.
    pub shown: ApiKey,
    /// It: shown this once.
    pub key: Hidden,
}
