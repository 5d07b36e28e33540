//! Named values of the host's configuration that a group's `container.json` refers to as `${NAME}`.
//!
//! `COFFERDAM_VALUE_NAME` in the environment wins over the same in `.env`, which wins over `NAME` under `[values]` in
//! `cofferdam.toml`. No other variable of the host can be reached by a group's file.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::ConfigError;
use super::home::Home;
use super::host::{Sources, read_files};

/// How the variables of values begin.
pub const PREFIX: &str = "COFFERDAM_VALUE_";
/// The longest name of a value, in bytes.
const MAX_NAME: usize = 64;

/// The host's values. They are read anew at each start of a session, so that a new one needs no new daemon.
pub struct HostValues<'e> {
    sources: Sources<'e>,
    file: BTreeMap<String, SecretString>,
}

impl<'e> HostValues<'e> {
    /// Reads the files of `home`; `env` looks up environment variables.
    pub fn load(home: &Home, env: &'e dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (file, sources) = read_files(home, env)?;
        Ok(Self { sources, file: file.values })
    }

    /// The value of that name; an empty one counts as none.
    pub fn get(&self, name: &str) -> Option<SecretString> {
        let file = self.file.get(name).map(|value| value.expose_secret().to_owned());
        self.sources.get(&format!("{PREFIX}{name}"), "values", file).map(|setting| setting.value.into())
    }
}

/// What to do about a value that is not there.
pub fn hint(home: &Home, name: &str) -> String {
    format!(
        "set {PREFIX}{name} in the daemon's environment or in {}, or {name} under [values] in {}",
        home.env_file().display(),
        home.config_file().display()
    )
}

/// Whether it can be the name of a value: letters, digits and `_`, at most 64, not beginning with a digit.
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
