//! Messages that are not files, and what else happens in chats.

use std::time::Instant;

use serde_json::{Value, json};

use super::answer::No;
use super::html;
use super::pace::Counts;
use super::params::Params;
use super::state::{Chat, Inside, Press, bot_json};
use super::view::{Button, Entity, Message};

/// The longest text, in UTF-16 units after its entities were read.
const MAX_TEXT: usize = 4096;
/// The longest text in bytes, before its entities are read (`get_formatted_text` of the Bot API's server).
const MAX_BYTES: usize = 1 << 15;
/// What bots may react with; a part of Telegram's list.
const REACTIONS: [&str; 12] = ["👍", "👎", "❤", "🔥", "🎉", "🤔", "👀", "🙏", "👌", "💯", "⚡", "🤝"];
const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly the same \
                            as a current content and reply markup of the message";

pub(crate) fn me(inside: &Inside) -> Value {
    let mut me = bot_json();
    me["can_join_groups"] = true.into();
    me["can_read_all_group_messages"] = inside.state().reads_groups.into();
    me
}

pub(crate) fn commands(inside: &Inside, params: &Params) -> Result<Value, No> {
    let Some(Value::Array(commands)) = params.json("commands") else {
        return Err(No::bad("can't parse BotCommand"));
    };
    let mut names = Vec::new();
    for command in commands {
        let (name, description) = (command["command"].as_str(), command["description"].as_str());
        let (Some(name), Some(description)) = (name, description) else {
            return Err(No::bad("can't parse BotCommand"));
        };
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=32).contains(&name.len()) || !name.chars().all(good) {
            return Err(No::bad("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&description.chars().count()) {
            return Err(No::bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
        names.push(name.to_owned());
    }
    inside.state().commands = names;
    Ok(true.into())
}

/// A text of a call: as it is shown, and what of it is what.
pub(crate) fn text(params: &Params, name: &str) -> Result<(String, Vec<Entity>), No> {
    let raw = params.text(name).unwrap_or_default();
    if raw.len() > MAX_BYTES {
        return Err(No::bad("text is too long"));
    }
    let (text, mut entities) = match params.text("parse_mode").as_deref() {
        None | Some("") => (raw, Vec::new()),
        Some("HTML") => html::parse(&raw).map_err(|error| No::bad(&format!("can't parse entities: {error}")))?,
        Some(_) => return Err(No::bad("unsupported parse_mode")),
    };
    // Telegram trims, and takes no notice of what is too much.
    let cut = text.len() - text.trim_start().len();
    let units = text[..cut].encode_utf16().count();
    for entity in &mut entities {
        entity.offset = entity.offset.saturating_sub(units);
    }
    entities.truncate(100);
    Ok((text.trim().to_owned(), entities))
}

pub(crate) fn send(inside: &Inside, params: &Params) -> Result<Value, No> {
    let (text, entities) = text(params, "text")?;
    let mut state = inside.state();
    let chat = state.called_chat(params)?;
    check_text(&text)?;
    let message = new(chat, params, text, entities)?;
    let id = chat.id;
    state.meter.message(id, Counts::New, Instant::now())?;
    Ok(put(state.chat(id), message))
}

fn check_text(text: &str) -> Result<(), No> {
    match text.encode_utf16().count() {
        0 => Err(No::bad("message text is empty")),
        units if units > MAX_TEXT => Err(No::bad("message is too long")),
        _ => Ok(()),
    }
}

/// A message of the bot's that is not in the chat yet.
pub(crate) fn new(chat: &Chat, params: &Params, text: String, entities: Vec<Entity>) -> Result<Message, No> {
    let thread = chat.thread(params.int("message_thread_id"))?;
    let reply_to = reply_to(chat, params)?;
    Ok(Message {
        id: 0,
        by_bot: true,
        thread,
        text,
        entities,
        file: None,
        buttons: buttons(params)?,
        edits: 0,
        previews: previews(params),
        reply_to,
        reactions: Vec::new(),
        old: false,
        json: Value::Null,
    })
}

/// The message that is answered. One that is not there is an error, or else nobody is answered.
fn reply_to(chat: &Chat, params: &Params) -> Result<Option<i64>, No> {
    if !params.values.contains_key("reply_parameters") {
        return Ok(None);
    }
    let parameters = params.json("reply_parameters").filter(Value::is_object);
    let parameters = parameters.ok_or_else(|| No::bad("can't parse reply parameters JSON object"))?;
    let id = parameters["message_id"].as_i64().filter(|id| *id > 0);
    let id = id.ok_or_else(|| No::bad("parameter \"message_id\" is required"))?;
    let forgiving = parameters["allow_sending_without_reply"].as_bool() == Some(true);
    match chat.messages.contains_key(&id) {
        true => Ok(Some(id)),
        false if forgiving => Ok(None),
        false => Err(No::bad("message to be replied not found")),
    }
}

/// Puts a message of the bot's into its chat; answers what the API does.
pub(crate) fn put(chat: &mut Chat, mut message: Message) -> Value {
    message.id = chat.number();
    message.json = chat.message_json(message.id, message.thread);
    message.json["from"] = bot_json();
    if let Some(answered) = message.reply_to.and_then(|id| chat.messages.get(&id)) {
        message.json["reply_to_message"] = answered.json.clone();
    }
    if message.file.is_none() {
        message.json["text"] = message.text.clone().into();
        message.json["entities"] = message.entities_json();
    }
    if !message.buttons.is_empty() {
        message.json["reply_markup"] = message.keyboard_json();
    }
    let json = message.json.clone();
    chat.messages.insert(message.id, message);
    json
}

fn previews(params: &Params) -> bool {
    params.json("link_preview_options").is_none_or(|options| options["is_disabled"].as_bool() != Some(true))
}

fn buttons(params: &Params) -> Result<Vec<Vec<Button>>, No> {
    let Some(markup) = params.json("reply_markup") else { return Ok(Vec::new()) };
    let Some(rows) = markup["inline_keyboard"].as_array() else {
        return Err(No::bad("object expected as reply markup"));
    };
    let mut buttons = Vec::new();
    for row in rows {
        let row = row.as_array().ok_or_else(|| No::bad("can't parse inline keyboard row"))?;
        buttons.push(row.iter().map(button).collect::<Result<Vec<_>, No>>()?);
    }
    if buttons.iter().flatten().count() > 100 {
        return Err(No::bad("REPLY_MARKUP_TOO_LONG"));
    }
    Ok(buttons)
}

fn button(button: &Value) -> Result<Button, No> {
    let label = button["text"].as_str().unwrap_or_default();
    let data = button["callback_data"].as_str().unwrap_or_default();
    if label.is_empty() {
        return Err(No::bad("inline keyboard button text must be non-empty"));
    }
    if !(1..=64).contains(&data.len()) {
        return Err(No::bad("BUTTON_DATA_INVALID"));
    }
    Ok(Button { label: label.to_owned(), data: data.to_owned() })
}

pub(crate) fn edit(inside: &Inside, params: &Params) -> Result<Value, No> {
    let (text, entities) = text(params, "text")?;
    let mut state = inside.state();
    let chat = state.called_chat(params)?;
    let (buttons, previews) = (buttons(params)?, previews(params));
    let message = found(chat, params, "message to edit not found")?;
    if !message.by_bot || message.old {
        return Err(No::bad("message can't be edited"));
    }
    if message.file.is_some() {
        return Err(No::bad("there is no text in the message to edit"));
    }
    check_text(&text)?;
    if (&message.text, &message.entities, &message.buttons) == (&text, &entities, &buttons) {
        return Err(No::bad(NOT_MODIFIED));
    }
    let chat = chat.id;
    state.meter.message(chat, Counts::Change, Instant::now())?;
    let message = found(state.chat(chat), params, "message to edit not found")?;
    (message.text, message.entities, message.buttons) = (text, entities, buttons);
    message.previews = previews;
    message.edits += 1;
    message.json["text"] = message.text.clone().into();
    message.json["entities"] = message.entities_json();
    message.json["reply_markup"] = message.keyboard_json();
    Ok(message.json.clone())
}

fn found<'c>(chat: &'c mut Chat, params: &Params, or: &str) -> Result<&'c mut Message, No> {
    let id = params.int("message_id").ok_or_else(|| No::bad("message identifier is not specified"))?;
    chat.messages.get_mut(&id).ok_or_else(|| No::bad(or))
}

pub(crate) fn delete(inside: &Inside, params: &Params) -> Result<Value, No> {
    let mut state = inside.state();
    let chat = state.called_chat(params)?;
    let message = found(chat, params, "message to delete not found")?;
    if message.old {
        return Err(No::bad("message can't be deleted for everyone"));
    }
    let id = message.id;
    chat.messages.remove(&id);
    chat.deleted.push(id);
    Ok(true.into())
}

pub(crate) fn action(inside: &Inside, params: &Params) -> Result<Value, No> {
    let mut state = inside.state();
    let chat = state.called_chat(params)?;
    let thread = chat.thread(params.int("message_thread_id"))?;
    match params.text("action").as_deref() {
        Some("typing") => chat.typing.push(thread),
        Some("upload_photo" | "upload_document" | "upload_voice" | "record_voice" | "upload_video") => {}
        _ => return Err(No::bad("wrong parameter action in request")),
    }
    Ok(true.into())
}

pub(crate) fn react(inside: &Inside, params: &Params) -> Result<Value, No> {
    let mut state = inside.state();
    let chat = state.called_chat(params)?;
    let message = found(chat, params, "message to react not found")?;
    let reactions = params.json("reaction").unwrap_or_else(|| json!([]));
    let emoji =
        reactions.as_array().into_iter().flatten().map(|reaction| reaction["emoji"].as_str().unwrap_or_default());
    let emoji: Vec<String> = emoji.map(str::to_owned).collect();
    if emoji.iter().any(|emoji| !REACTIONS.contains(&emoji.as_str())) {
        return Err(No::bad("REACTION_INVALID"));
    }
    if emoji.len() > 1 {
        return Err(No::bad("REACTIONS_TOO_MANY"));
    }
    message.reactions = emoji;
    Ok(true.into())
}

pub(crate) fn answer_press(inside: &Inside, params: &Params) -> Result<Value, No> {
    let mut state = inside.state();
    let press = state.presses.get_mut(&params.text("callback_query_id").unwrap_or_default());
    let text = params.text("text").filter(|text| !text.is_empty());
    if text.as_ref().is_some_and(|text| text.chars().count() > 200) {
        return Err(No::bad("MESSAGE_TOO_LONG"));
    }
    match press {
        Some(press @ Press::Waits) => {
            *press = Press::Answered(text);
            Ok(true.into())
        }
        Some(Press::Answered(_)) => Ok(true.into()),
        _ => Err(No::bad("query is too old and response timeout expired or query ID is invalid")),
    }
}
