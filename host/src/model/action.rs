//! What a channel does with a reply instead of showing its text, and what it can.

use cofferdam_protocol::ids::{MessageId, QuestionId, ReplyId};
use serde::{Deserialize, Serialize};

/// What a channel can do besides showing text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Take files.
    pub files: bool,
    /// Have threads in a chat.
    pub threads: bool,
    /// Change a reply that was delivered.
    pub edit: bool,
    /// React to a message.
    pub react: bool,
    /// Show a question's options as buttons; without it they are a numbered list.
    pub buttons: bool,
    /// Show what a turn does while it works.
    pub progress: bool,
    /// Show of a reply which message it answers.
    pub replies: bool,
    /// Know a reply by its key: a second one with the same key is dropped by the platform.
    pub idempotent: bool,
}

/// What a channel does with a reply instead of showing its text. Kept as JSON beside the text, which says the same in
/// words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends a file.
    File(SentFile),
    /// Changes an earlier reply to the text.
    Edit {
        /// Which.
        reply: ReplyId,
    },
    /// Reacts to a message.
    React {
        /// Which.
        message: MessageId,
        /// The platform's id of it.
        platform_id: String,
        /// With what.
        emoji: String,
    },
    /// Asks.
    Question(Asked),
    /// Changes the message of a question that is over: its buttons go, and the text, one line, is added. Nothing where the
    /// message is not there, or the channel has no such changes.
    Close(Closed),
}

/// A question that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The reply that asked it.
    pub reply: ReplyId,
    /// The question, as it was asked.
    pub asked: Asked,
}

/// A file for the chat: our own copy, taken when the agent sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentFile {
    /// Its name, safe for any file system.
    pub name: String,
    /// Where the copy lies; kept relative to the group's data directory, absolute once it is read from there.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What the agent says about it.
    pub caption: Option<String>,
}

/// A question for the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its row.
    pub id: QuestionId,
    /// What is asked.
    pub question: String,
    /// What can be chosen; none is a free answer.
    pub options: Vec<String>,
    /// Until when an answer is waited for, ms.
    pub expires_at: i64,
}

impl SentFile {
    /// The file in words, for history and for channels that cannot take it.
    pub fn words(&self) -> String {
        match &self.caption {
            Some(caption) => format!("[file {}] {caption}", self.name),
            None => format!("[file {}]", self.name),
        }
    }
}

/// A question in words, its options as a numbered list.
pub fn question_words(question: &str, options: &[String]) -> String {
    let list = options.iter().enumerate().map(|(at, option)| format!("\n{}. {option}", at + 1));
    question.to_owned() + &list.collect::<String>()
}

/// What an answer means: an option by its text (whatever the case) or its number, or else the words themselves.
pub fn meant<'a>(options: &'a [String], answer: &'a str) -> &'a str {
    let words = answer.trim();
    let folded = words.to_lowercase();
    if let Some(option) = options.iter().find(|option| option.trim().to_lowercase() == folded) {
        return option;
    }
    let digits = words.trim_end_matches(['.', ')']);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { digits.parse::<usize>().ok() } else { None };
    number.and_then(|number| options.get(number.checked_sub(1)?)).map_or(words, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_option_by_number_or_text_or_else_free() {
        let options: Vec<String> = ["Red", "Dark Blue", "3"].map(Into::into).into();
        for (answer, means) in [
            ("1", "Red"),
            (" 2. ", "Dark Blue"),
            ("2)", "Dark Blue"),
            ("dark blue\n", "Dark Blue"),
            ("RED", "Red"),
            ("3", "3"),
            ("0", "0"),
            ("4", "4"),
            ("+1", "+1"),
            ("1 of them", "1 of them"),
            ("99999999999999999999999", "99999999999999999999999"),
            (".", "."),
        ] {
            assert_eq!(meant(&options, answer), means, "{answer:?}");
        }
        assert_eq!(meant(&[], "1"), "1");
    }

    #[test]
    fn the_kept_form_reads_back() {
        let asked = Asked { id: QuestionId(1), question: "?".into(), options: vec!["a".into()], expires_at: 5 };
        let actions = [
            Action::File(SentFile { name: "a".into(), path: "b".into(), bytes: 1, caption: None }),
            Action::Edit { reply: ReplyId(3) },
            Action::React { message: MessageId(1), platform_id: "p".into(), emoji: "👍".into() },
            Action::Question(asked.clone()),
            Action::Close(Closed { reply: ReplyId(3), asked: asked.clone() }),
        ];
        for action in actions {
            let text = serde_json::to_string(&action).unwrap();
            assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), action, "{text}");
        }
        let edit = serde_json::to_string(&Action::Edit { reply: ReplyId(3) }).unwrap();
        assert_eq!(edit, r#"{"edit":{"reply":3}}"#, "history looks for this path");
        let close = serde_json::to_value(Action::Close(Closed { reply: ReplyId(3), asked })).unwrap();
        assert!(close["close"].is_object(), "the outbox looks for this path");
    }
}
