//! What Markdown becomes, one thing at a time.

use super::*;

fn sent(markdown: &str) -> String {
    let pieces = telegram(markdown, 4096);
    check_telegram(&pieces, 4096).expect("Telegram takes it");
    shown(&pieces)
}

#[test]
fn each_kind_of_markdown_has_its_markup() {
    for (markdown, markup) in [
        ("a *b* **c** ~~d~~ `e`", "a <i>b</i> <b>c</b> <s>d</s> <code>e</code>"),
        ("***a* b**", "<b><i>a</i> b</b>"),
        ("**a `b` c**", "<b>a </b><code>b</code><b> c</b>"),
        ("**`a` `b`** *c*", "<code>a</code> <code>b</code> <i>c</i>"),
        ("a\nb\\\nc", "a\nb\nc"),
        ("# a **b** `c`", "<b>a b </b><code>c</code>"),
        ("a\n===\nb", "<b>a</b>\n\nb"),
        ("- a\n- b\n  - c\n    d", "• a\n• b\n  • c\n    d"),
        ("7. a\n8. b", "7. a\n8. b"),
        ("- a\n\n  b\n- c", "• a\n\n  b\n\n• c"),
        ("- [x] a\n- [ ] b\n1. [x] c", "☑ a\n☐ b\n\n1. ☑ c"),
        ("-\n- b", "•\n• b"),
        ("- ```\n  a\n  ```", "•\n<pre>a</pre>"),
        ("> a\n> - b\n\nc", "<blockquote>a\n\n• b</blockquote>\n\nc"),
        ("> a\n> > b\n> > c", "<blockquote>a\n\n&gt; b\n&gt; c</blockquote>"),
        ("```c++ x=\"1\"\na < b\n```", "<pre><code class=\"language-c++\">a &lt; b</code></pre>"),
        ("```\"><b>\na\n```", "<pre>a</pre>"),
        ("```\n*a* &lt;\n", "<pre>*a* &amp;lt;</pre>"),
        ("    a\n\n    b", "<pre>a\n\nb</pre>"),
        ("a\n\n***\n\nb", "a\n\n———\n\nb"),
        ("a[^n].\n\n[^n]: b", "a[n].\n\n[n] b"),
        ("|a|\n|-|", "<pre>a</pre>"),
        ("|a|b|\n|-|-:|\n|c&#10;d|1|\n||22|", "<pre>a   |  b\n----+---\nc d |  1\n    | 22</pre>"),
        ("|a|b|\n|-|-|\n|[c](http://d.x)||", "<b>a</b>: <a href=\"http://d.x\">c</a>"),
        ("<b>a</b> <!-- c -->", "&lt;b&gt;a&lt;/b&gt; &lt;!-- c --&gt;"),
        ("<div>\na\n</div>", "&lt;div&gt;\na\n&lt;/div&gt;"),
        ("&lt;b&gt; &quot;&copy;", "&lt;b&gt; &quot;©"),
        ("\\*a\\*", "*a*"),
    ] {
        assert_eq!(sent(markdown), markup, "{markdown:?}");
    }
}

#[test]
fn only_some_links_can_be_followed() {
    for (markdown, markup) in [
        ("[a](http://b.x)", "<a href=\"http://b.x\">a</a>"),
        ("[a](HTTPS://b.x?c=1&d=\"e\")", "<a href=\"HTTPS://b.x?c=1&amp;d=&quot;e&quot;\">a</a>"),
        ("[a](tg://user?id=1)", "<a href=\"tg://user?id=1\">a</a>"),
        ("[*a* `b`](http://c.x)", "<a href=\"http://c.x\"><i>a</i> b</a>"),
        ("**a [b](http://c.x) d**", "<b>a <a href=\"http://c.x\">b</a> d</b>"),
        ("<http://a.b>", "<a href=\"http://a.b\">http://a.b</a>"),
        ("<a@b.c>", "a@b.c"),
        ("[a](mailto:b@c.d)", "a (b@c.d)"),
        ("[](http://a.x)", "<a href=\"http://a.x\">http://a.x</a>"),
        ("![a](http://b.x)", "<a href=\"http://b.x\">a</a>"),
        ("[![a](http://b.x)](http://c.x)", "<a href=\"http://c.x\">a</a>"),
        ("![a [b](http://c.x) d](http://e.x)", "<a href=\"http://e.x\">a b d</a>"),
        ("[a][1]\n\n[1]: http://b.x", "<a href=\"http://b.x\">a</a>"),
        ("[a](b/c.rs)", "a (b/c.rs)"),
        ("[b/c.rs](b/c.rs)", "b/c.rs"),
        ("[a](javascript:b)", "a (javascript:b)"),
        ("[a](java&#10;script:b)", "a (javascript:b)"),
        ("[a](data:text/html,<b>)", "a (data:text/html,&lt;b&gt;)"),
        ("[a](http:)", "a (http:)"),
        // Telegram makes no links of these, and would lose the address.
        ("[a](http://localhost:5173)", "a (http://localhost:5173)"),
        ("[a](http://grafana:3000/d/1.html)", "a (http://grafana:3000/d/1.html)"),
        ("[a](https://b.c@localhost/)", "a (https://b.c@localhost/)"),
        ("<http://localhost:1>", "http://localhost:1"),
        ("[a](http://b.c:0/)", "a (http://b.c:0/)"),
        ("[a](http://b.c:99999)", "a (http://b.c:99999)"),
        ("[a](http:b.c)", "a (http:b.c)"),
        ("[a](http://[::1)", "a (http://[::1)"),
        ("[a](tg:)", "a (tg:)"),
        ("[a](tg://b.c/)", "a (tg://b.c/)"),
        // And of these it does.
        ("[a](http://127.0.0.1:80/b)", "<a href=\"http://127.0.0.1:80/b\">a</a>"),
        ("[a](http://[::1]:80/)", "<a href=\"http://[::1]:80/\">a</a>"),
        ("[a](https://b:c@d.e/)", "<a href=\"https://b:c@d.e/\">a</a>"),
        ("[a](http://b.x", "[a](http://b.x"),
    ] {
        assert_eq!(sent(markdown), markup, "{markdown:?}");
    }
    let long = format!("http://{}", "a".repeat(5000));
    assert_eq!(sent(&format!("[b]({long})")), format!("b ({}…)", &long[..200]));
}

#[test]
fn what_platforms_obey_is_not_passed_on() {
    for (text, markup) in [
        ("a\u{202e}b\u{2066}c\u{7}d\u{9b}e\u{0}f", "abcdef"),
        ("a&#x202e;b&#8;c", "abc"),
        ("`a\u{202e}b`", "<code>ab</code>"),
        ("```\na\u{1b}[31mb\n```", "<pre>a[31mb</pre>"),
        ("[a](http://b.x&#x202e;c)", "<a href=\"http://b.xc\">a</a>"),
        ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
    ] {
        assert_eq!(sent(text), markup, "{text:?}");
        assert!(markdown(text, 100, Measure::Chars).iter().all(|piece| !text_of(piece).contains('\u{202e}')));
    }
}

#[test]
fn nothing_is_sent_for_nothing_and_something_for_something() {
    for blank in ["", " \n\t\n", "\u{200b}\u{feff}", "\u{7}"] {
        assert_eq!(telegram(blank, 4096), [], "{blank:?}");
        assert_eq!(plain(blank, 4096, Measure::Bytes), [], "{blank:?}");
        assert_eq!(markdown(blank, 4096, Measure::Bytes), [], "{blank:?}");
        assert_eq!(telegram_draft(blank, 4096), None, "{blank:?}");
    }
    // Markdown that shows nothing.
    for (text, markup) in
        [("[a]: http://b.x", "[a]: http://b.x"), ("```\n```", "```\n```"), (">", "&gt;"), ("![]()", "![]()")]
    {
        assert_eq!(sent(text), markup);
    }
}

#[test]
fn messages_end_where_it_reads_well() {
    for (text, limit, expected) in [
        // Blocks, lines, sentences, words, characters.
        ("aaaa aaaa\n\nbbbb bbbb\n\ncccc", 24, "aaaa aaaa\n\nbbbb bbbb¦cccc"),
        ("aaaa aaaa aaaa\nbbbb bbbb bbbb", 24, "aaaa aaaa aaaa¦bbbb bbbb bbbb"),
        ("aaaa aaaa aaaa. Bbbb bbbb bbbb", 24, "aaaa aaaa aaaa.¦Bbbb bbbb bbbb"),
        ("aaaa aaaa aaaa aaaa aaaa aaaa", 24, "aaaa aaaa aaaa aaaa aaaa¦aaaa"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 24, "aaaaaaaaaaaaaaaaaaaaaaaa¦aaaaaa"),
        // A pair of surrogates, and what people see as one.
        ("aaaaaaaaaaaaaaa😀b", 16, "aaaaaaaaaaaaaaa¦😀b"),
        ("aaaaaaaaaaa👩\u{200d}👩\u{200d}👧", 16, "aaaaaaaaaaa¦👩\u{200d}👩\u{200d}👧"),
        // A heading goes with what it is of.
        ("aaaa aaaa\n\n# b\n\ncccc cccc", 22, "aaaa aaaa¦b\n\ncccc cccc"),
        ("- aaaa aaaa\n- bbbb bbbb\n- cccc", 24, "• aaaa aaaa\n• bbbb bbbb¦• cccc"),
        ("|a|b|\n|-|-|\n|cccc|dddd|\n|eeee|ffff|", 36, "a    | b\n-----+-----\ncccc | dddd¦eeee | ffff"),
    ] {
        let pieces = telegram(text, limit);
        check_telegram(&pieces, limit).expect("Telegram takes it");
        let texts: Vec<&str> = pieces.iter().map(text_of).collect();
        assert_eq!(texts, expected.split('¦').collect::<Vec<_>>().as_slice(), "{text:?}");
    }
}

#[test]
fn styles_go_on_in_the_next_message() {
    let pieces = telegram("> **aaaa aaaa [bbbb bbbb bbbb](http://c.x)**", 20);
    assert_eq!(
        shown(&pieces),
        "<blockquote><b>aaaa aaaa <a href=\"http://c.x\">bbbb bbbb</a></b></blockquote>\n--------\n\
         <blockquote><a href=\"http://c.x\"><b>bbbb</b></a></blockquote>"
    );
}

#[test]
fn a_code_block_is_whole_or_a_file() {
    let code = "fn a() {}\n".repeat(3);
    let text = format!("before\n\n```rust\n{code}```\n\nafter");
    let whole = format!("before|{}|after", code.trim_end());
    let (limit, small) = (code.len() - 1, code.len() - 2);
    let texts = |pieces: &[Piece]| pieces.iter().map(text_of).collect::<Vec<_>>().join("|");
    assert_eq!(texts(&telegram(&text, limit)), whole);
    assert!(telegram(&text, limit).iter().all(|piece| matches!(piece, Piece::Text { .. })));
    for sent in
        [telegram(&text, small), plain(&text, small, Measure::Bytes), markdown(&text, small, Measure::Bytes)]
    {
        assert_eq!(sent[1], Piece::File { name: "code-1.rs".to_owned(), content: code.clone() });
        assert_eq!((text_of(&sent[0]), text_of(&sent[2])), ("before", "after"));
    }
}

#[test]
fn a_file_has_a_harmless_name() {
    for (info, name) in [
        ("rust", "code-1.rs"),
        ("Python title=\"a\"", "code-1.py"),
        ("../../etc/passwd", "code-1.txt"),
        ("", "code-1.txt"),
        ("rs/../x", "code-1.txt"),
        ("exe", "code-1.txt"),
        ("\u{202e}sr", "code-1.txt"),
        ("c++", "code-1.cpp"),
    ] {
        let text = format!("~~~{info}\n{}\n~~~", "a".repeat(50));
        match telegram(&text, 20).as_slice() {
            [Piece::File { name: found, .. }] => assert_eq!(found, name),
            other => panic!("{info}: {other:?}"),
        }
    }
}

#[test]
fn a_message_has_a_hundred_entities_at_most() {
    let entities = |pieces: &[Piece]| -> Vec<usize> {
        let of = |piece: &Piece| match piece {
            Piece::Text { markup, .. } => validator::parse(markup).expect("Telegram takes it").entities,
            Piece::File { .. } => 0,
        };
        pieces.iter().map(of).collect()
    };
    let links = format!("{} {}", "[a](http://b.c) ".repeat(99), "**[a](http://b.c)** ".repeat(3));
    assert_eq!(entities(&telegram(&links, 4096)), [99, 6], "where a link leads is never left out");
    let quoted = format!("> {}", "[a](http://b.c) ".repeat(120));
    assert_eq!(entities(&telegram(&quoted, 4096)), [100, 22], "with the quote itself");
    let headed = format!("a\n\n# b\n\n{}", "[a](http://b.c) ".repeat(100));
    assert_eq!(entities(&telegram(&headed, 4096)), [1, 100]);
    // Split between chunks, where there is one.
    assert_eq!(entities(&telegram(&"- `a`\n".repeat(150), 4096)), [100, 50]);
    assert_eq!(entities(&telegram(&"`a` ".repeat(150), 4096)), [100]);
    assert_eq!(entities(&telegram(&"`a` ".repeat(100), 4096)), [100]);
    assert_eq!(entities(&telegram(&format!("> {}", "**`a` b** ".repeat(150)), 4096)), [100]);
}

#[test]
fn a_long_quote_is_folded() {
    assert!(sent(&format!("> {}", "word ".repeat(200))).starts_with("<blockquote expandable>word"));
}

#[test]
fn a_draft_leaves_out_its_beginning() {
    for (text, limit, markup) in [
        ("aaaa\n\nbbbb\n\n**cccc", 20, "aaaa\n\nbbbb\n\n**cccc"),
        ("aaaa aaaa\n\n*bbbb* bbbb\n\ncccc", 17, "…\n<i>bbbb</i> bbbb\n\ncccc"),
        ("aaaa aaaa *bbbb bbbb bbbb bbbb*", 17, "…\n<i>bbbb bbbb bbbb</i>"),
        (
            "```rust\naaaa\nbbbb\ncccc\ndddd\neeee",
            17,
            "…\n<pre><code class=\"language-rust\">cccc\ndddd\neeee</code></pre>",
        ),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaa", 16, "…\naaaaaaaaaaaaaa"),
        ("a [b](http://c.x", 16, "a [b](http://c.x"),
        ("a &am", 16, "a &amp;am"),
    ] {
        let draft = telegram_draft(text, limit).expect("something to show");
        assert_eq!(draft.markup, markup, "{text:?}");
    }
}

#[test]
fn markdown_that_is_split_is_still_markdown() {
    for (text, limit, expected) in [
        ("a\n\n\n\nb\n- c", 100, vec!["a\n\nb\n- c"]),
        ("    a\n\nb", 100, vec!["    a\n\nb"]),
        ("[a][b]\n\n[b]: http://c.x", 100, vec!["[a][b]\n\n[b]: http://c.x"]),
        ("# a\n\nbbbb bbbb\n\n# c\n\ndddd dddd", 24, vec!["# a\n\nbbbb bbbb", "# c\n\ndddd dddd"]),
        // A fence in an item that is too long for a message.
        (
            "- aaaa aaaa\n\n  ```rs,b\n  cccc\n    cccc\n  ```\n\n  dddd",
            30,
            vec!["- aaaa aaaa", "```rs\ncccc\n  cccc\n```\n\n  dddd"],
        ),
        ("- aaaa aaaa aaaa\n\n  ````\n  ```\n  ````", 24, vec!["- aaaa aaaa aaaa", "````\n```\n````"]),
    ] {
        let pieces = markdown(text, limit, Measure::Chars);
        assert_eq!(pieces.iter().map(text_of).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

#[test]
fn plain_words_say_where_links_lead_and_what_is_quoted() {
    for (markdown, text) in [
        ("[a](http://b) <http://c> <d@e.f>", "a (http://b) http://c d@e.f"),
        ("[a](mailto:b@c.d)", "a (b@c.d)"),
        ("> a\nb\n\nc", "> a\n> b\n\nc"),
        ("**a** `b` ~~c~~", "a b c"),
        ("|a|\n|-|\n|[b](http://c)|", "a\n------------\nb (http://c)"),
    ] {
        let pieces = plain(markdown, 100, Measure::Bytes);
        assert_eq!(pieces.iter().map(text_of).collect::<Vec<_>>(), [text], "{markdown:?}");
    }
}

#[test]
fn many_long_links_make_more_messages_and_none_is_lost() {
    let long = |number: usize| format!("https://a.b/{number}/{}", "&".repeat(1400));
    let of = |messages: &[Piece]| -> Vec<usize> {
        let links = |piece: &Piece| match piece {
            Piece::Text { markup, .. } => markup.matches("<a href").count(),
            Piece::File { .. } => 0,
        };
        messages.iter().map(links).collect()
    };
    let links: Vec<String> = (0..10).map(|number| format!("[link]({})", long(number))).collect();
    for between in ["\n\n", "\n- ", " ", ""] {
        let pieces = telegram(&links.join(between), 4096);
        check_telegram(&pieces, 4096).expect("Telegram takes it");
        assert_eq!(of(&pieces), [4, 4, 2], "{between:?}");
    }
    let draft = telegram_draft(&links.join(" "), 4096).expect("something to show");
    assert!(draft.markup.len() <= MAX_BYTES && draft.plain == "…\nlink link link link", "{}", draft.plain);
}
