//! What a person says about a program that is a channel.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::channels::BadSettings;

/// The most bytes of the settings that are passed on, and of the secrets: together they are one line.
const MOST: usize = 64 * 1024;

/// Which program, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The program and its arguments. No shell reads them.
    pub(super) command: Vec<String>,
    /// Where it starts; the daemon's own directory when there is none.
    #[serde(default)]
    pub(super) cwd: Option<PathBuf>,
    /// Passed on as it is.
    #[serde(default)]
    pub(super) settings: Map<String, Value>,
}

impl Settings {
    /// Reads them.
    pub(super) fn parse(value: Value) -> Result<Self, BadSettings> {
        let settings: Self = serde_path_to_error::deserialize(value).map_err(|error| bad(&error.to_string()))?;
        if settings.command.first().is_none_or(String::is_empty) {
            return Err(bad(r#"command: name the program, such as ["python3", "/opt/bot.py"]"#));
        }
        if settings.command.iter().any(|word| word.contains('\0')) {
            return Err(bad("command: a word has a NUL character in it"));
        }
        if settings.cwd.as_ref().is_some_and(|cwd| !cwd.is_absolute()) {
            return Err(bad("cwd: give the whole path, from `/` on"));
        }
        if Value::Object(settings.settings.clone()).to_string().len() > MOST {
            return Err(bad("settings: over 64 KiB; keep them in a file, and name that"));
        }
        Ok(settings)
    }
}

/// What only the program may know. It goes to it in one line and nowhere else.
#[derive(Clone, Default)]
pub(super) struct Secrets(Map<String, Value>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// A JSON object of texts is taken as it is; any other text is the `token`.
    pub(super) fn parse(secret: Option<&SecretString>) -> Result<Self, BadSettings> {
        let Some(secret) = secret else { return Ok(Self::default()) };
        let text = secret.expose_secret();
        if text.len() > MOST {
            return Err(bad("the secret is over 64 KiB"));
        }
        if !text.trim_start().starts_with('{') {
            return Ok(Self(Map::from_iter([("token".to_owned(), Value::String(text.to_owned()))])));
        }
        // What is wrong with it is not said in its own words.
        let wrong =
            || bad(r#"the secret begins with `{` and is no JSON object of texts, such as {"password": "…"}"#);
        let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong())?;
        if object.values().all(Value::is_string) { Ok(Self(object)) } else { Err(wrong()) }
    }

    /// For the program's first line.
    pub(super) fn object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// What must not be shown.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter_map(Value::as_str)
    }
}

fn bad(why: &str) -> BadSettings {
    BadSettings(why.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets(text: &str) -> Result<Secrets, BadSettings> {
        Secrets::parse(Some(&SecretString::from(text)))
    }

    #[test]
    fn settings_say_where_they_are_wrong() {
        for (settings, says) in [
            (json!({}), "command"),
            (json!({"command": []}), "command"),
            (json!({"command": [""]}), "command"),
            (json!({"command": ["a\0b"]}), "NUL"),
            (json!({"command": "sh -c x"}), "command"),
            (json!({"command": ["x", 1]}), "command[1]"),
            (json!({"command": ["x"], "cwd": "here"}), "cwd"),
            (json!({"command": ["x"], "settings": []}), "settings"),
            (json!({"command": ["x"], "settings": {"a": "x".repeat(MOST)}}), "64 KiB"),
            (json!({"command": ["x"], "env": {}}), "env"),
        ] {
            let error = Settings::parse(settings.clone()).unwrap_err();
            assert!(error.to_string().contains(says), "{settings}: {error}");
        }
        let fine = json!({"command": ["x", "-a"], "cwd": "/", "settings": {"nick": "c"}});
        assert_eq!(Settings::parse(fine).unwrap().command, ["x", "-a"]);
    }

    #[test]
    fn a_secret_is_an_object_of_texts_or_the_token() {
        assert_eq!(secrets("hush").unwrap().object()["token"], "hush");
        assert_eq!(secrets("[1]").unwrap().object()["token"], "[1]");
        let several = secrets(r#" {"password": "hush", "key": "k"}"#).unwrap();
        assert_eq!(several.texts().collect::<Vec<_>>(), ["hush", "k"]);
        assert!(Secrets::parse(None).unwrap().object().is_empty());
    }

    #[test]
    fn no_secret_is_shown() {
        for wrong in [r#"{"password": 17171}"#, r#"{"password": "hush"#] {
            let error = secrets(wrong).unwrap_err().to_string();
            assert!(!error.contains("hush") && !error.contains("17171"), "{error}");
        }
        assert_eq!(format!("{:?}", secrets(r#"{"a": "hush"}"#).unwrap()), r#"["a"]"#);
    }
}
