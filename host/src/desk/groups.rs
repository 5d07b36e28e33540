//! A message in each group of its chat: what one of several does not take now waits for it alone, on the disk, with its files.

use super::files::Placed;
use super::message::{Found, goes_on};
use super::{Desk, failed};
use crate::channels::{Arrival, NotTaken, Taken, Written};
use crate::router::DropReason;
use crate::router::decide::Fate;
use crate::store::late::{Held, MOST_LATE, NewLate};
use crate::store::wirings::Wiring;

/// The most messages of one chat that wait for one of its groups; more than people write while a backup is put back.
const MOST_STUCK: u64 = 200;

/// What a group made of a message; an error is a drop that is not counted yet.
type Met = Result<Taken, DropReason>;

impl Desk {
    /// Each group's fate: what one does not take keeps it from no other.
    pub(super) async fn groups(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        fates: Vec<Fate>,
    ) -> Result<Taken, NotTaken> {
        let mut taken = Taken::Dropped(DropReason::NotEngaged.as_str());
        let (mut drops, mut missed) = (Vec::new(), None);
        for (wiring, fate) in found.wirings.iter().zip(fates) {
            let now = match self.of_group(arrival, written, found, (wiring, fate)).await {
                Ok(Ok(now)) => now,
                Ok(Err(reason)) => {
                    drops.push(reason);
                    Taken::Dropped(reason.as_str())
                }
                Err(why) => {
                    missed.get_or_insert(why);
                    continue;
                }
            };
            if !matches!(taken, Taken::Accepted | Taken::Known) || now == Taken::Accepted {
                taken = now;
            }
        }
        // All are offered it again: the others know it by its id, and who drops it does so once.
        if let Some(why) = missed {
            return Err(why);
        }
        for reason in drops {
            self.dropped(arrival, reason).await?;
        }
        Ok(taken)
    }

    /// One group's fate. Where others listen too, what it does not take now waits for it alone, and so does what comes after,
    /// but for what ends its turn.
    async fn of_group(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        (wiring, fate): (&Wiring, Fate),
    ) -> Result<Met, NotTaken> {
        // Behind a mention that waits, a thread may go on.
        let may_go_on = fate == Fate::Drop(DropReason::NotEngaged) && goes_on(wiring);
        let kept = may_go_on || matches!(fate, Fate::Accept | Fate::Context | Fate::AskSender);
        if kept && !found.stops(&fate) && found.ahead.stuck.contains(&wiring.folder) {
            return self.wait_for(wiring, arrival, written, known(found, wiring)).await;
        }
        let mut placed = known(found, wiring);
        let met = match fate {
            Fate::Accept => {
                let name = (&arrival.chat, arrival.platform_id.as_str());
                match self.placed(&wiring.folder, written, name, &found.placed).await {
                    Ok(files) => {
                        placed = Some(files.clone());
                        self.accept(arrival, written, found, (wiring, files)).await
                    }
                    Err(why) => Err(why),
                }
            }
            Fate::Context => self.overhear(arrival, written, wiring).await,
            Fate::AskSender => self.ask_sender(arrival, written, &wiring.folder).await,
            Fate::Refuse(act) => self.refuse(arrival, act).await,
            Fate::Drop(reason) => return Ok(Err(reason)),
        };
        match met {
            Err(why) if kept && found.wirings.len() > 1 => {
                tracing::warn!(group = %wiring.folder, chat = %arrival.chat, %why, "it waits for this group alone");
                self.wait_for(wiring, arrival, written, placed).await
            }
            met => met.map(Ok),
        }
    }

    /// Has a message wait for one of the groups of its chat, which is in trouble or has earlier ones waiting. It was counted, and its
    /// files are what is placed, where that was done.
    async fn wait_for(
        &self,
        wiring: &Wiring,
        arrival: &Arrival,
        written: &Written,
        placed: Option<Placed>,
    ) -> Result<Met, NotTaken> {
        let folder = &wiring.folder;
        let placed: Vec<Placed> = placed.into_iter().filter(|_| !written.files.is_empty()).collect();
        let json = |error: serde_json::Error| NotTaken::Failed(error.to_string());
        let late = NewLate {
            chat: arrival.chat.clone(),
            platform_id: arrival.platform_id.clone(),
            user_id: arrival.sender.id.clone(),
            folder: Some(folder.clone()),
            arrival: serde_json::to_string(arrival).map_err(json)?,
            placed: serde_json::to_string(&placed).map_err(json)?,
            told: None,
        };
        match self.inner.stores.central().hold_late(late, MOST_STUCK).await.map_err(failed)? {
            Held::Full => Ok(Err(DropReason::Backlog)),
            // Of other chats: its channel has it wait.
            Held::NoRoom => Err(NotTaken::Full(MOST_LATE)),
            Held::Before => Ok(Ok(Taken::Known)),
            Held::Now => {
                self.inner.late.notify_one();
                Ok(Ok(Taken::Accepted))
            }
        }
    }
}

/// Its files, where they were put into the group's workspace before.
fn known(found: &Found, wiring: &Wiring) -> Option<Placed> {
    found.placed.iter().find(|placed| placed.folder == wiring.folder).cloned()
}
