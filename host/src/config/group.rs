//! `container.json`: what a group's sessions run in.
//!
//! The file is the one source; everything is checked while it is read, so an error knows its key and line. A file
//! that does not pass changes nothing: callers keep what they had.

use std::collections::BTreeMap;
use std::path::Path;

use cofferdam_protocol::ids::{AccountName, Folder};
use cofferdam_protocol::runner::ProviderKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::conversation::{Compaction, DuringTurn};
use super::credentials::Credentials;
use super::home::Home;
use super::mcp::{self, McpServers};
use super::network::Network;
use super::pool::{GroupPool, Serving};
use super::{ConfigError, read, values, zone};

/// The largest `container.json`, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// A group's settings, as its `container.json` gives them. Every key has a default, so `{}` is a valid file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Cofferdam container.json")]
pub struct GroupConfig {
    /// The schema for editors; Cofferdam ignores it.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Which coding agent answers: `codex`, or `mock`, which answers at once by itself and is for tests.
    #[schemars(with = "Provider")]
    pub provider: ProviderKind,
    /// The account that serves its model calls; without it the host's default account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 32), regex(pattern = "^[a-z0-9][a-z0-9-]*$"))]
    pub account: Option<AccountName>,
    /// Who stands in for its account.
    #[serde(deserialize_with = "values::object", skip_serializing_if = "is_default")]
    pub pool: GroupPool,
    /// What a session's container reaches besides its door: `none`, or `open`, which is all that this machine reaches, and its
    /// own ports too: what the agent reads can leave, and nothing looks at it.
    pub network: Network,
    /// What of that account's credential a session's container has.
    #[serde(deserialize_with = "values::object")]
    pub credentials: Credentials,
    /// The model's name; without it the account's default, or else the provider's.
    #[serde(deserialize_with = "values::model", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"))]
    pub model: Option<String>,
    /// How much the model thinks; without it the model's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Another image than Cofferdam's own. It must have the runner and the agent where the own one has them.
    #[serde(deserialize_with = "values::image", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"))]
    pub image: Option<String>,
    /// What a session's container may use.
    #[serde(deserialize_with = "values::object")]
    pub limits: Limits,
    /// When Cofferdam stops waiting.
    #[serde(deserialize_with = "values::object")]
    pub timeouts: Timeouts,
    /// Environment variables in the container. The agent can read all of them: no place for secrets.
    #[serde(deserialize_with = "values::environment")]
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}))]
    pub environment: BTreeMap<String, String>,
    /// Servers that offer tools to the agent, by name, as Claude Desktop and Cursor write them.
    #[serde(rename = "mcpServers", deserialize_with = "mcp::written::servers")]
    #[schemars(
        with = "BTreeMap<String, mcp::written::Written>",
        extend("propertyNames" = {"pattern": "^[A-Za-z0-9_-]{1,64}$"})
    )]
    pub mcp_servers: McpServers,
    /// When a session's conversation is summed up to make room.
    #[serde(deserialize_with = "values::object")]
    pub compaction: Compaction,
    /// What happens to messages that come while a turn runs: `queue`, they wait for the next one; `steer`, they go
    /// into the running one.
    pub during_turn: DuringTurn,
    /// The time zone in which the agent is told when a message came, such as `Europe/Berlin`; without it the host's.
    #[serde(deserialize_with = "zone::name", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

// The schema's view of [`ProviderKind`], whose own crate does not know schemas; a test holds them together.
/// Which coding agent answers.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Provider {
    /// `codex app-server`.
    Codex,
    /// Answers at once by itself; for tests.
    Mock,
}

// Codex passes the word to the model; these are the ones its bundled models (0.169.0) list, and the older `minimal`.
/// How much the model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Hardly any.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much.
    Xhigh,
    /// Nearly without end; few models.
    Max,
    /// The most; few models.
    Ultra,
}

impl Effort {
    /// The word that the provider takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
            Self::Ultra => "ultra",
        }
    }
}

/// What a session's container may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most memory, in MiB; swap is off. A ceiling for builds and tests: an idle session uses a few tens.
    #[serde(deserialize_with = "values::within::<64, 1_048_576, _>")]
    #[schemars(range(min = 64, max = 1_048_576))]
    pub memory_mb: u64,
    /// The most processor time, in cores; fractions are fine.
    #[serde(deserialize_with = "values::cpus")]
    #[schemars(range(min = 0.05, max = 1024))]
    pub cpus: f64,
    /// The most processes and threads. The agent itself needs about 40.
    #[serde(deserialize_with = "values::within::<64, 32_768, _>")]
    #[schemars(range(min = 64, max = 32_768))]
    pub pids: u64,
    /// The size of `/tmp`, in MiB; what lies there counts as memory.
    #[serde(deserialize_with = "values::within::<1, 65_536, _>")]
    #[schemars(range(min = 1, max = 65_536))]
    pub tmp_mb: u64,
}

/// When Cofferdam stops waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// A container without work stops after so many seconds; the next message starts it again.
    #[serde(deserialize_with = "values::within::<1, 604_800, _>")]
    #[schemars(range(min = 1, max = 604_800))]
    pub idle_secs: u64,
    /// A turn in which nothing moves for so many seconds ends with an error notice. Work that moves has no limit.
    #[serde(deserialize_with = "values::within::<1, 86_400, _>")]
    #[schemars(range(min = 1, max = 86_400))]
    pub silence_secs: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            schema: None,
            provider: ProviderKind::Codex,
            account: None,
            pool: GroupPool::default(),
            network: Network::default(),
            credentials: Credentials::default(),
            model: None,
            effort: None,
            image: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            environment: BTreeMap::new(),
            mcp_servers: McpServers::new(),
            compaction: Compaction::default(),
            during_turn: DuringTurn::default(),
            time_zone: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mb: 2048, cpus: 2.0, pids: 512, tmp_mb: 512 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { idle_secs: 900, silence_secs: 600 }
    }
}

fn is_default(pool: &GroupPool) -> bool {
    *pool == GroupPool::default()
}

impl GroupConfig {
    /// What the calls of its sessions are served by.
    pub fn serving(&self) -> Serving {
        Serving { account: self.account.clone(), pool: self.pool.clone() }
    }
}

/// A group's settings and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedGroup {
    /// The settings.
    pub config: GroupConfig,
    /// SHA-256 of the file's bytes, hex: tells whether the file changed.
    pub hash: String,
    /// The file as it was written, in its own order and without defaults.
    pub raw: serde_json::Value,
}

impl GroupConfig {
    /// Reads the text of a `container.json`; `path` is for the error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        if text.trim().is_empty() {
            return Err(ConfigError::new(path, "it is empty").with_hint("`{}` is enough: every key has a default"));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let mut track = serde_path_to_error::Track::new();
        let config: Self = values::object(serde_path_to_error::Deserializer::new(&mut json, &mut track))
            .map_err(|error| json_error(path, &track.path().to_string(), &error))?;
        json.end().map_err(|error| json_error(path, "", &error))?;
        config.credentials.check(config.network, path)?;
        Ok(config)
    }

    /// The JSON Schema of the file, for editors.
    pub fn schema() -> String {
        // Serialising it can only fail for keys that are not text, and it has none.
        serde_json::to_string_pretty(&schemars::schema_for!(Self)).unwrap_or_default() + "\n"
    }

    /// The zone in which its people's times are told.
    pub fn zone(&self) -> jiff::tz::TimeZone {
        zone::zone(self.time_zone.as_deref())
    }

    /// Reads a group's `container.json`.
    pub fn load(home: &Home, folder: &Folder) -> Result<LoadedGroup, ConfigError> {
        check_folder(home, folder)?;
        let path = home.container_json(folder);
        let Some(text) = read::text_file(&path, MAX_BYTES)? else {
            let (problem, hint) = if home.group(folder).is_dir() {
                ("there is no such file", format!("`cofferdam group add {folder}` makes one; `{{}}` is enough"))
            } else {
                ("the group's folder is not there", format!("`cofferdam group add {folder}` makes it"))
            };
            return Err(ConfigError { missing: true, ..ConfigError::new(&path, problem).with_hint(hint) });
        };
        let config = Self::parse(&text, &path)?;
        let raw = serde_json::from_str(&text).map_err(|error| json_error(&path, "", &error))?;
        Ok(LoadedGroup { config, hash: hex(&Sha256::digest(text.as_bytes())), raw })
    }
}

/// Refuses the folder of what all groups share as a group.
pub fn check_folder(home: &Home, folder: &Folder) -> Result<(), ConfigError> {
    if home.group(folder) != home.shared() {
        return Ok(());
    }
    let problem = "this folder has the instructions and skills that all groups share; it cannot be a group";
    Err(ConfigError::new(&home.shared(), problem).with_hint("give the group another name"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_error(path: &Path, key: &str, error: &serde_json::Error) -> ConfigError {
    // serde_json ends its text with the place, which is printed in front.
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let at = (error.line() > 0).then(|| (error.line() as u32, error.column().max(1) as u32));
    let found = ConfigError::from_serde(path, at, key, message);
    match message {
        _ if found.hint.is_some() => found,
        m if m.starts_with("duplicate field") => found.with_hint("keep one of them"),
        m if m.starts_with("trailing comma") => found.with_hint("remove the last comma"),
        m if m.starts_with("trailing characters") => found.with_hint("the file is one object; nothing follows it"),
        m if m.starts_with("key must be a string") => {
            found.with_hint("JSON has no comments, and its keys have quotes")
        }
        m if m.starts_with("EOF") => {
            found.with_hint("the end is missing: look for a brace or quote that is not closed")
        }
        _ => found,
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
