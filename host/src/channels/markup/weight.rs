//! How many bytes of Telegram's markup a text takes, at most. Telegram counts what is shown, but reads no more than so much.

use std::ops::Range;

use super::doc::{Chunk, Doc, Kind, Slice, Style};

/// `<blockquote expandable>` and its end; `<pre><code class="language-">` and its end; `<a href="">` and its end; `<b>`, `<i>` or
/// `<s>` and its end; `<code>` and its end.
const QUOTE: usize = 36;
const PRE: usize = 42;
const LINK: usize = 15;
const STYLE: usize = 7;
const CODE: usize = 13;

/// The bytes of a character that is escaped.
pub fn of_char(c: char) -> usize {
    match c {
        '<' | '>' => 4,
        '&' => 5,
        '"' => 6,
        c => c.len_utf8(),
    }
}

pub fn of_text(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

/// What a slice takes, and the line breaks before it; or anything above `most`, where it takes more. A link counts for each of
/// its spans.
pub fn of_slice(doc: &Doc, slice: &Slice, most: usize) -> usize {
    let chunk = &doc.chunks[slice.chunk];
    let mut weight = chunk.gap + of_chunk(chunk);
    for (text, style) in chunk.rich.spans(slice.part.clone()) {
        if weight > most {
            break;
        }
        weight += of_style(doc, style) + of_text(text);
    }
    weight
}

/// How many bytes of a part of a chunk take at most `most` bytes of markup and so many entities: whole spans, or of the first one
/// some characters.
pub fn head(doc: &Doc, at: usize, part: Range<usize>, (most, entities): (usize, usize)) -> usize {
    let chunk = &doc.chunks[at];
    let mut left = most.saturating_sub(chunk.gap + of_chunk(chunk));
    let mut entities = entities.saturating_sub(usize::from(chunk.quoted));
    let mut end = 0;
    for (text, style) in chunk.rich.spans(part) {
        let tags = of_style(doc, style);
        let fits = fitting(text.chars(), left.saturating_sub(tags));
        let enough = entities.checked_sub(style.entities());
        entities = enough.unwrap_or(0);
        if fits < text.len() || enough.is_none() {
            return if end > 0 { end } else { fits.max(text.chars().next().map_or(0, char::len_utf8)) };
        }
        left = left.saturating_sub(tags + of_text(text));
        end += text.len();
    }
    end
}

/// Where the newest part of a chunk begins that takes at most `most` bytes of markup: at a span, or within the last one.
pub fn tail(doc: &Doc, at: usize, most: usize) -> usize {
    let chunk = &doc.chunks[at];
    let whole = chunk.rich.text.len();
    let mut left = most.saturating_sub(chunk.gap + of_chunk(chunk));
    let mut start = whole;
    for (text, style) in chunk.rich.spans(0..whole).collect::<Vec<_>>().into_iter().rev() {
        let tags = of_style(doc, style);
        let fits = fitting(text.chars().rev(), left.saturating_sub(tags));
        if fits < text.len() {
            return if start < whole { start } else { whole - fits };
        }
        left = left.saturating_sub(tags + of_text(text));
        start -= text.len();
    }
    start
}

/// The bytes of the first characters that take at most `most` when they are escaped.
fn fitting(chars: impl Iterator<Item = char>, most: usize) -> usize {
    let (mut bytes, mut taken) = (0, 0);
    for c in chars {
        taken += of_char(c);
        if taken > most {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

fn of_chunk(chunk: &Chunk) -> usize {
    let own = match &chunk.kind {
        Kind::Code { language, .. } => PRE + language.len(),
        Kind::Table => PRE,
        Kind::Text | Kind::Heading => 0,
    };
    own + if chunk.quoted { QUOTE } else { 0 }
}

fn of_style(doc: &Doc, style: Style) -> usize {
    let Style { bold, italic, strike, code, link } = style;
    let link = link.map_or(0, |link| LINK + of_text(&doc.links[link]));
    link + STYLE * [bold, italic, strike].into_iter().filter(|is| *is).count() + if code { CODE } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::markup::doc::Rich;
    use crate::channels::markup::html;

    /// `one` `[two](address)` `<&"` in a quote.
    fn doc() -> Doc {
        let mut rich = Rich::new("one ");
        rich.push("two", Style { link: Some(0), bold: true, ..Style::default() });
        rich.push(" <&\"", Style { italic: true, ..Style::default() });
        let chunk = Chunk { rich, kind: Kind::Text, quoted: true, gap: 0 };
        Doc { chunks: vec![chunk], links: vec!["https://a.b/?c&d".to_owned()] }
    }

    #[test]
    fn a_slice_takes_no_more_than_it_is_said_to() {
        let doc = doc();
        let whole = Slice { chunk: 0, part: 0..doc.chunks[0].rich.text.len() };
        let weight = of_slice(&doc, &whole, 1000);
        let (markup, _) = html::write(&doc, std::slice::from_ref(&whole), "", 100);
        // It counts the folded quote's longer tag.
        assert_eq!(weight, markup.len() + " expandable".len(), "{markup}");
    }

    #[test]
    fn what_does_not_fit_is_left_out_by_spans_or_else_by_characters() {
        let doc = doc();
        let weight = of_slice(&doc, &Slice { chunk: 0, part: 0..11 }, 1000);
        assert_eq!((head(&doc, 0, 0..11, (weight, 100)), tail(&doc, 0, weight)), (11, 0));
        assert_eq!(head(&doc, 0, 0..11, (weight - 1, 100)), 7, "the last span");
        assert_eq!(head(&doc, 0, 0..11, (QUOTE + 10, 100)), 4, "nor the link");
        assert_eq!(head(&doc, 0, 0..11, (QUOTE + 2, 100)), 2);
        assert_eq!(head(&doc, 0, 0..11, (0, 100)), 1, "never nothing");
        assert_eq!(head(&doc, 0, 0..11, (1000, 3)), 7, "the quote, the link and bold");
        assert_eq!(head(&doc, 0, 0..11, (1000, 2)), 4);
        assert_eq!(tail(&doc, 0, weight - 1), 4);
        assert_eq!(tail(&doc, 0, QUOTE + STYLE + 16), 7);
        assert_eq!(tail(&doc, 0, QUOTE + STYLE + 6), 10);
        assert_eq!(tail(&doc, 0, 0), 11);
    }
}
