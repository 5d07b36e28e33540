//! What is said of an account that does not work: what happened, and what to do about it.

use cofferdam_protocol::ids::AccountName;
use http::StatusCode;

/// Whose credential a call has, and so where it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// The host's configuration has it.
    Environment,
    /// The vault has it.
    Vault(AccountName),
}

impl Whose {
    /// The endpoint did not take the credential.
    pub(super) fn refused(&self) -> String {
        match self {
            Self::Environment => {
                "The model endpoint refused the host's API key (401). Check OPENAI_API_KEY in the host's \
                 configuration and restart the daemon."
                    .to_owned()
            }
            Self::Vault(name) => format!(
                "The model endpoint refused the credential of account '{name}' (401). `cofferdam account login {name}` \
                 gives it another one; nothing needs a restart."
            ),
        }
    }

    /// The endpoint `host` could not be reached; `what` says how, `why` has the details.
    pub(super) fn unreachable(&self, host: &str, what: &str, why: &str) -> String {
        let check = match self {
            Self::Environment => "OPENAI_BASE_URL".to_owned(),
            Self::Vault(name) => format!("the address of account '{name}' (`cofferdam account show {name}`)"),
        };
        format!("The model endpoint {host} {what} ({why}). Check the host's network and {check}.")
    }

    /// The endpoint answered with a redirect.
    pub(super) fn redirected(&self, status: StatusCode) -> String {
        let set = match self {
            Self::Environment => "Set OPENAI_BASE_URL to the final address.".to_owned(),
            Self::Vault(name) => format!("Log account '{name}' in again with the final address as --base-url."),
        };
        format!("The model endpoint answered with a redirect ({status}), which is not followed with a key. {set}")
    }

    /// The base URL takes no path.
    pub(super) fn unusable_url(&self) -> String {
        let what = match self {
            Self::Environment => "OPENAI_BASE_URL".to_owned(),
            Self::Vault(name) => format!("The address of account '{name}'"),
        };
        format!("{what} cannot be joined with a call's path.")
    }
}
