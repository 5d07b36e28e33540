//! Where the vault's key is to be kept: `vault_key` in `cofferdam.toml`.

use cofferdam_protocol::admin::KeyPlace;

use super::ConfigError;
use super::error::nearest;
use super::host::Sources;

const AUTO: &str = "auto";

/// Where the vault's key is to be kept, and the way to a keyring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultKey {
    /// The place; none is `auto`: wherever it is, and for a first key the keyring if there is one.
    pub wanted: Option<KeyPlace>,
    /// The address of the session's D-Bus, through which a keyring is reached.
    pub bus: Option<String>,
}

impl VaultKey {
    pub(super) fn load(sources: &Sources<'_>, file: Option<String>) -> Result<Self, ConfigError> {
        let Some(setting) = sources.get("COFFERDAM_VAULT_KEY", "vault_key", file) else {
            return Ok(Self { wanted: None, bus: bus(sources) });
        };
        let wanted = match setting.value.trim() {
            AUTO => None,
            word => Some(KeyPlace::parse(word).ok_or_else(|| {
                let known = || [AUTO, KeyPlace::Keyring.as_str(), KeyPlace::File.as_str()];
                let hint = match nearest(word, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("possible here: {}", known().join(", ")),
                };
                let shown: String = word.chars().take(60).collect();
                setting.error(format!("there is no such value: {shown:?}")).with_hint(hint)
            })?),
        };
        Ok(Self { wanted, bus: bus(sources) })
    }
}

/// The bus that is named, or else the one that a login of systemd has. Nothing else is looked for: D-Bus libraries would
/// start a bus of their own, with a keyring that nobody else sees.
fn bus(sources: &Sources<'_>) -> Option<String> {
    let named = sources.get("DBUS_SESSION_BUS_ADDRESS", "", None);
    let first = named.as_ref().and_then(|named| named.value.trim().split(';').next());
    first.map(str::to_owned).or_else(|| {
        let dir = sources.get("XDG_RUNTIME_DIR", "", None)?;
        Some(format!("unix:path={}/bus", dir.value.trim().trim_end_matches('/')))
    })
}
