//! What an agent writes is Markdown; here it becomes what a chat platform takes. Pure: text in, messages out.
//!
//! ```text
//! Markdown ─ clean ─ nesting ─ read (table) ─▶ Doc: chunks ─ pack (cut) ─▶ messages ─ html ─▶ pieces
//!                           └ source ────────▶
//! ```
//!
//! An agent's text is hostile. So markup is never copied: a text's spans carry styles, and only [`html`] writes tags, each
//! of which it closes. Whatever is cut, is cut between spans' characters, so a half tag or entity cannot come to be.

mod clean;
mod cut;
mod doc;
mod draft;
mod html;
mod language;
mod nesting;
mod pack;
mod read;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod weight;

pub use draft::Draft;

use clean::clean;
use doc::{Doc, Kind};
use pack::{Bounds, Message};
use read::Flavour;

/// The least limit of a message that is kept to, in its measure's units: room for a word and for every character.
pub const MIN_LIMIT: usize = 16;

/// The most entities of a Telegram message: its Bot API ignores the ones after the hundredth.
const MAX_ENTITIES: usize = 100;
/// The most bytes of a Telegram message's markup. Its Bot API refuses more than 32,768 ("text is too long", `get_formatted_text` in
/// its source) before it reads them; the rest is for what is put behind a message, such as how a question ended.
pub const MAX_BYTES: usize = 32 * 1024 - 512;

/// One message of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, which is never blank.
    Text {
        /// In the platform's markup.
        markup: String,
        /// The same in plain words, for when the platform refuses the markup.
        plain: String,
    },
    /// A code block that is too long for a message: a file.
    File {
        /// Its name, such as `code-1.rs`: letters, digits, `-` and one dot.
        name: String,
        /// Its text.
        content: String,
    },
}

/// What a platform counts of a message's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// UTF-16 code units, such as Telegram.
    Utf16,
    /// Unicode code points, such as Discord.
    Chars,
    /// Bytes of UTF-8, such as IRC.
    Bytes,
}

impl Measure {
    /// A character's length.
    pub fn of(self, c: char) -> usize {
        match self {
            Self::Utf16 => c.len_utf16(),
            Self::Chars => 1,
            Self::Bytes => c.len_utf8(),
        }
    }

    /// A text's length.
    pub fn of_text(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            _ => text.chars().map(|c| self.of(c)).sum(),
        }
    }
}

/// Messages in Telegram's HTML (the Bot API's "HTML style"), none for a blank text. `limit`: the most UTF-16 code units of
/// a message's text after its entities were parsed, which is what Telegram counts (it takes 4096), at least [`MIN_LIMIT`].
/// A message has at most a hundred entities: links beyond them go into the next, other markup is left out, its text is not.
/// Markup has at most [`MAX_BYTES`]: many long links make more messages.
pub fn telegram(markdown: &str, limit: usize) -> Vec<Piece> {
    let doc = read::read(&clean(markdown), Flavour::Telegram);
    pieces(&doc, of_telegram(limit), |message| html::write(&doc, message, "", MAX_ENTITIES))
}

/// One message in Telegram's HTML for a text that still grows, none for a blank text. It is well-formed wherever the text
/// breaks off. Of what is longer than `limit` (as in [`telegram`]) the newest is shown, after an ellipsis.
pub fn telegram_draft(markdown: &str, limit: usize) -> Option<Draft> {
    let doc = read::read(&clean(markdown), Flavour::Telegram);
    draft::draft(&doc, of_telegram(limit))
}

fn of_telegram(limit: usize) -> Bounds {
    Bounds { entities: MAX_ENTITIES, bytes: MAX_BYTES, ..Bounds::new(limit, Measure::Utf16) }
}

/// Messages without any markup, none for a blank text, each of at most `limit` units of `measure` (at least
/// [`MIN_LIMIT`]). They may have line breaks. A piece's `markup` is its `plain`.
pub fn plain(markdown: &str, limit: usize, measure: Measure) -> Vec<Piece> {
    let doc = read::read(&clean(markdown), Flavour::Plain);
    as_it_is(&doc, Bounds::new(limit, measure))
}

/// The Markdown itself in messages of at most `limit` units of `measure` (at least [`MIN_LIMIT`]), for platforms that
/// render it; none for a blank text. A piece's `plain` is its `markup`: people can read Markdown.
pub fn markdown(markdown: &str, limit: usize, measure: Measure) -> Vec<Piece> {
    let bounds = Bounds::new(limit, measure);
    as_it_is(&source::read(&clean(markdown), bounds), bounds)
}

fn as_it_is(doc: &Doc, bounds: Bounds) -> Vec<Piece> {
    pieces(doc, bounds, |message| {
        let text = doc.text_of(message);
        (text.clone(), text)
    })
}

/// Messages as pieces. `write` gives markup and plain text of one.
fn pieces(doc: &Doc, bounds: Bounds, write: impl Fn(&[doc::Slice]) -> (String, String)) -> Vec<Piece> {
    let mut files = 0;
    let piece = |message| match message {
        Message::Text(slices) => {
            let (markup, plain) = write(&slices);
            Piece::Text { markup, plain }
        }
        Message::File(chunk) => {
            files += 1;
            let chunk = &doc.chunks[chunk];
            let language = match &chunk.kind {
                Kind::Code { language, .. } => language.as_str(),
                _ => "",
            };
            let content = chunk.content();
            Piece::File {
                name: format!("code-{files}.{}", language::extension(language)),
                content: format!("{}\n", content.strip_suffix('\n').unwrap_or(content)),
            }
        }
    };
    pack::pack(doc, bounds).into_iter().map(piece).collect()
}
