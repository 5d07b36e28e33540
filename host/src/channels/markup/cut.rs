//! Where a text that is too long for a message is cut.

use unicode_segmentation::GraphemeCursor;

use super::Measure;

/// Behind what a sentence ends; the space after the first three is needed, as in "3.5".
const SENTENCE_ENDS: [&str; 6] = [". ", "! ", "? ", "。", "！", "？"];

/// What a cut may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// Whatever must be.
    Anything,
    /// Only what reads well: between lines or sentences.
    Sentences,
}

/// How many bytes of the text go into `room`, up to a sensible place: the end of a line, of a sentence or of a word. Not
/// nothing where anything may be cut.
pub fn head(text: &str, room: usize, measure: Measure, through: Through) -> Option<usize> {
    let most = most(text, room, measure);
    if most == text.len() {
        return Some(most);
    }
    let (window, after) = text.split_at(most);
    // A cut far before the end would make short messages of long ones.
    let late = |at: &usize| *at > most / 2;
    let line = if after.starts_with('\n') { Some(most) } else { window.rfind('\n') };
    let sentence = || SENTENCE_ENDS.iter().filter_map(|end| window.rfind(end).map(|at| at + end.len())).max();
    let found = line.filter(late).or_else(|| sentence().filter(late));
    if found.is_some() || through == Through::Sentences {
        return found;
    }
    let word = if after.starts_with(char::is_whitespace) { Some(most) } else { window.rfind(char::is_whitespace) };
    word.filter(|at| *at > 0).or_else(|| Some(grapheme_before(text, most)))
}

/// Where the newest part of the text begins that goes into `room`: at a line or a word, if there is one soon.
pub fn tail(text: &str, room: usize, measure: Measure) -> usize {
    let mut left = room;
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        match left.checked_sub(measure.of(c)) {
            Some(rest) => (left, start) = (rest, at),
            None => break,
        }
    }
    if start == 0 || text[..start].ends_with('\n') {
        return start;
    }
    let window = &text[start..];
    let soon = |at: &usize| *at < window.len() / 2;
    let line = window.find('\n').map(|at| at + 1).filter(soon);
    let word = || window.find(char::is_whitespace).filter(soon);
    line.or_else(word).map_or_else(|| grapheme_after(text, start), |at| start + at)
}

/// The bytes of the text that go into `room`; of a text that is not empty at least one character.
fn most(text: &str, room: usize, measure: Measure) -> usize {
    let mut left = room;
    for (at, c) in text.char_indices() {
        match left.checked_sub(measure.of(c)) {
            Some(rest) => left = rest,
            None if at == 0 => return c.len_utf8(),
            None => return at,
        }
    }
    text.len()
}

/// The last place up to `at` that is not within what people see as one character; `at`, if there is none.
fn grapheme_before(text: &str, at: usize) -> usize {
    let before = || cursor(text, at).prev_boundary(text, 0).ok().flatten().filter(|before| *before > 0);
    if is_inside(text, at) { before().unwrap_or(at) } else { at }
}

/// The first such place from `at` on; `at`, if there is none before the end.
fn grapheme_after(text: &str, at: usize) -> usize {
    let after = || cursor(text, at).next_boundary(text, 0).ok().flatten().filter(|after| *after < text.len());
    if is_inside(text, at) { after().unwrap_or(at) } else { at }
}

fn is_inside(text: &str, at: usize) -> bool {
    cursor(text, at).is_boundary(text, 0) == Ok(false)
}

fn cursor(text: &str, at: usize) -> GraphemeCursor {
    GraphemeCursor::new(at, text.len(), true)
}
