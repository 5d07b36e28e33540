//! What the image is made of, embedded so that an installed binary needs no checkout, and the tag that follows from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ImageError;

/// The agent image's Dockerfile.
pub(super) const DOCKERFILE: &str = include_str!("../../../../container/Dockerfile");
/// The base image's Dockerfile.
pub(super) const BASE_DOCKERFILE: &str = include_str!("../../../../container/base.Dockerfile");
const BASE: &str = include_str!("../../../../container/base.toml");
const LOCK: &str = include_str!("../../../../container/codex.lock");

/// The agent image's repository.
pub(super) const AGENT_REPOSITORY: &str = "cofferdam/agent";
/// The base image's repository.
pub(super) const BASE_REPOSITORY: &str = "cofferdam/base";

/// An agent image by its content: the same parts give the same tag on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// `cofferdam/agent:<hash>`, what the engine is asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 12 hex digits after the colon.
    pub fn hash(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-512 in the form that npm prints: `sha512-<base64>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Integrity([u8; 64]);

impl Integrity {
    pub(super) fn of(digest: [u8; 64]) -> Self {
        Self(digest)
    }
}

impl FromStr for Integrity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("sha512-").ok_or("an integrity begins with `sha512-`")?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| "an integrity is base64 after `sha512-`")?;
        bytes.try_into().map(Self).map_err(|_| "a SHA-512 has 64 bytes")
    }
}

impl TryFrom<String> for Integrity {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha512-{}", BASE64_STANDARD.encode(self.0))
    }
}

/// `container/codex.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    pub(super) version: String,
    pub(super) package: String,
    pub(super) integrity: Integrity,
    /// Path under the version's directory → path in the package.
    pub(super) files: BTreeMap<String, String>,
}

/// `container/base.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) debian: String,
    pub(super) image: String,
    pub(super) packages: Vec<String>,
}

/// The parsed recipe.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) lock: Lock,
    pub(super) base: Base,
}

impl Recipe {
    /// The embedded recipe.
    pub(super) fn embedded() -> Result<Self, ImageError> {
        Ok(Self { lock: parse("codex.lock", LOCK)?, base: parse("base.toml", BASE)? })
    }

    /// `cofferdam/base:<debian>-<hash>`.
    pub(super) fn base_tag(&self) -> String {
        format!("{BASE_REPOSITORY}:{}-{}", self.base.debian, &digest(&[BASE, BASE_DOCKERFILE])[..8])
    }

    /// The agent image that this recipe and a runner with SHA-256 `runner` (hex) make.
    pub(super) fn agent(&self, runner: &str) -> ImageRef {
        let integrity = self.lock.integrity.to_string();
        let hash = digest(&[DOCKERFILE, &self.base_tag(), &self.lock.version, &integrity, runner]);
        ImageRef(format!("{AGENT_REPOSITORY}:{}", &hash[..12]))
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &'static str, text: &str) -> Result<T, ImageError> {
    toml::from_str(text).map_err(|source| ImageError::Recipe { file, source: Box::new(source) })
}

/// SHA-256 in hex over the parts, each with its length, so that moving text between parts changes it.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_recipe_parses_and_pins_codex() {
        let recipe = Recipe::embedded().unwrap();
        assert!(recipe.lock.package.contains(&recipe.lock.version));
        assert!(recipe.lock.files.contains_key("bin/codex"));
        assert!(recipe.base.packages.iter().any(|package| package == "git"));
    }

    #[test]
    fn a_lock_with_a_weak_or_broken_hash_is_refused() {
        for bad in ["sha1-AAAA", "sha512-AAAA", "sha512-!", ""] {
            let text = format!("version='1'\npackage='p'\nintegrity='{bad}'\n[files]\n");
            assert!(toml::from_str::<Lock>(&text).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn an_integrity_prints_as_it_was_read() {
        let text = Recipe::embedded().unwrap().lock.integrity.to_string();
        assert!(LOCK.contains(&text));
    }

    #[test]
    fn the_tag_follows_the_content_and_nothing_else() {
        let recipe = Recipe::embedded().unwrap();
        let tag = recipe.agent("aa");
        assert_eq!(tag, recipe.agent("aa"));
        assert_eq!(tag.hash().len(), 12);
        assert_eq!(tag.as_str(), format!("cofferdam/agent:{}", tag.hash()));
        assert_ne!(tag, recipe.agent("ab"), "another runner");
        let mut other = recipe.clone();
        other.lock.integrity = Integrity([7; 64]);
        assert_ne!(tag, other.agent("aa"), "another Codex");
    }

    #[test]
    fn text_that_moves_between_parts_changes_the_digest() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
