//! What an answer's body says of its call, read as it streams by.
//!
//! A stream of events ends with one that has the whole response in it, which may be megabytes; a call without a stream is answered
//! with that response alone. Parsers of event streams keep an event until it is whole; this one keeps the facts of it.

use super::json::{Facts, Place, Reader};

/// The field of an event that is looked at.
const FIELD: &[u8] = b"data";

/// How a stream told its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Completed,
    Incomplete,
    Failed,
}

impl Told {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "response.completed" => Some(Self::Completed),
            "response.incomplete" => Some(Self::Incomplete),
            "response.failed" | "error" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// An answer's body, as far as it came.
#[derive(Debug)]
pub(super) enum Scan {
    /// Nothing but white space came.
    Begun,
    /// One object.
    Whole(Box<Reader>),
    /// Events.
    Events(Box<Events>),
    /// It cannot be read: it is encoded.
    Closed,
}

impl Scan {
    /// Reads on.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Self::Begun = self {
            // Not every endpoint names what it answers with; no event begins so.
            *self = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return,
                Some(b'{') => Self::Whole(Box::new(Reader::of(Place::Response))),
                Some(_) => Self::Events(Box::default()),
            };
        }
        match self {
            Self::Whole(reader) => reader.push(bytes),
            Self::Events(events) => events.push(bytes),
            Self::Begun | Self::Closed => {}
        }
    }

    /// The facts that count: of the last event, or of the object.
    pub(super) fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Whole(reader) => Some(reader.facts()),
            Self::Events(events) => events.last.as_ref().map(|(_, facts)| facts),
            Self::Begun | Self::Closed => None,
        }
    }

    /// How the stream told its end, if it did.
    pub(super) fn told(&self) -> Option<Told> {
        match self {
            Self::Events(events) => events.last.as_ref().map(|(told, _)| *told),
            _ => None,
        }
    }

    /// Whether it is a stream, which has to tell its end.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_))
    }
}

/// Where in a line of a stream a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// In the field's name, which is `data` so far; this many bytes of it came.
    Name(usize),
    /// In an event's data.
    Data,
    /// In what is not looked at.
    Other,
}

/// A stream of events, up to the one that ends the response.
#[derive(Debug)]
pub(super) struct Events {
    line: Line,
    /// The last byte was a carriage return, which a line feed may follow.
    returned: bool,
    reader: Reader,
    last: Option<(Told, Facts)>,
}

impl Default for Events {
    fn default() -> Self {
        Self { line: Line::Name(0), returned: false, reader: Reader::of(Place::Event), last: None }
    }
}

impl Events {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if self.last.is_some() {
                return;
            }
            let returned = std::mem::replace(&mut self.returned, false);
            if byte == b'\n' && returned {
                bytes = &bytes[1..];
                continue;
            }
            bytes = match self.line {
                Line::Name(at) if byte != b'\n' && byte != b'\r' => {
                    self.name(at, byte);
                    &bytes[1..]
                }
                _ => self.rest_of_line(bytes),
            };
        }
    }

    fn name(&mut self, at: usize, byte: u8) {
        self.line = match FIELD.get(at) {
            Some(expected) if *expected == byte => Line::Name(at + 1),
            None if byte == b':' => Line::Data,
            _ => Line::Other,
        };
    }

    /// Goes on to the line's end, if it is here; answers what is behind that.
    fn rest_of_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = memchr::memchr2(b'\n', b'\r', bytes);
        if self.line == Line::Data {
            self.reader.push(&bytes[..end.unwrap_or(bytes.len())]);
        }
        let Some(end) = end else { return &[] };
        self.returned = bytes[end] == b'\r';
        match std::mem::replace(&mut self.line, Line::Name(0)) {
            Line::Name(0) => self.event_ended(),
            // Data of several lines has their ends in it.
            Line::Data => self.reader.push(b"\n"),
            Line::Name(_) | Line::Other => {}
        }
        &bytes[end + 1..]
    }

    fn event_ended(&mut self) {
        let facts = self.reader.finish();
        self.last = facts.kind.as_deref().and_then(Told::of).map(|told| (told, facts));
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::Tokens;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const TOKENS: Tokens =
        Tokens { input_tokens: 120, cached_input_tokens: 40, output_tokens: 30, reasoning_tokens: 7 };

    fn last_event(kind: &str, filler: &str) -> String {
        json!({"type": kind, "sequence_number": 9, "response": {
            "id": "resp_1", "object": "response", "error": null, "incomplete_details": {"reason": "max_output_tokens"},
            "instructions": filler, "output": [{"type": "message", "usage": {"input_tokens": 1}, "content": [
                {"text": format!("{filler} \"usage\":{{\"input_tokens\":5}}")}]}],
            "model": "sol", "usage": {"input_tokens": 120, "input_tokens_details": {"cached_tokens": 40},
                "output_tokens": 30, "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 150}}})
        .to_string()
    }

    fn stream(kind: &str, filler: &str, end: &str) -> String {
        let delta =
            json!({"type": "response.output_text.delta", "delta": "\n\ndata: {\"type\":\"response.failed\"}"});
        let created = json!({"type": "response.created", "response": {"model": "early", "usage": null}});
        let last = last_event(kind, filler);
        let events = [("response.created", created.to_string()), ("x", delta.to_string()), (kind, last)];
        let events = events.map(|(name, data)| format!("event: {name}{end}data: {data}{end}id{end}{end}"));
        format!(": hello{end}{end}{}", events.concat())
    }

    fn scan(text: &str, piece: usize) -> Scan {
        let mut scan = Scan::Begun;
        text.as_bytes().chunks(piece).for_each(|piece| scan.push(piece));
        scan
    }

    fn assert_told(scan: &Scan, told: Told) {
        assert_eq!(scan.told(), Some(told), "{scan:?}");
        let facts = scan.facts().unwrap();
        assert_eq!((facts.tokens(), facts.model.as_deref()), (Some(TOKENS), Some("sol")));
    }

    proptest! {
        /// However a stream is cut into pieces, and whatever ends its lines, the same usage comes out.
        #[test]
        fn pieces_and_line_ends_do_not_matter(
            filler in "[ -~\n\u{e9}]{0,40}", piece in 1usize..50,
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            assert_told(&scan(&stream("response.completed", &filler, end), piece), Told::Completed);
        }

        #[test]
        fn what_is_no_stream_is_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..9) {
            let mut scan = Scan::Begun;
            bytes.chunks(piece).for_each(|piece| scan.push(piece));
            prop_assert_eq!(scan.told(), None);
        }
    }

    #[test]
    fn the_three_ends_of_a_response_are_told_apart() {
        assert_told(&scan(&stream("response.incomplete", "", "\n"), 7), Told::Incomplete);
        assert_told(&scan(&stream("response.failed", "", "\n"), 7), Told::Failed);
        let error = scan("data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\"}\n\n", 3);
        assert_eq!(
            (error.told(), error.facts().unwrap().code.as_deref()),
            (Some(Told::Failed), Some("rate_limit_exceeded"))
        );
    }

    #[test]
    fn data_of_several_lines_is_one_event() {
        let pretty = "data: {\ndata:  \"type\": \"response.completed\",\ndata: \"response\": {\"usage\": {\"input_tokens\":\ndata: 120}}\ndata\ndata:}\n\n";
        let found = scan(pretty, 5);
        assert_eq!(found.facts().unwrap().tokens().unwrap().input_tokens, 120);
    }

    #[test]
    fn an_event_that_was_not_ended_is_none() {
        let whole = stream("response.completed", "", "\n");
        let cut = scan(&whole[..whole.len() - 1], 11);
        assert_eq!((cut.told(), cut.is_stream()), (None, true));
    }

    #[test]
    fn a_response_without_a_stream_has_its_usage_too() {
        let event: serde_json::Value = serde_json::from_str(&last_event("x", "y")).unwrap();
        let found = scan(&format!(" \n{}", event["response"]), 3);
        let facts = found.facts().unwrap();
        assert_eq!((facts.tokens(), facts.model.as_deref(), found.told()), (Some(TOKENS), Some("sol"), None));
    }

    #[test]
    fn an_event_of_any_size_is_read() {
        let mut scan = Scan::Begun;
        scan.push(b"data: {\"type\":\"response.completed\",\"response\":{\"output\":[\"");
        (0..20_000).for_each(|_| scan.push(&[b'x'; 1024]));
        scan.push(b"\"],\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\n\n");
        let tokens = scan.facts().unwrap().tokens().unwrap();
        assert_eq!((tokens.input_tokens, tokens.output_tokens), (3, 4));
    }
}
