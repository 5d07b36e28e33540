//! Which kinds of channels there are. A new one is a folder here that has a `KIND`, and a line in [`ALL`]: nothing outside this
//! room tells kinds apart but by what theirs says.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use super::http::book::Book;
use super::{BadSettings, Channel, exec, http, telegram};
use crate::model::channel::KindName;
use crate::trust::Trust;

/// The kinds that there are, in the order in which people are told of them.
pub static ALL: &[&Kind] = &[&telegram::KIND, &http::KIND, &exec::KIND];

/// A kind of channels.
pub struct Kind {
    /// Its name, in rows and for people.
    pub name: KindName,
    /// What its channels are, for people: a few words behind its name.
    pub about: &'static str,
    /// The secret that its channels cannot be without, for people.
    pub needs: Option<&'static str>,
    /// Whether programs call its channels, by webhooks and keys.
    pub programs: bool,
    /// The command that adds one, for people.
    pub example: &'static str,
    /// Makes a channel; touches nothing yet.
    pub make: fn(Parts<'_>) -> Result<Arc<dyn Channel>, BadSettings>,
}

/// What a channel may be made of.
pub struct Parts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its settings.
    pub settings: Value,
    /// Its secret.
    pub secret: Option<SecretString>,
    /// The directory for what it keeps; it may not be there yet.
    pub state_dir: PathBuf,
    /// Makes its HTTP clients.
    pub trust: &'a Trust,
    /// Makes what one that programs call looks up.
    pub book: &'a dyn Fn() -> Arc<dyn Book>,
}

/// The kind of this name; none is one that this program does not know.
pub fn find(name: &KindName) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == *name)
}

/// Whether programs call channels of this kind.
pub fn is_for_programs(name: &KindName) -> bool {
    find(name).is_some_and(|kind| kind.programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_no_other_is() {
        for kind in ALL {
            assert!(std::ptr::eq(find(&kind.name).unwrap(), *kind), "{} is there twice", kind.name);
            let words: Vec<_> = kind.example.split(' ').collect();
            assert_eq!((&words[..3], words[4]), (&["cofferdam", "channel", "add"][..], kind.name.as_str()));
        }
        assert!(find(&KindName::of("of-tomorrow")).is_none() && !is_for_programs(&KindName::of("of-tomorrow")));
    }

    #[test]
    fn what_a_kind_needs_it_asks_for() {
        for kind in ALL.iter().filter(|kind| kind.needs.is_some()) {
            let parts = Parts {
                name: "x",
                settings: Value::Object(serde_json::Map::new()),
                secret: None,
                state_dir: PathBuf::new(),
                trust: &Trust::MACHINE,
                book: &|| unreachable!("no kind needs a secret and is called by programs"),
            };
            assert!((kind.make)(parts).is_err(), "{} was made without its secret", kind.name);
        }
    }
}
