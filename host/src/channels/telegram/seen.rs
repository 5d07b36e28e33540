//! What an update says that somebody did.

use serde::Deserialize;
use serde_json::Value;

use super::attached::{files, other};
use super::wire::{CallbackQuery, Chat, Me, MemberChange, Message, Update, User};
use super::words::{cut, words};
use crate::channels::{Arrival, Content, Sender, Written};
use crate::model::chat::{ChatKind, ChatRef};

/// The longest name or title that is handed in, in characters.
pub(super) const NAME: usize = 256;
/// The longest text that is handed in, in characters: Telegram's own limit is 4096 units.
const TEXT: usize = 16 * 1024;
/// The longest ids of Telegram's that we keep, in bytes; theirs are below 200.
pub(super) const ID: usize = 512;
/// The largest update that is looked at, in bytes as JSON: a message has at most 4096 characters.
const MAX_UPDATE: usize = 256 * 1024;
/// What those are turned away with whose update is too large, or cannot be read.
pub(super) const TOO_LARGE: &str = "too-large";
pub(super) const UNREADABLE: &str = "unreadable";

/// An update, read.
#[derive(Debug)]
pub(super) enum Seen {
    /// Somebody wrote, or changed what they wrote; with the album that it is of.
    Wrote(Arrival, Option<String>),
    /// Somebody pressed a button; Telegram waits to be told that we know, by this id.
    Pressed(Arrival, String),
    /// A group became a supergroup, which has another id. Told in both of them.
    Moved(Moving),
    /// Nothing that anybody said or did to the bot, for this reason.
    Nothing(&'static str),
    /// What somebody did, and nobody is handed.
    Refused(Refused),
}

/// Who is turned away: in this chat, as far as it is known, for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) chat: String,
    pub(super) reason: &'static str,
}

impl Refused {
    /// Where an update was of whose chat nothing can be read.
    pub(super) const NOWHERE: &'static str = "updates";

    fn at(chat: &Chat, reason: &'static str) -> Seen {
        Seen::Refused(Self { chat: chat.id.to_string(), reason })
    }

    /// Of an update that is not read further.
    pub(super) fn raw(update: &Value, reason: &'static str) -> Seen {
        const CHATS: [&str; 3] = ["/message/chat/id", "/edited_message/chat/id", "/callback_query/message/chat/id"];
        let chat = CHATS.iter().find_map(|chat| update.pointer(chat)?.as_i64());
        let chat = chat.map_or_else(|| Self::NOWHERE.to_owned(), |chat| chat.to_string());
        Seen::Refused(Self { chat, reason })
    }
}

/// A group that became a supergroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    /// The group's id.
    pub(super) from: i64,
    /// The supergroup's.
    pub(super) to: i64,
}

/// Reads an update; of one that cannot be read the number goes to the log.
pub(super) fn read(channel: &str, me: &Me, id: Option<i64>, update: &Value, bytes: usize) -> Seen {
    if bytes > MAX_UPDATE {
        tracing::warn!(channel, update = id, bytes, "an update that is too large is passed over");
        return Refused::raw(update, TOO_LARGE);
    }
    // The error's own words have parts of the message.
    Update::deserialize(update).map_or_else(
        |_| {
            tracing::warn!(channel, update = id, "an update that cannot be read is passed over");
            Refused::raw(update, UNREADABLE)
        },
        |read| seen(channel, me, read),
    )
}

fn seen(channel: &str, me: &Me, update: Update) -> Seen {
    match update {
        Update { message: Some(message), .. } => wrote(channel, me, &message, false),
        Update { edited_message: Some(message), .. } => wrote(channel, me, &message, true),
        Update { callback_query: Some(press), .. } => pressed(channel, press),
        Update { my_chat_member: Some(change), .. } => {
            membership(channel, &change);
            Seen::Nothing("the bot's own membership")
        }
        _ => Seen::Nothing("of a kind that was not asked for"),
    }
}

fn wrote(channel: &str, me: &Me, message: &Message, is_change: bool) -> Seen {
    if let Some(moving) = moving(message) {
        return Seen::Moved(moving);
    }
    let words = words(message, me, kind(&message.chat) == Some(ChatKind::Direct));
    let files = files(&message.attached);
    let mut text = words.text;
    if text.is_empty() && files.is_empty() {
        match other(&message.attached) {
            Some(other) => text = other,
            None => return Seen::Nothing("a service message"),
        }
    }
    let (kind, sender) = match whose(message) {
        Ok(whose) => whose,
        // Its message was counted.
        Err(_) if is_change => return Seen::Nothing("a change of what nobody was handed"),
        Err(reason) => return Refused::at(&message.chat, reason),
    };
    let text = cut(&text, TEXT);
    let written = Written { text, quote: words.quote, addressed: words.addressed, files, output_schema: None };
    let content = if is_change { Content::Edit(written) } else { Content::Message(written) };
    let id = message.message_id.to_string();
    let album = message.media_group_id.clone().filter(|album| album.len() <= ID);
    Seen::Wrote(arrival(channel, message, kind, (id, sender), content), album)
}

/// In what sort of chat, and from whom; else why it is for nobody.
fn whose(message: &Message) -> Result<(ChatKind, Sender), &'static str> {
    match (kind(&message.chat), sender(message)) {
        (Some(kind), Some(sender)) => Ok((kind, sender)),
        (None, _) => Err("channel-post"),
        (_, None) if message.from.is_some() => Err("bot"),
        (_, None) => Err("no-sender"),
    }
}

/// Only Telegram writes such messages: they have no sender's words.
fn moving(message: &Message) -> Option<Moving> {
    let here = message.chat.id;
    let moving = match (message.chat.kind.as_str(), message.migrate_to_chat_id, message.migrate_from_chat_id) {
        ("group", Some(to), _) => Moving { from: here, to },
        ("supergroup", _, Some(from)) => Moving { from, to: here },
        _ => return None,
    };
    // Groups have negative ids.
    (moving.from < 0 && moving.to < 0 && moving.from != moving.to).then_some(moving)
}

fn pressed(channel: &str, press: CallbackQuery) -> Seen {
    let (Some(message), Some(data)) = (&press.message, press.data) else {
        return Seen::Refused(Refused { chat: Refused::NOWHERE.to_owned(), reason: "bad-press" });
    };
    let Some(kind) = kind(&message.chat) else { return Refused::at(&message.chat, "channel-post") };
    if press.id.len() > ID || data.len() > ID {
        return Refused::at(&message.chat, "too-large");
    }
    let id = press.id;
    let arrival = arrival(channel, message, kind, (id.clone(), user(&press.from)), Content::Press(data));
    Seen::Pressed(arrival, id)
}

fn arrival(
    channel: &str,
    message: &Message,
    kind: ChatKind,
    (platform_id, sender): (String, Sender),
    content: Content,
) -> Arrival {
    let thread = message.message_thread_id.filter(|_| message.is_topic_message);
    let chat = ChatRef {
        channel: channel.to_owned(),
        chat_id: message.chat.id.to_string(),
        thread_id: thread.map(|thread| thread.to_string()),
    };
    Arrival { chat, kind, title: title(&message.chat), platform_id, sender, content }
}

fn kind(chat: &Chat) -> Option<ChatKind> {
    match chat.kind.as_str() {
        "private" => Some(ChatKind::Direct),
        "group" | "supergroup" => Some(ChatKind::Group),
        _ => None,
    }
}

fn title(chat: &Chat) -> Option<String> {
    let name = full_name(chat.first_name.as_deref(), chat.last_name.as_deref(), chat.username.as_deref());
    chat.title.clone().or(name).map(|title| cut(&title, NAME))
}

fn full_name(first: Option<&str>, last: Option<&str>, username: Option<&str>) -> Option<String> {
    let full = [first, last].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let full = full.trim();
    if full.is_empty() { username.map(|name| format!("@{name}")) } else { Some(full.to_owned()) }
}

/// Who wrote. An anonymous administrator writes as the group, and others may write as a channel of theirs: those are
/// senders of their own, whoever is behind them.
fn sender(message: &Message) -> Option<Sender> {
    if let Some(chat) = &message.sender_chat {
        let id = chat.id.to_string();
        return Some(Sender { name: title(chat).unwrap_or_else(|| id.clone()), id });
    }
    message.from.as_ref().filter(|from| !from.is_bot).map(user)
}

fn user(user: &User) -> Sender {
    let id = user.id.to_string();
    let name = full_name(Some(&user.first_name), user.last_name.as_deref(), user.username.as_deref());
    Sender { name: cut(&name.unwrap_or_else(|| id.clone()), NAME), id }
}

fn membership(channel: &str, change: &MemberChange) {
    let chat = change.chat.id;
    match change.new_chat_member.status.as_str() {
        "kicked" if change.chat.kind == "private" => tracing::info!(channel, chat, "the person blocked the bot"),
        "kicked" | "left" => tracing::info!(channel, chat, "the bot is no longer in the chat"),
        _ => tracing::info!(channel, chat, "the bot was let into the chat, or its rights there changed"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(update: Value) -> Seen {
        let me = Me { id: 7, username: "our_bot".into(), can_read_all_group_messages: false };
        seen("tg", &me, serde_json::from_value(update).unwrap())
    }

    fn message(more: Value) -> Value {
        let mut message = json!({
            "message_id": 5, "chat": {"id": -100, "type": "supergroup", "title": "Team"},
            "from": {"id": 9, "first_name": "Ada", "last_name": "L"},
        });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"update_id": 1, "message": message})
    }

    fn arrived(update: Value) -> (Arrival, Written) {
        match read(update) {
            Seen::Wrote(arrival, _) => {
                let Content::Message(written) = arrival.content.clone() else { panic!("{arrival:?}") };
                (arrival, written)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_is_a_topic_and_nothing_else() {
        let (arrival, _) = arrived(message(json!({"text": "x", "message_thread_id": 3})));
        assert_eq!(arrival.chat.to_string(), "tg:-100", "a thread of replies is none");
        let (arrival, _) = arrived(message(json!({"text": "x", "message_thread_id": 3, "is_topic_message": true})));
        assert_eq!(arrival.chat.to_string(), "tg:-100#3");
        assert_eq!((arrival.kind, arrival.title.as_deref()), (ChatKind::Group, Some("Team")));
        assert_eq!((arrival.platform_id.as_str(), arrival.sender.name.as_str()), ("5", "Ada L"));
    }

    #[test]
    fn a_changed_message_has_the_messages_id_and_all_of_its_new_words() {
        let mut update = message(json!({"text": "new words", "edit_date": 1}));
        let message = update.as_object_mut().unwrap().remove("message").unwrap();
        update["edited_message"] = message;
        let Seen::Wrote(arrival, None) = read(update) else { panic!() };
        assert_eq!((arrival.platform_id.as_str(), arrival.sender.id.as_str()), ("5", "9"));
        assert_eq!(arrival.content, Content::Edit(Written { text: "new words".into(), ..Written::default() }));
    }

    #[test]
    fn anonymous_senders_are_their_own_bots_and_posts_are_refused_and_services_are_nothing() {
        let anonymous = json!({
            "text": "x", "from": {"id": 1_087_968_824, "is_bot": true, "first_name": "Group"},
            "sender_chat": {"id": -100, "type": "supergroup", "title": "Team"},
        });
        let (arrival, _) = arrived(message(anonymous));
        assert_eq!((arrival.sender.id.as_str(), arrival.sender.name.as_str()), ("-100", "Team"));
        let edit = |mut update: Value| {
            update["edited_message"] = update["message"].take();
            update
        };
        let other_bot = message(json!({"text": "x", "from": {"id": 1, "is_bot": true}}));
        let post = message(json!({"text": "x", "chat": {"id": -5, "type": "channel"}}));
        let press = |more: Value| {
            let mut press = json!({"id": "1", "from": {"id": 9}, "data": "d"});
            press.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"update_id": 1, "callback_query": press})
        };
        for (refused, chat, reason) in [
            (other_bot.clone(), "-100", "bot"),
            (message(json!({"text": "x", "from": null})), "-100", "no-sender"),
            (post.clone(), "-5", "channel-post"),
            (press(json!({"message": post["message"]})), "-5", "channel-post"),
            (press(json!({"message": other_bot["message"], "id": "x".repeat(ID + 1)})), "-100", "too-large"),
            (press(json!({})), "updates", "bad-press"),
        ] {
            let expected = Refused { chat: chat.to_owned(), reason };
            match read(refused.clone()) {
                Seen::Refused(told) => assert_eq!(told, expected, "{refused}"),
                other => panic!("{refused}: {other:?}"),
            }
        }
        for nothing in [
            edit(other_bot),
            edit(post),
            message(json!({"new_chat_title": "x"})),
            message(json!({"new_chat_title": "x", "from": {"id": 1, "is_bot": true}})),
            // A supergroup becomes nothing else, and a group was nothing else.
            message(json!({"migrate_to_chat_id": -1007})),
            json!({"update_id": 1, "edited_channel_post": {}}),
            message(json!({"migrate_from_chat_id": 7})),
            message(json!({"migrate_from_chat_id": -1, "chat": {"id": -5, "type": "group"}})),
        ] {
            assert!(matches!(read(nothing.clone()), Seen::Nothing(_)), "{nothing}");
        }
    }

    #[test]
    fn a_group_that_becomes_a_supergroup_is_told_in_both() {
        let told = [
            message(json!({"migrate_to_chat_id": -1007, "chat": {"id": -5, "type": "group"}})),
            message(json!({"migrate_from_chat_id": -5, "chat": {"id": -1007, "type": "supergroup"}})),
        ];
        for update in told {
            let seen = read(update.clone());
            assert!(matches!(seen, Seen::Moved(Moving { from: -5, to: -1007 })), "{update}: {seen:?}");
        }
    }

    #[test]
    fn a_files_caption_is_its_text() {
        let (_, written) = arrived(message(json!({"voice": {"file_id": "v"}, "caption": "c"})));
        assert_eq!((written.files[0].name.as_str(), written.text.as_str()), ("voice.ogg", "c"));
        let (_, written) = arrived(message(json!({"sticker": {"emoji": "👍"}})));
        assert_eq!(written.text, "[sticker 👍]");
    }

    #[test]
    fn a_press_has_its_own_id_and_what_is_behind_the_button() {
        let press = json!({"update_id": 1, "callback_query": {
            "id": "4711", "from": {"id": 9, "first_name": "", "username": "ada"}, "data": "q:1:2",
            "message": {"message_id": 5, "date": 0, "chat": {"id": 9, "type": "private", "first_name": "Ada"}},
        }});
        let Seen::Pressed(arrival, id) = read(press) else { panic!() };
        assert_eq!((arrival.platform_id.as_str(), id.as_str(), arrival.kind), ("4711", "4711", ChatKind::Direct));
        assert_eq!((arrival.sender.name.as_str(), arrival.title.as_deref()), ("@ada", Some("Ada")));
        assert_eq!(arrival.content, Content::Press("q:1:2".into()));
    }
}
