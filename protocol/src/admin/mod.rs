//! What the CLI and the daemon say to each other through the admin socket (HTTP/1.1 on a Unix socket, 0600).
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/groups` · `GET /v1/groups/{folder}` | [`Vec<Group>`] · [`Group`] |
//! | `PUT /v1/groups/{folder}` | registers the folder: [`Group`] |
//! | `DELETE /v1/groups/{folder}` | 204; stops its sessions and forgets its state, keeps its folder |
//! | `GET /v1/sessions?group=` · `GET /v1/sessions/{id}` | [`Vec<Session>`] · [`SessionDetail`] |
//! | `POST /v1/sessions/{id}/stop` | 204 when its container has ended |
//! | `GET /v1/sessions/{id}/logs` | the newest attempt's log, text; `?attempt=N` another one's |
//! | `GET /v1/sessions/{id}/diff` | [`TurnDiff`] of the newest turn that changed files; `?turn=N` another one's |
//! | `GET /v1/sessions/{id}/follow` | JSON lines of [`FollowEvent`] without end; `?attempt=N&offset=M` goes on there |
//! | `GET /v1/accounts` · `GET /v1/accounts/{name}` | [`Vec<Account>`] · [`Account`] |
//! | `PUT /v1/accounts/{name}` ([`AccountLogin`]) | [`AccountChanged`] |
//! | `POST /v1/accounts/{name}/use` · `…/logout` · `…/test` | [`AccountChanged`] · [`AccountChanged`] · [`AccountTested`] |
//! | `PUT /v1/accounts/{name}/pool` ([`AccountPool`]) · `DELETE …/pool` | [`AccountChanged`] |
//! | `DELETE /v1/accounts/{name}` | [`AccountRemoved`] |
//! | `GET /v1/vault` · `PUT /v1/vault/place` ([`KeyMove`]) | where the vault's key is: [`VaultKey`] · [`KeyMoved`] |
//! | `POST /v1/vault/rotate` | a new key of the vault: [`KeyRotated`] |
//! | `GET /v1/usage?group=&by=&since=&days=` | [`UsageReport`] |
//! | `GET /v1/groups/{folder}/activity?limit=` | [`Vec<ModelCall>`], newest first |
//! | `GET /v1/wirings` · `PUT`, `PATCH /v1/wirings` ([`WiringChange`]) | [`Vec<Wiring>`] · [`Wiring`] |
//! | `DELETE /v1/wirings?channel=&chat_id=&group=` | 204 |
//! | `GET /v1/channel-kinds` | [`Vec<ChannelKind>`] |
//! | `GET /v1/channels` · `PUT /v1/channels/{name}` ([`ChannelPut`]) · `POST …/test` · `DELETE …` | [`Vec<Channel>`] · [`ChannelTested`] · [`ChannelTested`] · 204 |
//! | `GET /v1/people` · `POST /v1/people` ([`NewPerson`]) · `GET`, `DELETE /v1/people/{id}` | [`Vec<Person>`] · [`Person`] · 204 |
//! | `PUT /v1/people/{id}/role` ([`RoleChange`]) · `POST …/link` ([`PersonLink`]) | [`Person`] |
//! | `POST /v1/pairings` ([`PairRequest`]) | [`PairCode`] |
//! | `GET /v1/approvals?all=` · `POST /v1/approvals/{id}` · `…/{folder}/{number}` ([`Verdict`]) | [`Vec<Approval>`] · [`Approval`] |
//! | `GET /v1/drops` | [`Vec<Drops>`], newest first |
//! | `GET /v1/dead-letters?group=&all=` · `GET /v1/dead-letters/{group}/{number}` | [`Vec<DeadLetter>`], open ones unless `all` · [`DeadLetter`] |
//! | | the group of Cofferdam's own words is [`OWN_LETTERS`] |
//! | `POST /v1/dead-letters/{group}/{number}/retry` · `DELETE` without `/retry` drops it | [`DeadLetter`] |
//! | `POST /v1/dead-letters/{group}/retry` · `DELETE /v1/dead-letters/{group}`: all that are open | [`SettledLetters`] |
//! | `POST /v1/files?group=&name=` with a body of at most [`MAX_FILE_BYTES`] | [`StagedFile`], for a message of the group |
//! | `POST /v1/backup` ([`BackupRequest`]) | JSON lines of [`WorkEvent`] with a [`BackupReport`] at the end |
//! | `POST /v1/restore` ([`RestoreRequest`]) | JSON lines of [`WorkEvent`] with a [`RestoreReport`] at the end |
//! | `POST /v1/chat` ([`ChatRequest`]) | JSON lines of [`ChatEvent`] until the message's turn ended and its replies were handed over |
//!
//! Errors are an [`ErrorBody`] with a 4xx or 5xx status. After a 503, whose kind is [`ErrorKind::Daemon`], nothing was
//! accepted, and the same call may be sent again a little later.

mod account;
mod backup;
mod channel;
mod chat;
mod dead_letter;
mod people;
mod program;
mod session;
mod usage;
mod vault;
mod wiring;

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, Folder, SessionId};
use crate::runner::ProviderKind;

pub use account::{
    Account, AccountChanged, AccountKind, AccountLimit, AccountLogin, AccountPool, AccountRemoved, AccountTested,
    Credential, Hidden, KeyRotated, MAX_POOL_MEMBERS, PassedOver, PoolStrategy,
};
pub use backup::{
    BackupReport, BackupRequest, FilesCopied, GroupBackup, GroupRestore, HomeRestore, RestoreReport,
    RestoreRequest, SharedRestore, TableRestore, WorkEvent,
};
pub use channel::{Channel, ChannelKind, ChannelPut, ChannelTested, LostSecret};
pub use chat::{
    ChatEvent, ChatOutcome, ChatRequest, Finished, MAX_FILE_BYTES, MAX_FILES, MAX_MESSAGE_BYTES, MAX_SCHEMA_BYTES,
    Outlook, StagedFile, Timings,
};
pub use dead_letter::{DeadLetter, OWN_LETTERS, OpenLetters, SettledLetters};
pub use people::{
    Approval, Drops, GivenRole, NewPerson, PairCode, PairRequest, Person, PersonLink, RoleChange, User, Verdict,
};
pub use program::{ApiKey, ApiKeyMade, ApiKeyNew, Hook, HookMade, HookPut};
pub use session::{
    CompactionRecord, ContextView, Conversation, DeliveryState, FOLLOW_TAIL_LINES, FollowEvent, HardDelivery,
    OpenQuestion, SessionDetail, Setting, SettingSource, ToolCallRecord, ToolCallState, TurnDiff, TurnFailure,
};
pub use usage::{CallOutcome, MAX_ACTIVITY, Missed, ModelCall, Tokens, UsageBy, UsageReport, UsageRow, UsageSum};
pub use vault::{KeyMove, KeyMoved, KeyPlace, VaultKey};
pub use wiring::{Wiring, WiringChange};

/// An error as people read it, and a kind for scripts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Chooses the CLI's exit code.
    pub kind: ErrorKind,
    /// What failed, on what.
    pub message: String,
    /// What to do now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of errors; each has one stable exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Something in Cofferdam itself (exit 1).
    Internal,
    /// The command line is wrong (exit 2).
    Usage,
    /// A configuration file is wrong (exit 3).
    Config,
    /// The named thing does not exist (exit 4).
    NotFound,
    /// It exists already, was decided before, or another daemon has the home (exit 5).
    Conflict,
    /// The Docker engine cannot be reached or refused (exit 6).
    Engine,
    /// The image is missing and could not be built (exit 7).
    Image,
    /// The daemon cannot be reached, went away, ends, or has too much to do just now (exit 8).
    Daemon,
    /// The disk refused: full, read-only or no rights (exit 9).
    Disk,
    /// The turn ended in an error notice (exit 10).
    TurnFailed,
    /// The turn was interrupted (exit 11).
    TurnInterrupted,
    /// A check of `doctor` failed (exit 12).
    Unhealthy,
    /// A database cannot be used: it is damaged, or a newer Cofferdam has written it (exit 13).
    Database,
    /// It is done, but for some files, which are named (exit 14).
    Incomplete,
    /// An account cannot be used: its key was refused, it needs a login, its endpoint does not answer, or the vault's key
    /// is wrong (exit 15).
    Account,
}

impl ErrorKind {
    /// The stable exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Engine => 6,
            Self::Image => 7,
            Self::Daemon => 8,
            Self::Disk => 9,
            Self::TurnFailed => 10,
            Self::TurnInterrupted => 11,
            Self::Unhealthy => 12,
            Self::Database => 13,
            Self::Incomplete => 14,
            Self::Account => 15,
        }
    }
}

/// A registered group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its folder under `groups/`.
    pub folder: Folder,
    /// The folder's path on the host.
    pub path: String,
    /// When it was registered: RFC 3339, UTC.
    pub registered_at: String,
    /// Its settings as last read from `container.json`.
    pub config: serde_json::Value,
    /// What is wrong with `container.json` now, if anything.
    pub config_error: Option<String>,
    /// Why its database is not used, if so: `cofferdam restore` mends it.
    #[serde(default)]
    pub set_aside: Option<String>,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// No container; starts on the next message.
    Stopped,
    /// Waits for a place under `max_sessions`.
    Queued,
    /// Its container is starting.
    Starting,
    /// Its container waits for messages.
    Idle,
    /// A turn is running.
    Busy,
    /// Its container is being stopped.
    Stopping,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its group.
    pub group: Folder,
    /// `channel:chat` and `#thread`, if any.
    pub chat: String,
    /// Where it is in its life.
    pub state: SessionState,
    /// What it waits for, or what is notable about it now, in words.
    pub note: Option<String>,
    /// Its newest attempt; 0 before the first start.
    pub attempt: Attempt,
    /// The provider of its newest start.
    pub provider: Option<ProviderKind>,
    /// The provider's thread.
    pub continuation: Option<String>,
    /// The container that serves it now.
    pub container: Option<String>,
    /// Turns so far.
    pub turns: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Last time something happened: RFC 3339, UTC.
    pub active_at: String,
    /// Whether `container.json` changed since the container started.
    pub config_changed: bool,
    /// When messages that failed in a way that can pass are tried again: RFC 3339, UTC.
    pub retry_at: Option<String>,
}

/// The answer to the stop of a session.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct StoppedSession {
    /// Accepted messages that wait: they start the session again.
    pub waiting: u64,
}

/// The daemon as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Cofferdam's version.
    pub version: String,
    /// The home directory.
    pub home: String,
    /// This installation's id, the label of its containers.
    pub install: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since it started; none when the answer came from a command that hosted itself.
    pub uptime_secs: Option<u64>,
    /// Seconds that its running turns still have; none while it does not end.
    #[serde(default)]
    pub ends_within_secs: Option<u64>,
    /// The account that serves model calls.
    pub account: String,
    /// Its allowances, as its vendor told them last since the daemon started.
    #[serde(default)]
    pub limits: Vec<AccountLimit>,
    /// Its containers.
    #[serde(flatten)]
    pub places: Places,
    /// Registered groups.
    pub groups: usize,
    /// What the engine last said, when it could not be used.
    pub engine_error: Option<String>,
    /// What is wrong with the home's disk, while something is.
    #[serde(default)]
    pub disk: Option<DiskTrouble>,
    /// That the daemon ends; groups that are set aside, whose `container.json` has errors or awaits a restart of their sessions, in words.
    pub notes: Vec<String>,
    /// The home's channels.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// Secrets of webhooks that no backup has, and that were not given again. A channel without its own is stopped.
    #[serde(default)]
    pub lost_secrets: Vec<LostSecret>,
    /// What waits for a person.
    #[serde(flatten)]
    pub people: ForPeople,
    /// Messages that the router dropped, by reason.
    pub dropped: Vec<Dropped>,
    /// Groups with dead letters that wait for a decision.
    #[serde(default)]
    pub dead_letters: Vec<OpenLetters>,
    /// Sessions that live or wait.
    pub sessions: Vec<Session>,
}

/// How many containers there are and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The most at once.
    pub max_sessions: usize,
    /// Now.
    pub running: usize,
    /// Sessions that wait for a place.
    pub queued: usize,
}

/// How much waits for a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForPeople {
    /// Approvals.
    pub approvals: u64,
    /// Of these, so many that nobody was asked about: no owner or admin can be reached.
    pub unasked: u64,
    /// Questions of agents.
    pub questions: u64,
}

/// A disk that does not take writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTrouble {
    /// What could not be written.
    pub path: String,
    /// Why not.
    pub why: String,
    /// What is free there, in bytes.
    pub free_bytes: u64,
}

/// A count of dropped messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dropped {
    /// `channel:chat`.
    pub chat: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}
