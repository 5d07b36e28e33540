//! The lines of the file, and of the keyring's entry. Pure.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::vault::seal::{KEY, SealKey};

/// Begins a line with a key.
pub(super) const MARK: &str = "cofferdam-vault-key-1:";
/// Begins the line that says that the keys are in the keyring.
pub(in crate::vault) const PLACE: &str = "cofferdam-vault-keyring-1:";
/// Stands behind the place while a rotation is under way.
const ROTATING: &str = "rotating";
const OF_KEYS: &str = "\
# The key of Cofferdam's vault: it opens the accounts in data/central.db. Keep it to yourself, and away from copies of data/.
";
const OF_PLACE: &str = "\
# The key of Cofferdam's vault is in the operating system's keyring, under this service and entry. Keep this file: without it
# the key counts as lost. `cofferdam account key move --to file` brings the key here.
";
const OF_MOVE: &str = "\
# The key is being moved: the lines here count, and the keyring may have the key too. The next start ends that.
";

/// The service under which the keyring has the keys of all installations.
const SERVICE: &str = "cofferdam";

/// Keys, the one that seals first.
pub(in crate::vault) type Keys = Arc<[SealKey]>;

/// Where in the keyring the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service.
    pub service: String,
    /// The entry: an installation's id.
    pub name: String,
}

impl Entry {
    pub(super) fn of(install: &str) -> Self {
        Self { service: SERVICE.to_owned(), name: install.to_owned() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (service, name) = text.split_once('/')?;
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        (word(service) && word(name)).then(|| Self { service: service.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

/// What the file says.
#[derive(Debug, Clone)]
pub(super) enum Written {
    /// It has the keys.
    Here {
        /// At least one.
        keys: Keys,
        /// While a move is under way: the entry that may have them too.
        also: Option<Entry>,
    },
    /// The keyring has them.
    Keyring {
        /// Under this entry.
        entry: Entry,
        /// Whether the entry may have more than one.
        rotating: bool,
    },
}

impl Written {
    /// None when a line is neither a key nor a place, or none is there.
    pub(super) fn parse(text: &SecretString) -> Option<Self> {
        let (mut keys, mut place) = (Vec::new(), None);
        for line in lines(text) {
            match line.strip_prefix(PLACE) {
                Some(of) if place.is_none() => place = Some(of),
                Some(_) => return None,
                None => keys.push(key(line)?),
            }
        }
        let (entry, rotating) = match place.map(|of| of.split_once(' ').unwrap_or((of, ""))) {
            Some((entry, ROTATING)) => (Some(Entry::parse(entry)?), true),
            Some((entry, "")) => (Some(Entry::parse(entry)?), false),
            Some(_) => return None,
            None => (None, false),
        };
        match entry {
            also if !keys.is_empty() => Some(Self::Here { keys: keys.into(), also }),
            Some(entry) => Some(Self::Keyring { entry, rotating }),
            None => None,
        }
    }

    pub(super) fn text(&self) -> SecretString {
        match self {
            Self::Here { keys, also: None } => (OF_KEYS.to_owned() + text_of(keys).expose_secret()).into(),
            Self::Here { keys, also: Some(entry) } => {
                format!("{OF_KEYS}{OF_MOVE}{}{PLACE}{entry}\n", text_of(keys).expose_secret()).into()
            }
            Self::Keyring { entry, rotating } => {
                let mark = if *rotating { format!(" {ROTATING}") } else { String::new() };
                format!("{OF_PLACE}{PLACE}{entry}{mark}\n").into()
            }
        }
    }
}

/// What the entry of a keyring has: none when it is something else.
pub(super) fn keys_of(text: &SecretString) -> Option<Keys> {
    let keys: Option<Vec<SealKey>> = lines(text).map(key).collect();
    keys.filter(|keys| !keys.is_empty()).map(Into::into)
}

pub(super) fn text_of(keys: &[SealKey]) -> SecretString {
    keys.iter().map(|key| format!("{MARK}{}\n", STANDARD.encode(key.expose()))).collect::<String>().into()
}

fn lines(text: &SecretString) -> impl Iterator<Item = &str> {
    text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn key(line: &str) -> Option<SealKey> {
    let mut bytes = [0; KEY];
    let length = STANDARD.decode_slice(line.strip_prefix(MARK)?, &mut bytes).ok()?;
    (length == KEY).then(|| SealKey::of(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Written> {
        Written::parse(&text.into())
    }

    #[test]
    fn each_form_comes_back_as_it_was_written() {
        let keys: Keys = vec![SealKey::fresh(), SealKey::fresh()].into();
        let entry = Entry::of("0193-a");
        let ids = |keys: &Keys| keys.iter().map(SealKey::id).collect::<Vec<_>>();
        for also in [None, Some(entry.clone())] {
            let written = Written::Here { keys: keys.clone(), also: also.clone() };
            let Some(Written::Here { keys: read, also: read_also }) = Written::parse(&written.text()) else {
                panic!("{also:?}")
            };
            assert_eq!((ids(&read), read_also), (ids(&keys), also));
        }
        for rotating in [false, true] {
            let text = Written::Keyring { entry: entry.clone(), rotating }.text();
            let Some(Written::Keyring { entry: read, rotating: marked }) = Written::parse(&text) else {
                panic!("{rotating}")
            };
            assert_eq!((read, marked), (entry.clone(), rotating));
        }
        assert_eq!(ids(&keys_of(&text_of(&keys)).unwrap()), ids(&keys));
    }

    #[test]
    fn a_place_that_is_not_clear_is_none() {
        for odd in ["cofferdam", "/a", "cofferdam/", "cofferdam/a b", "cofferdam/a rotating now"] {
            assert!(parsed(&format!("{PLACE}{odd}\n")).is_none(), "{odd}");
        }
        assert!(parsed(&format!("{PLACE}cofferdam/a\n{PLACE}cofferdam/b\n")).is_none());
        assert!(keys_of(&format!("{PLACE}cofferdam/a\n").into()).is_none(), "an entry names no entry");
    }
}
