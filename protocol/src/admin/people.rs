//! People, what waits for them, and who was dropped.

use serde::{Deserialize, Serialize};

use crate::ids::{Folder, WaitingId};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their number.
    pub id: i64,
    /// How they are called here.
    pub name: String,
    /// What platforms know them by.
    pub users: Vec<User>,
    /// What they may do.
    pub roles: Vec<GivenRole>,
}

/// A person on a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
    /// How they called themselves.
    pub name: String,
    /// The chat in which they can be reached.
    #[serde(default)]
    pub direct: Option<String>,
}

/// What a person may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenRole {
    /// In this group only; none is all of them.
    #[serde(default)]
    pub group: Option<Folder>,
    /// `owner`, `admin`, `member` or `guest`.
    pub role: String,
}

/// Makes somebody known: the body of `POST /v1/people`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// The channel.
    pub channel: String,
    /// The platform's id of the user.
    pub user_id: String,
    /// How they are called; none is the id.
    #[serde(default)]
    pub name: Option<String>,
    /// What they may do.
    pub role: GivenRole,
}

/// Gives a role or takes one: the body of `PUT /v1/people/{id}/role`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// In this group only; none is all of them.
    #[serde(default)]
    pub group: Option<Folder>,
    /// The role; none takes it away.
    #[serde(default)]
    pub role: Option<String>,
}

/// Makes two people one: the body of `POST /v1/people/{id}/link`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonLink {
    /// The other, who is gone after it.
    pub other: i64,
}

/// Makes a pairing code: the body of `POST /v1/pairings`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairRequest {
    /// What its user becomes, unless they are more already; none is the owner while there is none. With a person none changes no
    /// role.
    #[serde(default)]
    pub role: Option<String>,
    /// The group that the chat it is used in is wired to; a role but the owner's is of this group only.
    #[serde(default)]
    pub group: Option<Folder>,
    /// The person that is meant; none makes a new one.
    #[serde(default)]
    pub person: Option<i64>,
    /// How long it is good for, in minutes; none is ten.
    #[serde(default)]
    pub minutes: Option<u32>,
}

/// A pairing code. It is shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PairCode {
    /// The code.
    pub code: String,
    /// What its user becomes, unless they are more already; none changes no role.
    #[serde(default)]
    pub role: Option<String>,
    /// In this group only.
    #[serde(default)]
    pub group: Option<Folder>,
    /// The person that is meant; none makes a new one.
    #[serde(default)]
    pub person: Option<i64>,
    /// Until when: RFC 3339, UTC.
    pub expires_at: String,
}

/// Something that waits for a person, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// How it is named: a number, or of a question `GROUP/NUMBER`.
    pub id: WaitingId,
    /// What is asked: `wiring` or `sender`, or `question` for what an agent asks.
    pub kind: String,
    /// `channel:chat` that it is about.
    pub chat: String,
    /// The group that it is about.
    #[serde(default)]
    pub group: Option<Folder>,
    /// The question.
    pub words: String,
    /// The words that it takes. A question takes others too.
    pub choices: Vec<String>,
    /// The groups that a wiring takes besides its choices, while it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Folder>,
    /// `open`, `approved`, `denied` or `expired`; of a question `open`, `answered`, `expired` or `withdrawn`.
    pub state: String,
    /// What was chosen, or answered.
    #[serde(default)]
    pub choice: Option<String>,
    /// Who decided.
    #[serde(default)]
    pub decided_by: Option<String>,
    /// When it was asked: RFC 3339, UTC.
    pub asked_at: String,
    /// Until when it waits: RFC 3339, UTC.
    pub expires_at: String,
}

/// Decides, or answers a question: the body of `POST /v1/approvals/{id}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// One of its words; none is the first, and `deny` denies. Of a question an option, its number, or other words; none and
    /// `deny` are its one option that says yes or no.
    #[serde(default)]
    pub word: Option<String>,
}

/// Messages that were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// Who, by the platform's id; empty where it does not matter.
    pub sender: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The newest: RFC 3339, UTC.
    pub last_at: String,
}
