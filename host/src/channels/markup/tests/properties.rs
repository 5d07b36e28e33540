//! What holds for every text.

mod generated;

use proptest::prelude::*;

use super::*;
use generated::document;

/// Characters that mean something in Markdown or to a platform, and some that are long.
fn soup() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a",
        "b",
        " ",
        " ",
        "\n",
        "\n\n",
        "*",
        "**",
        "_",
        "`",
        "```",
        "```rs\n",
        "~~",
        "[",
        "](",
        "](http://a.b ",
        "](http://a:1/) ",
        "](mailto:a@b.c) ",
        ")",
        "!",
        "<",
        ">",
        "> ",
        "- ",
        "1. ",
        "    ",
        "\t",
        "&",
        "&lt;",
        "&#x202e;",
        "&#10;",
        "&#0;",
        "|",
        "|-|-|\n",
        "# ",
        "---\n",
        "\\",
        "\"",
        "\r\n",
        "\u{202e}",
        "\u{2066}",
        "\u{7}",
        "\u{1b}[31m",
        "\u{200b}",
        "é",
        "e\u{301}\u{302}",
        "😀",
        "👩\u{200d}👩\u{200d}👧",
        "🇩🇪",
        "漢",
        "[x] ",
        "[^1]",
        "[^1]: ",
        "[a]: b\n",
        "<b>",
        "<!-- ",
        "http://a.b/c?d=1&e=\"",
        "word ",
        "tg://user?id=1",
        ". ",
        "\u{2028}",
    ]);
    prop::collection::vec(parts, 0..150).prop_map(|parts| parts.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![soup(), any::<String>(), "(\\PC|\n){0,300}"]
}

fn check_all(text: &str, limit: usize) -> Result<(), TestCaseError> {
    let fail = |why: String| TestCaseError::fail(why);
    let sent = telegram(text, limit);
    check_telegram(&sent, limit).map_err(fail)?;
    prop_assert_eq!(&sent, &telegram(text, limit));
    prop_assert_eq!(sent.is_empty(), clean::is_blank(&clean(text)), "{:?}", sent);
    for measure in [Measure::Utf16, Measure::Chars, Measure::Bytes] {
        for sent in [plain(text, limit, measure), markdown(text, limit, measure)] {
            check(&sent, limit, measure).map_err(fail)?;
            prop_assert_eq!(sent.is_empty(), clean::is_blank(&clean(text)), "{:?}", sent);
        }
    }
    match telegram_draft(text, limit) {
        Some(draft) => {
            let piece = Piece::Text { markup: draft.markup, plain: draft.plain };
            check_telegram(&[piece], limit).map_err(fail)?;
        }
        None => prop_assert!(clean::is_blank(&clean(text))),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_piece_of_any_text_is_well_formed_and_short_enough(text in any_text(), limit in 16usize..300) {
        check_all(&text, limit)?;
    }

    #[test]
    fn every_piece_of_a_document_is_well_formed_and_short_enough(document in document(), limit in 16usize..300) {
        check_all(&document.markdown, limit)?;
    }

    #[test]
    fn no_word_of_a_document_is_lost(document in document(), limit in 16usize..300) {
        let expected: Vec<&str> = document.words.iter().map(String::as_str).collect();
        for sent in [
            telegram(&document.markdown, limit),
            plain(&document.markdown, limit, Measure::Bytes),
            markdown(&document.markdown, limit, Measure::Chars),
        ] {
            let found: Vec<&str> = sent.iter().flat_map(|piece| words(text_of(piece))).collect();
            prop_assert_eq!(missing(&expected, &found), None, "{}", shown(&sent));
        }
    }

    #[test]
    fn plain_paragraphs_arrive_as_they_are(text in "([a-zA-Zé漢😀,;]{1,30}[ .!?]{0,2}\n{0,2}){0,40}", limit in 16usize..100) {
        let solid = |text: &str| text.split_whitespace().collect::<String>();
        for sent in [
            telegram(&text, limit),
            plain(&text, limit, Measure::Bytes),
            markdown(&text, limit, Measure::Utf16),
        ] {
            let joined: String = sent.iter().map(text_of).collect();
            prop_assert_eq!(solid(&joined), solid(&text));
        }
    }

    #[test]
    fn a_word_is_cut_only_when_it_must_be(text in "([a-z]{1,16}[ \n]){0,60}", limit in 16usize..100) {
        let sent = telegram(&text, limit);
        let found: Vec<&str> = sent.iter().flat_map(|piece| words(text_of(piece))).collect();
        prop_assert_eq!(found, words(&text));
    }

    #[test]
    fn a_long_text_is_sent_in_long_messages(text in "([a-z]{1,9}[ .] ?\n?){100,200}", limit in 50usize..200) {
        let sent = telegram(&text, limit);
        let used: usize = sent.iter().map(|piece| Measure::Utf16.of_text(text_of(piece))).sum();
        prop_assert!(sent.len() <= used * 5 / (limit * 2) + 1, "{} messages for {used} of {limit}", sent.len());
    }

    #[test]
    fn a_draft_is_well_formed_wherever_its_text_breaks_off(document in document(), part in 0.0f64..1.0) {
        let chars = document.markdown.chars().count() as f64;
        let text: String = document.markdown.chars().take((chars * part) as usize).collect();
        check_all(&text, 100)?;
        // What fits is what the message will be.
        if let [Piece::Text { markup, .. }] = telegram(&text, 1 << 20).as_slice() {
            let draft = telegram_draft(&text, 1 << 20).map(|draft| draft.markup);
            prop_assert_eq!(Some(markup), draft.as_ref());
        }
    }

    #[test]
    fn a_draft_shows_the_newest(text in "([a-z]{1,9}[ \n]){0,60}", limit in 30usize..100) {
        if let Some(draft) = telegram_draft(&text, limit) {
            prop_assert_eq!(words(&draft.plain).pop(), words(&text).pop());
            let whole = Measure::Utf16.of_text(text.trim_end()) <= limit;
            prop_assert_eq!(draft.plain.starts_with('…'), !whole, "{}", draft.plain);
        }
    }

    #[test]
    fn every_long_link_arrives_in_messages_that_telegram_reads(
        links in prop::collection::vec(("[a-z]{1,12}", prop::sample::select(vec!["a", "&", "\"", "é"]), 0usize..1000), 1..60),
        between in prop::sample::select(vec![" ", "", "\n\n", "\n- ", "\n> ", " **and** "]),
        limit in prop::sample::select(vec![100usize, 4096]),
    ) {
        let address = |number: usize| format!("https://a.b/{number}/");
        let one = |(number, (text, fill, times)): (usize, &(String, &str, usize))| {
            format!("[{text}]({}{})", address(number), fill.repeat(*times))
        };
        let text = links.iter().enumerate().map(one).collect::<Vec<_>>().join(between);
        let sent = telegram(&text, limit);
        check_telegram(&sent, limit).map_err(TestCaseError::fail)?;
        for number in 0..links.len() {
            let there = |piece: &Piece| matches!(piece, Piece::Text { markup, .. } if markup.contains(&address(number)));
            prop_assert!(sent.iter().any(there), "{}", address(number));
        }
        let draft = telegram_draft(&text, limit).map(|draft| Piece::Text { markup: draft.markup, plain: draft.plain });
        check_telegram(draft.as_slice(), limit).map_err(TestCaseError::fail)?;
    }
}
