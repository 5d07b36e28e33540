//! What we read of Telegram's objects. Unknown fields are passed over, so that a newer Telegram costs nothing.

use serde::Deserialize;

/// The bot itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Me {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) can_read_all_group_messages: bool,
}

/// A message that Telegram took.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    pub(super) message_id: i64,
}

/// Where a file can be read.
#[derive(Debug, Deserialize)]
pub(super) struct FilePath {
    pub(super) file_path: Option<String>,
    pub(super) file_size: Option<u64>,
}

/// How the webhook stands.
#[derive(Debug, Deserialize)]
pub(super) struct WebhookInfo {
    #[serde(default)]
    pub(super) url: String,
    /// How many updates wait to be posted.
    #[serde(default)]
    pub(super) pending_update_count: u64,
    /// When posting one failed last, s since 1970.
    pub(super) last_error_date: Option<i64>,
    /// How.
    pub(super) last_error_message: Option<String>,
}

/// Something that happened.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    pub(super) message: Option<Message>,
    pub(super) edited_message: Option<Message>,
    pub(super) callback_query: Option<CallbackQuery>,
    pub(super) my_chat_member: Option<MemberChange>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MemberChange {
    pub(super) chat: Chat,
    pub(super) new_chat_member: Member,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallbackQuery {
    pub(super) id: String,
    pub(super) from: User,
    pub(super) message: Option<Message>,
    pub(super) data: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) first_name: String,
    pub(super) last_name: Option<String>,
    pub(super) username: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    pub(super) id: i64,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) title: Option<String>,
    pub(super) username: Option<String>,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
}

/// A message, or what is left of one that is too old for a button's press to show.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) message_id: i64,
    pub(super) chat: Chat,
    pub(super) from: Option<User>,
    pub(super) sender_chat: Option<Chat>,
    pub(super) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(super) is_topic_message: bool,
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) entities: Vec<Entity>,
    pub(super) caption: Option<String>,
    #[serde(default)]
    pub(super) caption_entities: Vec<Entity>,
    /// The album that it is of.
    pub(super) media_group_id: Option<String>,
    pub(super) reply_to_message: Option<Box<Message>>,
    pub(super) quote: Option<Quote>,
    #[serde(flatten)]
    pub(super) attached: Attached,
    pub(super) migrate_to_chat_id: Option<i64>,
    pub(super) migrate_from_chat_id: Option<i64>,
}

/// What a message has besides its text; of most kinds at most one.
#[derive(Debug, Deserialize)]
pub(super) struct Attached {
    /// In several sizes.
    #[serde(default)]
    pub(super) photo: Vec<Photo>,
    pub(super) document: Option<Media>,
    pub(super) voice: Option<Media>,
    pub(super) audio: Option<Media>,
    pub(super) video: Option<Media>,
    pub(super) video_note: Option<Media>,
    pub(super) animation: Option<Media>,
    pub(super) sticker: Option<Sticker>,
    pub(super) location: Option<Location>,
    pub(super) contact: Option<Contact>,
}

/// A part of a text that means something. Offsets and lengths are in UTF-16 units.
#[derive(Debug, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) user: Option<User>,
}

/// The part of another message that this one answers.
#[derive(Debug, Deserialize)]
pub(super) struct Quote {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Photo {
    pub(super) file_id: String,
    #[serde(default)]
    pub(super) width: u64,
    #[serde(default)]
    pub(super) height: u64,
    pub(super) file_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Media {
    pub(super) file_id: String,
    pub(super) file_name: Option<String>,
    pub(super) file_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sticker {
    pub(super) emoji: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Location {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Contact {
    pub(super) phone_number: String,
    #[serde(default)]
    pub(super) first_name: String,
}
