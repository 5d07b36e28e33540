//! A reply in messages that a program takes.

use super::hello::Hello;
use super::orders::{Button, FileLine, React, Sending};
use super::wire::Markup;
use crate::channels::Piece;
use crate::channels::markup::{self, Measure};
use crate::model::action::{Action, Asked, question_words};
use crate::model::reply::{Labelled, Outbound, ReplyKind};

/// The longest option that a button shows in full on most platforms, in characters.
const ON_A_BUTTON: usize = 40;

/// A reply's messages; the same for the same reply and the same hello.
pub(super) fn pieces(hello: &Hello, reply: &Outbound) -> Vec<Piece> {
    let can = hello.abilities;
    match &reply.action {
        Some(Action::File(_)) if can.files => vec![Piece::Whole],
        Some(Action::React { .. }) if can.react => vec![Piece::Whole],
        Some(Action::File(file)) => texts(hello, &file.words()),
        Some(Action::Question(asked)) if has_buttons(hello, asked) => texts(hello, &asked.question),
        Some(Action::Close(closed)) => closed_text(hello, &closed.asked, &reply.text).into_iter().collect(),
        // Our own words are no Markdown.
        None if reply.kind == ReplyKind::Notice && hello.markup == Markup::Plain => parts(hello, &reply.text),
        _ => texts(hello, &reply.text),
    }
}

/// Markdown in messages.
pub(super) fn texts(hello: &Hello, markdown: &str) -> Vec<Piece> {
    let pieces = match hello.markup {
        Markup::Plain => markup::plain(markdown, hello.limit, hello.measure),
        Markup::Markdown => markup::markdown(markdown, hello.limit, hello.measure),
    };
    let as_they_are = |piece| match piece {
        markup::Piece::File { content, .. } if !hello.abilities.files => parts(hello, &content),
        markup::Piece::File { name, content } => vec![Piece::File { name, content }],
        markup::Piece::Text { markup, plain } => vec![Piece::Text { markup, plain }],
    };
    pieces.into_iter().flat_map(as_they_are).collect()
}

/// As much of a text as the first of its messages has.
pub(super) fn first_text(hello: &Hello, markdown: &str) -> String {
    match texts(hello, markdown).into_iter().next() {
        Some(Piece::Text { markup, .. }) => markup,
        _ => String::new(),
    }
}

/// Text as it is in messages; code, for a program that takes no files.
fn parts(hello: &Hello, code: &str) -> Vec<Piece> {
    let fence = match hello.markup {
        Markup::Plain => String::new(),
        Markup::Markdown => "`".repeat(longest_ticks(code).max(2) + 1),
    };
    let wrapped = |part: String| match hello.markup {
        Markup::Plain => part,
        Markup::Markdown => format!("{fence}\n{part}\n{fence}"),
    };
    let room = hello.limit.saturating_sub(if fence.is_empty() { 0 } else { fence.len() * 2 + 2 }).max(1);
    let texts = split(code, room, hello.measure).into_iter().map(wrapped);
    texts.map(|text| Piece::Text { markup: text.clone(), plain: text }).collect()
}

fn longest_ticks(code: &str) -> usize {
    code.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// Whole lines as far as they fit; parts without anything to see are left out.
fn split(text: &str, room: usize, measure: Measure) -> Vec<String> {
    let (mut parts, mut part, mut used) = (Vec::new(), String::new(), 0);
    for line in text.split_inclusive('\n') {
        if used + measure.of_text(line.trim_end_matches('\n')) > room && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
        for c in line.chars() {
            if used + measure.of(c) > room && c != '\n' {
                parts.push(std::mem::take(&mut part));
                used = 0;
            }
            part.push(c);
            used += measure.of(c);
        }
    }
    parts.push(part);
    let shown = |part: String| part.trim_matches('\n').to_owned();
    parts.into_iter().map(shown).filter(|part| !part.trim().is_empty()).collect()
}

/// Whether a question's options are said by its buttons alone.
fn has_buttons(hello: &Hello, asked: &Asked) -> bool {
    let fits = |option: &String| option.chars().count() <= ON_A_BUTTON;
    hello.abilities.buttons && !asked.options.is_empty() && asked.options.iter().all(fits)
}

/// The message that had a question's buttons, with how it ended; as it was where that does not fit.
fn closed_text(hello: &Hello, asked: &Asked, end: &str) -> Option<Piece> {
    let words = match has_buttons(hello, asked) {
        true => asked.question.clone(),
        false => question_words(&asked.question, &asked.options),
    };
    let Some(Piece::Text { mut markup, mut plain }) = texts(hello, &words).pop() else { return None };
    let line = format!("\n→ {end}");
    if hello.measure.of_text(&markup) + hello.measure.of_text(&line) <= hello.limit {
        markup += &line;
        plain += &line;
    }
    Some(Piece::Text { markup, plain })
}

/// What a program is told of a piece; its call is still to come. None: there is nothing in it that could be shown.
pub(super) fn sending<'a>(
    hello: &Hello,
    reply: &'a Outbound,
    (place, piece): (usize, &'a Piece),
    key: &'a str,
    onto: Option<&'a str>,
) -> Option<Sending<'a>> {
    let mut line = Sending {
        call: 0,
        chat: &reply.chat.chat_id,
        thread: reply.chat.thread_id.as_deref(),
        key,
        kind: match reply.kind {
            ReplyKind::Reply => "reply",
            ReplyKind::Notice => "notice",
        },
        text: "",
        plain: None,
        onto: onto.filter(|_| hello.abilities.edit),
        reply_to: reply.reply_to.as_deref().filter(|_| hello.abilities.replies && place == 0),
        gone: false,
        buttons: None,
        file: None,
        react: None,
    };
    match (piece, &reply.action) {
        (Piece::Text { markup, plain }, _) if hello.markup == Markup::Markdown => {
            line.text = markup;
            line.plain = Some(plain).filter(|plain| *plain != markup).map(String::as_str);
        }
        (Piece::Text { plain, .. }, _) => line.text = plain,
        (Piece::Gone, _) => line.gone = true,
        (Piece::File { .. }, _) => {}
        (Piece::Whole, Some(Action::File(file))) if hello.abilities.files => {
            let (path, caption) = (file.path.as_str(), file.caption.as_deref());
            line.file = Some(FileLine { name: &file.name, path, bytes: file.bytes, caption });
        }
        (Piece::Whole, Some(Action::React { platform_id, emoji, .. })) if hello.abilities.react => {
            line.react = Some(React { message: platform_id, emoji });
        }
        (Piece::Whole, _) => return None,
    }
    if hello.abilities.buttons && !reply.buttons.is_empty() && pieces(hello, reply).len() == place + 1 {
        line.buttons = Some(buttons(&reply.buttons));
    }
    Some(line)
}

fn buttons(buttons: &[Labelled]) -> Vec<Button<'_>> {
    buttons.iter().map(|button| Button { label: &button.label, data: &button.data }).collect()
}

/// What a platform knows a piece by when it comes again: its reply's key and its place among the reply's pieces.
pub(super) fn key(reply: &Outbound, place: usize) -> String {
    format!("{}/{place}", reply.key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn code_in_parts_fits_and_is_all_there(code in "[a-z`é\n ]{0,200}", room in 4usize..40) {
            let parts = split(&code, room, Measure::Bytes);
            prop_assert!(parts.iter().all(|part| part.len() <= room && !part.trim().is_empty()), "{parts:?}");
            let seen = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(seen(&parts.concat()), seen(&code));
        }
    }

    #[test]
    fn lines_stay_whole_where_they_can() {
        assert_eq!(split("one\ntwo\n  three\n", 8, Measure::Bytes), ["one\ntwo", "  three"]);
        assert_eq!(split("one\n\n\ntwo", 5, Measure::Bytes), ["one", "two"]);
        assert_eq!(split("abcdefgh", 3, Measure::Bytes), ["abc", "def", "gh"]);
        assert!(split(" \n", 3, Measure::Bytes).is_empty());
    }
}
