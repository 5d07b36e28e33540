//! Wirings' patterns, compiled. That takes far longer than a search, and is done once for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use regex::Regex;

use crate::model::engage::compiled;
use crate::store::wirings::Wiring;

/// The most that are kept; when there are more, all are made again as they are needed. Each has at most 1 MiB.
const MOST: usize = 256;

/// Compiled patterns, by their text. One that is none, which nobody could have wired, fits nothing.
#[derive(Default)]
pub(super) struct Patterns(Mutex<HashMap<String, Option<Regex>>>);

impl Patterns {
    /// Whether a wiring's pattern fits a text.
    pub(super) fn fits(&self, wiring: &Wiring, text: &str) -> bool {
        let pattern = wiring.terms.pattern.as_deref().and_then(|pattern| self.get(pattern));
        // Outside of the lock: a long text holds up nobody.
        pattern.is_some_and(|pattern| pattern.is_match(text))
    }

    fn get(&self, pattern: &str) -> Option<Regex> {
        let known = |patterns: &HashMap<_, Option<Regex>>| patterns.get(pattern).cloned();
        if let Some(known) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let made = compiled(pattern).ok();
        let mut patterns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if patterns.len() >= MOST {
            patterns.clear();
        }
        patterns.insert(pattern.to_owned(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::ChatKind;
    use crate::store::wirings::Terms;

    fn wiring(pattern: &str) -> Wiring {
        let terms = Terms { pattern: Some(pattern.to_owned()), ..Terms::of(ChatKind::Group) };
        Wiring { channel: "tg".to_owned(), chat_id: "1".to_owned(), folder: "demo".parse().unwrap(), terms }
    }

    #[test]
    fn a_pattern_is_compiled_once_and_however_many_there_are_few_are_kept() {
        let patterns = Patterns::default();
        for _ in 0..3 {
            assert!(patterns.fits(&wiring("(?i)deploy"), "Deploy it"));
            assert!(!patterns.fits(&wiring("(?i)deploy"), "leave it"));
        }
        assert_eq!(patterns.0.lock().unwrap().len(), 1);
        for number in 0..MOST * 3 {
            assert!(patterns.fits(&wiring(&format!("^{number}$")), &number.to_string()));
            assert!(patterns.0.lock().unwrap().len() <= MOST);
        }
    }

    #[test]
    fn what_is_no_pattern_or_would_be_huge_fits_nothing() {
        let patterns = Patterns::default();
        for bad in ["(", r"(\w{1000}){1000}"] {
            assert!(!patterns.fits(&wiring(bad), "("), "{bad}");
        }
        let none = Wiring { terms: Terms::of(ChatKind::Group), ..wiring("") };
        assert!(!patterns.fits(&none, ""), "no pattern is not an empty one");
    }
}
