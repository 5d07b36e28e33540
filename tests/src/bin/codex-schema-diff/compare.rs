//! Two schemas of the same message, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::schema::Node;
use crate::words::Words;

/// Who writes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// We do.
    Sent,
    /// Codex does.
    Received,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether it may break us.
    pub(crate) breaks: bool,
    /// The message.
    pub(crate) message: String,
    /// The place in it; empty for the message itself.
    pub(crate) path: String,
    /// What happened there.
    pub(crate) text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { breaks, message, path, text } = self;
        let mark = if *breaks { '!' } else { '~' };
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{mark} {message}: {path}{colon}{text}")
    }
}

/// Compares messages and collects what changed. A type that several messages share is compared once per side.
pub(crate) struct Comparison<'w> {
    words: &'w Words,
    /// Pairs of types that were compared: as wholes, and what is inside one of their shapes.
    seen: BTreeSet<(Side, Option<Shape>, String, String)>,
    pub(crate) changes: Vec<Change>,
}

/// Where a comparison stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    side: Side,
    message: &'a str,
    path: &'a str,
}

impl<'w> Comparison<'w> {
    /// A comparison of what these words name.
    pub(crate) fn new(words: &'w Words) -> Self {
        Self { words, seen: BTreeSet::new(), changes: Vec::new() }
    }

    /// Notes a change of a whole message.
    pub(crate) fn note(&mut self, breaks: bool, message: &str, text: &str) {
        self.changes.push(Change { breaks, message: message.into(), path: String::new(), text: text.into() });
    }

    /// Compares a message.
    pub(crate) fn message(&mut self, side: Side, message: &str, old: Node<'_>, new: Node<'_>) {
        self.node(Place { side, message, path: "" }, old, new);
    }

    fn node(&mut self, place: Place<'_>, old: Node<'_>, new: Node<'_>) {
        let ((old, mut old_null), (new, mut new_null)) = (old.without_null(), new.without_null());
        let (mut old_shapes, mut new_shapes) = (shapes(old), shapes(new));
        let null = Shape::Plain("null".into());
        old_null |= old_shapes.remove(&null).is_some();
        new_null |= new_shapes.remove(&null).is_some();
        match (old_null, new_null) {
            (false, true) => self.add(place, place.side == Side::Received, &format!("+ {null}")),
            (true, false) => self.add(place, place.side == Side::Sent, &format!("- {null}")),
            _ => {}
        }
        if self.was_seen(place.side, None, old.name(), new.name()) {
            return;
        }
        if old.resolved().is_union() && new.resolved().is_union() {
            // Properties beside a union belong to all of its members.
            self.properties(place, old.resolved(), new.resolved());
        }
        for (shape, gone) in &old_shapes {
            match new_shapes.get(shape) {
                Some(here) if self.used(shape) => self.inside(place, shape, *gone, *here),
                Some(_) => {}
                None if self.used(shape) => {
                    self.add(place, place.side == Side::Sent || !shape.is_plain(), &format!("- {shape}"));
                }
                None => {}
            }
        }
        for shape in new_shapes.keys().filter(|shape| !old_shapes.contains_key(shape)) {
            // What is read has a Rust type, and another plain type does not fit it; unknown kinds are read as such.
            self.add(place, place.side == Side::Received && shape.is_plain(), &format!("+ {shape}"));
        }
    }

    /// Compares what two schemas of the same shape have inside.
    fn inside(&mut self, place: Place<'_>, shape: &Shape, old: Node<'_>, new: Node<'_>) {
        if self.was_seen(place.side, Some(shape), old.type_name, new.type_name) {
            return;
        }
        let path = match shape {
            Shape::Kind(kind) => format!("{}<{kind}>", place.path),
            _ => place.path.to_owned(),
        };
        let place = Place { path: &path, ..place };
        self.properties(place, old, new);
        for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let (Some(old_here), Some(new_here)) = (old.here.get(key), new.here.get(key)) {
                let path = format!("{path}{mark}");
                self.node(Place { path: &path, ..place }, old.at(old_here), new.at(new_here));
            }
        }
    }

    fn properties(&mut self, place: Place<'_>, old: Node<'_>, new: Node<'_>) {
        let names = old.properties();
        for name in names.union(&new.properties()) {
            match (old.property(name), new.property(name)) {
                (Some(old_here), Some(new_here)) => {
                    self.required(place, name, old.requires(name), new.requires(name));
                    if self.words.know(name) {
                        let dot = if place.path.is_empty() { "" } else { "." };
                        let path = format!("{}{dot}{name}", place.path);
                        self.node(Place { path: &path, ..place }, old_here, new_here);
                    }
                }
                (Some(_), None) if self.words.know(name) => self.add(place, true, &format!("- {name}")),
                (None, Some(_)) if new.requires(name) => {
                    self.add(place, place.side == Side::Sent, &format!("+ {name} (required)"));
                }
                (None, Some(_)) => self.add(place, false, &format!("+ {name} (optional)")),
                _ => {}
            }
        }
    }

    fn required(&mut self, place: Place<'_>, name: &str, old: bool, new: bool) {
        let sent = place.side == Side::Sent;
        match (old, new) {
            (false, true) if sent => self.add(place, true, &format!("{name} is required now")),
            (true, false) if !sent && self.words.know(name) => {
                self.add(place, true, &format!("{name} is not always there now"));
            }
            (true, false) if self.words.know(name) => self.add(place, false, &format!("{name} is optional now")),
            (false, true) if self.words.know(name) => {
                self.add(place, false, &format!("{name} is always there now"));
            }
            _ => {}
        }
    }

    fn add(&mut self, place: Place<'_>, breaks: bool, text: &str) {
        let Place { message, path, .. } = place;
        self.changes.push(Change { breaks, message: message.into(), path: path.into(), text: text.into() });
    }

    fn was_seen(&mut self, side: Side, shape: Option<&Shape>, old: Option<&str>, new: Option<&str>) -> bool {
        let (Some(old), Some(new)) = (old, new) else { return false };
        !self.seen.insert((side, shape.cloned(), old.to_owned(), new.to_owned()))
    }

    fn used(&self, shape: &Shape) -> bool {
        match shape {
            Shape::Plain(_) => true,
            Shape::Kind(name) | Shape::Word(name) => self.words.know(name),
        }
    }
}

/// One of the forms that a value may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// Any value of a JSON type; `anything` where the schema does not say.
    Plain(String),
    /// An object that says what it is: by a constant among its properties, or by the name of its only property.
    Kind(String),
    /// A string with this value.
    Word(String),
}

impl Shape {
    fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(kind) => write!(f, "type {kind}"),
            Self::Kind(name) => write!(f, "kind {name}"),
            Self::Word(word) => write!(f, "\"{word}\""),
        }
    }
}

/// The forms of a value. Several ways to write the same down give the same forms.
fn shapes(node: Node<'_>) -> BTreeMap<Shape, Node<'_>> {
    let node = node.resolved();
    if let Some(kind) = kind_of(node) {
        return BTreeMap::from([(Shape::Kind(kind), node)]);
    }
    let words: Vec<_> = node.list("enum").filter_map(|word| Some(Shape::Word(word.as_str()?.to_owned()))).collect();
    if !words.is_empty() {
        return words.into_iter().map(|word| (word, node)).collect();
    }
    if node.is_union() {
        return node.list("oneOf").chain(node.list("anyOf")).flat_map(|one| shapes(node.at(one))).collect();
    }
    let types = match node.here.get("type") {
        Some(serde_json::Value::String(one)) => vec![one.as_str()],
        Some(serde_json::Value::Array(several)) => several.iter().filter_map(|one| one.as_str()).collect(),
        _ => vec!["anything"],
    };
    types.into_iter().map(|one| (Shape::Plain(one.to_owned()), node)).collect()
}

fn kind_of(node: Node<'_>) -> Option<String> {
    let constant = |name: &&str| {
        let property = node.property(name)?.resolved();
        let mut words = property.list("enum");
        words.next().filter(|_| words.next().is_none())?.as_str().map(str::to_owned)
    };
    let names = node.properties();
    if let Some(kind) = names.iter().filter(|name| node.requires(name)).find_map(constant) {
        return Some(kind);
    }
    let only = names.iter().next().filter(|name| names.len() == 1 && node.requires(name))?;
    let sealed = node.here.get("additionalProperties") == Some(&serde_json::Value::Bool(false));
    sealed.then(|| (*only).to_owned())
}
