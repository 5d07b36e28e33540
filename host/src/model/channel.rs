//! What is kept of channels: the name of a kind, and how a webhook's call stands.

use std::borrow::Cow;
use std::fmt;

/// The name of a kind of channels: 1 to 32 lower-case letters, digits and '-', as in the schema's CHECK. Which kinds there
/// are, `channels::kinds` says: a row may have one that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindName(Cow<'static, str>);

impl KindName {
    /// The longest one, in bytes.
    const MOST: usize = 32;

    /// A name in the code; one that can be none does not compile in a `static`.
    pub const fn of(name: &'static str) -> Self {
        assert!(Self::fits(name), "no name of a kind");
        Self(Cow::Borrowed(name))
    }

    /// The name that somebody gave, or that a row has.
    pub fn parse(text: &str) -> Option<Self> {
        Self::fits(text).then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// As SQL and people have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    const fn fits(name: &str) -> bool {
        let (bytes, mut at) = (name.as_bytes(), 0);
        while at < bytes.len() {
            if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-') {
                return false;
            }
            at += 1;
        }
        at > 0 && at <= Self::MOST
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a signed call of a webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Its signature was never seen.
    New,
    /// It came before, and what it says was not taken then.
    Again,
    /// It came before, and was taken.
    Taken,
    /// Its signature came with another call's words.
    Copied,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_name_is_short_and_plain() {
        let longest = "a".repeat(KindName::MOST);
        for name in ["a", "exec-2", &longest] {
            assert_eq!(KindName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "Exec", "a b", "a\n", "é", "a'", "a_b", &format!("{longest}a")] {
            assert_eq!(KindName::parse(name), None, "{name:?}");
        }
    }
}
