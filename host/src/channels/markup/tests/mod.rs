//! What holds for every text, and what typical ones look like.

mod cases;
mod nasty;
mod properties;
mod replies;
mod validator;

use super::*;

/// Shows pieces for a snapshot.
fn shown(pieces: &[Piece]) -> String {
    let one = |piece: &Piece| match piece {
        Piece::Text { markup, .. } => markup.clone(),
        Piece::File { name, content } => format!("[{name}: {} bytes]", content.len()),
    };
    pieces.iter().map(one).collect::<Vec<_>>().join("\n--------\n")
}

/// The plain text of pieces, and what files have.
fn text_of(piece: &Piece) -> &str {
    match piece {
        Piece::Text { plain, .. } => plain,
        Piece::File { content, .. } => content,
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// What of `expected` is not among `found`, in this order.
fn missing<'a>(expected: &[&'a str], found: &[&str]) -> Option<&'a str> {
    let mut found = found.iter();
    expected.iter().find(|word| !found.any(|other| other == *word)).copied()
}

/// Holds pieces against what is true of all.
fn check(pieces: &[Piece], limit: usize, measure: Measure) -> Result<(), String> {
    for piece in pieces {
        if clean::is_blank(text_of(piece)) {
            return Err(format!("blank: {piece:?}"));
        }
        if let Some(c) = text_of(piece).chars().find(|c| is_hostile(*c)) {
            return Err(format!("{c:?} in {piece:?}"));
        }
        match piece {
            Piece::Text { plain, .. } if measure.of_text(plain) > limit => {
                return Err(format!("{} of {limit}: {piece:?}", measure.of_text(plain)));
            }
            Piece::File { name, .. } => check_name(name)?,
            Piece::Text { .. } => {}
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
    match name.strip_prefix("code-").and_then(|rest| rest.split_once('.')) {
        Some((number, extension)) if plain(number) && plain(extension) => Ok(()),
        _ => Err(format!("a file's name is {name:?}")),
    }
}

/// Written apart from [`clean`], so that it does not hide its errors.
fn is_hostile(c: char) -> bool {
    let code = u32::from(c);
    let control = code < 0x20 && c != '\n' && c != '\t' || (0x7f..0xa0).contains(&code);
    control || (0x202a..=0x202e).contains(&code) || (0x2066..=0x2069).contains(&code)
}

/// Holds Telegram's pieces against its rules.
fn check_telegram(pieces: &[Piece], limit: usize) -> Result<(), String> {
    check(pieces, limit, Measure::Utf16)?;
    for piece in pieces {
        if let Piece::Text { markup, plain } = piece {
            let parsed = validator::parse(markup).map_err(|why| format!("{why} in {markup:?}"))?;
            if markup.len() > MAX_BYTES {
                return Err(format!("{} bytes of {MAX_BYTES}", markup.len()));
            }
            if parsed.entities > MAX_ENTITIES {
                return Err(format!("{} entities in {markup:?}", parsed.entities));
            }
            if parsed.text != *plain {
                return Err(format!("{markup:?} does not say {plain:?}"));
            }
        }
    }
    Ok(())
}
