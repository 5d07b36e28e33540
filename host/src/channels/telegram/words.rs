//! A message's text: whom it speaks to, what is cut out of it, and what it answers. Telegram counts in UTF-16 units.

use super::wire::{Entity, Me, Message};

/// The longest quote of the message that is answered, in characters.
const QUOTE: usize = 200;

/// A text as it is handed in.
pub(super) struct Words {
    pub(super) text: String,
    /// What it answers.
    pub(super) quote: Option<String>,
    pub(super) addressed: bool,
}

/// The message's words. In a direct chat everything speaks to the bot.
pub(super) fn words(message: &Message, me: &Me, direct: bool) -> Words {
    let (text, entities) = match (&message.text, &message.caption) {
        (Some(text), _) => (text.as_str(), &message.entities),
        (None, Some(caption)) => (caption.as_str(), &message.caption_entities),
        (None, None) => ("", &message.entities),
    };
    let addressed = direct || answers(message, me) || entities.iter().any(|entity| names(text, entity, me));
    let text = without_name(text, entities, me);
    // A command has to stay at the beginning.
    let quote = if text.starts_with('/') { None } else { quote(message, me) };
    Words { text, quote, addressed }
}

/// The part of a text that an entity is about.
fn part<'t>(text: &'t str, entity: &Entity) -> Option<&'t str> {
    let start = byte_at(text, entity.offset)?;
    let end = byte_at(text, entity.offset.checked_add(entity.length)?)?;
    text.get(start..end)
}

/// Where so many UTF-16 units end; none in the middle of a character or behind the end.
fn byte_at(text: &str, units: usize) -> Option<usize> {
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        if seen >= units {
            return (seen == units).then_some(at);
        }
        seen += c.len_utf16();
    }
    (seen == units).then_some(text.len())
}

/// Whether this part of the text speaks to the bot.
fn names(text: &str, entity: &Entity, me: &Me) -> bool {
    let is_me = |name: &str| !me.username.is_empty() && name.eq_ignore_ascii_case(&me.username);
    match entity.kind.as_str() {
        "mention" => part(text, entity).and_then(|part| part.strip_prefix('@')).is_some_and(is_me),
        "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == me.id),
        "bot_command" => {
            part(text, entity).and_then(|part| part.split_once('@')).is_some_and(|(_, name)| is_me(name))
        }
        _ => false,
    }
}

/// The text without the bot's name at its very beginning: `@bot hello` is `hello`, `/stop@bot` is `/stop`.
fn without_name(text: &str, entities: &[Entity], me: &Me) -> String {
    let first = entities.iter().find(|entity| entity.offset == 0 && names(text, entity, me));
    let Some((entity, part)) = first.and_then(|entity| Some((entity, part(text, entity)?))) else {
        return text.to_owned();
    };
    let rest = &text[part.len()..];
    match (entity.kind.as_str(), part.split_once('@')) {
        ("bot_command", Some((command, _))) => format!("{command}{rest}"),
        _ => match rest.trim_start_matches([',', ':']).trim_start() {
            // Somebody only called.
            "" => text.to_owned(),
            rest => rest.to_owned(),
        },
    }
}

/// The message that this one answers. In a topic each message formally answers the one that made the topic.
fn answered(message: &Message) -> Option<&Message> {
    let answered = message.reply_to_message.as_deref()?;
    let opens_topic = message.is_topic_message && message.message_thread_id == Some(answered.message_id);
    (!opens_topic).then_some(answered)
}

fn answers(message: &Message, me: &Me) -> bool {
    answered(message).and_then(|answered| answered.from.as_ref()).is_some_and(|from| from.id == me.id)
}

/// One line of what somebody else said, when this answers it.
fn quote(message: &Message, me: &Me) -> Option<String> {
    let answered = answered(message)?;
    if answers(message, me) {
        return None;
    }
    let chosen = message.quote.as_ref().map(|quote| quote.text.as_str());
    let said = chosen.or(answered.text.as_deref()).or(answered.caption.as_deref())?;
    // Only as much as can be shown is looked at.
    let said: String = said.chars().take(QUOTE * 4).collect();
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return None;
    }
    Some(cut(&line, QUOTE))
}

/// At most so many characters, the last of them a mark when something was cut off.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// At most so many UTF-16 units, the last of them a mark when something was cut off.
pub(super) fn cut_units(text: &str, most: usize) -> String {
    if text.encode_utf16().count() <= most {
        return text.to_owned();
    }
    let mut units = 0;
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units < most
    });
    format!("{}…", kept.collect::<String>().trim_end())
}

/// A text as it is, in Telegram's HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::chat::quoting;

    fn me() -> Me {
        Me { id: 7, username: "Our_Bot".into(), can_read_all_group_messages: false }
    }

    fn message(more: Value) -> Message {
        let mut message = json!({"message_id": 5, "chat": {"id": -1, "type": "group"}});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(message).unwrap()
    }

    fn said(more: Value) -> (String, bool) {
        let Words { text, quote, addressed } = words(&message(more), &me(), false);
        (quoting(quote.as_deref(), &text), addressed)
    }

    fn entity(kind: &str, offset: usize, length: usize) -> Value {
        json!([{"type": kind, "offset": offset, "length": length}])
    }

    #[test]
    fn a_name_a_command_or_an_answer_speaks_to_the_bot() {
        for (more, text, addressed) in [
            (json!({"text": "hello"}), "hello", false),
            (json!({"text": "@our_bot, hello", "entities": entity("mention", 0, 8)}), "hello", true),
            (json!({"text": "@other hello", "entities": entity("mention", 0, 6)}), "@other hello", false),
            (json!({"text": "😀 ask @our_bot", "entities": entity("mention", 7, 8)}), "😀 ask @our_bot", true),
            (json!({"text": "@our_bot"}), "@our_bot", false),
            (json!({"text": "@our_bot", "entities": entity("mention", 0, 8)}), "@our_bot", true),
            (json!({"text": "/stop@OUR_BOT now", "entities": entity("bot_command", 0, 13)}), "/stop now", true),
            (json!({"text": "/stop@other", "entities": entity("bot_command", 0, 11)}), "/stop@other", false),
            (json!({"text": "/stop", "entities": entity("bot_command", 0, 5)}), "/stop", false),
            (json!({"caption": "@our_bot look", "caption_entities": entity("mention", 0, 8)}), "look", true),
            (
                json!({"text": "Bot hi", "entities": [{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": 7}}]}),
                "hi",
                true,
            ),
            (
                json!({"text": "x", "reply_to_message": {"message_id": 1, "chat": {"id": -1, "type": "group"}, "from": {"id": 7}, "text": "q"}}),
                "x",
                true,
            ),
        ] {
            assert_eq!(said(more.clone()), (text.to_owned(), addressed), "{more}");
        }
    }

    #[test]
    fn what_somebody_else_said_is_quoted_short_and_never_before_a_command() {
        let to = |text: &str, id: i64| json!({"message_id": id, "chat": {"id": -1, "type": "group"}, "from": {"id": 9}, "text": text});
        let (text, addressed) = said(json!({"text": "yes", "reply_to_message": to("two\nlines", 1)}));
        assert_eq!((text.as_str(), addressed), ("> two lines\nyes", false));
        let apart = words(&message(json!({"text": "yes", "reply_to_message": to("two", 1)})), &me(), false);
        assert_eq!((apart.text.as_str(), apart.quote.as_deref()), ("yes", Some("two")), "theirs is no part of it");
        let (text, _) = said(json!({"text": "yes", "reply_to_message": to(&"a".repeat(9999), 1)}));
        assert_eq!(text.lines().next().unwrap().chars().count(), 2 + QUOTE);
        let (text, _) = said(json!({"text": "yes", "quote": {"text": "this"}, "reply_to_message": to("long", 1)}));
        assert_eq!(text, "> this\nyes");
        assert_eq!(said(json!({"text": "/stop", "reply_to_message": to("long", 1)})).0, "/stop");
        let topic = json!({"text": "yes", "is_topic_message": true, "message_thread_id": 3, "reply_to_message": to("t", 3)});
        assert_eq!(said(topic).0, "yes", "it only is in the topic");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut_units("abc", 3), "abc");
        assert_eq!(cut_units("a😀b😀", 5), "a😀b…");
        assert_eq!(cut("abcd", 3), "ab…");
    }

    proptest! {
        #[test]
        fn offsets_from_outside_break_nothing(text in ".{0,12}", offset in 0usize..30, length: usize, kind in 0..3usize) {
            let kind = ["mention", "bot_command", "text_mention"][kind];
            let _ = said(json!({"text": text, "entities": entity(kind, offset, length)}));
        }

        #[test]
        fn a_cut_text_has_room(text in ".{0,40}", most in 1usize..30) {
            prop_assert!(cut_units(&text, most).encode_utf16().count() <= most);
            prop_assert!(cut(&text, most).chars().count() <= most);
        }
    }
}
