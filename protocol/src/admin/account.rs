//! Accounts: credentials of model providers, which the daemon holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountName, Folder};

/// What an account is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// A ChatGPT plan, with a login.
    ChatGpt,
    /// OpenAI's API, with a key.
    OpenAi,
    /// Any endpoint that speaks OpenAI's Responses API, with a key or without.
    Compatible,
    /// The offline model inside the host.
    Offline,
}

impl AccountKind {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::ChatGpt, Self::OpenAi, Self::Compatible, Self::Offline];

    /// Its word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatGpt => "chatgpt",
            Self::OpenAi => "openai",
            Self::Compatible => "compatible",
            Self::Offline => "offline",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most members of a pool.
pub const MAX_POOL_MEMBERS: usize = 32;

/// In what order a pool's accounts are asked, for a session that has none yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolStrategy {
    /// The owner; when it cannot, the members by turns.
    #[default]
    PrimaryFirst,
    /// All by turns.
    RoundRobin,
    /// Always as they are listed.
    PriorityOrder,
    /// Who has the largest share of its allowance left, as its vendor told last.
    QuotaAware,
}

impl PoolStrategy {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::PrimaryFirst, Self::RoundRobin, Self::PriorityOrder, Self::QuotaAware];

    /// Its word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrimaryFirst => "primary_first",
            Self::RoundRobin => "round_robin",
            Self::PriorityOrder => "priority_order",
            Self::QuotaAware => "quota_aware",
        }
    }

    /// The strategy with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|strategy| strategy.as_str() == word)
    }
}

impl fmt::Display for PoolStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A secret on its way to the daemon. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// What an account is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An API key; an empty one is none, for endpoints that want none.
    Key(Hidden),
    /// A ChatGPT login, as the text of Codex's `auth.json`.
    AuthJson(Hidden),
    /// The path of an `auth.json` that stays in use by the host's own Codex, absolute.
    Shared(String),
}

/// The body of `PUT /v1/accounts/{name}`: a new account, or a new credential of one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountLogin {
    /// What it is with; that of an account that is there does not change.
    pub kind: AccountKind,
    /// Its credential.
    pub credential: Credential,
    /// The endpoint, without `/responses`; without it the account's own, or the kind's.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The model of groups that name none; without it the account's own, or none.
    #[serde(default)]
    pub model: Option<String>,
}

/// An account as it is shown: nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// What it is with.
    pub kind: AccountKind,
    /// Whether it serves the groups that name no account.
    pub default: bool,
    /// Whether it is Cofferdam's own, and not in the vault.
    pub built_in: bool,
    /// The endpoint.
    pub base_url: Option<String>,
    /// The model of groups that name none.
    pub model: Option<String>,
    /// Who logged in, of a ChatGPT login, as the login itself says.
    #[serde(default)]
    pub email: Option<String>,
    /// The plan, such as `plus`, likewise.
    #[serde(default)]
    pub plan: Option<String>,
    /// When the access token ends, which is renewed before that: RFC 3339, UTC.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// The `auth.json` that has the login, when it is shared with the host's own Codex.
    #[serde(default)]
    pub shared: Option<String>,
    /// Why it cannot be used as it is, and what to do about it; none when it is ready.
    pub trouble: Option<String>,
    /// Who stands in for it.
    #[serde(default)]
    pub pool: Option<AccountPool>,
    /// Its allowances, as its vendor told them last since the daemon started.
    #[serde(default)]
    pub limits: Vec<AccountLimit>,
    /// Why a pool passes it over now.
    #[serde(default)]
    pub passed_over: Option<PassedOver>,
    /// The groups whose `container.json` names it.
    pub groups: Vec<Folder>,
    /// When it was made: RFC 3339, UTC. None for a built-in one, as what follows.
    pub created_at: Option<String>,
    /// When its credential was last changed.
    pub changed_at: Option<String>,
    /// About when it last served a call.
    pub used_at: Option<String>,
}

/// Who stands in for an account, and the body of `PUT /v1/accounts/{name}/pool`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountPool {
    /// In what order they are asked.
    #[serde(default)]
    pub strategy: PoolStrategy,
    /// The members, by preference. With `priority_order` the owner may be among them; else it is the first.
    pub members: Vec<AccountName>,
}

/// One of an account's allowances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountLimit {
    /// `primary` and `secondary` of a ChatGPT plan, `requests` and `tokens` of OpenAI's API.
    pub name: String,
    /// How much of it is used, 0 to 100.
    pub used_percent: f64,
    /// How long it is, in minutes, if that is known.
    pub minutes: Option<u32>,
    /// When it begins anew: RFC 3339, UTC, if that is known.
    pub resets_at: Option<String>,
}

/// An account that a pool does not ask, or only as the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Until when: RFC 3339, UTC.
    pub until: String,
    /// Why.
    pub why: String,
}

/// An account after it was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountChanged {
    /// The account.
    pub account: Account,
    /// What else should be known, such as what keeps it from being the default.
    pub note: Option<String>,
}

/// The answer to `DELETE /v1/accounts/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRemoved {
    /// What was removed.
    pub removed: AccountName,
    /// What serves the groups that name no account from now on.
    pub default: AccountName,
    /// Groups whose `container.json` still names it: their model calls fail until it names another.
    pub groups: Vec<Folder>,
    /// The accounts for which it stood in.
    #[serde(default)]
    pub pools: Vec<AccountName>,
    /// What else should be known, such as a login that could not be ended.
    #[serde(default)]
    pub note: Option<String>,
}

/// The answer to `POST /v1/accounts/{name}/test`: it can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountTested {
    /// The account.
    pub account: AccountName,
    /// How many models the endpoint lists; none when it has no list, and so did not look at the credential.
    pub models: Option<u64>,
    /// How long its answer took.
    pub millis: u64,
}

/// The answer to `POST /v1/vault/rotate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// The new key's id; the key itself is never shown.
    pub key: String,
    /// How many accounts it seals now.
    pub sealed: usize,
    /// Accounts that did not open before, and do not now.
    pub left: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_word() {
        for kind in AccountKind::ALL {
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(AccountKind::parse(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn a_login_is_never_printed() {
        let login = AccountLogin {
            kind: AccountKind::OpenAi,
            credential: Credential::Key(Hidden("sk-1".into())),
            base_url: None,
            model: None,
        };
        assert!(!format!("{login:?}").contains("sk-1"));
        let sent = serde_json::to_string(&login).unwrap();
        assert_eq!(serde_json::from_str::<AccountLogin>(&sent).unwrap(), login);
    }
}
