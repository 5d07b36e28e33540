//! One message of a text that still grows.

use super::clean::is_blank;
use super::cut::tail;
use super::doc::{Doc, Kind, Slice};
use super::pack::Bounds;
use super::{html, weight};

/// Stands for what was left out.
const LEFT_OUT: &str = "…\n";

/// One message in a platform's markup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// In the platform's markup.
    pub markup: String,
    /// The same in plain words, for when the platform refuses the markup.
    pub plain: String,
}

/// The newest part of a text. None when nothing of it can be seen.
pub fn draft(doc: &Doc, bounds: Bounds) -> Option<Draft> {
    let (slices, whole) = newest(doc, bounds);
    if slices.is_empty() {
        return None;
    }
    let (markup, plain) = html::write(doc, &slices, if whole { "" } else { LEFT_OUT }, bounds.entities);
    Some(Draft { markup, plain })
}

/// The last chunks that fit, and whether these are all.
fn newest(doc: &Doc, bounds: Bounds) -> (Vec<Slice>, bool) {
    let chunks = || doc.chunks.iter().enumerate().rev().filter(|(_, chunk)| !is_blank(&chunk.rich.text));
    let width: usize = chunks().map(|(_, chunk)| bounds.measure.of_text(&chunk.rich.text) + chunk.gap).sum();
    // Nothing stands before the first.
    let short = width - chunks().next_back().map_or(0, |(_, chunk)| chunk.gap) <= bounds.limit;
    let of_chunk = |at: usize| {
        weight::of_slice(doc, &Slice { chunk: at, part: 0..doc.chunks[at].rich.text.len() }, bounds.bytes)
    };
    let whole = short && chunks().map(|(at, _)| of_chunk(at)).sum::<usize>() <= bounds.bytes;
    let mut bytes = if whole { bounds.bytes } else { bounds.bytes - LEFT_OUT.len() };
    let mut left = if whole { bounds.limit } else { bounds.limit - bounds.measure.of_text(LEFT_OUT) };
    let mut slices = Vec::new();
    let mut gap = 0;
    for (at, chunk) in chunks() {
        let text = &chunk.rich.text;
        let room = left.saturating_sub(gap);
        let mut start = tail(text, room, bounds.measure).max(weight::tail(doc, at, bytes));
        if start > 0 && chunk.kind == Kind::Text {
            start += text[start..].len() - text[start..].trim_start().len();
        }
        if start < text.len() && !is_blank(&text[start..]) {
            slices.push(Slice { chunk: at, part: start..text.len() });
        }
        if start > 0 {
            break;
        }
        left = room - bounds.measure.of_text(text);
        bytes = bytes.saturating_sub(of_chunk(at));
        gap = chunk.gap;
    }
    slices.reverse();
    (slices, whole)
}
