//! What a turn does, in one message that is changed, and the typing mark.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::TurnId;
use frankenstein::methods::SendChatActionParams;
use frankenstein::types::ChatAction;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::failure::Failure;
use super::post::{Place, Target, Text, message_id};
use super::send::Way;
use super::words::{cut, escape};
use super::{Inner, text};
use crate::channels::{Progress, Room, SendError, Showing, Status};
use crate::model::chat::ChatRef;

/// A turn that has nothing to show but its status shows it after so long. It is first asked about half a second after its
/// beginning.
const AFTER: Duration = Duration::from_millis(1500);
/// What a typing mark may take: it fades after five seconds.
const TYPING: Duration = Duration::from_secs(4);
/// The longest status that is shown, in characters.
const STATUS: usize = 1000;
/// Turns whose display is remembered.
const REMEMBERED: usize = 512;

type Key = (ChatRef, TurnId);

/// What turns show.
#[derive(Default)]
pub(super) struct Displays(Mutex<HashMap<Key, Display>>);

struct Display {
    since: Instant,
    /// As it was shown last.
    text: String,
}

impl Displays {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Display>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the turn has been known, and what it showed last.
    fn known(&self, key: &Key) -> (Duration, String) {
        let mut displays = self.lock();
        if displays.len() >= REMEMBERED && !displays.contains_key(key) {
            let oldest = displays.iter().min_by_key(|(_, display)| display.since).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| displays.remove(&oldest));
        }
        let now = Instant::now();
        let display = displays.entry(key.clone()).or_insert_with(|| Display { since: now, text: String::new() });
        (now - display.since, display.text.clone())
    }

    fn shows(&self, key: &Key, text: &str) {
        if let Some(display) = self.lock().get_mut(key) {
            display.text = text.to_owned();
        }
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

impl Inner {
    pub(super) async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        shown: Option<&str>,
        room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        let Way { target, anew } = self.way(chat)?;
        let key = (chat.clone(), progress.turn);
        let Status::Working { status, draft } = &progress.status else {
            self.displays.forget(&key);
            if let Some(message) = shown.and_then(message_id).filter(|_| !anew) {
                self.api.delete(target, message).await?;
            }
            return Ok(None);
        };
        if room.has(Showing::Mark) {
            self.typing(target).await?;
        }
        // What the turn showed is in the chat of before; its replies come as new messages.
        if anew {
            return Ok(None);
        }
        let (since, before) = self.displays.known(&key);
        if draft.trim().is_empty() && since < AFTER && shown.is_none() {
            return Ok(None);
        }
        let (markup, plain) = words(status, draft);
        let same = shown.is_some() && before == markup;
        if same || plain.trim().is_empty() || !room.has(Showing::Message) {
            return Ok(shown.map(str::to_owned));
        }
        let words = Text { markup: &markup, plain: &plain, keyboard: None, previews: false };
        let place = Place::from(target).answering(progress.reply_to.as_deref());
        let id = self.api.show(place, &words, shown.and_then(message_id)).await?;
        self.displays.shows(&key, &markup);
        Ok(Some(id))
    }

    async fn typing(&self, target: Target) -> Result<(), Failure> {
        let params = SendChatActionParams::builder()
            .chat_id(target.chat)
            .maybe_message_thread_id(target.thread)
            .action(ChatAction::Typing)
            .build();
        self.api.call::<IgnoredAny>("sendChatAction", &params, TYPING).await.map(drop).map_err(Failure::harmless)
    }
}

/// The draft as far as it is written, or else the status; as markup and plain.
fn words(status: &str, draft: &str) -> (String, String) {
    text::draft(draft).unwrap_or_else(|| {
        let status = cut(status.trim(), STATUS);
        (format!("<i>{}</i>", escape(&status)), status)
    })
}
