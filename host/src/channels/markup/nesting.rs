//! How deep a Markdown's quotes and lists may be in each other.

/// The deepest that is read as Markdown. The parser goes through all of a line's containers at each line, which takes
/// minutes for 2 MiB of lines within thousands of quotes.
const MAX_DEPTH: usize = 64;

/// Whether containers may be deeper in each other than [`MAX_DEPTH`].
pub fn is_too_deep(markdown: &str) -> bool {
    deepest(markdown) > MAX_DEPTH
}

/// An upper bound of the depth, from the lines alone: a line adds what its start names, and continues at most one item for
/// each two columns of its indentation. Counted up to the first line that goes beyond [`MAX_DEPTH`].
fn deepest(markdown: &str) -> usize {
    let mut depth: usize = 0;
    for line in markdown.lines() {
        let (columns, markers) = start_of(line);
        if markers > 0 {
            depth = depth.max(depth.min(columns / 2) + markers);
        }
        if depth > MAX_DEPTH {
            break;
        }
    }
    depth
}

/// The width of a line's blanks before its text, and how many quotes, items and footnotes begin or go on there.
fn start_of(line: &str) -> (usize, usize) {
    let (mut columns, mut markers) = (0, 0);
    let mut rest = line;
    while markers <= MAX_DEPTH {
        let len = match (rest.as_bytes().first(), marker(rest)) {
            (Some(b' '), _) => {
                columns += 1;
                1
            }
            (Some(b'\t'), _) => {
                columns += 4;
                1
            }
            (_, Some(len)) => {
                markers += 1;
                len
            }
            _ => break,
        };
        rest = &rest[len..];
    }
    (columns, markers)
}

/// The length of the container's marker that a text starts with.
fn marker(text: &str) -> Option<usize> {
    if text.starts_with('>') {
        return Some(1);
    }
    if text.starts_with("[^") {
        return text.find("]:").map(|at| at + 2);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let signs: &[u8] = if digits == 0 { b"-*+" } else { b".)" };
    let sign = text.as_bytes().get(digits).is_some_and(|sign| signs.contains(sign));
    let ends = text.as_bytes().get(digits + 1).is_none_or(|after| matches!(after, b' ' | b'\t'));
    (sign && ends).then_some(digits + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Parser, Tag, TagEnd};

    use super::*;

    /// How deep the parser goes.
    fn parsed(markdown: &str) -> usize {
        let (mut depth, mut most) = (0, 0);
        for event in Parser::new_ext(markdown, super::super::read::options()) {
            match event {
                Event::Start(Tag::BlockQuote(_) | Tag::Item | Tag::FootnoteDefinition(_)) => depth += 1,
                Event::End(TagEnd::BlockQuote(_) | TagEnd::Item | TagEnd::FootnoteDefinition) => depth -= 1,
                _ => {}
            }
            most = most.max(depth);
        }
        most
    }

    #[test]
    fn what_people_write_is_not_too_deep() {
        let list: String = (0..30).map(|level| format!("{}- item {level}\n", "  ".repeat(level))).collect();
        assert_eq!((parsed(&list), deepest(&list)), (30, 30));
        let tabs = "-\ta\n\t-\tb\n\t\t-\tc\n";
        assert!(parsed(tabs) == 3 && deepest(tabs) >= 3, "{}", deepest(tabs));
        let flat = "- a\n1. b\n> c\n\n  d\n".repeat(1000);
        assert!(!is_too_deep(&flat), "{}", deepest(&flat));
        let code = format!("```\n{}x\n- y\n```", " ".repeat(1000));
        assert!(!is_too_deep(&code));
    }

    #[test]
    fn what_is_made_to_be_deep_is_too_deep() {
        let stairs: String = (0..100).map(|level| format!("{}- a\n", "  ".repeat(level))).collect();
        for deep in
            ["> ".repeat(65), ">".repeat(65), "1. ".repeat(65), "[^a]: ".repeat(65), "> - ".repeat(33), stairs]
        {
            assert!(is_too_deep(&deep), "{deep:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn the_bound_is_one(
            markdown in "((> ?|>|- |\\+\t|[0-9]{1,2}\\. |1\\) |\\[\\^a\\]: | {1,9}|\t){0,12}(a|`{3}|\\*\\*\\*|-|)\n{1,2}){0,12}",
        ) {
            prop_assert!(parsed(&markdown) <= deepest(&markdown), "{} > {}", parsed(&markdown), deepest(&markdown));
        }
    }
}
