//! Chunks into messages.

use super::clean::is_blank;
use super::cut::{Through, head};
use super::doc::{Chunk, Doc, Kind, Slice};
use super::{MIN_LIMIT, Measure};

/// What a message may have.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most units of `measure`.
    pub limit: usize,
    pub measure: Measure,
    /// The most entities.
    pub entities: usize,
}

impl Bounds {
    pub fn new(limit: usize, measure: Measure, entities: usize) -> Self {
        Self { limit: limit.max(MIN_LIMIT), measure, entities }
    }
}

/// What is sent at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Parts of chunks, at least one.
    Text(Vec<Slice>),
    /// A chunk that is a file.
    File(usize),
}

/// Puts chunks into as few messages as reads well.
pub fn pack(doc: &Doc, bounds: Bounds) -> Vec<Message> {
    let mut packer = Packer { doc, bounds, done: Vec::new(), message: Vec::new(), width: 0, entities: 0 };
    for (at, chunk) in doc.chunks.iter().enumerate() {
        packer.add(at, chunk);
    }
    packer.end();
    packer.done
}

struct Packer<'a> {
    doc: &'a Doc,
    bounds: Bounds,
    done: Vec<Message>,
    /// The message that is being filled, its length and its entities.
    message: Vec<Slice>,
    width: usize,
    entities: usize,
}

impl Packer<'_> {
    fn add(&mut self, at: usize, chunk: &Chunk) {
        let text = &chunk.rich.text;
        if is_blank(text) {
            return;
        }
        let width = self.bounds.measure.of_text(text);
        let slice = Slice { chunk: at, part: 0..text.len() };
        if self.fits(&slice, width) {
            self.push(slice, width);
        } else if width <= self.bounds.limit {
            self.turn(&slice, width);
            self.push(slice, width);
        } else if matches!(chunk.kind, Kind::Code { .. }) {
            self.end();
            self.done.push(Message::File(at));
        } else {
            self.split(at, chunk);
        }
    }

    fn fits(&self, slice: &Slice, width: usize) -> bool {
        let chunk = &self.doc.chunks[slice.chunk];
        let gap = if self.message.is_empty() { 0 } else { chunk.gap };
        let entities = self.entities + chunk.entities(slice.part.clone());
        // The first chunk may have too many entities: some will be left out.
        self.width + gap + width <= self.bounds.limit
            && (self.message.is_empty() || entities <= self.bounds.entities)
    }

    fn push(&mut self, slice: Slice, width: usize) {
        let chunk = &self.doc.chunks[slice.chunk];
        let gap = if self.message.is_empty() { 0 } else { chunk.gap };
        self.width += gap + width;
        self.entities = (self.entities + chunk.entities(slice.part.clone())).min(self.bounds.entities);
        self.message.push(slice);
    }

    fn end(&mut self) {
        if !self.message.is_empty() {
            self.done.push(Message::Text(std::mem::take(&mut self.message)));
        }
        (self.width, self.entities) = (0, 0);
    }

    /// Begins a message for a slice, with the heading that stands before it.
    fn turn(&mut self, next: &Slice, width: usize) {
        let is_heading = |slice: &&Slice| self.doc.chunks[slice.chunk].kind == Kind::Heading;
        let headings = self.message.iter().rev().take_while(is_heading).count();
        let others = self.message.len() - headings;
        let chunk_of = |slice: &Slice| &self.doc.chunks[slice.chunk];
        let moved: usize =
            self.message[others..].iter().map(|slice| self.width_of(slice) + chunk_of(slice).gap).sum();
        if others == 0 || moved + chunk_of(next).gap + width > self.bounds.limit {
            return self.end();
        }
        let headings = self.message.split_off(others);
        self.end();
        for heading in headings {
            let width = self.width_of(&heading);
            self.push(heading, width);
        }
    }

    fn width_of(&self, slice: &Slice) -> usize {
        self.bounds.measure.of_text(&self.doc.chunks[slice.chunk].rich.text[slice.part.clone()])
    }

    /// Cuts a chunk that is too long for a message.
    fn split(&mut self, at: usize, chunk: &Chunk) {
        let text = &chunk.rich.text;
        let mut start = 0;
        while start < text.len() {
            let rest = &text[start..];
            let Some(len) = self.head(rest, chunk.gap) else {
                self.end();
                continue;
            };
            let part = rest[..len].trim_end();
            if !is_blank(part) {
                let slice = Slice { chunk: at, part: start..start + part.len() };
                self.push(slice, self.bounds.measure.of_text(part));
            }
            start += len + blanks(&rest[len..], &chunk.kind);
            if start < text.len() {
                self.end();
            }
        }
    }

    /// How much of a text goes into the message. The rest of one that has something is used when it is large and the part
    /// ends well.
    fn head(&self, text: &str, gap: usize) -> Option<usize> {
        let Bounds { limit, measure, .. } = self.bounds;
        if self.message.is_empty() {
            return head(text, limit, measure, Through::Anything);
        }
        let room = limit.saturating_sub(self.width + gap);
        if room < limit / 2 { None } else { head(text, room, measure, Through::Sentences) }
    }
}

/// The bytes of blanks that are not needed where a message begins.
fn blanks(rest: &str, kind: &Kind) -> usize {
    match kind {
        // A row's first cell may be empty.
        Kind::Table => rest.len() - rest.trim_start_matches('\n').len(),
        _ => rest.len() - rest.trim_start().len(),
    }
}
