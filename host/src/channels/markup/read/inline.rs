//! The text within a paragraph, a heading or a cell.

use pulldown_cmark::{Event, LinkType, Tag, TagEnd};

use super::Flavour;
use crate::channels::markup::clean::{clean, is_blank};
use crate::channels::markup::doc::{Rich, Style};

/// What Telegram opens.
const SCHEMES: [&str; 4] = ["http:", "https:", "mailto:", "tg:"];
/// The longest address (bytes) that is linked. Longer ones are none that people are given, and markup has a limit too.
const MAX_LINKED: usize = 2048;
/// The most characters of an address that is written out.
const MAX_WRITTEN: usize = 200;

/// The text that is being read.
pub struct Inline {
    flavour: Flavour,
    rich: Rich,
    bold: usize,
    italic: usize,
    strike: usize,
    /// Line breaks are spaces.
    one_line: bool,
    link: Option<Link>,
    /// Links and images within `link`, which cannot be shown as such.
    inner: usize,
}

struct Link {
    address: String,
    /// Its place in [`crate::channels::markup::doc::Doc::links`], if the platform shows it.
    shown: Option<usize>,
    /// Where its text begins.
    start: usize,
}

impl Inline {
    pub fn new(flavour: Flavour) -> Self {
        let rich = Rich::default();
        Self { flavour, rich, bold: 0, italic: 0, strike: 0, one_line: false, link: None, inner: 0 }
    }

    pub fn one_line(&mut self, is: bool) {
        self.one_line = is;
    }

    pub fn bold(&mut self, is: bool) {
        step(&mut self.bold, is);
    }

    /// What was read.
    pub fn finish(&mut self) -> Rich {
        std::mem::take(&mut self.rich)
    }

    pub fn take(&mut self, event: Event) {
        match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.push(&text),
            Event::Code(text) => self.push_with(&text, true),
            Event::FootnoteReference(label) => self.push(&format!("[{label}]")),
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            // Off in the options, or read elsewhere.
            Event::InlineMath(_) | Event::DisplayMath(_) | Event::Rule | Event::TaskListMarker(_) => {}
            Event::Start(_) | Event::End(_) => {}
        }
    }

    pub fn push(&mut self, text: &str) {
        self.push_with(text, false);
    }

    fn push_with(&mut self, text: &str, code: bool) {
        // Once more: `&#x202e;` is such a character only now.
        let text = clean(text);
        let style = Style {
            bold: self.bold > 0,
            italic: self.italic > 0,
            strike: self.strike > 0,
            code,
            link: self.link.as_ref().and_then(|link| link.shown),
        };
        if self.one_line && text.contains(['\n', '\t']) {
            self.rich.push(&text.replace(['\n', '\t'], " "), style);
        } else {
            self.rich.push(&text, style);
        }
    }

    pub fn start(&mut self, tag: Tag, links: &mut Vec<String>) {
        match tag {
            Tag::Strong => step(&mut self.bold, true),
            Tag::Emphasis => step(&mut self.italic, true),
            Tag::Strikethrough => step(&mut self.strike, true),
            Tag::Link { .. } | Tag::Image { .. } if self.link.is_some() => self.inner += 1,
            Tag::Link { dest_url, link_type: LinkType::Email, .. } => {
                self.open(format!("mailto:{dest_url}"), links)
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.open(dest_url.into_string(), links),
            _ => {}
        }
    }

    pub fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => step(&mut self.bold, false),
            TagEnd::Emphasis => step(&mut self.italic, false),
            TagEnd::Strikethrough => step(&mut self.strike, false),
            TagEnd::Link | TagEnd::Image if self.inner > 0 => self.inner -= 1,
            TagEnd::Link | TagEnd::Image => self.close(),
            _ => {}
        }
    }

    fn open(&mut self, address: String, links: &mut Vec<String>) {
        let address = clean(&address).replace(['\n', '\t', ' '], "");
        let shown = (self.flavour == Flavour::Telegram && is_shown(&address)).then_some(links.len());
        if shown.is_some() {
            links.push(address.clone());
        }
        self.link = Some(Link { address, shown, start: self.rich.text.len() });
    }

    fn close(&mut self) {
        let Some(link) = self.link.take() else { return };
        let text = written(&link, self.rich.text.get(link.start..).unwrap_or(""));
        // A link without text shows its address, as a link.
        self.link = Some(link).filter(|link| link.shown.is_some());
        self.push(&text);
        self.link = None;
    }
}

/// What is to be written behind a link's text.
fn written(link: &Link, text: &str) -> String {
    let address = match link.address.char_indices().nth(MAX_WRITTEN) {
        Some((at, _)) => format!("{}…", &link.address[..at]),
        None => link.address.clone(),
    };
    if is_blank(text) {
        return address;
    }
    let said = text.trim() == link.address || Some(text.trim()) == link.address.strip_prefix("mailto:");
    if link.shown.is_some() || said || is_blank(&address) { String::new() } else { format!(" ({address})") }
}

fn is_shown(address: &str) -> bool {
    let starts =
        |scheme: &&str| address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    address.len() <= MAX_LINKED && SCHEMES.iter().any(|scheme| starts(scheme) && address.len() > scheme.len())
}

fn step(depth: &mut usize, deeper: bool) {
    *depth = if deeper { *depth + 1 } else { depth.saturating_sub(1) };
}
