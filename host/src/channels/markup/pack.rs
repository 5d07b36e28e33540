//! Chunks into messages.

use super::clean::is_blank;
use super::cut::{Through, head};
use super::doc::{Chunk, Doc, Kind, Slice};
use super::{MIN_LIMIT, Measure, weight};

/// What a message may have.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most units of `measure`.
    pub limit: usize,
    pub measure: Measure,
    /// The most entities.
    pub entities: usize,
    /// The most bytes of markup.
    pub bytes: usize,
}

impl Bounds {
    /// Of messages without markup.
    pub fn new(limit: usize, measure: Measure) -> Self {
        Self { limit: limit.max(MIN_LIMIT), measure, entities: usize::MAX, bytes: usize::MAX }
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
    let mut packer = Packer { doc, bounds, done: Vec::new(), message: Vec::new(), width: 0, entities: 0, bytes: 0 };
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
    /// The message that is being filled, its length, its entities and its markup's bytes.
    message: Vec<Slice>,
    width: usize,
    entities: usize,
    bytes: usize,
}

impl Packer<'_> {
    fn add(&mut self, at: usize, chunk: &Chunk) {
        let text = &chunk.rich.text;
        if is_blank(text) {
            return;
        }
        let width = self.bounds.measure.of_text(text);
        let slice = Slice { chunk: at, part: 0..text.len() };
        let alone = width <= self.bounds.limit
            && self.weight(&slice) <= self.bounds.bytes
            && chunk.entities(slice.part.clone()) <= self.most_entities(chunk);
        if self.fits(&slice, width) {
            self.push(slice, width);
        } else if alone {
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
        let most = if self.message.is_empty() { self.most_entities(chunk) } else { self.bounds.entities };
        self.width + gap + width <= self.bounds.limit
            && self.bytes + self.weight(slice) <= self.bounds.bytes
            && entities <= most
    }

    fn push(&mut self, slice: Slice, width: usize) {
        let chunk = &self.doc.chunks[slice.chunk];
        let gap = if self.message.is_empty() { 0 } else { chunk.gap };
        self.width += gap + width;
        self.bytes += self.weight(&slice);
        self.entities = (self.entities + chunk.entities(slice.part.clone())).min(self.bounds.entities);
        self.message.push(slice);
    }

    fn end(&mut self) {
        if !self.message.is_empty() {
            self.done.push(Message::Text(std::mem::take(&mut self.message)));
        }
        (self.width, self.entities, self.bytes) = (0, 0, 0);
    }

    /// Begins a message for a slice, with the heading that stands before it.
    fn turn(&mut self, next: &Slice, width: usize) {
        let is_heading = |slice: &&Slice| self.doc.chunks[slice.chunk].kind == Kind::Heading;
        let headings = self.message.iter().rev().take_while(is_heading).count();
        let others = self.message.len() - headings;
        let chunk_of = |slice: &Slice| &self.doc.chunks[slice.chunk];
        let moved: usize =
            self.message[others..].iter().map(|slice| self.width_of(slice) + chunk_of(slice).gap).sum();
        let bytes = |slices: &[Slice]| slices.iter().map(|slice| self.weight(slice)).sum::<usize>();
        let heavy = bytes(&self.message[others..]) + bytes(std::slice::from_ref(next)) > self.bounds.bytes;
        let entities = |slice: &Slice| chunk_of(slice).entities(slice.part.clone());
        let rich =
            self.message[others..].iter().map(entities).sum::<usize>() + entities(next) > self.bounds.entities;
        if others == 0 || heavy || rich || moved + chunk_of(next).gap + width > self.bounds.limit {
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

    /// The most entities of a chunk alone. Others may have too many: some will be left out. Of a link that would be where it leads.
    fn most_entities(&self, chunk: &Chunk) -> usize {
        if chunk.rich.has_links() { self.bounds.entities } else { usize::MAX }
    }

    /// The bytes of its markup.
    fn weight(&self, slice: &Slice) -> usize {
        // Where there is none, nothing is counted.
        if self.bounds.bytes == usize::MAX { 0 } else { weight::of_slice(self.doc, slice, self.bounds.bytes) }
    }

    /// Cuts a chunk that is too long for a message, whose markup is, or that has too many links.
    fn split(&mut self, at: usize, chunk: &Chunk) {
        let text = &chunk.rich.text;
        let (mut start, entities) = (0, self.most_entities(chunk));
        while start < text.len() {
            let rest = &text[start..];
            let Some(len) = self.head((at, start), chunk.gap, entities) else {
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

    /// How much of a chunk's text from `start` on goes into the message. The rest of one that has something is used when it is
    /// large and the part ends well.
    fn head(&self, (at, start): (usize, usize), gap: usize, entities: usize) -> Option<usize> {
        let Bounds { limit, measure, bytes, .. } = self.bounds;
        let text = &self.doc.chunks[at].rich.text[start..];
        let most = (bytes.saturating_sub(self.bytes), entities.saturating_sub(self.entities));
        let light = match bytes {
            // There is no markup to weigh.
            usize::MAX => text.len(),
            _ => weight::head(self.doc, at, start..start + text.len(), most),
        };
        if self.message.is_empty() {
            return head(&text[..light], limit, measure, Through::Anything);
        }
        let room = limit.saturating_sub(self.width + gap);
        // Links that are too long for it begin a message.
        if room < limit / 2 || light < text.len() && measure.of_text(&text[..light]) < room {
            return None;
        }
        head(&text[..light], room, measure, Through::Sentences)
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
