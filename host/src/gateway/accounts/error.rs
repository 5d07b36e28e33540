//! Why accounts cannot be changed or tried.

use cofferdam_protocol::admin::AccountKind;
use cofferdam_protocol::ids::AccountName;

use crate::gateway::{GatewayError, ProbeError};
use crate::model::pool::PoolError;
use crate::store::StoreError;
use crate::vault::{KeepError, VaultError};

/// Why something about an account did not work. Display says one step, `source()` the rest.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It is one of Cofferdam's own.
    #[error("the account '{0}' is built in")]
    BuiltIn(AccountName),
    /// There is none of that name.
    #[error("there is no account '{0}'")]
    Unknown(AccountName),
    /// There is one of that name, of another kind.
    #[error("there is an account '{name}' already, of kind {kind}")]
    OtherKind {
        /// Its name.
        name: AccountName,
        /// Its kind.
        kind: AccountKind,
    },
    /// What was given is not what that kind needs.
    #[error("an account of kind {0} cannot be made of that")]
    NoLogin(AccountKind),
    /// Another account has the same login.
    #[error("the account '{0}' has this login already")]
    Same(AccountName),
    /// The shared login cannot be read.
    #[error("the login cannot be shared")]
    Shared(#[source] KeepError),
    /// A kind that has no endpoint of its own was given none.
    #[error("an account of kind compatible needs the endpoint's address")]
    NoBaseUrl,
    /// OpenAI's API takes nobody without a key.
    #[error("the key is empty")]
    NoKey,
    /// The key or the address cannot be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The host's configuration names it.
    #[error("the account '{0}' is the default that the host's configuration names")]
    Named(AccountName),
    /// Its pool cannot be.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// One that would own a pool is in another's.
    #[error("'{name}' is a member of the pool of '{of}', and a member owns none")]
    IsMember {
        /// Which.
        name: AccountName,
        /// Whose member it is.
        of: AccountName,
    },
    /// One that would be a member owns a pool.
    #[error("'{0}' owns a pool, and who owns one is no member of another")]
    OwnsPool(AccountName),
    /// Two names of one key at one endpoint.
    #[error("'{0}' and '{1}' are the same account: they have the same key")]
    OneTwice(AccountName, AccountName),
    /// It has no pool.
    #[error("'{0}' has no pool")]
    NoPool(AccountName),
    /// It cannot be used as it is.
    #[error("{0}")]
    Unusable(String),
    /// It was tried, and does not work.
    #[error("account '{name}' does not work: {error}")]
    Probe {
        /// Which.
        name: AccountName,
        /// Why.
        error: ProbeError,
    },
    /// The vault does not seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
