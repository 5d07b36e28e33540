//! Hands a piece of a reply over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frankenstein::methods::SetMessageReactionParams;
use frankenstein::types::{ReactionType, ReactionTypeEmoji};
use serde::de::IgnoredAny;

use super::failure::Failure;
use super::post::{Place, Target, Text, message_id};
use super::seen::Moving;
use super::words::escape;
use super::{CALL, Inner, ask, files, text};
use crate::channels::{Intake, NotTaken, Piece, Receipt, SendError};
use crate::model::action::{Action, Asked};
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

/// The most groups whose new id is remembered; Telegram tells it again.
const REMEMBERED: usize = 256;

/// The ids that groups got when Telegram made them supergroups. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Moved(Arc<Mutex<HashMap<i64, i64>>>);

impl Moved {
    /// Where the chat is, if it has another id now.
    fn from(&self, chat: i64) -> Option<i64> {
        self.lock().get(&chat).copied()
    }

    /// Tells the intake, and from then on sends there.
    pub(super) async fn tell(&self, intake: &dyn Intake, moving: Moving) -> Result<(), NotTaken> {
        intake.moved(&moving.from.to_string(), &moving.to.to_string()).await?;
        let mut moved = self.lock();
        if moved.len() >= REMEMBERED {
            moved.clear();
        }
        moved.insert(moving.from, moving.to);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a reply goes, and whether that is another chat than it was meant for: there no message of before has its number.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) anew: bool,
}

impl Inner {
    /// Where a chat is now.
    pub(super) fn way(&self, chat: &ChatRef) -> Result<Way, Failure> {
        let target = Target::of(chat)?;
        Ok(match self.moved.from(target.chat) {
            Some(now) => Way { target: Target { chat: now, ..target }, anew: true },
            None => Way { target, anew: false },
        })
    }

    pub(super) async fn send(
        &self,
        reply: &Outbound,
        piece: (usize, &Piece),
        onto: Option<&str>,
    ) -> Result<Receipt, SendError> {
        let way = self.way(&reply.chat)?;
        // Each try of what may be there already may be another copy of it: while Telegram has trouble there is none.
        if reply.doubts > 0 {
            self.me().await.map_err(Failure::harmless)?;
        }
        let failure = match self.hand(way, reply, piece, onto.and_then(message_id)).await {
            Ok(receipt) => return Ok(receipt),
            Err(failure) => failure,
        };
        let Failure::No(no) = &failure else { return Err(failure.into()) };
        let from = way.target.chat;
        let Some(to) = no.moved_to.filter(|to| *to != from) else { return Err(failure.into()) };
        self.tell_moved(Moving { from, to }).await?;
        let way = Way { target: Target { chat: to, ..way.target }, anew: true };
        Ok(self.hand(way, reply, piece, None).await?)
    }

    /// The group is a supergroup now, as Telegram's refusal says. Nothing was sent yet, so this can wait.
    async fn tell_moved(&self, moving: Moving) -> Result<(), SendError> {
        let (channel, Moving { from, to }) = (&self.name, moving);
        tracing::info!(channel, from, to, "the group has another id, as Telegram says when it refuses a message");
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(intake) = intake else {
            return Err(SendError::later("the group's new id is not noted yet", None));
        };
        let told = self.moved.tell(intake.as_ref(), moving).await;
        told.map_err(|why| SendError::later(format!("the group's new id could not be noted: {why}"), None))
    }

    async fn hand(
        &self,
        Way { target, anew }: Way,
        reply: &Outbound,
        (number, piece): (usize, &Piece),
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        let onto = onto.filter(|_| !anew);
        // The first of its messages says whom it answers.
        let place = Place::from(target).answering(reply.reply_to.as_deref().filter(|_| number == 0 && !anew));
        match (piece, &reply.action) {
            (Piece::Gone, _) => self.gone(target, onto).await,
            (Piece::Text { markup, plain }, Some(Action::Close(_))) => {
                let text = Text { markup, plain, keyboard: None, previews: false };
                self.api.change_if_there(target, &text, onto).await.map(|()| Receipt::NONE)
            }
            (Piece::Text { markup, plain }, _) => self.text(place, reply, (markup, plain), onto).await,
            (Piece::File { name, content }, _) => {
                self.gone(target, onto).await?;
                files::send_text(&self.api, place, name, content).await.map(Receipt::of)
            }
            (Piece::Whole, Some(Action::File(file))) => {
                self.gone(target, onto).await?;
                files::send(&self.api, place, file).await.map(Receipt::of)
            }
            (Piece::Whole, Some(Action::Question(asked))) => self.ask(place, reply, asked, onto).await,
            (Piece::Whole, Some(Action::React { .. })) if anew => {
                Err(Failure::Never("the message is of before the group became a supergroup".to_owned()))
            }
            (Piece::Whole, Some(Action::React { platform_id, emoji, .. })) => {
                self.react(target, platform_id, emoji).await
            }
            (Piece::Whole, _) => self.text(place, reply, (&escape(&reply.text), &reply.text), onto).await,
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
        place: Place,
        reply: &Outbound,
        (markup, plain): (&str, &str),
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        // A question's are below the last of its texts, which is the whole of it.
        let buttons = if reply.action.is_none() { reply.buttons.as_slice() } else { &[] };
        let text = Text { markup, plain, keyboard: ask::keyboard(buttons), previews: buttons.is_empty() };
        self.api.show(place, &text, onto).await.map(Receipt::of)
    }

    async fn ask(
        &self,
        place: Place,
        reply: &Outbound,
        asked: &Asked,
        onto: Option<i32>,
    ) -> Result<Receipt, Failure> {
        let pieces = text::question(asked);
        let Some(Piece::Text { markup, plain }) = pieces.last() else {
            return Err(Failure::Never("the question has no text".to_owned()));
        };
        let text = Text { markup, plain, keyboard: ask::keyboard(&reply.buttons), previews: false };
        self.api.show(place, &text, onto).await.map(Receipt::of)
    }

    async fn react(&self, target: Target, message: &str, emoji: &str) -> Result<Receipt, Failure> {
        let message = message_id(message).ok_or_else(|| {
            Failure::Never(
                "only messages can be reacted to, not presses, and none of before a group became a supergroup"
                    .to_owned(),
            )
        })?;
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
