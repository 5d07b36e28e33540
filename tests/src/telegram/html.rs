//! The Bot API's HTML, as strictly as Telegram reads it: <https://core.telegram.org/bots/api#html-style>.

use super::view::Entity;

/// What a tag makes of its text.
const TAGS: [(&str, &str); 14] = [
    ("b", "bold"),
    ("strong", "bold"),
    ("i", "italic"),
    ("em", "italic"),
    ("u", "underline"),
    ("ins", "underline"),
    ("s", "strikethrough"),
    ("strike", "strikethrough"),
    ("del", "strikethrough"),
    ("tg-spoiler", "spoiler"),
    ("code", "code"),
    ("pre", "pre"),
    ("blockquote", "blockquote"),
    ("a", "text_link"),
];

struct Open {
    tag: String,
    kind: &'static str,
    start: usize,
    detail: Option<String>,
}

/// The text that is shown, and what of it is what. The error is what Telegram says after "can't parse entities: ".
pub(crate) fn parse(html: &str) -> Result<(String, Vec<Entity>), String> {
    let mut reading =
        Reading { html, at: 0, text: String::new(), units: 0, open: Vec::new(), entities: Vec::new() };
    while let Some(c) = reading.html[reading.at..].chars().next() {
        match c {
            '<' => reading.tag()?,
            '&' => reading.reference(),
            c => {
                reading.at += c.len_utf8();
                reading.push(c);
            }
        }
    }
    if let Some(open) = reading.open.last() {
        return Err(format!("Can't find end tag corresponding to start tag \"{}\"", open.tag));
    }
    let mut entities = reading.entities;
    entities.sort_by_key(|entity| (entity.offset, usize::MAX - entity.length));
    Ok((reading.text, entities))
}

struct Reading<'h> {
    html: &'h str,
    at: usize,
    text: String,
    units: usize,
    open: Vec<Open>,
    entities: Vec<Entity>,
}

impl Reading<'_> {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.units += c.len_utf16();
    }

    /// `&lt;`, `&gt;`, `&amp;`, `&quot;` and numbers. Everything else is text.
    fn reference(&mut self) {
        let rest = &self.html[self.at..];
        let named = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
        let numbered = || {
            let digits = rest.strip_prefix("&#")?.split_once(';')?.0;
            let number = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            Some((char::from_u32(number)?, digits.len() + 3))
        };
        let named = named.iter().find(|(name, _)| rest.starts_with(name)).map(|(name, c)| (*c, name.len()));
        let (c, bytes) = named.or_else(numbered).unwrap_or(('&', 1));
        self.at += bytes;
        self.push(c);
    }

    fn tag(&mut self) -> Result<(), String> {
        let start = self.at;
        let closing = self.html[start..].starts_with("</");
        let Some(end) = self.html[start..].find('>') else {
            return Err(format!("Unclosed {} tag at byte offset {start}", if closing { "end" } else { "start" }));
        };
        let inside = &self.html[start + 1 + usize::from(closing)..start + end];
        self.at = start + end + 1;
        if closing { self.close(inside.trim(), start) } else { self.begin(inside, start) }
    }

    fn begin(&mut self, inside: &str, start: usize) -> Result<(), String> {
        let name = inside.split(char::is_whitespace).next().unwrap_or_default().to_lowercase();
        let attributes = inside[name.len()..].trim();
        let attribute = |wanted: &str| {
            let value = attributes.strip_prefix(wanted)?.strip_prefix("=\"")?;
            Some(value.strip_suffix('"')?.replace("&quot;", "\"").replace("&amp;", "&"))
        };
        let kind = TAGS.iter().find(|(tag, _)| *tag == name).map(|(_, kind)| *kind);
        let (kind, detail) = match (name.as_str(), kind) {
            ("span", _) if attribute("class").as_deref() == Some("tg-spoiler") => ("spoiler", None),
            ("span", _) => {
                return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {start}"));
            }
            ("blockquote", _) if attributes == "expandable" => ("expandable_blockquote", None),
            ("a", Some(kind)) => (kind, attribute("href")),
            ("code", Some(kind)) => (kind, attribute("class")),
            (_, Some(kind)) => (kind, None),
            (_, None) => return Err(format!("Unsupported start tag \"{name}\" at byte offset {start}")),
        };
        if !attributes.is_empty() && detail.is_none() && !matches!(kind, "spoiler" | "expandable_blockquote") {
            return Err(format!("Unexpected attributes in the tag \"{name}\" at byte offset {start}"));
        }
        self.open.push(Open { tag: name, kind, start: self.units, detail });
        Ok(())
    }

    fn close(&mut self, name: &str, start: usize) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Err(format!("Unexpected end tag at byte offset {start}")) };
        if !name.is_empty() && name.to_lowercase() != open.tag {
            let expected = open.tag;
            return Err(format!(
                "Unmatched end tag at byte offset {start}, expected \"</{expected}>\", found \"</{name}>\""
            ));
        }
        let length = self.units - open.start;
        if length == 0 {
            return Ok(());
        }
        // `<pre><code class="language-x">` is one thing.
        let inner = self.entities.last().filter(|inner| {
            open.kind == "pre" && inner.kind == "code" && (inner.offset, inner.length) == (open.start, length)
        });
        let mut detail = open.detail;
        if open.kind == "text_link" {
            let Some(link) = link(detail.as_deref().unwrap_or_default()) else { return Ok(()) };
            detail = Some(link);
        }
        if let Some(inner) = inner {
            detail = inner.detail.as_deref().and_then(|class| class.strip_prefix("language-")).map(str::to_owned);
            self.entities.pop();
        }
        self.entities.push(Entity { kind: open.kind.to_owned(), offset: open.start, length, detail });
        Ok(())
    }
}

/// What Telegram makes of a link's address; of one whose host has no dot there is no link, and nobody is told
/// (`LinkManager::check_link` of TDLib).
fn link(address: &str) -> Option<String> {
    let lower = address.to_lowercase();
    if lower.starts_with("tg:") {
        return Some(address.to_owned());
    }
    let rest = match lower.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return None,
        None => lower.as_str(),
    };
    let place = rest.split(['/', '?', '#']).next()?;
    let host = place.rsplit('@').next()?;
    let known = host.contains('.') || host.starts_with('[');
    let whole = if lower.contains("://") { address.to_owned() } else { format!("http://{address}/") };
    known.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> (String, Vec<(String, usize, usize)>) {
        let (text, entities) = parse(html).unwrap_or_else(|error| panic!("{html}: {error}"));
        (text, entities.into_iter().map(|entity| (entity.kind, entity.offset, entity.length)).collect())
    }

    #[test]
    fn markup_is_read_in_units_of_utf_16() {
        let (text, entities) = shown("😀 <b>a <i>b</i></b> &lt;c&gt; &amp; &nbsp; &#33;");
        assert_eq!(text, "😀 a b <c> & &nbsp; !");
        assert_eq!(entities, [("bold".to_owned(), 3, 3), ("italic".to_owned(), 5, 1)]);
        let (text, entities) = parse("<pre><code class=\"language-rust\">x</code></pre>").expect("good");
        assert_eq!(
            (text.as_str(), entities[0].kind.as_str(), entities[0].detail.as_deref()),
            ("x", "pre", Some("rust"))
        );
        let (_, entities) = parse("<a href=\"https://e.org/?a=1&amp;b=2\">x</a>").expect("good");
        assert_eq!(entities[0].detail.as_deref(), Some("https://e.org/?a=1&b=2"));
        let (text, entities) = shown("<a href=\"http://localhost:1/a.b\">x</a> <a href=\"ftp://a.b\">y</a>");
        assert_eq!((text.as_str(), entities), ("x y", vec![]), "the text alone");
        let (_, entities) = parse("<a href=\"mailto:a@b.c\">x</a>").expect("good");
        assert_eq!(entities[0].detail.as_deref(), Some("http://mailto:a@b.c/"), "which leads elsewhere");
    }

    #[test]
    fn what_telegram_does_not_take_is_refused_in_its_words() {
        for (html, says) in [
            ("<b>x", "Can't find end tag corresponding to start tag \"b\""),
            ("<h1>x</h1>", "Unsupported start tag \"h1\" at byte offset 0"),
            ("a <b>x</i>", "Unmatched end tag at byte offset 6, expected \"</b>\", found \"</i>\""),
            ("x</b>", "Unexpected end tag at byte offset 1"),
            ("a < b", "Unclosed start tag at byte offset 2"),
            ("<span>x</span>", "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0"),
            ("<b class=\"x\">y</b>", "Unexpected attributes"),
        ] {
            let error = parse(html).expect_err(html);
            assert!(error.contains(says), "{html}: {error}");
        }
    }
}
