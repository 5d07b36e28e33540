//! What the model is told besides people's messages: `additionalContext`.
//!
//! Codex remembers each key's value of the turn before and leaves out what has not changed. After a compaction that
//! memory is wrong: the history has lost the text, yet the same value is not sent again. So each key carries a number
//! that is another after each compaction.

use std::collections::BTreeMap;

use super::protocol::{ContextEntry, ContextKind};

/// The longest value, in bytes: codex cuts the middle out of what is longer than 4,000.
const MAX_VALUE: usize = 3_500;

/// The context of one turn, in the making.
#[derive(Debug, Default)]
pub struct Context {
    entries: BTreeMap<String, ContextEntry>,
}

impl Context {
    /// Adds words of ours under `key`, which must be of `[a-z0-9_]`; long ones in pieces that stand in order.
    pub fn ours(&mut self, key: &str, text: &str) {
        self.add(key, ContextKind::Application, None, text);
    }

    /// Adds words that may be anybody's. The model sees them as data of this name.
    pub fn untrusted(&mut self, name: &'static str, epoch: u32, text: &str) {
        self.add(&format!("{name}_{epoch}"), ContextKind::Untrusted, Some(name), text);
    }

    /// What there is, by key.
    pub fn into_entries(self) -> BTreeMap<String, ContextEntry> {
        self.entries
    }

    fn add(&mut self, key: &str, kind: ContextKind, name: Option<&'static str>, text: &str) {
        let pieces = pieces(text.trim());
        let several = pieces.len() > 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            // Codex sorts by key.
            let key = if several { format!("{key}_{at:03}") } else { key.to_owned() };
            self.entries.insert(key, ContextEntry { kind, value: piece.to_owned(), name });
        }
    }
}

/// The text in pieces of at most [`MAX_VALUE`] bytes, cut at ends of lines where there are any.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let end = text.floor_char_boundary(MAX_VALUE);
        let cut = match text[..end].rfind('\n') {
            Some(line) if end < text.len() && line > 0 => line + 1,
            _ => end,
        };
        let (piece, rest) = text.split_at(cut);
        pieces.push(piece.trim_end_matches('\n'));
        text = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_one_entry_and_an_empty_one_none() {
        let mut context = Context::default();
        context.ours("a", "words\n");
        context.ours("b", " \n");
        let entries = context.into_entries();
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["a"]);
        let entry = ContextEntry { kind: ContextKind::Application, value: "words".into(), name: None };
        assert_eq!(entries["a"], entry);
    }

    #[test]
    fn a_long_text_is_cut_at_lines_and_stays_in_order_and_whole() {
        let lines: Vec<_> = (0..1_000).map(|line| format!("line {line} äöü")).collect();
        let mut context = Context::default();
        context.untrusted("earlier_conversation", 3, &lines.join("\n"));
        let entries = context.into_entries();
        assert!(entries.keys().all(|key| key.starts_with("earlier_conversation_3_0")), "{:?}", entries.keys());
        assert!(entries.values().all(|entry| entry.value.len() <= MAX_VALUE));
        let values: Vec<_> = entries.values().map(|entry| entry.value.as_str()).collect();
        assert_eq!(values.join("\n"), lines.join("\n"));
    }

    #[test]
    fn a_line_longer_than_a_piece_is_cut_inside() {
        let text = "ä".repeat(MAX_VALUE / 2 + 1);
        assert_eq!(pieces(&text).iter().map(|piece| piece.chars().count()).collect::<Vec<_>>(), [MAX_VALUE / 2, 1]);
    }
}
