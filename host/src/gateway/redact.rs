//! Takes the host's key out of what an upstream says, whole answers and streams alike.

use bytes::{Bytes, BytesMut};
use memchr::memmem::find;
use secrecy::{ExposeSecret, SecretString};

/// Shorter keys are not looked for: they are placeholders of local servers, and would match ordinary text.
const MIN_KEY_BYTES: usize = 8;
const MASK: &[u8] = b"[redacted]";

/// Replaces the key wherever it stands, also across the pieces of a stream.
///
/// A piece is passed on at once and whole, unless its end could be the beginning of the key: only those few
/// bytes wait for the next piece.
pub(crate) struct Redactor {
    key: SecretString,
    held: BytesMut,
}

impl Redactor {
    /// Looks for `key`.
    pub(crate) fn new(key: SecretString) -> Self {
        Self { key, held: BytesMut::new() }
    }

    /// The part of the stream that can be passed on after `piece`.
    pub(crate) fn push(&mut self, piece: Bytes) -> Bytes {
        let key = self.key.expose_secret().as_bytes();
        if key.len() < MIN_KEY_BYTES {
            return piece;
        }
        let mut text = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            self.held.split().freeze()
        };
        if find(&text, key).is_some() {
            text = replace(&text, key);
        }
        let keep = tail(&text, key);
        self.held.extend_from_slice(&text[text.len() - keep..]);
        text.truncate(text.len() - keep);
        text
    }

    /// What was held back, at the end of the stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether `text` has the key in it.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let key = self.key.expose_secret().as_bytes();
        key.len() >= MIN_KEY_BYTES && find(text, key).is_some()
    }
}

fn replace(mut text: &[u8], key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len());
    while let Some(at) = find(text, key) {
        out.extend_from_slice(&text[..at]);
        out.extend_from_slice(MASK);
        text = &text[at + key.len()..];
    }
    out.extend_from_slice(text);
    out.freeze()
}

/// Length of the longest end of `text` that begins the key.
fn tail(text: &[u8], key: &[u8]) -> usize {
    let longest = text.len().min(key.len() - 1);
    (1..=longest).rev().find(|&n| key.starts_with(&text[text.len() - n..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "sk-aab-aab-aac";

    fn through(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut redactor = Redactor::new(KEY.into());
        let mut out: Vec<u8> =
            pieces.iter().flat_map(|piece| redactor.push(Bytes::from(piece.clone())).to_vec()).collect();
        out.extend_from_slice(&redactor.finish());
        out
    }

    #[test]
    fn a_piece_without_the_key_passes_whole_and_at_once() {
        let mut redactor = Redactor::new(KEY.into());
        assert_eq!(redactor.push(Bytes::from_static(b"data: hello\n\n")), "data: hello\n\n");
        assert!(redactor.finish().is_empty());
    }

    #[test]
    fn placeholders_of_local_servers_are_left_alone() {
        let mut redactor = Redactor::new("none".into());
        assert_eq!(redactor.push(Bytes::from_static(b"none of it")), "none of it");
    }

    proptest! {
        #[test]
        fn the_key_never_passes_however_the_stream_is_cut(
            texts in proptest::collection::vec("[a-c-]{0,8}|sk-aab-aab-aac", 0..8),
            cuts in proptest::collection::vec(1usize..7, 1..20),
        ) {
            let whole = texts.concat();
            let mut rest = whole.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle().take(200) {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = after;
            }
            let out = String::from_utf8(through(&pieces)).unwrap();
            prop_assert!(!out.contains(KEY));
            prop_assert_eq!(out, whole.replace(KEY, "[redacted]"));
        }
    }
}
