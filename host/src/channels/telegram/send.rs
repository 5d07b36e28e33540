//! Hands a piece of a reply over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use frankenstein::methods::SetMessageReactionParams;
use frankenstein::types::{ReactionType, ReactionTypeEmoji};
use serde::de::IgnoredAny;

use super::failure::Failure;
use super::post::{Target, Text, message_id};
use super::words::escape;
use super::{CALL, Inner, ask, files, text};
use crate::channels::{Piece, Receipt, SendError};
use crate::model::action::{Action, Asked};
use crate::model::reply::Outbound;

/// The most groups whose new id is remembered; it is told again at the next try.
const REMEMBERED: usize = 256;

/// The ids that groups got when Telegram made them supergroups.
#[derive(Default)]
pub(super) struct Moved(Mutex<HashMap<i64, i64>>);

impl Moved {
    /// Where the chat is now.
    pub(super) fn now(&self, target: Target) -> Target {
        let moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Target { chat: moved.get(&target.chat).copied().unwrap_or(target.chat), ..target }
    }

    fn note(&self, from: i64, to: i64) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.len() >= REMEMBERED {
            moved.clear();
        }
        moved.insert(from, to);
    }
}

impl Inner {
    pub(super) async fn send(
        &self,
        reply: &Outbound,
        piece: &Piece,
        onto: Option<&str>,
    ) -> Result<Receipt, SendError> {
        let target = self.moved.now(Target::of(&reply.chat)?);
        let onto = onto.and_then(message_id);
        let failure = match self.hand(target, reply, piece, onto).await {
            Ok(receipt) => return Ok(receipt),
            Err(failure) => failure,
        };
        let Failure::No(no) = &failure else { return Err(failure.into()) };
        let Some(to) = no.moved_to.filter(|to| *to != target.chat) else { return Err(failure.into()) };
        let (channel, from) = (&self.name, target.chat);
        tracing::warn!(
            channel,
            from,
            to,
            "the group has a new id, where this reply goes; wire the new one: `cofferdam wire {channel}:{to} GROUP`"
        );
        self.moved.note(from, to);
        Ok(self.hand(Target { chat: to, ..target }, reply, piece, onto).await?)
    }

    async fn hand(
        &self,
        target: Target,
        reply: &Outbound,
        piece: &Piece,
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        match (piece, &reply.action) {
            (Piece::Gone, _) => self.gone(target, onto).await,
            (Piece::Text { markup, plain }, Some(Action::Close(_))) => {
                let text = Text { markup, plain, keyboard: None, previews: false };
                self.api.change_if_there(target, &text, onto).await.map(|()| Receipt::NONE)
            }
            (Piece::Text { markup, plain }, _) => self.text(target, reply, (markup, plain), onto).await,
            (Piece::File { name, content }, _) => {
                self.gone(target, onto).await?;
                files::send_text(&self.api, target, name, content).await.map(Receipt::of)
            }
            (Piece::Whole, Some(Action::File(file))) => {
                self.gone(target, onto).await?;
                files::send(&self.api, target, file).await.map(Receipt::of)
            }
            (Piece::Whole, Some(Action::Question(asked))) => self.ask(target, reply, asked, onto).await,
            (Piece::Whole, Some(Action::React { platform_id, emoji, .. })) => {
                self.react(target, platform_id, emoji).await
            }
            (Piece::Whole, _) => self.text(target, reply, (&escape(&reply.text), &reply.text), onto).await,
        }
    }

    async fn gone(&self, target: Target, message: Option<i32>) -> Result<Receipt, Failure> {
        if let Some(message) = message {
            self.api.delete(target, message).await?;
        }
        Ok(Receipt::NONE)
    }

    async fn text(
        &self,
        target: Target,
        reply: &Outbound,
        (markup, plain): (&str, &str),
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        // A question's are below the last of its texts, which is the whole of it.
        let buttons = if reply.action.is_none() { reply.buttons.as_slice() } else { &[] };
        let text = Text { markup, plain, keyboard: ask::keyboard(buttons), previews: buttons.is_empty() };
        self.api.show(target, &text, onto).await.map(Receipt::of)
    }

    async fn ask(
        &self,
        target: Target,
        reply: &Outbound,
        asked: &Asked,
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        let pieces = text::question(asked);
        let Some(Piece::Text { markup, plain }) = pieces.last() else {
            return Err(Failure::Never("the question has no text".to_owned()));
        };
        let text = Text { markup, plain, keyboard: ask::keyboard(&reply.buttons), previews: false };
        self.api.show(target, &text, onto).await.map(Receipt::of)
    }

    async fn react(&self, target: Target, message: &str, emoji: &str) -> Result<Receipt, Failure> {
        let message = message_id(message)
            .ok_or_else(|| Failure::Never("only messages can be reacted to, not presses".to_owned()))?;
        let emoji = ReactionType::Emoji(ReactionTypeEmoji::builder().emoji(emoji).build());
        let params = SetMessageReactionParams::builder()
            .chat_id(target.chat)
            .message_id(message)
            .reaction(vec![emoji])
            .build();
        self.api.call::<IgnoredAny>("setMessageReaction", &params, CALL).await.map_err(Failure::harmless)?;
        Ok(Receipt::NONE)
    }
}
