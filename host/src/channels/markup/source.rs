//! Markdown that stays Markdown, as chunks of its source.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

use super::clean::is_blank;
use super::doc::{Chunk, Doc, Kind, Rich};
use super::pack::Bounds;
use super::{language, nesting, read};

/// A block of the source, and the code blocks within.
struct Block {
    range: Range<usize>,
    kind: Kind,
    code: Vec<Code>,
}

struct Code {
    range: Range<usize>,
    language: String,
    text: String,
}

/// Reads a text that was cleaned. A block that fits into a message stays as it is; of a larger one the code blocks become
/// chunks of their own, so that no fence is cut.
pub fn read(markdown: &str, bounds: Bounds) -> Doc {
    if is_blank(markdown) {
        return Doc::default();
    }
    if nesting::is_too_deep(markdown) {
        return Doc::verbatim(markdown);
    }
    let mut source = Source { markdown, chunks: Vec::new(), end: 0 };
    for block in blocks(markdown) {
        // With its indentation, which means something in Markdown.
        let start = markdown[..block.range.start].rfind('\n').map_or(0, |at| at + 1);
        source.text_until(start, Kind::Text);
        let rest = markdown.get(source.end..block.range.end).unwrap_or("");
        let fits = bounds.measure.of_text(trim(rest)) <= bounds.limit;
        match block.code.first() {
            Some(code) if fits && code.range == block.range => source.code_until(code, rest.to_owned()),
            Some(_) if !fits => {
                for code in &block.code {
                    source.text_until(code.range.start, Kind::Text);
                    source.code_until(code, fenced(code));
                }
            }
            _ => {}
        }
        source.text_until(block.range.end, block.kind);
    }
    source.text_until(markdown.len(), Kind::Text);
    Doc { chunks: source.chunks, links: Vec::new() }
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth = 0usize;
    let mut in_code = false;
    for (event, range) in Parser::new_ext(markdown, read::options()).into_offset_iter() {
        if depth == 0 {
            let is_heading = matches!(event, Event::Start(Tag::Heading { .. }));
            let kind = if is_heading { Kind::Heading } else { Kind::Text };
            blocks.push(Block { range: range.clone(), kind, code: Vec::new() });
        }
        let code = blocks.last_mut().map(|block| &mut block.code);
        match (event, code) {
            (Event::Start(Tag::CodeBlock(kind)), Some(code)) => {
                in_code = true;
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language::name(&info),
                    CodeBlockKind::Indented => String::new(),
                };
                code.push(Code { range, language, text: String::new() });
                depth += 1;
            }
            (Event::Start(_), _) => depth += 1,
            (Event::End(_), _) => {
                depth = depth.saturating_sub(1);
                in_code = false;
            }
            (Event::Text(text), Some(code)) if in_code => {
                if let Some(code) = code.last_mut() {
                    code.text += &text;
                }
            }
            _ => {}
        }
    }
    blocks
}

struct Source<'a> {
    markdown: &'a str,
    chunks: Vec<Chunk>,
    /// Up to where the source is in chunks.
    end: usize,
}

impl Source<'_> {
    /// Makes a chunk of the source up to `end`. Blanks wait for what comes behind them.
    fn text_until(&mut self, end: usize, kind: Kind) {
        let text = self.markdown.get(self.end..end).unwrap_or("");
        if !is_blank(text) {
            self.push(text, kind);
            self.end = end;
        }
    }

    /// Makes a chunk of a code block, which is shown as `text`.
    fn code_until(&mut self, code: &Code, text: String) {
        let (language, content) = (code.language.clone(), Some(code.text.clone()));
        self.push(&text, Kind::Code { language, content });
        self.end = code.range.end;
    }

    fn push(&mut self, text: &str, kind: Kind) {
        let (before, after) = self.markdown.split_at(self.end);
        let blanks = before.bytes().rev().take_while(u8::is_ascii_whitespace);
        let blanks = blanks.chain(after.bytes().take_while(u8::is_ascii_whitespace));
        let gap = blanks.filter(|byte| *byte == b'\n').take(2).count().max(1);
        self.chunks.push(Chunk { rich: Rich::new(trim(text)), kind, quoted: false, gap });
    }
}

/// Without the empty lines before and the blanks behind it.
fn trim(text: &str) -> &str {
    let blanks = text.len() - text.trim_start().len();
    let line = text[..blanks].rfind('\n').map_or(0, |at| at + 1);
    text[line..].trim_end()
}

/// A code block on its own. Its fence is longer than any row of backticks in it.
fn fenced(code: &Code) -> String {
    let longest = code.text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{}\n{}\n{fence}", code.language, code.text.strip_suffix('\n').unwrap_or(&code.text))
}
