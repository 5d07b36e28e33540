//! What a person wrote, out of the frame that Cofferdam puts around each message:
//!
//! ```text
//! <message from="ann" time="2026-11-21 14:03 Europe/Berlin" id="12">
//! text
//! </message>
//! ```

/// Begins the first line of a frame.
const OPEN: &str = "<message";
/// The last line of a frame.
const CLOSE: &str = "</message>";
/// Begins the line with which Cofferdam asks to go on after an interruption.
const CONTINUE: &str = "[cofferdam]";
/// A bracket inside a text that could have begun a mark.
const ESCAPED: &str = "&lt;";

/// The texts of the framed messages, joined by line breaks; a text without a whole frame is itself.
pub(super) fn unwrap(text: &str) -> String {
    if !opens(text.trim_start().lines().next().unwrap_or_default()) {
        return text.to_owned();
    }
    let (mut found, mut inner) = (Vec::new(), None::<Vec<&str>>);
    for line in text.lines() {
        inner = match inner {
            None => opens(line).then(Vec::new),
            Some(lines) if line.trim() == CLOSE => {
                found.push(lines.join("\n"));
                None
            }
            Some(mut lines) => {
                lines.push(line);
                Some(lines)
            }
        };
    }
    if found.is_empty() {
        return text.to_owned();
    }
    plain(&found.join("\n"))
}

/// A text with its escaped marks as a person wrote them; any other `&lt;` is a person's own.
fn plain(text: &str) -> String {
    let mut pieces = text.split(ESCAPED);
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let name = piece.trim_start_matches(|c: char| c.is_whitespace() || c == '/').as_bytes();
        let mark = name.get(..OPEN.len() - 1).is_some_and(|name| name.eq_ignore_ascii_case(&OPEN.as_bytes()[1..]));
        plain.push_str(if mark { "<" } else { ESCAPED });
        plain.push_str(piece);
    }
    plain
}

/// Whether Cofferdam, and no person, says this: to go on with the message before it. A person's line would be framed.
pub(super) fn continues(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(CONTINUE) && !text.contains('\n')
}

fn opens(line: &str) -> bool {
    let rest = line.trim().strip_prefix(OPEN).and_then(|rest| rest.strip_suffix('>'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(text: &str) -> String {
        let text = text.replace("</message", "&lt;/message").replace("<message", "&lt;message");
        format!("<message from=\"a > b\" time=\"2026-11-21 14:03 Europe/Berlin\" id=\"1\">\n{text}\n</message>")
    }

    #[test]
    fn framed_messages_are_joined_and_what_is_between_them_is_not_theirs() {
        let batch = format!("{}\n\n{}\n(two messages)", framed("one\n!run a"), framed("two"));
        assert_eq!(unwrap(&batch), "one\n!run a\ntwo");
    }

    #[test]
    fn a_text_without_a_whole_frame_is_itself() {
        for text in
            ["", "hello", "<messages>\nx\n</message>", "<message from=\"a\">\nx", "x\n<message>\ny\n</message>"]
        {
            assert_eq!(unwrap(text), text);
        }
    }

    #[test]
    fn only_escaped_marks_are_put_back() {
        let text = "<message>\n&lt; / MESSAGE> &lt;b> &lt;&lt;message\n</message>";
        assert_eq!(unwrap(text), "< / MESSAGE> &lt;b> &lt;<message");
    }

    #[test]
    fn only_a_bare_line_of_cofferdam_asks_to_go_on() {
        assert!(continues("[cofferdam] Go on: the turn was interrupted.\n"));
        for text in ["hello [cofferdam]", "[cofferdam] x\ny", &framed("[cofferdam] x")] {
            assert!(!continues(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_framed_text_comes_out_as_it_was(text in "(\\PC|\n|<message|</message>|!run x){0,30}") {
            prop_assume!(!text.contains("&lt;"));
            let lines = text.lines().collect::<Vec<_>>().join("\n");
            prop_assert_eq!(unwrap(&framed(&lines)), lines);
        }
    }
}
