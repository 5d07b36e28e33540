//! A strict reader of Telegram's HTML, as its Bot API describes it.

/// What a message's markup says.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    pub text: String,
    pub entities: usize,
}

struct Open {
    name: String,
    /// The length of the text before it.
    start: usize,
}

/// Reads markup; an error says what Telegram would refuse, or what would not look as meant.
pub fn parse(markup: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed { text: String::new(), entities: 0 };
    let mut open: Vec<Open> = Vec::new();
    let mut rest = markup;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '<' => {
                let (tag, after) = rest[1..].split_once('>').ok_or("an open tag")?;
                take_tag(tag, &mut open, &mut parsed)?;
                after
            }
            '&' => {
                let (character, after) = entity(rest)?;
                parsed.text.push(character);
                after
            }
            '>' | '"' => return Err(format!("a bare {c}")),
            c => {
                parsed.text.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    match open.last() {
        Some(open) => Err(format!("<{}> is not closed", open.name)),
        None if parsed.text.trim().is_empty() => Err("no text".to_owned()),
        None => Ok(parsed),
    }
}

fn entity(text: &str) -> Result<(char, &str), String> {
    let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
    let found = known.iter().find_map(|(name, c)| text.strip_prefix(name).map(|rest| (*c, rest)));
    found.ok_or_else(|| format!("an entity: {:?}", text.chars().take(8).collect::<String>()))
}

fn take_tag(tag: &str, open: &mut Vec<Open>, parsed: &mut Parsed) -> Result<(), String> {
    if let Some(name) = tag.strip_prefix('/') {
        let last = open.pop().ok_or_else(|| format!("</{name}> closes nothing"))?;
        return match () {
            () if last.name != name => Err(format!("</{name}> closes <{}>", last.name)),
            () if last.start == parsed.text.len() => Err(format!("<{name}> has no text")),
            () => Ok(()),
        };
    }
    let name = tag.split(' ').next().unwrap_or("");
    let within: Vec<&str> = open.iter().map(|open| open.name.as_str()).collect();
    let language = matches!(within.last(), Some(&"pre")) && tag != "code" && name == "code";
    check_attributes(tag, name, language)?;
    if language {
        if open.last().is_some_and(|pre| pre.start != parsed.text.len()) {
            return Err("text before the code's language".to_owned());
        }
    } else {
        check_nesting(name, &within)?;
        parsed.entities += 1;
    }
    open.push(Open { name: name.to_owned(), start: parsed.text.len() });
    Ok(())
}

fn check_attributes(tag: &str, name: &str, language: bool) -> Result<(), String> {
    let value = |start: &str| tag.strip_prefix(start).and_then(|rest| rest.strip_suffix('"'));
    let fine = match name {
        "b" | "i" | "s" | "u" | "pre" | "tg-spoiler" => tag == name,
        "code" if language => value("code class=\"language-").is_some_and(|value| {
            !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "+-#_.".contains(c))
        }),
        "code" => tag == name,
        "blockquote" => tag == name || tag == "blockquote expandable",
        "a" => value("a href=\"").is_some_and(is_address),
        _ => false,
    };
    if fine { Ok(()) } else { Err(format!("<{tag}>")) }
}

fn is_address(value: &str) -> bool {
    let (mut address, mut rest) = (String::new(), value);
    while let Some(c) = rest.chars().next() {
        match c {
            '&' => match entity(rest) {
                Ok((c, after)) => {
                    address.push(c);
                    rest = after;
                    continue;
                }
                Err(_) => return false,
            },
            '<' | '"' => return false,
            c if c.is_control() || c.is_whitespace() && c.is_ascii() => return false,
            c => address.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    let address = address.to_lowercase();
    if let Some(rest) = address.strip_prefix("tg:") {
        return rest.trim_start_matches('/').starts_with(|c: char| c.is_ascii_alphanumeric());
    }
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    // Of others Telegram makes no link, and does not say so.
    rest.is_some_and(|rest| {
        let place = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let host = place.rsplit('@').next().unwrap_or_default();
        host.contains('.') || host.starts_with('[')
    })
}

fn check_nesting(name: &str, within: &[&str]) -> Result<(), String> {
    let clash = within.iter().find(|outer| match (**outer, name) {
        ("pre" | "code", _) => true,
        ("blockquote", "blockquote") | ("a", "a") => true,
        ("blockquote", _) => false,
        // Code and links stand within nothing that they cannot be combined with.
        (_, "pre" | "code" | "blockquote") => true,
        (outer, inner) => outer == inner,
    });
    clash.map_or(Ok(()), |outer| Err(format!("<{name}> within <{outer}>")))
}

#[test]
fn the_validator_knows_right_from_wrong() {
    for right in [
        "a &lt;b&gt; &amp;&quot;",
        "<b>a <i>b</i></b> <code>c</code>",
        "<pre><code class=\"language-c++\">a</code></pre>",
        "<blockquote expandable><b>a</b>\n<pre>b</pre> <a href=\"https://a.b?c&amp;d\">e</a></blockquote>",
    ] {
        assert!(parse(right).is_ok(), "{right}: {:?}", parse(right));
    }
    for wrong in [
        "",
        " \n",
        "a < b",
        "a > b",
        "a & b",
        "&nbsp;",
        "&#39;",
        "<b>a",
        "a</b>",
        "<b>a</i>",
        "<b></b>a",
        "<p>a</p>",
        "<b><i>a</b></i>",
        "<b><b>a</b></b>",
        "<b><code>a</code></b>",
        "<code><b>a</b></code>",
        "<pre><b>a</b></pre>",
        "<a href=\"javascript:a\">b</a>",
        "<a href=\"http://localhost:1/b.c\">b</a>",
        "<a href=\"mailto:a@b.c\">b</a>",
        "<a>b</a>",
        "<a href=\"http://a.x\"><a href=\"http://b.x\">c</a></a>",
        "<a href=\"http://a.x\"\">b</a>",
        "<blockquote><blockquote>a</blockquote></blockquote>",
        "<b class=\"a\">b</b>",
        "<code class=\"language-a\">b</code>",
        "<pre>a<code class=\"language-a\">b</code></pre>",
        "<pre><code class=\"language-a&quot;\">b</code></pre>",
        "<a href=\"http://a.x&nbsp;\">b</a>",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(parse("<b>a</b><i>b</i>&lt;"), Ok(Parsed { text: "ab<".to_owned(), entities: 2 }));
}
