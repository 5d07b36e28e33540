//! Single messages: new, changed, gone.

use frankenstein::ParseMode;
use frankenstein::methods::{DeleteMessageParams, EditMessageTextParams, SendMessageParams};
use frankenstein::types::{InlineKeyboardMarkup, LinkPreviewOptions, ReplyMarkup, ReplyParameters};
use serde::de::IgnoredAny;

use super::CALL;
use super::api::Api;
use super::failure::Failure;
use super::text::TEXT;
use super::wire::Sent;
use super::words::cut_units;
use crate::model::chat::ChatRef;

/// Telegram's words when there is no such message, or none of ours that can be changed to a text.
const NOT_THERE: [&str; 4] =
    ["message to edit not found", "message can't be edited", "message_id_invalid", "no text in the message"];
const NOT_CHANGED: [&str; 1] = ["message is not modified"];
const BAD_MARKUP: [&str; 1] = ["can't parse entities"];
const NOT_TO_DELETE: [&str; 3] = ["message to delete not found", "message can't be deleted", "message_id_invalid"];

/// A chat, or a topic in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) chat: i64,
    pub(super) thread: Option<i32>,
}

/// Where a new message goes, and which one of the same chat it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) reply_to: Option<i32>,
}

/// A message's words.
pub(super) struct Text<'a> {
    pub(super) markup: &'a str,
    /// The same for when the markup is refused.
    pub(super) plain: &'a str,
    pub(super) keyboard: Option<InlineKeyboardMarkup>,
    /// Whether links may be shown with a picture of what is behind them.
    pub(super) previews: bool,
}

impl Target {
    pub(super) fn of(chat: &ChatRef) -> Result<Self, Failure> {
        let bad = || Failure::Never(format!("'{chat}' is no chat of Telegram's: its id is a number"));
        let thread = chat.thread_id.as_deref().map(str::parse).transpose().map_err(|_| bad())?;
        Ok(Self { chat: chat.chat_id.parse().map_err(|_| bad())?, thread })
    }
}

impl From<Target> for Place {
    fn from(target: Target) -> Self {
        Self { target, reply_to: None }
    }
}

impl Place {
    /// The same, in answer to the message with this id of the platform. In groups only: with one person each message answers the
    /// last. What is no message's id, such as a press's, is passed over.
    pub(super) fn answering(self, message: Option<&str>) -> Self {
        let in_group = self.target.chat < 0;
        Self { reply_to: message.and_then(message_id).filter(|id| in_group && *id > 0), ..self }
    }

    /// What Telegram is told of the message that is answered. It may be gone by now.
    pub(super) fn reply_parameters(self) -> Option<ReplyParameters> {
        let of = |id| ReplyParameters::builder().message_id(id).allow_sending_without_reply(true).build();
        self.reply_to.map(of)
    }
}

impl Api {
    /// Shows a text: in the place of the message `onto` when that is still there, else as a new one. Answers the message's id.
    pub(super) async fn show(&self, place: Place, text: &Text<'_>, onto: Option<i32>) -> Result<String, Failure> {
        if let Some(onto) = onto {
            match self.change(place.target, text, onto).await {
                Err(failure) if failure.says(&NOT_THERE) => {}
                changed => return changed.map(|()| onto.to_string()),
            }
        }
        let new = match self.new_message(place, text, true).await {
            Err(failure) if failure.says(&BAD_MARKUP) => {
                tracing::info!(%failure, "the markup was refused; sent as plain text");
                self.new_message(place, text, false).await
            }
            new => new,
        };
        new.map(|sent| sent.message_id.to_string())
    }

    async fn new_message(&self, place: Place, text: &Text<'_>, html: bool) -> Result<Sent, Failure> {
        let params = SendMessageParams::builder()
            .chat_id(place.target.chat)
            .maybe_message_thread_id(place.target.thread)
            .maybe_reply_parameters(place.reply_parameters())
            .text(words(text, html))
            .maybe_parse_mode(html.then_some(ParseMode::Html))
            .maybe_link_preview_options(previews(text))
            .maybe_reply_markup(text.keyboard.clone().map(ReplyMarkup::InlineKeyboardMarkup))
            .build();
        self.call("sendMessage", &params, CALL).await
    }

    /// Changes a message. One that is not there, or too old for that, is left alone.
    pub(super) async fn change_if_there(
        &self,
        target: Target,
        text: &Text<'_>,
        onto: Option<i32>,
    ) -> Result<(), Failure> {
        let Some(onto) = onto else { return Ok(()) };
        match self.change(target, text, onto).await {
            Err(failure) if failure.says(&NOT_THERE) => Ok(()),
            changed => changed,
        }
    }

    async fn change(&self, target: Target, text: &Text<'_>, onto: i32) -> Result<(), Failure> {
        match self.change_to(target, text, onto, true).await {
            Err(failure) if failure.says(&BAD_MARKUP) => {
                tracing::info!(%failure, "the markup was refused; changed to plain text");
                self.change_to(target, text, onto, false).await
            }
            changed => changed,
        }
    }

    async fn change_to(&self, target: Target, text: &Text<'_>, onto: i32, html: bool) -> Result<(), Failure> {
        let params = EditMessageTextParams::builder()
            .chat_id(target.chat)
            .message_id(onto)
            .text(words(text, html))
            .maybe_parse_mode(html.then_some(ParseMode::Html))
            .maybe_link_preview_options(previews(text))
            .maybe_reply_markup(text.keyboard.clone())
            .build();
        match self.call::<IgnoredAny>("editMessageText", &params, CALL).await {
            Err(failure) if failure.says(&NOT_CHANGED) => Ok(()),
            changed => changed.map(drop).map_err(Failure::harmless),
        }
    }

    /// Takes a message away. One that is not there is as good as gone.
    pub(super) async fn delete(&self, target: Target, message: i32) -> Result<(), Failure> {
        let params = DeleteMessageParams::builder().chat_id(target.chat).message_id(message).build();
        match self.call::<IgnoredAny>("deleteMessage", &params, CALL).await {
            Err(failure) if failure.says(&NOT_TO_DELETE) => {
                tracing::info!(chat = target.chat, message, %failure, "a message was not taken away");
                Ok(())
            }
            deleted => deleted.map(drop).map_err(Failure::harmless),
        }
    }
}

fn words(text: &Text<'_>, html: bool) -> String {
    if html { text.markup.to_owned() } else { cut_units(text.plain, TEXT) }
}

fn previews(text: &Text<'_>) -> Option<LinkPreviewOptions> {
    (!text.previews).then_some(LinkPreviewOptions::DISABLED)
}

/// The id of a message, as it was given in a receipt.
pub(super) fn message_id(id: &str) -> Option<i32> {
    id.parse().ok()
}
