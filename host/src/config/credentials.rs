//! What a group's containers have of its account's credential.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::network::Network;

/// What of its account's credential a session's container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// `sealed`: only a placeholder, and the host puts the credential into each model call; `copy`: the short-lived access
    /// token of a ChatGPT login, for an agent that talks to the vendor itself, which takes `network` `open`.
    pub mode: CredentialMode,
}

/// How a session's calls come to their credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialMode {
    /// The host adds it; the container has a placeholder.
    #[default]
    Sealed,
    /// The container has the access token of the account's login, never its refresh token.
    Copy,
}

impl Credentials {
    /// Refuses a copy that could only be stolen: without a network nothing in the container can use it.
    pub(super) fn check(&self, network: Network, path: &Path) -> Result<(), ConfigError> {
        if self.mode == CredentialMode::Sealed || network == Network::Open {
            return Ok(());
        }
        let problem =
            "`copy` needs a network, to talk to the vendor without the host, and the group's containers have none";
        Err(ConfigError::new(path, problem)
            .with_key("credentials.mode")
            .with_hint(
                "use `sealed`, or leave the key out: the host adds the credential to each model call; `\"network\": \"open\"` \
                 gives them one",
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_needs_a_network_and_sealed_does_not() {
        let of = |mode, network| Credentials { mode }.check(network, Path::new("x")).is_ok();
        let (none, open) = (Network::None, Network::Open);
        assert!(of(CredentialMode::Sealed, none) && of(CredentialMode::Sealed, open));
        assert!(!of(CredentialMode::Copy, none) && of(CredentialMode::Copy, open));
    }
}
