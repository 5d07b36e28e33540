//! A reply in messages of Telegram's: HTML of at most 4096 characters, counted as it is shown.

use super::words::escape;
use crate::channels::{Piece, markup};
use crate::model::action::{Action, Asked};
use crate::model::reply::{Outbound, ReplyKind};

/// The longest text of a message, and of a file's caption, in UTF-16 units
/// ([sendMessage](https://core.telegram.org/bots/api#sendmessage)).
pub(super) const TEXT: usize = 4096;
pub(super) const CAPTION: usize = 1024;
/// The longest text that Telegram reads, in bytes, with its markup ("text is too long" in the Bot API's source).
const BYTES: usize = 32 * 1024;

/// The reply's messages. What is more than text is [`Piece::Whole`].
pub(super) fn pieces(reply: &Outbound) -> Vec<Piece> {
    match &reply.action {
        Some(Action::React { .. }) => vec![Piece::Whole],
        Some(Action::File(file)) => {
            let mut pieces = vec![Piece::Whole];
            // A caption that does not fit is a message of its own.
            if let Some(long) = file.caption.as_deref().filter(|caption| !is_caption(caption)) {
                pieces.extend(plain(long));
            }
            pieces
        }
        // The buttons are below the last of its texts.
        Some(Action::Question(asked)) => {
            let mut pieces = question(asked);
            pieces.pop();
            pieces.push(Piece::Whole);
            pieces
        }
        Some(Action::Close(closed)) => vec![closed_text(&closed.asked, &reply.text)],
        Some(Action::Edit { .. }) | None => match reply.kind {
            ReplyKind::Reply => markdown(&reply.text),
            ReplyKind::Notice => plain(&reply.text),
        },
    }
}

/// A question's texts; the last is the one with its buttons.
pub(super) fn question(asked: &Asked) -> Vec<Piece> {
    let mut text = asked.question.clone();
    // What no button can say in full.
    if !super::ask::are_short(&asked.options) {
        text = crate::model::action::question_words(&text, &asked.options);
    }
    let mut pieces = markdown(&text);
    if !matches!(pieces.last(), Some(Piece::Text { .. })) {
        pieces.extend(plain("What is your answer?"));
    }
    pieces
}

/// The text that had a question's buttons, with how it ended; as it was where that does not fit.
fn closed_text(asked: &Asked, end: &str) -> Piece {
    let (mut markup, mut plain) = match question(asked).pop() {
        Some(Piece::Text { markup, plain }) => (markup, plain),
        _ => (escape(&asked.question), asked.question.clone()),
    };
    let line = format!("\n→ {end}");
    let escaped = escape(&line);
    let fits = plain.encode_utf16().count() + line.encode_utf16().count() <= TEXT;
    if fits && markup.len() + escaped.len() <= BYTES {
        markup += &escaped;
        plain += &line;
    }
    Piece::Text { markup, plain }
}

/// Whether this fits below a file.
pub(super) fn is_caption(text: &str) -> bool {
    text.encode_utf16().count() <= CAPTION
}

/// The agent's words.
fn markdown(text: &str) -> Vec<Piece> {
    let pieces: Vec<Piece> = markup::telegram(text, TEXT).into_iter().map(piece).collect();
    if pieces.is_empty() { plain("") } else { pieces }
}

fn piece(piece: markup::Piece) -> Piece {
    match piece {
        markup::Piece::Text { markup, plain } => Piece::Text { markup, plain },
        markup::Piece::File { name, content } => Piece::File { name, content },
    }
}

/// An answer that still grows, in one message with a mark at its end, as markup and plain. None when nothing of it can be
/// seen.
pub(super) fn draft(text: &str) -> Option<(String, String)> {
    const MARK: &str = "\n…";
    let draft = markup::telegram_draft(text, TEXT - MARK.chars().count())?;
    Some((draft.markup + MARK, draft.plain + MARK))
}

/// Our own words: as they are.
fn plain(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = end_of_piece(rest);
        let (piece, more) = rest.split_at(end);
        if !piece.trim().is_empty() {
            pieces.push(Piece::Text { markup: escape(piece.trim_end()), plain: piece.trim_end().to_owned() });
        }
        rest = more.trim_start_matches('\n');
    }
    if pieces.is_empty() {
        // Telegram takes no empty message, and nothing is to be silent.
        pieces.push(Piece::Text { markup: "(nothing)".to_owned(), plain: "(nothing)".to_owned() });
    }
    pieces
}

/// Where the first message of a text ends: at its last line or word that fits.
fn end_of_piece(text: &str) -> usize {
    let mut units = 0;
    let fits = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > TEXT
    });
    let Some((most, _)) = fits else { return text.len() };
    let head = &text[..most];
    let at = head.rfind('\n').or_else(|| head.rfind(' ')).filter(|at| *at > most / 2);
    at.map_or(most, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<(String, String)> {
        let pieces = plain(text).into_iter().map(|piece| match piece {
            Piece::Text { markup, plain } => (markup, plain),
            other => panic!("{other:?}"),
        });
        pieces.collect()
    }

    #[test]
    fn our_own_words_are_shown_as_they_are() {
        assert_eq!(texts("a < b & *c*"), [("a &lt; b &amp; *c*".to_owned(), "a < b & *c*".to_owned())]);
        assert_eq!(texts(" \n").len(), 1, "never nothing");
    }

    #[test]
    fn a_long_text_is_cut_between_lines() {
        let text = "word ".repeat(700) + "\n" + &"x".repeat(3000);
        let pieces = texts(&text);
        assert_eq!(pieces.len(), 2);
        assert!(pieces[1].1.starts_with("xxx"));
    }

    #[test]
    fn the_agents_words_are_markdown_and_never_nothing() {
        assert!(
            matches!(&markdown("**a** < b")[..], [Piece::Text { markup, plain }] if markup == "<b>a</b> &lt; b" && plain == "a < b")
        );
        assert_eq!(markdown(" ").len(), 1);
        assert_eq!(draft("**a**"), Some(("<b>a</b>\n…".to_owned(), "a\n…".to_owned())));
        assert_eq!(draft(" "), None);
    }

    proptest! {
        #[test]
        fn every_message_fits_and_no_word_is_lost(text in "(\\PC|\n| |😀){0,300}", times in 1usize..60) {
            let text = text.repeat(times);
            let pieces = texts(&text);
            prop_assert!(pieces.iter().all(|(_, plain)| (1..=TEXT).contains(&plain.encode_utf16().count())));
            let of = |text: &str| text.split_whitespace().collect::<String>();
            if !text.trim().is_empty() {
                prop_assert_eq!(pieces.iter().map(|(_, plain)| of(plain)).collect::<String>(), of(&text));
            }
        }
    }
}
