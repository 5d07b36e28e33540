//! What the agent does in the chat besides replying, in words.

use cofferdam_protocol::admin::ChatEvent;

use crate::cli::terminal::{clean, clean_line};

/// The words for a file, an edit, a reaction or a question; none for other events. Cleaned of what a terminal obeys.
pub(super) fn words(event: &ChatEvent) -> Option<String> {
    match event {
        ChatEvent::File { name, path, bytes, caption, .. } => {
            let caption = caption.as_ref().map(|caption| format!("{}\n", clean(caption).trim()));
            let (name, path) = (clean_line(name, 200), clean(path));
            Some(format!("{}[file] {name}, {}\n  {path}", caption.unwrap_or_default(), size(*bytes)))
        }
        ChatEvent::Edited { reply, text, .. } => Some(format!("[reply {reply} now says] {}", clean(text).trim())),
        ChatEvent::Reacted { message, emoji, .. } => {
            Some(format!("[reacts to message {message}] {}", clean_line(emoji, 40)))
        }
        ChatEvent::Question { question, options, .. } => {
            let mut words = format!("[question] {}", clean(question).trim());
            for (at, option) in options.iter().enumerate() {
                words += &format!("\n  {}. {}", at + 1, clean_line(option, 200));
            }
            Some(words)
        }
        _ => None,
    }
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        1 => "1 byte".to_owned(),
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::ReplyId;

    use super::*;

    #[test]
    fn a_question_has_numbered_options_and_cannot_drive_the_terminal() {
        let (turn, reply, expires_at) = (None, ReplyId(1), 0);
        let options = vec!["red\u{1b}[2J".to_owned(), "blue\nor green".to_owned()];
        let question = ChatEvent::Question { turn, reply, question: "Which?\u{1b}c".into(), options, expires_at };
        assert_eq!(words(&question).unwrap(), "[question] Which?\n  1. red\n  2. blue or green");
    }

    #[test]
    fn a_file_is_shown_with_its_size_and_its_path_on_the_host() {
        let file = ChatEvent::File {
            turn: None,
            reply: ReplyId(1),
            name: "a.pdf".into(),
            path: "/home/x/a.pdf".into(),
            bytes: 2000,
            caption: Some("Here.".into()),
        };
        assert_eq!(words(&file).unwrap(), "Here.\n[file] a.pdf, 2 KiB\n  /home/x/a.pdf");
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, shown) in
            [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (20 << 20, "20.0 MiB")]
        {
            assert_eq!(size(bytes), shown);
        }
    }
}
