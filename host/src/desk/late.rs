//! Who writes too fast is slowed, and nobody else: what they write beyond their pace waits in the store, and is taken in from there,
//! one after the other, by a task of each line's own: what a sender wrote in one chat. So is what was held for an approval, once that is
//! given, and what one of several groups did not take. The channel is told at once that it is taken: it is on the disk.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use cofferdam_protocol::ids::Folder;
use futures_util::FutureExt;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::files::Placed;
use super::floods::MOST_WAITING;
use super::message::Found;
use super::{Desk, EVERY, failed, words};
use crate::channels::{Arrival, Content, NotTaken, Pauses, Taken, Writers, Written};
use crate::error_chain;
use crate::router::DropReason;
use crate::router::decide::{Decision, Fate};
use crate::store::late::{Held, Late, Line, NewLate, Writer};
use crate::store::posts::NewPost;

impl Desk {
    /// Has a message wait when its sender writes too fast, or when earlier ones of theirs there do: a chat's order is kept. None: it
    /// goes on.
    pub(super) async fn slow(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        decision: &Decision,
    ) -> Result<Option<Taken>, NotTaken> {
        let writer = Writer { channel: arrival.chat.channel.clone(), user_id: arrival.sender.id.clone() };
        if is_urgent(found, decision) && self.inner.commands.may(&writer) {
            return Ok(None);
        }
        let floods = &self.inner.floods;
        // What is dropped, or only overheard, costs nobody anything.
        let behind = found.ahead.here && !decision.is_drop();
        if !behind && (!decision.wakes() || floods.may(&writer)) {
            return Ok(None);
        }
        let tells = !behind && !floods.is_told(&writer);
        let told = tells.then(|| NewPost::new(arrival.chat.clone(), words::flood()));
        let placed = match found.ahead.late < MOST_WAITING {
            true => self.place_ahead(arrival, written, found, decision).await?,
            // It does not wait, unless it does already.
            false => Vec::new(),
        };
        let json = |error: serde_json::Error| NotTaken::Failed(error.to_string());
        let late = NewLate {
            chat: arrival.chat.clone(),
            platform_id: arrival.platform_id.clone(),
            user_id: arrival.sender.id.clone(),
            folder: None,
            arrival: serde_json::to_string(arrival).map_err(json)?,
            placed: serde_json::to_string(&placed).map_err(json)?,
            told,
        };
        match self.inner.stores.central().hold_late(late, MOST_WAITING).await.map_err(failed)? {
            Held::Full | Held::NoRoom => return self.dropped(arrival, DropReason::Flood).await.map(Some),
            Held::Before => return Ok(Some(Taken::Known)),
            Held::Now => {}
        }
        if tells {
            floods.told(&writer);
            self.told([arrival.chat.clone()]);
        }
        self.inner.late.notify_one();
        Ok(Some(Taken::Accepted))
    }

    /// Files that come with a message that waits are fetched now: once it is said to be taken, the platform may forget them.
    /// One of several groups that cannot have them now holds up no other: they are fetched again when it is the message's turn.
    async fn place_ahead(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        decision: &Decision,
    ) -> Result<Vec<Placed>, NotTaken> {
        let mut placed = Vec::new();
        for folder in takers(written, found, decision) {
            let name = (&arrival.chat, arrival.platform_id.as_str());
            match self.placed(folder, written, name, &[]).await {
                Ok(files) => placed.push(files),
                Err(why) if found.wirings.len() > 1 => {
                    tracing::warn!(group = %folder, chat = %arrival.chat, %why, "its files are fetched later");
                }
                Err(why) => return Err(why),
            }
        }
        Ok(placed)
    }

    /// Files for all groups that are to have a message, or for none.
    pub(super) async fn place_for_all(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        decision: &Decision,
    ) -> Result<Vec<Placed>, NotTaken> {
        let mut placed = Vec::new();
        for folder in takers(written, found, decision) {
            let name = (&arrival.chat, arrival.platform_id.as_str());
            placed.push(self.placed(folder, written, name, &[]).await?);
        }
        Ok(placed)
    }

    /// Takes in what waits, until it is told to stop: each line's at its sender's pace, and as soon as anybody takes it.
    pub(super) async fn catch_up(&self, stop: CancellationToken) {
        let (mut tasks, mut busy) = (JoinSet::new(), HashMap::<Line, AbortHandle>::new());
        loop {
            busy.retain(|_, task| !task.is_finished());
            match self.inner.stores.central().late_lines().await {
                Ok(lines) => {
                    for line in lines.into_iter().filter(|line| !busy.contains_key(line)).collect::<Vec<_>>() {
                        let (desk, of) = (self.clone(), line.clone());
                        busy.insert(line, tasks.spawn(async move { desk.catch_up_with(&of).await }));
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error_chain(&error), "whose messages wait could not be read; tried again");
                }
            }
            tokio::select! {
                // What a task is at is done, or done again at the next start.
                () = stop.cancelled() => return,
                () = self.inner.late.notified() => {}
                Some(_) = tasks.join_next() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Takes in what waits in one line.
    pub(super) async fn catch_up_with(&self, line: &Line) {
        let writer = &line.writer;
        let mut pauses = Pauses::default();
        let mut paid = false;
        loop {
            let next = self.inner.stores.central().next_late(line).await.map_err(failed);
            let taken = match next {
                Ok(None) => return,
                // What waits longer than its pace asks for may be changed meanwhile: it is read again.
                Ok(Some(late)) if !paid && !late.counted => {
                    self.inner.floods.until_may(writer).await;
                    paid = true;
                    continue;
                }
                Ok(Some(late)) => {
                    // A bug of ours costs it a pause, as in `Counter::take`: it is still there, and would come round at once.
                    let taken = AssertUnwindSafe(self.take_late(line, late)).catch_unwind().await;
                    taken.unwrap_or_else(|_| Err(NotTaken::Failed("it broke off inside".to_owned())))
                }
                Err(why) => Err(why),
            };
            match taken {
                Ok(()) => {
                    (paid, pauses) = (false, Pauses::default());
                }
                Err(why) => {
                    let Writer { channel, user_id } = writer;
                    tracing::warn!(channel, sender = user_id, chat = line.chat_id, %why, "held back longer");
                    tokio::time::sleep(pauses.next(None)).await;
                }
            }
        }
    }

    async fn take_late(&self, line: &Line, late: Late) -> Result<(), NotTaken> {
        match (serde_json::from_str(&late.arrival), serde_json::from_str(&late.placed)) {
            (Ok(arrival), Ok(placed)) => self.take_again(&arrival, placed, line.folder.as_ref()).await?,
            // Ours, written as JSON: a row that somebody changed by hand.
            _ => tracing::error!(row = late.id, "a message that waited cannot be read; it is left out"),
        }
        crate::hooks::crash_point("late.taken");
        self.inner.stores.central().let_go_late(late).await.map_err(failed)
    }

    /// Takes in a message that waited here, for its sender's pace or for an approval; or for one group only.
    pub(super) async fn take_again(
        &self,
        arrival: &Arrival,
        placed: Vec<Placed>,
        only: Option<&Folder>,
    ) -> Result<(), NotTaken> {
        let arrival = &self.where_it_is(arrival.clone()).await?;
        let Content::Message(written) = &arrival.content else { return Ok(()) };
        let mut found = self.find(arrival, &written.text).await.map_err(failed)?;
        found.placed = placed;
        if let Some(only) = only {
            found.wirings.retain(|wiring| wiring.folder == *only);
            found.ahead.stuck.clear();
            if found.wirings.is_empty() {
                return self.dropped(arrival, DropReason::Unwired).await.map(drop);
            }
        }
        let decision = self.asked_of(arrival, self.decided(arrival, written, &found))?;
        if self.done(arrival, written, &found, decision).await? == Taken::Known {
            // It was taken before, and may have been changed between that and its being forgotten here.
            self.edit_in_groups(arrival, written, &found).await?;
        }
        Ok(())
    }

    /// Nobody is asked about programs, also when the chat's policy has changed since they called.
    fn asked_of(&self, arrival: &Arrival, decision: Decision) -> Result<Decision, NotTaken> {
        match self.writers(arrival) {
            Writers::People => Ok(decision),
            Writers::Programs => Ok(decision.unasked()),
            Writers::Unknown if decision.clone().unasked() == decision => Ok(decision),
            Writers::Unknown => Err(NotTaken::Failed("nobody is asked while its channel does not run".to_owned())),
        }
    }
}

/// Commands that are of no use later: Cofferdam's own, and the one that ends a turn. They overtake, so many at once as messages may.
fn is_urgent(found: &Found, decision: &Decision) -> bool {
    match decision {
        Decision::Own => true,
        Decision::Groups(fates) => fates.iter().any(|fate| found.stops(fate)),
        Decision::AskWiring | Decision::Drop(_) => false,
    }
}

/// The groups that are to have a message with its files, if it has any.
fn takers<'a>(written: &Written, found: &'a Found, decision: &'a Decision) -> impl Iterator<Item = &'a Folder> {
    let fates: &[Fate] = match decision {
        Decision::Groups(fates) if !written.files.is_empty() => fates,
        _ => &[],
    };
    let groups = found.wirings.iter().zip(fates);
    groups.filter(|(_, fate)| **fate == Fate::Accept).map(|(wiring, _)| &wiring.folder)
}
