//! Telegram's HTML.

use std::ops::Range;

use super::doc::{Chunk, Doc, Kind, Slice, Style};

/// A quote that is longer (bytes) is folded: people know what they wrote.
const MAX_OPEN_QUOTE: usize = 600;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tag {
    Quote { folded: bool },
    Pre { language: String },
    Link(usize),
    Bold,
    Italic,
    Strike,
    Code,
}

/// A message's markup, and its text. `before` stands before it. `most`: how many entities it may have.
pub fn write(doc: &Doc, slices: &[Slice], before: &str, most: usize) -> (String, String) {
    let mut writer = Writer { doc, markup: String::new(), plain: String::new(), open: Vec::new(), left: most };
    writer.text(before);
    for (at, slice) in slices.iter().enumerate() {
        let chunk = &doc.chunks[slice.chunk];
        writer.between(chunk, &slices[at..], at > 0);
        writer.chunk(chunk, slice.part.clone());
    }
    writer.close(0);
    (writer.markup, writer.plain)
}

struct Writer<'a> {
    doc: &'a Doc,
    markup: String,
    plain: String,
    /// The tags that are open, the outermost first.
    open: Vec<Tag>,
    /// How many entities may still come.
    left: usize,
}

impl Writer<'_> {
    /// Goes from one chunk to the next.
    fn between(&mut self, chunk: &Chunk, slices: &[Slice], gap: bool) {
        let in_quote = matches!(self.open.first(), Some(Tag::Quote { .. }));
        self.close(usize::from(in_quote && chunk.quoted));
        if gap {
            self.text(&"\n".repeat(chunk.gap));
        }
        if chunk.quoted && self.open.is_empty() && self.left > 0 {
            let chunks = slices.iter().map(|slice| (&self.doc.chunks[slice.chunk], slice.part.len()));
            let bytes: usize = chunks.take_while(|(chunk, _)| chunk.quoted).map(|(_, bytes)| bytes).sum();
            self.start(Tag::Quote { folded: bytes > MAX_OPEN_QUOTE });
        }
    }

    fn chunk(&mut self, chunk: &Chunk, part: Range<usize>) {
        let language = match &chunk.kind {
            Kind::Code { language, .. } => language.as_str(),
            Kind::Table => "",
            Kind::Text | Kind::Heading => {
                let outer = self.open.len();
                for (text, style) in chunk.rich.spans(part) {
                    self.span(text, style, outer);
                }
                return;
            }
        };
        self.start(Tag::Pre { language: language.to_owned() });
        self.text(&chunk.rich.text[part]);
    }

    /// Text in a style. Of the tags within `outer`, those stay open that it has, too.
    fn span(&mut self, text: &str, style: Style, outer: usize) {
        let mut wanted = tags(style);
        let kept = self.open[outer..].iter().take_while(|tag| wanted.contains(tag)).count();
        self.close(outer + kept);
        wanted.retain(|tag| !self.open[outer..].contains(tag));
        // Spaces look the same in all styles, and entities are few.
        if !text.trim().is_empty() {
            wanted.into_iter().for_each(|tag| self.start(tag));
        }
        self.text(text);
    }

    fn text(&mut self, text: &str) {
        self.plain.push_str(text);
        escape(text, &mut self.markup);
    }

    fn start(&mut self, tag: Tag) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        match &tag {
            Tag::Quote { folded: true } => self.markup.push_str("<blockquote expandable>"),
            Tag::Quote { folded: false } => self.markup.push_str("<blockquote>"),
            Tag::Pre { language } if language.is_empty() => self.markup.push_str("<pre>"),
            Tag::Pre { language } => {
                self.markup.push_str("<pre><code class=\"language-");
                escape(language, &mut self.markup);
                self.markup.push_str("\">");
            }
            Tag::Link(link) => {
                self.markup.push_str("<a href=\"");
                escape(&self.doc.links[*link], &mut self.markup);
                self.markup.push_str("\">");
            }
            Tag::Bold => self.markup.push_str("<b>"),
            Tag::Italic => self.markup.push_str("<i>"),
            Tag::Strike => self.markup.push_str("<s>"),
            Tag::Code => self.markup.push_str("<code>"),
        }
        self.open.push(tag);
    }

    /// Closes all tags but the outermost `kept`.
    fn close(&mut self, kept: usize) {
        while self.open.len() > kept {
            self.markup.push_str(match self.open.pop() {
                Some(Tag::Quote { .. }) => "</blockquote>",
                Some(Tag::Pre { language }) if language.is_empty() => "</pre>",
                Some(Tag::Pre { .. }) => "</code></pre>",
                Some(Tag::Link(_)) => "</a>",
                Some(Tag::Bold) => "</b>",
                Some(Tag::Italic) => "</i>",
                Some(Tag::Strike) => "</s>",
                Some(Tag::Code) => "</code>",
                None => return,
            });
        }
    }
}

/// A style's tags. Telegram has no code within anything else, and of a link and code the link is of more use.
fn tags(style: Style) -> Vec<Tag> {
    if style.code && style.link.is_none() {
        return vec![Tag::Code];
    }
    let mut tags: Vec<Tag> = style.link.map(Tag::Link).into_iter().collect();
    tags.extend(style.bold.then_some(Tag::Bold));
    tags.extend(style.italic.then_some(Tag::Italic));
    tags.extend(style.strike.then_some(Tag::Strike));
    tags
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        // `weight` counts what this writes.
        match c {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            c => into.push(c),
        }
    }
}
