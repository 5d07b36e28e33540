//! Hands an arrival in, and tells Telegram what came of a button's press.

use std::sync::Arc;
use std::time::Duration;

use frankenstein::methods::AnswerCallbackQueryParams;

use super::albums::Albums;
use super::api::Api;
use super::seen::{Moving, Refused, Seen};
use super::send::Moved;
use super::words::cut;
use crate::channels::{Arrival, Intake, NotTaken, Taken};
use crate::model::chat::ChatRef;

/// The longest text that a press is answered with, in characters (Telegram's own limit).
const ANSWER: usize = 200;
/// How long telling it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where arrivals go. Clones are the same.
#[derive(Clone)]
pub(super) struct Taking {
    pub(super) api: Arc<Api>,
    pub(super) moved: Moved,
    pub(super) albums: Albums,
    pub(super) intake: Arc<dyn Intake>,
}

/// What an update has for somebody.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// To be handed in.
    Take(Box<Arrival>, Beside),
    /// A group has another id.
    Move(Moving),
}

/// What an arrival has at Telegram only.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    /// What Telegram waits by for an answer, if it is a press.
    press: Option<String>,
    /// The album that it is of.
    album: Option<String>,
}

impl Task {
    /// Of what was seen, if that is for anybody; who is turned away is counted.
    pub(super) async fn of(seen: Seen, intake: &dyn Intake) -> Option<Self> {
        match seen {
            Seen::Wrote(arrival, album) => Some(Self::Take(Box::new(arrival), Beside { album, press: None })),
            Seen::Pressed(arrival, id) => {
                Some(Self::Take(Box::new(arrival), Beside { press: Some(id), album: None }))
            }
            Seen::Moved(moving) => Some(Self::Move(moving)),
            Seen::Nothing(why) => {
                tracing::debug!(why, "an update is passed over");
                None
            }
            Seen::Refused(Refused { chat, reason }) => {
                intake.refused(&chat, reason).await;
                None
            }
        }
    }

    /// The chat that it is of, on this channel; a group's move comes behind what was said in the group.
    pub(super) fn chat(&self, channel: &str) -> ChatRef {
        match self {
            Self::Take(arrival, _) => arrival.chat.clone(),
            Self::Move(moving) => {
                ChatRef { channel: channel.to_owned(), chat_id: moving.from.to_string(), thread_id: None }
            }
        }
    }

    /// The platform's id of the message, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Take(arrival, _) => &arrival.platform_id,
            Self::Move(_) => "(the group's new id)",
        }
    }
}

impl Taking {
    /// Does what is to be done for it, durably.
    pub(super) async fn done(&self, task: Task) -> Result<(), NotTaken> {
        match task {
            Task::Take(arrival, beside) => self.take(*arrival, beside).await,
            Task::Move(moving) => self.moved.tell(self.intake.as_ref(), moving).await,
        }
    }

    async fn take(&self, mut arrival: Arrival, Beside { press, album }: Beside) -> Result<(), NotTaken> {
        self.albums.mark(album.as_deref(), &mut arrival);
        let taken = self.intake.take(arrival).await?;
        if let Some(id) = press {
            let text = match taken {
                Taken::Done(text) if !text.is_empty() => Some(cut(&text, ANSWER)),
                _ => None,
            };
            tokio::spawn(answer(self.api.clone(), id, text));
        }
        Ok(())
    }
}

/// Ends the button's waiting mark. A hint: Telegram forgets a press after a while, and the press was taken all the same.
async fn answer(api: Arc<Api>, id: String, text: Option<String>) {
    let params = AnswerCallbackQueryParams::builder().callback_query_id(id).maybe_text(text).build();
    if let Err(error) = api.call::<bool>("answerCallbackQuery", &params, PATIENCE).await {
        tracing::debug!(%error, "a press was not answered");
    }
}
