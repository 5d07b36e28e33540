//! One turn's display in its chat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_protocol::ids::TurnId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::draft::Draft;
use super::work::Work;
use crate::channels::{Channel, Progress, Room, SendError, Showing, Shown, Status};
use crate::model::chat::Due;
use crate::pace::Gate;
use crate::store::group::shown::ShownMessage;
use crate::store::{StoreError, Stores, chance};

/// A turn that ends sooner shows nothing.
const FIRST: Duration = Duration::from_millis(500);
/// How long after the channel's pace a status that did not change is given to the channel again: typing marks fade after
/// about five seconds.
pub(super) const RENEW: Duration = Duration::from_secs(3);
/// The longest that a channel may take; after that its chat has seen enough of the turn's progress.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What was skipped is tried again after this part of the channel's pace at least, and all of it at most.
const SOONEST: f64 = 0.25;
/// The longest pause of a platform that the end of a display waits for.
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
    /// As the channel was when the turn began.
    pub(super) gate: Arc<Gate>,
    pub(super) stop: CancellationToken,
}

/// What came of a try to show something.
enum Came {
    Shown,
    /// There was no room for it: what is new by then is shown next.
    Skipped,
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
            let pace = self.channel.progress_pace(&self.due.chat);
            let again = Instant::now() + pace;
            let status = self.work.borrow_and_update().text();
            self.draft.catch_up();
            let came = self.show(Status::Working { status, draft: self.draft.text().to_owned() }).await;
            if matches!(came, Came::Never) {
                // What it may show by now is to go away with the turn all the same.
                ended.cancelled().await;
                break;
            }
            if matches!(came, Came::Skipped) {
                // By chance: those who were turned away together are not to come back together.
                let pause = pace.mul_f64(SOONEST + (1.0 - SOONEST) * chance());
                tokio::select! {
                    () = ended.cancelled() => break,
                    () = sleep(pause) => continue,
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
        self.pause_passes().await;
        self.show(Status::Ended).await;
    }

    /// What is shown goes away after a pause of the platform, not in it.
    async fn pause_passes(&self) {
        let passes = async {
            while let Some(rest) = self.gate.rests(&self.due.chat) {
                sleep(rest).await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = timeout(LONGEST_PAUSE, passes) => {}
        }
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
        let (chat, gate) = (&self.due.chat, &self.gate);
        if status != Status::Ended && gate.rests(chat).is_some() {
            return Came::Skipped;
        }
        let (rate, skipped) = (self.channel.chat_rate(chat), AtomicBool::new(false));
        let room = |what| {
            let has = gate.shows(chat, rate, what);
            if !has && what == Showing::Message {
                skipped.store(true, Ordering::Relaxed);
            }
            has
        };
        match timeout(PATIENCE, self.shown_alone(status, &room)).await {
            Ok(Ok(Ok(()))) if skipped.load(Ordering::Relaxed) => Came::Skipped,
            Ok(Ok(Ok(()))) => Came::Shown,
            Ok(Ok(Err(error))) => {
                gate.heed(chat, &error);
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
    async fn shown_alone(&self, status: Status, room: &dyn Room) -> Result<Result<(), SendError>, StoreError> {
        let _alone = self.shown.alone(&self.due.folder, self.turn).await;
        // A channel that changes no message has none to remember, and costs no look into the database.
        let edits = self.channel.abilities().edit;
        let shown = match (&status, edits) {
            (_, false) => None,
            (Status::Working { .. }, true) => self.stores.group(&self.due.folder).await?.shown(self.turn).await?,
            (Status::Ended, true) => self.stores.group(&self.due.folder).await?.shown_ends(self.turn).await?,
        };
        let shown = shown.map(|shown| shown.id);
        let reply_to = match (&status, edits && shown.is_none() && self.channel.abilities().replies) {
            (Status::Working { .. }, true) => {
                self.stores.group(&self.due.folder).await?.reply_to(self.turn, &self.due.chat).await?
            }
            _ => None,
        };
        let progress = Progress { turn: self.turn, status, reply_to };
        let now = match self.channel.progress(&self.due.chat, &progress, shown.as_deref(), room).await {
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
