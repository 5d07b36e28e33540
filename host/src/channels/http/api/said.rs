//! What a stream has said so far. Drafts grow, begin anew and are cut; the replies come whole. What was sent cannot be taken
//! back, so what is sent next makes the whole complete: no reply is missing from it, and seldom is one in it twice.

/// Shorter than this a draft is not looked into for a place where it goes on after its beginning was cut off, in bytes.
const LONG: usize = 16 * 1024;
/// The bytes of a cut draft by which its place is found.
const HEAD: usize = 256;

/// The text of a stream.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    /// Where each piece begins; a blank line is between two.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    from: usize,
    to: usize,
    /// A reply that came whole.
    whole: bool,
    /// One of the answer's.
    counted: bool,
}

impl Said {
    /// All that was said.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The agent's words as far as they are written; answers what is to be said now.
    pub(super) fn draft(&mut self, draft: &str) -> &str {
        let (at, draft) = (self.text.len(), draft.trim());
        let Some(open) = self.pieces.last().filter(|piece| !piece.whole) else {
            return self.begin(draft, false);
        };
        let said = &self.text[open.from..open.to];
        if said.starts_with(draft) {
            // It begins anew with the same words, or nothing is new.
            return "";
        }
        match goes_on_at(said, draft) {
            Some(new) => self.go_on(&draft[new..], false),
            None => return self.begin(draft, false),
        }
        &self.text[at..]
    }

    /// A reply; answers what is to be said now.
    pub(super) fn reply(&mut self, reply: &str) -> &str {
        let (at, reply) = (self.text.len(), reply.trim());
        let text = &self.text;
        if let Some(open) = self.pieces.last().filter(|piece| !piece.whole) {
            if let Some(rest) = reply.strip_prefix(&text[open.from..open.to]) {
                self.go_on(rest, true);
                return &self.text[at..];
            }
            if let Some(new) = goes_on_at(&text[open.from..open.to], reply).filter(|_| reply.len() >= LONG) {
                self.go_on(&reply[new..], true);
                return &self.text[at..];
            }
        }
        let same = |piece: &&mut Piece| !piece.whole && &text[piece.from..piece.to] == reply;
        if let Some(same) = self.pieces.iter_mut().find(same) {
            same.whole = true;
            return "";
        }
        self.begin(reply, true)
    }

    /// The answer, all its replies; says what is missing, and answers that.
    pub(super) fn finish(&mut self, replies: &[String]) -> &str {
        let at = self.text.len();
        for reply in replies {
            let text = &self.text;
            let known =
                |piece: &&mut Piece| piece.whole && !piece.counted && &text[piece.from..piece.to] == reply.trim();
            if let Some(piece) = self.pieces.iter_mut().find(known) {
                piece.counted = true;
                continue;
            }
            self.reply(reply);
            let text = &self.text;
            let now = |piece: &&mut Piece| !piece.counted && &text[piece.from..piece.to] == reply.trim();
            if let Some(piece) = self.pieces.iter_mut().rev().find(now) {
                piece.counted = true;
            }
        }
        &self.text[at..]
    }

    fn begin(&mut self, words: &str, whole: bool) -> &str {
        let at = self.text.len();
        if words.is_empty() {
            return "";
        }
        if at > 0 {
            self.text.push_str("\n\n");
        }
        let from = self.text.len();
        self.text.push_str(words);
        self.pieces.push(Piece { from, to: self.text.len(), whole, counted: false });
        &self.text[at..]
    }

    fn go_on(&mut self, words: &str, whole: bool) {
        self.text.push_str(words);
        if let Some(piece) = self.pieces.last_mut() {
            piece.to = self.text.len();
            piece.whole = whole;
        }
    }
}

/// Where in `words` that begins which was not said yet; none when they are others.
fn goes_on_at(said: &str, words: &str) -> Option<usize> {
    if words.starts_with(said) {
        return Some(said.len());
    }
    if words.len() < LONG {
        return None;
    }
    // Its beginning is cut off: what is left of it is the end of what was said.
    let head = &words[..words.floor_char_boundary(HEAD)];
    let mut places = said.match_indices(head).map(|(at, _)| at);
    places.find(|at| words.starts_with(&said[*at..])).map(|at| said.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_grows_is_said_bit_by_bit_and_its_reply_ends_it() {
        let mut said = Said::default();
        assert_eq!(said.draft("Hel"), "Hel");
        assert_eq!(said.draft("Hello, "), "lo,", "blanks at the end may be none");
        assert_eq!(said.draft("Hello, "), "");
        assert_eq!(said.reply("Hello, world"), " world");
        assert_eq!(said.finish(&["Hello, world".into()]), "");
        assert_eq!(said.text(), "Hello, world");
    }

    #[test]
    fn what_begins_anew_is_another_paragraph() {
        let mut said = Said::default();
        said.draft("I look.");
        assert_eq!(said.draft("It "), "\n\nIt");
        assert_eq!(said.draft("It is so."), " is so.");
        assert_eq!(said.finish(&["It is so.".into()]), "");
        assert_eq!(said.text(), "I look.\n\nIt is so.");
    }

    #[test]
    fn no_reply_is_missing_whatever_drafts_were() {
        for (drafts, replies, text) in [
            (vec![], vec!["a", "b"], "a\n\nb"),
            (vec!["a", "b"], vec!["a", "b"], "a\n\nb"),
            (vec!["a", "b"], vec!["b", "a"], "a\n\nb"),
            (vec!["x"], vec!["a"], "x\n\na"),
            // A gap: the beginning of a cut one cannot be mended.
            (vec!["One", "time"], vec!["Once upon a time"], "One\n\ntime\n\nOnce upon a time"),
            (vec!["a"], vec!["a", "a"], "a\n\na"),
            (vec![], vec![], ""),
            (vec!["", " "], vec!["a"], "a"),
        ] {
            let mut said = Said::default();
            let mut sent = String::new();
            drafts.iter().for_each(|draft| sent += said.draft(draft));
            let replies: Vec<String> = replies.into_iter().map(Into::into).collect();
            sent += said.finish(&replies);
            assert_eq!((sent.as_str(), said.text()), (text, text));
        }
    }

    #[test]
    fn what_was_said_before_the_end_is_not_said_again() {
        let mut said = Said::default();
        assert_eq!(said.reply("Working on it."), "Working on it.");
        assert_eq!(said.draft("Done"), "\n\nDone");
        assert_eq!(said.finish(&["Working on it.".into(), "Done.".into()]), ".");
    }

    #[test]
    fn a_try_that_begins_anew_with_the_same_words_says_them_once() {
        let mut said = Said::default();
        ["Hello", "H", "Hel", "Hello, you"].iter().for_each(|draft| _ = said.draft(draft));
        assert_eq!(said.text(), "Hello, you");
    }

    #[test]
    fn a_draft_whose_beginning_was_cut_off_goes_on() {
        let long: String = (0..20_000).map(|number| format!("{number} ")).collect();
        let mut said = Said::default();
        said.draft(&long[..60_000]);
        said.draft(&long[30_000..70_000]);
        assert_eq!(said.text(), long[..70_000].trim());
        assert_eq!(said.finish(std::slice::from_ref(&long)), long[70_000..].trim_end());
    }
}
