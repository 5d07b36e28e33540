//! The runner's bearer token; the host keeps only a hash.

use sha2::{Digest, Sha256};

/// A fresh token.
pub(super) struct Token(String);

impl Token {
    /// From the operating system's random source (two version 4 UUIDs, 244 bits of it).
    pub(super) fn new() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> Vec<u8> {
        digest(&self.0)
    }
}

/// Whether `given` is the token with this hash. Hashes are compared, so the time tells nothing of the token.
pub(super) fn matches(given: &str, hash: &[u8]) -> bool {
    digest(given) == hash
}

fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}
