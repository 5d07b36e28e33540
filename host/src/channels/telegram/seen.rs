//! What an update says that somebody did.

use super::wire::{CallbackQuery, Chat, Me, Media, MemberChange, Message, Update, User};
use super::words::{cut, words};
use crate::channels::{Arrival, Content, Offered, Sender, Written};
use crate::model::chat::{ChatKind, ChatRef};

/// The longest name or title that is handed in, in characters.
const NAME: usize = 256;
/// The longest text that is handed in, in characters: Telegram's own limit is 4096 units.
const TEXT: usize = 16 * 1024;
/// The longest ids of Telegram's that we keep, in bytes; theirs are below 200.
const ID: usize = 512;

/// An update, read.
#[derive(Debug)]
pub(super) enum Seen {
    /// Somebody wrote, or changed what they wrote; with the album that it is of.
    Wrote(Arrival, Option<String>),
    /// Somebody pressed a button; Telegram waits to be told that we know, by this id.
    Pressed(Arrival, String),
    /// A group became a supergroup, which has another id. Told in both of them.
    Moved(Moving),
    /// Nothing for anybody, for this reason.
    Nothing(&'static str),
}

/// A group that became a supergroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    /// The group's id.
    pub(super) from: i64,
    /// The supergroup's.
    pub(super) to: i64,
}

/// Reads an update of the channel with this name.
pub(super) fn seen(channel: &str, me: &Me, update: Update) -> Seen {
    match update {
        Update { message: Some(message), .. } => wrote(channel, me, &message, Content::Message),
        Update { edited_message: Some(message), .. } => wrote(channel, me, &message, Content::Edit),
        Update { callback_query: Some(press), .. } => pressed(channel, press),
        Update { my_chat_member: Some(change), .. } => {
            membership(channel, &change);
            Seen::Nothing("the bot's own membership")
        }
        _ => Seen::Nothing("of a kind that was not asked for"),
    }
}

fn wrote(channel: &str, me: &Me, message: &Message, content: fn(Written) -> Content) -> Seen {
    if let Some(moving) = moving(message) {
        return Seen::Moved(moving);
    }
    let Some(kind) = kind(&message.chat) else { return Seen::Nothing("a channel's post") };
    let Some(sender) = sender(message) else { return Seen::Nothing("from another bot, or from nobody") };
    let words = words(message, me, kind == ChatKind::Direct);
    let files = files(message);
    let mut text = words.text;
    if text.is_empty() && files.is_empty() {
        match other(message) {
            Some(other) => text = other,
            None => return Seen::Nothing("a service message"),
        }
    }
    let text = cut(&text, TEXT);
    let written = Written { text, quote: words.quote, addressed: words.addressed, files, output_schema: None };
    let id = message.message_id.to_string();
    let album = message.media_group_id.clone().filter(|album| album.len() <= ID);
    Seen::Wrote(arrival(channel, message, kind, (id, sender), content(written)), album)
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
        return Seen::Nothing("a press without a message");
    };
    let Some(kind) = kind(&message.chat) else { return Seen::Nothing("a press in a channel") };
    if press.id.len() > ID || data.len() > ID {
        return Seen::Nothing("a press that is too long");
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

fn files(message: &Message) -> Vec<Offered> {
    let photo = message.photo.iter().max_by_key(|photo| photo.width.saturating_mul(photo.height));
    let photo = photo.map(|photo| Offered {
        name: "photo.jpg".to_owned(),
        bytes: photo.file_size,
        reference: photo.file_id.clone(),
    });
    // An animation comes as a document too.
    let document = message.document.as_ref().filter(|_| message.animation.is_none());
    let media = [
        (document, "file"),
        (message.animation.as_ref(), "animation.mp4"),
        (message.audio.as_ref(), "audio.mp3"),
        (message.video.as_ref(), "video.mp4"),
        (message.video_note.as_ref(), "video.mp4"),
        (message.voice.as_ref(), "voice.ogg"),
    ];
    let media = media.into_iter().filter_map(|(media, name)| Some(offered(media?, name)));
    photo.into_iter().chain(media).filter(|file| file.reference.len() <= ID).collect()
}

fn offered(media: &Media, unnamed: &str) -> Offered {
    let name = media.file_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(unnamed);
    Offered { name: cut(name, NAME), bytes: media.file_size, reference: media.file_id.clone() }
}

/// What has neither a text nor a file, in words.
fn other(message: &Message) -> Option<String> {
    if let Some(sticker) = &message.sticker {
        return Some(format!("[sticker {}]", sticker.emoji.as_deref().unwrap_or_default()).replace(" ]", "]"));
    }
    if let Some(location) = &message.location {
        return Some(format!("[location {}, {}]", location.latitude, location.longitude));
    }
    message.contact.as_ref().map(|contact| format!("[contact {} {}]", contact.first_name, contact.phone_number))
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
    use serde_json::{Value, json};

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
    fn anonymous_senders_are_their_own_and_bots_and_posts_are_nobody() {
        let anonymous = json!({
            "text": "x", "from": {"id": 1_087_968_824, "is_bot": true, "first_name": "Group"},
            "sender_chat": {"id": -100, "type": "supergroup", "title": "Team"},
        });
        let (arrival, _) = arrived(message(anonymous));
        assert_eq!((arrival.sender.id.as_str(), arrival.sender.name.as_str()), ("-100", "Team"));
        for nothing in [
            message(json!({"text": "x", "from": {"id": 1, "is_bot": true}})),
            message(json!({"text": "x", "from": null})),
            message(json!({"text": "x", "chat": {"id": -5, "type": "channel"}})),
            message(json!({"new_chat_title": "x"})),
            // A supergroup becomes nothing else, and a group was nothing else.
            message(json!({"migrate_to_chat_id": -1007})),
            json!({"update_id": 1, "edited_channel_post": {}}),
            message(json!({"migrate_from_chat_id": 7})),
            message(json!({"migrate_from_chat_id": -1, "chat": {"id": -5, "type": "group"}})),
            json!({"update_id": 1, "callback_query": {"id": "1", "from": {"id": 9}}}),
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
    fn files_have_names_and_the_largest_photo_counts() {
        let photo =
            |id: &str, width: u64| json!({"file_id": id, "width": width, "height": width, "file_size": width});
        let (_, written) = arrived(message(json!({"photo": [photo("s", 9), photo("l", 99), photo("m", 50)]})));
        let [file] = &written.files[..] else { panic!("{written:?}") };
        assert_eq!((file.name.as_str(), file.reference.as_str(), file.bytes), ("photo.jpg", "l", Some(99)));
        let both = json!({"animation": {"file_id": "a"}, "document": {"file_id": "a", "file_name": "x.mp4"}});
        let (_, written) = arrived(message(both));
        assert_eq!(written.files.len(), 1);
        let (_, written) = arrived(message(json!({"voice": {"file_id": "v"}, "caption": "c"})));
        assert_eq!((written.files[0].name.as_str(), written.text.as_str()), ("voice.ogg", "c"));
        let (_, written) = arrived(message(json!({"document": {"file_id": "d", "file_name": " "}})));
        assert_eq!(written.files[0].name, "file");
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
