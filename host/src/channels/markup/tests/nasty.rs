//! Texts that are made to take long, or to overflow a stack.

use std::time::{Duration, Instant};

use super::*;

/// The longest text that an agent may send (bytes).
const LONGEST: usize = 2 << 20;
/// What one text may take in a build for tests, on a busy machine. Work that grows with the square of the length takes
/// hours.
const PATIENCE: Duration = Duration::from_secs(60);

fn filled(part: &str, len: usize) -> String {
    part.repeat(len / part.len())
}

/// What may be repeated without end.
const PARTS: [&str; 56] = [
    "> ",
    ">",
    "- ",
    "1. ",
    "[",
    "](",
    "[](",
    "![",
    "*",
    "**",
    "**a ",
    "a**",
    "*a_",
    "_*",
    "`",
    "`` ` ",
    "<",
    "<!--",
    "<a ",
    "<?",
    "<x a='",
    "&",
    "&#",
    "&lt;",
    "\\",
    "~",
    "~~a ",
    "[^",
    "[^a]",
    "[^a]: ",
    "[a]: b\n",
    "[a](<",
    "[a](b '\n",
    "[a]",
    "|a",
    "|b|\n",
    "a|\n-|\n",
    "a\n",
    "a\\\n",
    "# a\n",
    "- a\n",
    "- a\n\n",
    "> a\n\n",
    "```\n",
    "~~~ a\n",
    "---\n",
    "a\n===\n",
    "<div>\n\n",
    "`a`",
    "**a** ",
    "[a](http://b.c)",
    "\u{301}",
    "👩\u{200d}",
    "🇩",
    " ",
    "\u{202e}",
];

/// What is long in two ways.
fn shapes(len: usize) -> Vec<String> {
    let half = len / 2;
    vec![
        "> ".repeat(half / 2) + "a\n" + &filled("b\n", half),
        "- ".repeat(half / 2) + "a\n" + &filled("b\n", half),
        "[^a]: ".repeat(half / 6) + "a\n" + &filled("b\n", half),
        (0..len.isqrt()).map(|level| format!("{}- a\n", " ".repeat(level))).collect(),
        (0..len.isqrt()).map(|level| format!("{} a\n", ">".repeat(level))).collect(),
        (1..(2 * len).isqrt()).map(|count| "`".repeat(count) + " ").collect(),
        "[".repeat(half) + &"]".repeat(half),
        "*".repeat(half) + "a" + &"*".repeat(half),
        "*a ".repeat(half / 3) + &"b* ".repeat(half / 3),
        "![".repeat(len / 4) + &"](a)".repeat(len / 8),
        format!("{}\n{}\n{}", "|a".repeat(500), "|-".repeat(500), filled("|b\n", len)),
        format!("|a|{}|\n|-|-|\n{}", "b".repeat(half), filled("|c|d\n", half)),
        format!("[a]: {}\n\n{}", "x".repeat(half), filled("[a]", half)),
        format!("```\n{}", filled("a ", len)),
        filled("a", len),
    ]
}

/// Reads a text in all ways, on a stack that has no room for a call for each level.
fn read_all(text: String, limit: usize) -> Duration {
    let read = move || {
        let from = Instant::now();
        check_telegram(&telegram(&text, limit), limit).expect("Telegram takes it");
        check(&plain(&text, limit, Measure::Bytes), limit, Measure::Bytes).expect("any platform takes it");
        check(&markdown(&text, limit, Measure::Chars), limit, Measure::Chars).expect("any platform takes it");
        let draft = telegram_draft(&text, limit);
        assert!(draft.is_none_or(|draft| Measure::Utf16.of_text(&draft.plain) <= limit));
        from.elapsed()
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(read).expect("a thread").join().expect("it ends well")
}

#[test]
fn no_text_takes_long_or_overflows_the_stack() {
    const LEN: usize = 32 << 10;
    let parts = PARTS.iter().map(|part| filled(part, LEN));
    for text in parts.chain(shapes(LEN)) {
        let start: String = text.chars().take(20).collect();
        for limit in [16, 4096] {
            let took = read_all(text.clone(), limit);
            assert!(took < PATIENCE, "{start:?}: {took:?}");
        }
    }
}

#[test]
fn the_longest_text_takes_seconds_at_most() {
    let all: String = PARTS.iter().map(|part| filled(part, LONGEST / PARTS.len())).collect();
    for text in shapes(LONGEST).into_iter().take(1).chain([all]) {
        let start: String = text.chars().take(20).collect();
        let took = read_all(text, 4096);
        assert!(took < PATIENCE, "{start:?}: {took:?}");
    }
}

#[test]
fn no_text_becomes_many_times_as_long() {
    const LEN: usize = 64 << 10;
    let wide = format!("|{}|b|\n|-|-|\n", "a".repeat(50));
    let long = format!("|a|{}|\n|-|-|\n", "b".repeat(1000));
    for (text, most) in [
        (wide + &filled("||c\n", LEN), 2),
        (long + &filled("||c\n", LEN), 2),
        // Signs and indentation of six levels before each line.
        ("> - ".repeat(30) + &filled("a\n", LEN), 14),
    ] {
        for sent in [telegram(&text, 4096), plain(&text, 4096, Measure::Bytes)] {
            let len: usize = sent.iter().map(|piece| text_of(piece).len()).sum();
            assert!(len < most * text.len(), "{len} of {}", text.len());
        }
    }
}
