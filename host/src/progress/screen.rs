//! One turn's display in its chat.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::ids::TurnId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::draft::Draft;
use super::work::Work;
use crate::channels::{Channel, Progress, SendError, Shown, Status};
use crate::model::chat::Due;
use crate::store::group::shown::ShownMessage;
use crate::store::{StoreError, Stores};

/// A turn that ends sooner shows nothing.
const FIRST: Duration = Duration::from_millis(500);
/// How long after the channel's pace a status that did not change is given to the channel again: typing marks fade after
/// about five seconds.
pub(super) const RENEW: Duration = Duration::from_secs(3);
/// The longest that a channel may take; after that its chat has seen enough of the turn's progress.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause that a platform is granted for what is only a display.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(super) struct Screen {
    pub(super) channel: Arc<dyn Channel>,
    pub(super) due: Due,
    pub(super) turn: TurnId,
    pub(super) work: watch::Receiver<Work>,
    pub(super) draft: Draft,
    pub(super) ended: CancellationToken,
    pub(super) stores: Stores,
    pub(super) shown: Shown,
}

/// What came of a try to show something.
enum Came {
    Shown,
    /// Not before this pause is over.
    Later(Duration),
    /// The channel hangs: no more of this turn's.
    Never,
}

impl Screen {
    pub(super) async fn run(mut self) {
        let ended = self.ended.clone();
        tokio::select! {
            () = ended.cancelled() => return,
            () = sleep(FIRST) => {}
        }
        if !self.is_wanted().await {
            return;
        }
        loop {
            let mut again = Instant::now() + self.channel.progress_pace(&self.due.chat);
            let status = self.work.borrow_and_update().text();
            self.draft.catch_up();
            match self.show(Status::Working { status, draft: self.draft.text().to_owned() }).await {
                Came::Shown => {}
                Came::Later(pause) => again += pause,
                Came::Never => {
                    // What it may show by now is to go away with the turn all the same.
                    ended.cancelled().await;
                    break;
                }
            }
            tokio::select! {
                () = ended.cancelled() => break,
                () = sleep_until(again) => {}
            }
            tokio::select! {
                () = ended.cancelled() => break,
                Ok(()) = self.work.changed() => {}
                () = self.draft.grows() => {}
                () = sleep(RENEW) => {}
            }
        }
        self.show(Status::Ended).await;
    }

    async fn is_wanted(&self) -> bool {
        let Due { chat, folder } = &self.due;
        match self.stores.central().wirings_of(&chat.channel, &chat.chat_id).await {
            Ok(wirings) => wirings.iter().any(|wiring| wiring.folder == *folder && wiring.terms.progress),
            Err(error) => {
                tracing::debug!(%chat, error = %crate::error_chain(&error), "no progress is shown");
                false
            }
        }
    }

    async fn show(&self, status: Status) -> Came {
        let chat = &self.due.chat;
        match timeout(PATIENCE, self.shown_alone(status)).await {
            Ok(Ok(Ok(()))) => Came::Shown,
            Ok(Ok(Err(SendError::Later { after: Some(after), .. }))) => Came::Later(after.min(LONGEST_PAUSE)),
            Ok(Ok(Err(error))) => {
                tracing::debug!(%chat, %error, "progress was not shown");
                Came::Shown
            }
            Ok(Err(error)) => {
                tracing::debug!(%chat, error = %crate::error_chain(&error), "progress was not shown");
                Came::Shown
            }
            Err(_) => {
                tracing::debug!(%chat, "the channel does not take progress; no more of this turn's");
                Came::Never
            }
        }
    }

    /// Shows it in the message that shows the turn, and keeps which that is. A reply that takes its place waits meanwhile.
    async fn shown_alone(&self, status: Status) -> Result<Result<(), SendError>, StoreError> {
        let _alone = self.shown.alone(&self.due.folder, self.turn).await;
        // A channel that changes no message has none to remember, and costs no look into the database.
        let edits = self.channel.abilities().edit;
        let shown = match (&status, edits) {
            (_, false) => None,
            (Status::Working { .. }, true) => self.stores.group(&self.due.folder).await?.shown(self.turn).await?,
            (Status::Ended, true) => self.stores.group(&self.due.folder).await?.shown_ends(self.turn).await?,
        };
        let shown = shown.map(|shown| shown.id);
        let progress = Progress { turn: self.turn, status };
        let now = match self.channel.progress(&self.due.chat, &progress, shown.as_deref()).await {
            Ok(now) => now,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(id) = now.filter(|id| edits && shown.as_ref() != Some(id) && progress.status != Status::Ended) {
            let store = self.stores.group(&self.due.folder).await?;
            store.keep_shown(self.turn, ShownMessage { chat: self.due.chat.clone(), id }).await?;
        }
        Ok(Ok(()))
    }
}
