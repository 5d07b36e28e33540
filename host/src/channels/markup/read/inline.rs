//! The text within a paragraph, a heading or a cell.

use pulldown_cmark::{Event, Tag, TagEnd};

use super::Flavour;
use crate::channels::markup::clean::{clean, is_blank};
use crate::channels::markup::doc::{Rich, Style};

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
    // An address of mail is known as one.
    let whole = link.address.strip_prefix("mailto:").unwrap_or(&link.address);
    let address = match whole.char_indices().nth(MAX_WRITTEN) {
        Some((at, _)) => format!("{}…", &whole[..at]),
        None => whole.to_owned(),
    };
    if is_blank(text) {
        return address;
    }
    let said = text.trim() == link.address || text.trim() == whole;
    if link.shown.is_some() || said || is_blank(&address) { String::new() } else { format!(" ({address})") }
}

/// Whether Telegram makes a link of it. Of others it keeps the text alone, without a word
/// (`LinkManager::check_link` in TDLib): such are written out.
fn is_shown(address: &str) -> bool {
    let after = |scheme: &str| {
        let start = address.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &address[scheme.len()..])
    };
    if address.len() > MAX_LINKED {
        return false;
    }
    if let Some(rest) = after("http://").or_else(|| after("https://")) {
        return is_host(until_path(rest));
    }
    let Some(rest) = after("tg://").or_else(|| after("tg:")) else { return false };
    let name = until_path(rest);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn until_path(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether a login, a host and a port name a host with a dot, or an address of IPv6. `localhost` is none.
fn is_host(place: &str) -> bool {
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return false;
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    host.trim_matches('.').contains('.') && host.chars().all(plain)
}

fn step(depth: &mut usize, deeper: bool) {
    *depth = if deeper { *depth + 1 } else { depth.saturating_sub(1) };
}
