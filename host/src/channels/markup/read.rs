//! Markdown as chunks.

mod inline;
mod lead;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::clean::{clean, is_blank};
use super::doc::{Chunk, Doc, Kind, Rich};
use super::table::Table;
use super::{language, nesting};
use inline::Inline;
use lead::Lead;

/// For what kind of platform a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// It shows links and quotes as such, and needs their addresses nowhere else.
    Telegram,
    /// It shows characters only: addresses are written out, and quotes have a sign before each line.
    Plain,
}

/// What of Markdown is understood beyond CommonMark.
pub fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// Reads a text that was cleaned. A text that can be seen has a chunk that can.
pub fn read(markdown: &str, flavour: Flavour) -> Doc {
    if is_blank(markdown) {
        return Doc::default();
    }
    if nesting::is_too_deep(markdown) {
        return Doc::verbatim(markdown);
    }
    let mut reader = Reader::new(flavour);
    for event in Parser::new_ext(markdown, options()) {
        reader.take(event);
    }
    reader.flush(Kind::Text);
    // Such as a link's definition alone, which Markdown does not show.
    if reader.doc.is_blank() { Doc::verbatim(markdown) } else { reader.doc }
}

struct Reader {
    flavour: Flavour,
    doc: Doc,
    /// The chunk that is being read.
    inline: Inline,
    /// What stands before it.
    lead: Lead,
    /// The code block that is being read: its language and text.
    code: Option<(String, String)>,
    table: Option<Table>,
}

impl Reader {
    fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            doc: Doc::default(),
            inline: Inline::new(flavour),
            lead: Lead::default(),
            code: None,
            table: None,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => *code += &text,
                None => self.inline.push(&text),
            },
            Event::Rule => {
                self.flush(Kind::Text);
                self.inline.push("———");
                self.flush(Kind::Text);
            }
            Event::TaskListMarker(done) => self.lead.task(done),
            other => self.inline.take(other),
        }
    }

    fn start(&mut self, tag: Tag) {
        match tag {
            Tag::Paragraph => {
                self.flush(Kind::Text);
                self.lead.paragraph();
            }
            Tag::Heading { .. } => {
                self.flush(Kind::Text);
                self.inline.one_line(true);
                self.inline.bold(true);
            }
            Tag::HtmlBlock => self.flush(Kind::Text),
            Tag::BlockQuote(_) => {
                self.flush(Kind::Text);
                self.lead.open_quote();
            }
            Tag::CodeBlock(kind) => self.start_code(&kind),
            Tag::List(first) => {
                self.flush(Kind::Text);
                self.lead.open_list(first);
            }
            Tag::Item => self.lead.open_item(),
            Tag::FootnoteDefinition(label) => {
                self.flush(Kind::Text);
                self.lead.open_footnote(&clean(&label));
            }
            Tag::Table(columns) => {
                self.flush(Kind::Text);
                self.inline.one_line(true);
                self.table = Some(Table::new(columns));
            }
            Tag::TableHead | Tag::TableRow => self.table.iter_mut().for_each(Table::start_row),
            other => self.inline.start(other, &mut self.doc.links),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.inline.bold(false);
                self.inline.one_line(false);
                self.flush(Kind::Heading);
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush(Kind::Text),
            TagEnd::BlockQuote(_) | TagEnd::Item | TagEnd::FootnoteDefinition => {
                self.flush(Kind::Text);
                self.flush_marker();
                self.lead.close();
            }
            TagEnd::List(_) => {
                self.flush(Kind::Text);
                self.lead.close();
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::TableCell => {
                let cell = self.inline.finish();
                self.table.iter_mut().for_each(|table| table.push(&cell));
            }
            TagEnd::Table => self.end_table(),
            other => self.inline.end(other),
        }
    }

    fn start_code(&mut self, kind: &CodeBlockKind) {
        self.flush(Kind::Text);
        let language = match kind {
            CodeBlockKind::Fenced(info) => language::name(info),
            CodeBlockKind::Indented => String::new(),
        };
        self.code = Some((language, String::new()));
    }

    fn end_code(&mut self) {
        let Some((language, code)) = self.code.take() else { return };
        if !is_blank(&code) {
            let code = code.strip_suffix('\n').unwrap_or(&code);
            self.add_whole(Rich::new(code), Kind::Code { language, content: None });
        }
    }

    fn end_table(&mut self) {
        self.inline.one_line(false);
        let Some(table) = self.table.take() else { return };
        if let Some(aligned) = table.aligned() {
            return self.add_whole(aligned, Kind::Table);
        }
        for row in table.rows() {
            self.add(row, Kind::Text);
        }
    }

    /// Ends the text that is being read.
    fn flush(&mut self, kind: Kind) {
        let mut rich = self.inline.finish();
        rich.trim_end();
        if !rich.text.is_empty() {
            self.add(rich, kind);
        }
    }

    /// What is copied from a message has no signs of lists before its lines, so those get a line of their own.
    fn add_whole(&mut self, rich: Rich, kind: Kind) {
        self.flush_marker();
        let gap = self.lead.gap();
        self.push(rich, kind, gap);
    }

    fn flush_marker(&mut self) {
        if self.lead.has_marker() {
            self.add(Rich::default(), Kind::Text);
        }
    }

    fn add(&mut self, rich: Rich, kind: Kind) {
        let gap = self.lead.gap();
        let (first, rest) = self.lead.take(self.flavour);
        let mut rich = rich.indented(&first, &rest);
        rich.trim_end();
        self.push(rich, kind, gap);
    }

    fn push(&mut self, rich: Rich, kind: Kind, gap: usize) {
        let quoted = self.flavour == Flavour::Telegram && self.lead.is_quoted();
        self.doc.chunks.push(Chunk { rich, kind, quoted, gap });
    }
}
