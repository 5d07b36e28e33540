//! What the container's environment says, read once.

use std::ffi::OsString;
use std::path::PathBuf;

use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::{DOOR_SOCKET, ENV_ATTEMPT, ENV_DOOR, FORWARD_PORT};

/// Prefix of variables that are the runner's own and that the agent does not see.
pub const OWN_PREFIX: &str = "COFFERDAM_";

/// What the runner needs to know before `hello`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The attempt that this container was started with.
    pub attempt: Attempt,
    /// The door's socket.
    pub door: PathBuf,
    /// The loopback port that leads to the door; 0 takes any free one.
    pub forward_port: u16,
    /// The codex program.
    pub codex: OsString,
}

/// A variable that is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {name} is '{value}': it must be {must}")]
pub struct BadVariable {
    name: &'static str,
    value: String,
    must: &'static str,
}

impl Config {
    /// Reads variables through `get`.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, BadVariable> {
        let attempt = number(&get, ENV_ATTEMPT, "the attempt's number, from 1")?.unwrap_or(0);
        if attempt < 1 {
            let value = get(ENV_ATTEMPT).unwrap_or_default().to_string_lossy().into_owned();
            return Err(BadVariable { name: ENV_ATTEMPT, value, must: "the attempt's number, from 1" });
        }
        Ok(Self {
            attempt: Attempt(attempt),
            door: get(ENV_DOOR).map_or_else(|| DOOR_SOCKET.into(), PathBuf::from),
            forward_port: number(&get, "COFFERDAM_FORWARD_PORT", "a port, 0 to 65535")?.unwrap_or(FORWARD_PORT),
            codex: get("COFFERDAM_CODEX").unwrap_or_else(|| "codex".into()),
        })
    }
}

fn number<T: std::str::FromStr>(
    get: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
    must: &'static str,
) -> Result<Option<T>, BadVariable> {
    let Some(value) = get(name) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    value.parse().map(Some).map_err(|_| BadVariable { name, value, must })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, BadVariable> {
        Config::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn only_the_attempt_is_required() {
        let config = read(&[(ENV_ATTEMPT, "3")]).unwrap();
        assert_eq!(config.attempt, Attempt(3));
        assert_eq!(config.forward_port, FORWARD_PORT);
        assert_eq!(config.door, PathBuf::from(DOOR_SOCKET));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for bad in ["", "0", "-1", "x"] {
            let error = read(&[(ENV_ATTEMPT, bad)]).unwrap_err().to_string();
            assert!(error.contains(ENV_ATTEMPT), "{error}");
        }
        assert!(read(&[]).is_err());
        assert!(read(&[(ENV_ATTEMPT, "1"), ("COFFERDAM_FORWARD_PORT", "70000")]).is_err());
    }
}
