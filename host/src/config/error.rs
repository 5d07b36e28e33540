//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::{ErrorBody, ErrorKind};

/// A configuration file that cannot be used. Never holds a file's content beyond the wrong value itself,
/// and for keys that are secrets not even that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the name of the source (such as `the environment`).
    pub file: PathBuf,
    /// Line and column, from 1, where they are known.
    pub at: Option<(u32, u32)>,
    /// The key's path, such as `limits.memory_mb`.
    pub key: Option<String>,
    /// What is wrong, in one line.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the file or its folder is not there at all.
    pub missing: bool,
}

impl ConfigError {
    /// An error about the file as a whole.
    pub fn new(file: &Path, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at: None, key: None, problem: problem.into(), hint: None, missing: false }
    }

    /// An error from serde, made readable: the key is completed and the nearest right name found.
    pub(super) fn from_serde(file: &Path, at: Option<(u32, u32)>, path: &str, message: &str) -> Self {
        let mut key = path.trim_matches('.').replace('?', "").trim_matches('.').to_owned();
        let unknown = Unknown::parse(message);
        if let Some(Unknown { what: "key", name, .. }) = &unknown
            && key.rsplit('.').next() != Some(name)
        {
            key = if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
        }
        let (problem, hint) = match &unknown {
            Some(unknown) => (unknown.problem(), Some(unknown.hint())),
            None => (message.to_owned(), None),
        };
        Self { at, key: (!key.is_empty()).then_some(key), hint, ..Self::new(file, problem) }
    }

    /// Adds what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the key.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The error as the admin socket and the command line tell it.
    pub fn body(self) -> ErrorBody {
        let kind = if self.missing { ErrorKind::NotFound } else { ErrorKind::Config };
        ErrorBody { kind, message: self.message(), hint: self.hint }
    }

    /// Everything but the hint, in one line.
    pub fn message(&self) -> String {
        let mut text = self.file.display().to_string();
        if let Some((line, column)) = self.at {
            text += &format!(":{line}:{column}");
        }
        if let Some(key) = &self.key {
            text += &format!(": `{key}`");
        }
        format!("{text}: {}", self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// serde's "unknown field `x`, expected one of `a`, `b`", taken apart.
struct Unknown<'m> {
    what: &'static str,
    name: &'m str,
    known: Vec<&'m str>,
}

impl<'m> Unknown<'m> {
    fn parse(message: &'m str) -> Option<Self> {
        let (what, rest) = match message.strip_prefix("unknown field ") {
            Some(rest) => ("key", rest),
            None => ("value", message.strip_prefix("unknown variant ")?),
        };
        // The file's own word comes first and may itself contain backticks; serde's list has none.
        let (name, known) = rest.rsplit_once(", expected ").or_else(|| rest.rsplit_once(", there are no "))?;
        let known = known.split('`').skip(1).step_by(2).filter(|known| !known.starts_with('$')).collect();
        Some(Self { what, name: name.trim_matches('`'), known })
    }

    fn problem(&self) -> String {
        let name: String = self.name.chars().take(60).collect();
        match self.what {
            "key" => "there is no such key".to_owned(),
            what => format!("there is no such {what}: {name:?}"),
        }
    }

    fn hint(&self) -> String {
        match nearest(self.name, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("possible here: {}", self.known.join(", ")),
        }
    }
}

/// The known name that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = plain(&name.chars().take(100).collect::<String>());
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, &plain(known)), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not_offered() {
        let known = ["provider", "model", "limits", "memory_mb"];
        assert_eq!(nearest("modle", known), Some("model"));
        assert_eq!(nearest("memoryMB", known), Some("memory_mb"));
        assert_eq!(nearest("limit", known), Some("limits"));
        assert_eq!(nearest("xyzzy", known), None);
    }

    #[test]
    fn a_key_with_backticks_cannot_confuse_the_hint() {
        let error =
            ConfigError::from_serde(Path::new("f"), None, "?", "unknown field `a`, expected `b`, expected `model`");
        assert_eq!(error.problem, "there is no such key");
        assert_eq!(error.hint.unwrap(), "possible here: model");
    }
}
