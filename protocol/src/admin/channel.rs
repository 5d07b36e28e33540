//! Channels: chat platforms.

use serde::{Deserialize, Serialize};

use super::Hidden;

/// A channel as it is shown: nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name in wirings.
    pub name: String,
    /// Its kind: the name of one of `GET /v1/channel-kinds`, unless this program does not know it.
    pub kind: String,
    /// It has webhooks and keys: programs call it, and people do not write there.
    #[serde(default)]
    pub programs: bool,
    /// Its settings.
    pub settings: serde_json::Value,
    /// How it stands: `connecting`, `connected`, `waiting`, `stopped`, or `off` when no daemon serves it.
    pub state: String,
    /// Why it waits or stopped.
    #[serde(default)]
    pub why: Option<String>,
    /// When it tries again: RFC 3339, UTC.
    #[serde(default)]
    pub again_at: Option<String>,
}

/// Adds a channel or changes one: the body of `PUT /v1/channels/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelPut {
    /// Its kind; that of a channel that is there does not change.
    pub kind: String,
    /// Its settings; none keeps what is there.
    #[serde(default)]
    pub settings: Option<serde_json::Value>,
    /// Its secret, such as a bot's token; none keeps what is there.
    #[serde(default)]
    pub secret: Option<Hidden>,
}

/// What a channel's platform said when it was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChannelTested {
    /// Who the channel is there, for people.
    pub words: String,
    /// What to do after it was added, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A kind of channel that there is: one of `GET /v1/channel-kinds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelKind {
    /// Its name, as [`ChannelPut::kind`] has it.
    pub name: String,
    /// What its channels are, for people.
    #[serde(default)]
    pub about: String,
    /// A channel of it cannot be without this secret, such as "a bot's token"; none: it can.
    #[serde(default)]
    pub needs: Option<String>,
    /// Its channels have webhooks and keys: programs call them.
    #[serde(default)]
    pub programs: bool,
    /// The command that adds one, for people.
    #[serde(default)]
    pub example: String,
}

/// A secret that is to be given again after a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSecret {
    /// Whose, and what does not work without it.
    pub what: String,
    /// What to do.
    pub mend: String,
}
