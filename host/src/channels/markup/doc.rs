//! A text that was read: chunks of styled characters, between which messages are best split.

use std::ops::Range;

use super::clean::is_blank;

/// How characters look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
    pub code: bool,
    /// Its place in [`Doc::links`].
    pub link: Option<usize>,
}

impl Style {
    /// How many entities it needs, at most.
    pub fn entities(self) -> usize {
        let Self { bold, italic, strike, code, link } = self;
        [bold, italic, strike, code, link.is_some()].into_iter().filter(|is| *is).count()
    }
}

/// Characters and how they look.
#[derive(Debug, Default)]
pub struct Rich {
    pub text: String,
    /// Where each span ends (a byte of the text), in order, and its style.
    spans: Vec<(usize, Style)>,
}

impl Rich {
    pub fn new(text: &str) -> Self {
        let mut rich = Self::default();
        rich.push(text, Style::default());
        rich
    }

    pub fn push(&mut self, text: &str, style: Style) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        match self.spans.last_mut() {
            Some((end, last)) if *last == style => *end = self.text.len(),
            _ => self.spans.push((self.text.len(), style)),
        }
    }

    pub fn append(&mut self, other: &Rich) {
        for (text, style) in other.spans(0..other.text.len()) {
            self.push(text, style);
        }
    }

    /// The spans of a part of the text.
    pub fn spans(&self, part: Range<usize>) -> impl Iterator<Item = (&str, Style)> {
        let first = self.spans.partition_point(|(end, _)| *end <= part.start);
        let mut from = part.start;
        self.spans[first..].iter().map_while(move |(end, style)| {
            let text = &self.text[from..(*end).min(part.end)];
            from += text.len();
            (!text.is_empty()).then_some((text, *style))
        })
    }

    /// Without whitespace at its end.
    pub fn trim_end(&mut self) {
        let len = self.text.trim_end().len();
        self.text.truncate(len);
        let kept = self.spans.partition_point(|(end, _)| *end < len);
        self.spans.truncate(kept + 1);
        if let Some((end, _)) = self.spans.last_mut() {
            *end = (*end).min(len);
        }
    }

    /// The same with `first` before it and `rest` before each further line, which look like the line break before them.
    pub fn indented(self, first: &str, rest: &str) -> Self {
        if first.is_empty() && rest.is_empty() {
            return self;
        }
        let mut indented = Self::new(first);
        for (text, style) in self.spans(0..self.text.len()) {
            for line in text.split_inclusive('\n') {
                indented.push(line, style);
                if line.ends_with('\n') {
                    indented.push(rest, style);
                }
            }
        }
        indented
    }

    pub fn has_links(&self) -> bool {
        self.spans.iter().any(|(_, style)| style.link.is_some())
    }

    /// How many entities its styles need, at most.
    fn entities(&self, part: Range<usize>) -> usize {
        let seen = self.spans(part).filter(|(text, _)| !text.trim().is_empty());
        seen.map(|(_, style)| style.entities()).sum()
    }
}

/// What a chunk is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Stays with the chunk after it.
    Heading,
    /// Aligned with spaces, may be split between its lines.
    Table,
    /// Whole in a message, or a file.
    Code {
        /// As [`super::language::name`] gives it.
        language: String,
        /// The file's text, when it is not the chunk's.
        content: Option<String>,
    },
}

/// A paragraph, an item of a list, a code block, a table, or the like.
#[derive(Debug)]
pub struct Chunk {
    pub rich: Rich,
    pub kind: Kind,
    /// In a quote that the platform shows as such.
    pub quoted: bool,
    /// How many newlines stand between it and the chunk before it.
    pub gap: usize,
}

impl Chunk {
    /// The text of its file.
    pub fn content(&self) -> &str {
        match &self.kind {
            Kind::Code { content: Some(content), .. } => content,
            _ => &self.rich.text,
        }
    }

    /// How many entities a part of it needs, at most.
    pub fn entities(&self, part: Range<usize>) -> usize {
        let own = match self.kind {
            Kind::Table | Kind::Code { .. } => 1,
            Kind::Text | Kind::Heading => self.rich.entities(part),
        };
        own + usize::from(self.quoted)
    }
}

/// A part of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its place in [`Doc::chunks`].
    pub chunk: usize,
    /// Bytes of the chunk's text.
    pub part: Range<usize>,
}

/// A text that was read.
#[derive(Debug, Default)]
pub struct Doc {
    pub chunks: Vec<Chunk>,
    /// Where its links lead.
    pub links: Vec<String>,
}

impl Doc {
    /// The text as it stands.
    pub fn verbatim(text: &str) -> Self {
        let chunk = Chunk { rich: Rich::new(text.trim()), kind: Kind::Text, quoted: false, gap: 2 };
        Self { chunks: vec![chunk], links: Vec::new() }
    }

    pub fn is_blank(&self) -> bool {
        self.chunks.iter().all(|chunk| is_blank(&chunk.rich.text))
    }

    /// A message's text.
    pub fn text_of(&self, slices: &[Slice]) -> String {
        let mut text = String::new();
        for slice in slices {
            let chunk = &self.chunks[slice.chunk];
            if !text.is_empty() {
                text.extend(std::iter::repeat_n('\n', chunk.gap));
            }
            text += &chunk.rich.text[slice.part.clone()];
        }
        text
    }
}
