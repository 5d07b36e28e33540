//! The few facts of an answer's JSON that are wanted, read as it comes.
//!
//! Nothing of the text is kept but those: what does not lead to one of them is skipped, and of that only its depth is known.
//! So a text of any size and depth takes no memory; one that is no JSON gives nonsense or nothing, and no trouble. Parsers of
//! JSON either want all of a text or keep the text they are in.

use cofferdam_protocol::admin::Tokens;
use memchr::memchr2;

/// The longest key or text that is looked at, in bytes, as it is written.
const LONGEST: usize = 256;
/// The most tokens of one call that are believed: what is over would be more than any model reads. Sums stay far from
/// their bounds.
const MOST_TOKENS: u64 = 1_000_000_000_000;

/// An object that a fact can lie in, or below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An event of a stream.
    Event,
    /// A response, an error's body, or a request.
    Response,
    Usage,
    OfInput,
    OfOutput,
    Error,
    Incomplete,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Kind,
    Model,
    Code,
    ErrorKind,
    Reason,
    Input,
    Cached,
    Output,
    Reasoning,
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Into(Place),
    To(Fact),
    Nowhere,
}

impl Place {
    fn way(self, key: &str) -> Way {
        match (self, key) {
            (Self::Event, "type") => Way::To(Fact::Kind),
            (Self::Event, "code") => Way::To(Fact::Code),
            (Self::Event, "response") => Way::Into(Self::Response),
            (Self::Event | Self::Response, "error") => Way::Into(Self::Error),
            (Self::Response, "model") => Way::To(Fact::Model),
            (Self::Response, "usage") => Way::Into(Self::Usage),
            (Self::Response, "incomplete_details") => Way::Into(Self::Incomplete),
            (Self::Usage, "input_tokens") => Way::To(Fact::Input),
            (Self::Usage, "output_tokens") => Way::To(Fact::Output),
            (Self::Usage, "input_tokens_details") => Way::Into(Self::OfInput),
            (Self::Usage, "output_tokens_details") => Way::Into(Self::OfOutput),
            (Self::OfInput, "cached_tokens") => Way::To(Fact::Cached),
            (Self::OfOutput, "reasoning_tokens") => Way::To(Fact::Reasoning),
            (Self::Error, "code") => Way::To(Fact::Code),
            (Self::Error, "type") => Way::To(Fact::ErrorKind),
            (Self::Incomplete, "reason") => Way::To(Fact::Reason),
            _ => Way::Nowhere,
        }
    }
}

/// The facts that were found. All texts are the vendor's or a container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// An event's `type`.
    pub(super) kind: Option<String>,
    pub(super) model: Option<String>,
    /// An error's `code`.
    pub(super) code: Option<String>,
    /// An error's `type`.
    pub(super) error_kind: Option<String>,
    /// Why a response is incomplete.
    pub(super) reason: Option<String>,
    input: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

impl Facts {
    /// The usage, if one was told.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let told = self.input.or(self.output).is_some();
        told.then(|| Tokens {
            input_tokens: self.input.unwrap_or(0),
            cached_input_tokens: self.cached.unwrap_or(0),
            output_tokens: self.output.unwrap_or(0),
            reasoning_tokens: self.reasoning.unwrap_or(0),
        })
    }

    fn note_text(&mut self, fact: Fact, text: String) {
        match fact {
            Fact::Kind => self.kind = Some(text),
            Fact::Model => self.model = Some(text),
            Fact::Code => self.code = Some(text),
            Fact::ErrorKind => self.error_kind = Some(text),
            Fact::Reason => self.reason = Some(text),
            Fact::Input | Fact::Cached | Fact::Output | Fact::Reasoning => {}
        }
    }

    fn note_number(&mut self, fact: Fact, number: u64) {
        let number = Some(number.min(MOST_TOKENS));
        match fact {
            Fact::Input => self.input = number,
            Fact::Cached => self.cached = number,
            Fact::Output => self.output = number,
            Fact::Reasoning => self.reasoning = number,
            Fact::Kind | Fact::Model | Fact::Code | Fact::ErrorKind | Fact::Reason => {}
        }
    }
}

/// What a byte stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between texts.
    Between,
    /// In a text; after a backslash there when `escaped`.
    Text { escaped: bool },
    /// After the end of the value.
    End,
}

/// Reads one object.
#[derive(Debug)]
pub(super) struct Reader {
    root: Place,
    /// The objects that are open and lead to facts; no more than facts are deep.
    open: Vec<Place>,
    /// How many objects and lists that lead nowhere are open.
    skipped: u64,
    /// Whether a key comes next, not a value.
    key: bool,
    /// Where the value that comes next leads.
    way: Way,
    at: At,
    /// What was read of a text or number that is looked at.
    token: Vec<u8>,
    facts: Facts,
}

impl Reader {
    /// Expects an object that is this.
    pub(super) fn of(root: Place) -> Self {
        Self {
            root,
            open: Vec::new(),
            skipped: 0,
            key: false,
            way: Way::Into(root),
            at: At::Between,
            token: Vec::new(),
            facts: Facts::default(),
        }
    }

    /// What was found so far.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What was found; the next object is read from its beginning.
    pub(super) fn finish(&mut self) -> Facts {
        std::mem::replace(self, Self::of(self.root)).facts
    }

    /// Reads on.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.at {
                At::End => return,
                At::Between => {
                    self.between(byte);
                    bytes = rest;
                }
                At::Text { escaped: true } => {
                    self.keep(&[byte]);
                    self.at = At::Text { escaped: false };
                    bytes = rest;
                }
                At::Text { escaped: false } => bytes = self.text(bytes),
            }
        }
    }

    fn between(&mut self, byte: u8) {
        if matches!(byte, b'{' | b'}' | b'[' | b']' | b',') && !self.token.is_empty() {
            self.number();
        }
        match byte {
            b'"' => {
                self.at = At::Text { escaped: false };
                self.token.clear();
            }
            b'{' => self.enter(),
            b'[' => self.skipped = self.skipped.saturating_add(1),
            b'}' | b']' => self.leave(),
            b',' if self.skipped == 0 => self.key = true,
            b':' if self.skipped == 0 => self.key = false,
            byte if self.is_wanted() && !byte.is_ascii_whitespace() => self.keep(&[byte]),
            _ => {}
        }
    }

    fn enter(&mut self) {
        match self.way {
            Way::Into(place) if self.skipped == 0 && !self.key => {
                self.open.push(place);
                (self.key, self.way) = (true, Way::Nowhere);
            }
            _ => self.skipped = self.skipped.saturating_add(1),
        }
    }

    fn leave(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.open.pop();
        }
        self.way = Way::Nowhere;
        if self.skipped == 0 && self.open.is_empty() {
            self.at = At::End;
        }
    }

    /// Whether what comes now is a fact, or a key that may lead to one.
    fn is_wanted(&self) -> bool {
        self.skipped == 0 && !self.open.is_empty() && (self.key || matches!(self.way, Way::To(_)))
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more than what is looked at says that it is too long.
        let room = (LONGEST + 1).saturating_sub(self.token.len());
        if self.is_wanted() {
            self.token.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Goes on in a text; answers what is behind the part that was read.
    fn text<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = memchr2(b'"', b'\\', bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.keep(&bytes[..end]);
        if bytes[end] == b'\\' {
            self.keep(b"\\");
            self.at = At::Text { escaped: true };
        } else {
            self.at = At::Between;
            self.text_ended();
        }
        &bytes[end + 1..]
    }

    fn text_ended(&mut self) {
        if !self.is_wanted() {
            return;
        }
        let text = self.decoded();
        self.token.clear();
        if self.key {
            let here = self.open.last().copied();
            self.way = here.zip(text).map_or(Way::Nowhere, |(place, key)| place.way(&key));
        } else if let (Way::To(fact), Some(text)) = (self.way, text) {
            self.facts.note_text(fact, text);
        }
    }

    fn decoded(&self) -> Option<String> {
        if self.token.len() > LONGEST {
            return None;
        }
        let quoted = [b"\"", &self.token[..], b"\""].concat();
        serde_json::from_slice(&quoted).ok()
    }

    fn number(&mut self) {
        let number = std::str::from_utf8(&self.token).ok().and_then(|text| text.parse().ok());
        if let (Way::To(fact), Some(number), false) = (self.way, number, self.key) {
            self.facts.note_number(fact, number);
        }
        self.token.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(root: Place, text: &[u8], piece: usize) -> Facts {
        let mut reader = Reader::of(root);
        text.chunks(piece.max(1)).for_each(|piece| reader.push(piece));
        reader.finish()
    }

    /// What a parser that has all of it finds.
    fn expected(event: &Value) -> Facts {
        let text = |value: &Value| {
            value.as_str().filter(|text| json!(text).to_string().len() <= LONGEST).map(str::to_owned)
        };
        let number = |value: &Value| value.as_u64().map(|number| number.min(MOST_TOKENS));
        let response = &event["response"];
        let usage = &response["usage"];
        Facts {
            kind: text(&event["type"]),
            model: text(&response["model"]),
            code: text(&response["error"]["code"]),
            error_kind: text(&response["error"]["type"]),
            reason: text(&response["incomplete_details"]["reason"]),
            input: number(&usage["input_tokens"]),
            cached: number(&usage["input_tokens_details"]["cached_tokens"]),
            output: number(&usage["output_tokens"]),
            reasoning: number(&usage["output_tokens_details"]["reasoning_tokens"]),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (0u32..1000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~\u{e9}\n\u{1f600}]{0,12}".prop_map(Value::from),
        ];
        // Keys that lead somewhere, at places where they do and where they do not.
        let key = prop_oneof![
            Just("response".to_owned()),
            Just("usage".to_owned()),
            Just("input_tokens".to_owned()),
            Just("output_tokens".to_owned()),
            Just("input_tokens_details".to_owned()),
            Just("cached_tokens".to_owned()),
            Just("output_tokens_details".to_owned()),
            Just("reasoning_tokens".to_owned()),
            Just("incomplete_details".to_owned()),
            Just("reason".to_owned()),
            Just("type".to_owned()),
            Just("model".to_owned()),
            "[a-z\"\\\\{}:,\\[\\]]{0,5}",
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the response is, and however it is cut, the same is found as by a parser that has all of it.
        #[test]
        fn facts_are_those_that_a_whole_parser_finds(response in any_value(), kind in any_value(), piece in 1usize..40) {
            let event = json!({"response": response, "type": kind});
            let expected = expected(&event);
            for text in [event.to_string(), serde_json::to_string_pretty(&event).unwrap()] {
                prop_assert_eq!(&read(Place::Event, text.as_bytes(), piece), &expected, "{}", text);
            }
        }

        #[test]
        fn what_is_no_json_is_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..9) {
            read(Place::Event, &bytes, piece);
        }
    }

    #[test]
    fn a_key_may_be_written_with_escapes() {
        let text = br#"{"\u0075sage": {"input_tokens": 7}, "model":"a\"b\u00e9"}"#;
        let facts = read(Place::Response, text, 1);
        assert_eq!((facts.tokens().unwrap().input_tokens, facts.model.as_deref()), (7, Some("a\"b\u{e9}")));
    }

    #[test]
    fn nothing_is_kept_of_what_is_long_or_deep() {
        let mut reader = Reader::of(Place::Response);
        reader.push(b"{\"model\": \"");
        (0..2_000).for_each(|_| reader.push(&[b'x'; 1024]));
        reader.push(b"\", \"");
        (0..2_000).for_each(|_| reader.push(&[b'k'; 1024]));
        reader.push(b"\": ");
        (0..2_000).for_each(|_| reader.push(&[b'['; 1024]));
        assert!(reader.token.capacity() <= 2 * (LONGEST + 1) && reader.open.len() == 1);
        (0..2_000).for_each(|_| reader.push(&[b']'; 1024]));
        reader.push(b", \"usage\": {\"input_tokens\": 99999999999999999, \"output_tokens\": ");
        (0..2_000).for_each(|_| reader.push(&[b'1'; 1024]));
        reader.push(b"}}");
        let facts = reader.finish();
        assert_eq!((facts.model.clone(), facts.tokens().unwrap().input_tokens), (None, MOST_TOKENS));
        assert_eq!(facts.tokens().unwrap().output_tokens, 0, "a number that none is");
    }
}
