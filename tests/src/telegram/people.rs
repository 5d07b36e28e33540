//! What people do.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::Telegram;
use super::media::file_json;
use super::state::{BOT_NAME, Chat, Kind, Press, State, bot_json};
use super::view::Message;

/// A person.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their number.
    pub id: i64,
    /// What they call themselves.
    pub name: String,
}

impl Person {
    /// Somebody with this number, who calls themselves so.
    pub fn new(id: i64, name: &str) -> Self {
        Self { id, name: name.to_owned() }
    }

    fn json(&self) -> Value {
        json!({"id": self.id, "is_bot": false, "first_name": self.name, "username": format!("user{}", self.id)})
    }
}

/// A message that somebody is about to write.
#[derive(Debug, Clone, Default)]
pub struct Post {
    text: String,
    from: Option<Person>,
    thread: Option<i64>,
    reply_to: Option<i64>,
    file: Option<(String, Option<String>, Bytes, Option<u64>)>,
    extra: Vec<(String, Value)>,
}

impl Post {
    /// A text; names and commands in it are marked as Telegram does it.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// From this person; else from the chat's, or from Ada (id 1001).
    #[must_use]
    pub fn from(mut self, person: &Person) -> Self {
        self.from = Some(person.clone());
        self
    }

    /// In a topic.
    #[must_use]
    pub fn topic(mut self, thread: i64) -> Self {
        self.thread = Some(thread);
        self
    }

    /// In answer to a message.
    #[must_use]
    pub fn reply_to(mut self, message: i64) -> Self {
        self.reply_to = Some(message);
        self
    }

    /// With a file of this kind (`document`, `photo`, `voice`, …); the text is its caption.
    #[must_use]
    pub fn file(mut self, kind: &str, name: Option<&str>, content: impl Into<Bytes>) -> Self {
        self.file = Some((kind.to_owned(), name.map(str::to_owned), content.into(), None));
        self
    }

    /// With a file that says to have so many bytes.
    #[must_use]
    pub fn large_file(mut self, name: &str, bytes: u64) -> Self {
        self.file = Some(("document".to_owned(), Some(name.to_owned()), Bytes::from_static(b"x"), Some(bytes)));
        self
    }

    /// With a field of the update's message as it is here.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.extra.push((name.to_owned(), value));
        self
    }
}

impl From<&str> for Post {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl Telegram {
    /// A person who has begun to talk with the bot; the chat has their number.
    pub fn person(&self, id: i64, name: &str) -> i64 {
        self.add(Chat::new(id, Kind::Private, name))
    }

    /// A group that the bot is in.
    pub fn group(&self, title: &str) -> i64 {
        let id = -5_000 - self.inside.state().id();
        self.add(Chat::new(id, Kind::Group, title))
    }

    /// A supergroup that the bot is in, with these topics.
    pub fn supergroup(&self, title: &str, topics: &[i64]) -> i64 {
        let id = -1_002_000_000_000 - self.inside.state().id();
        let mut chat = Chat::new(id, Kind::Supergroup, title);
        chat.topics = topics.iter().copied().collect();
        // A topic has the number of the message that made it.
        chat.next_message = topics.iter().copied().max().unwrap_or(0) + 1;
        self.add(chat)
    }

    fn add(&self, chat: Chat) -> i64 {
        let id = chat.id;
        self.inside.state().chats.insert(id, chat);
        id
    }

    /// Somebody writes. Answers the message's number.
    pub fn write(&self, chat: i64, post: impl Into<Post>) -> i64 {
        let post = post.into();
        let id = {
            let mut state = self.inside.state();
            let message = written(&mut state, chat, &post);
            let (id, json) = (message.id, message.json.clone());
            state.chat(chat).messages.insert(id, message);
            state.update("message", json);
            id
        };
        self.inside.change();
        id
    }

    /// Somebody changes what they wrote.
    pub fn change(&self, chat: i64, message: i64, text: &str) {
        {
            let mut state = self.inside.state();
            let found = state.chat(chat).messages.get_mut(&message).expect("a message");
            found.text = text.to_owned();
            found.edits += 1;
            found.json["text"] = text.into();
            found.json["edit_date"] = super::state::now_s().into();
            let json = found.json.clone();
            state.update("edited_message", json);
        }
        self.inside.change();
    }

    /// Somebody presses the button with this label. Answers the press's id.
    pub fn press(&self, chat: i64, message: i64, label: &str, person: &Person) -> String {
        let data = {
            let mut state = self.inside.state();
            let message = state.chat(chat).messages.get(&message).expect("a message").clone();
            let button = message.all_buttons().into_iter().find(|button| button.label == label).cloned();
            button.unwrap_or_else(|| panic!("there is no button {label}")).data
        };
        self.press_data(chat, message, &data, person)
    }

    /// A press of what may never have been on a button.
    pub fn press_data(&self, chat: i64, message: i64, data: &str, person: &Person) -> String {
        let id = {
            let mut state = self.inside.state();
            let id = format!("{}", 4_700_000_000_000_000_000_i64 + state.id());
            let gone = json!({"message_id": message, "date": 0, "chat": state.chat(chat).json()});
            let message = state.chat(chat).messages.get(&message).map_or(gone, |message| message.json.clone());
            state.presses.insert(id.clone(), Press::Waits);
            let query = json!({
                "id": id, "from": person.json(), "message": message, "chat_instance": "1", "data": data,
            });
            state.update("callback_query", query);
            id
        };
        self.inside.change();
        id
    }

    /// What came of a press.
    pub fn pressed(&self, id: &str) -> Press {
        self.inside.state().presses[id].clone()
    }

    /// The press can no longer be answered.
    pub fn press_ages(&self, id: &str) {
        self.inside.state().presses.insert(id.to_owned(), Press::TooOld);
    }

    /// The person blocks the bot, or the group throws it out; or the other way round.
    pub fn blocks(&self, chat: i64, blocked: bool) {
        {
            let mut state = self.inside.state();
            let found = state.chat(chat);
            found.blocked = blocked;
            let status = if blocked { "kicked" } else { "member" };
            let change = json!({
                "chat": found.json(), "from": {"id": 1001, "is_bot": false, "first_name": "Ada"}, "date": 0,
                "old_chat_member": {"user": bot_json(), "status": "member"},
                "new_chat_member": {"user": bot_json(), "status": status},
            });
            state.update("my_chat_member", change);
        }
        self.inside.change();
    }

    /// The group becomes a supergroup, which is told in both. Answers its new number.
    pub fn migrates(&self, group: i64) -> i64 {
        let title = self.inside.state().chat(group).title.clone();
        let to = self.supergroup(&title, &[]);
        self.write(group, Post::default().field("migrate_to_chat_id", to.into()));
        self.write(to, Post::default().field("migrate_from_chat_id", group.into()));
        self.inside.state().chat(group).moved_to = Some(to);
        to
    }

    /// The same, and no update tells it: only a call into the group does.
    pub fn migrates_unseen(&self, group: i64) -> i64 {
        let title = self.inside.state().chat(group).title.clone();
        let to = self.supergroup(&title, &[]);
        self.inside.state().chat(group).moved_to = Some(to);
        to
    }

    /// Somebody takes a message away; bots are not told.
    pub fn takes_away(&self, chat: i64, message: i64) {
        self.inside.state().chat(chat).messages.remove(&message).expect("a message");
        self.inside.change();
    }

    /// The message becomes too old to be changed or taken away.
    pub fn ages(&self, chat: i64, message: i64) {
        self.inside.state().chat(chat).messages.get_mut(&message).expect("a message").old = true;
    }
}

fn written(state: &mut State, chat: i64, post: &Post) -> Message {
    let file = post.file.clone().map(|(kind, name, content, claims)| {
        let file = state.store(&kind, name, content, claims);
        let mut json = file_json(&file);
        if let Some(claims) = claims {
            json["file_size"] = claims.into();
        }
        (kind, json)
    });
    let chat = state.chat(chat);
    let id = chat.number();
    let mut json = chat.message_json(id, post.thread);
    let person = match (&post.from, chat.kind) {
        (Some(person), _) => person.clone(),
        (None, Kind::Private) => Person::new(chat.id, &chat.title),
        (None, _) => Person::new(1001, "Ada"),
    };
    json["from"] = person.json();
    let (text, entities) = if file.is_some() { ("caption", "caption_entities") } else { ("text", "entities") };
    if !post.text.is_empty() {
        json[text] = post.text.clone().into();
        json[entities] = marks(&post.text);
    }
    if let Some((kind, file)) = file {
        json[kind] = file;
    }
    if let Some(answered) = post.reply_to.and_then(|id| chat.messages.get(&id)) {
        json["reply_to_message"] = answered.json.clone();
    }
    for (name, value) in &post.extra {
        json[name] = value.clone();
    }
    Message {
        id,
        by_bot: false,
        thread: post.thread,
        text: post.text.clone(),
        entities: Vec::new(),
        file: None,
        buttons: Vec::new(),
        edits: 0,
        previews: true,
        reply_to: post.reply_to,
        reactions: Vec::new(),
        old: false,
        json,
    }
}

/// The names and commands in a text.
fn marks(text: &str) -> Value {
    let mut marks = Vec::new();
    let mut units = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let name: String =
            word.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '/')).collect();
        let kind = match name.chars().next() {
            Some('@') if name.len() > 1 => Some("mention"),
            Some('/') if name.len() > 1 => Some("bot_command"),
            _ => None,
        };
        if let Some(kind) = kind {
            marks.push(json!({"type": kind, "offset": units, "length": name.len()}));
        }
        units += word.encode_utf16().count();
    }
    marks.into()
}

/// The bot's name, as people write it.
pub fn at_bot() -> String {
    format!("@{BOT_NAME}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_commands_are_marked_in_units_of_utf_16() {
        let expected = json!([
            {"type": "bot_command", "offset": 0, "length": 9},
            {"type": "mention", "offset": 13, "length": 4},
        ]);
        assert_eq!(marks("/stop@bot 😀 @ada, a@b"), expected);
    }
}
