//! What becomes of a message.

use cofferdam_protocol::ids::Folder;

use super::floods::Pace;
use super::{Desk, failed, words};
use crate::channels::{Arrival, NotTaken, Taken, Written};
use crate::model::chat::Inbound;
use crate::model::engage::EngageMode;
use crate::model::own_command::Asks;
use crate::model::people::{Act, UnknownPolicy};
use crate::router::decide::{Decision, Fate, Listener, Said, decide};
use crate::router::{self, DropReason, MAX_MESSAGE_BYTES, Routed};
use crate::store::people::Known;
use crate::store::posts::NewPost;
use crate::store::wirings::{ChatRow, Wiring};

/// What is looked up about a message.
pub(super) struct Found {
    pub(super) wirings: Vec<Wiring>,
    pub(super) chat: Option<ChatRow>,
    pub(super) sender: Known,
    pub(super) asks: Asks,
}

impl Desk {
    pub(super) async fn message(&self, arrival: &Arrival, written: &Written) -> Result<Taken, NotTaken> {
        match self.inner.floods.count(&arrival.chat.channel, &arrival.sender.id) {
            Pace::After(wait) => tokio::time::sleep(wait).await,
            Pace::FirstAfter(wait) => {
                let post = NewPost::new(arrival.chat.clone(), words::flood());
                self.inner.stores.central().post(post).await.map_err(failed)?;
                self.told([arrival.chat.clone()]);
                tokio::time::sleep(wait).await;
            }
            Pace::Over => return self.dropped(arrival, DropReason::Flood).await,
        }
        let found = self.find(arrival, written).await.map_err(failed)?;
        let listeners = self.listeners(arrival, written, &found).await?;
        let policy = policy(arrival, &found);
        let said = Said {
            kind: arrival.kind,
            addressed: written.addressed,
            asks: &found.asks,
            empty: written.text.trim().is_empty() && written.files.is_empty(),
            too_large: written.text.len() > MAX_MESSAGE_BYTES,
        };
        match decide(said, policy, found.sender.anywhere(), &listeners) {
            Decision::Own => self.own(arrival, &found).await,
            Decision::AskWiring => self.ask_wiring(arrival, written).await,
            Decision::Drop(DropReason::AboveRole) => {
                let act = found.asks.act().unwrap_or(Act::Decide);
                self.refuse(arrival, act).await
            }
            Decision::Drop(reason) => self.dropped(arrival, reason).await,
            Decision::Groups(fates) => self.groups(arrival, written, &found, fates).await,
        }
    }

    async fn find(&self, arrival: &Arrival, written: &Written) -> Result<Found, crate::store::StoreError> {
        let (central, chat) = (self.inner.stores.central(), &arrival.chat);
        let sender = central.known(&chat.channel, &arrival.sender.id).await?;
        let direct = arrival.kind == crate::model::chat::ChatKind::Direct;
        if sender.person.is_some() && direct && sender.direct.as_deref() != Some(&chat.chat_id) {
            central.put_direct(&chat.channel, &arrival.sender.id, &chat.chat_id).await?;
            self.look_soon();
        }
        Ok(Found {
            wirings: central.wirings_of(&chat.channel, &chat.chat_id).await?,
            chat: central.chat(&chat.channel, &chat.chat_id).await?,
            sender,
            asks: Asks::parse(&written.text),
        })
    }

    async fn listeners(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
    ) -> Result<Vec<Listener>, NotTaken> {
        let mut listeners = Vec::with_capacity(found.wirings.len());
        for wiring in &found.wirings {
            let mut listener = router::listener(wiring, found.sender.role(&wiring.folder));
            listener.fits = fits(wiring, &written.text);
            if wiring.terms.sticky && wiring.terms.engage != EngageMode::Always {
                let central = self.inner.stores.central();
                listener.goes_on = central.is_engaged(&arrival.chat, &wiring.folder).await.map_err(failed)?;
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }

    /// Each group's fate. What one did not take, all are offered again: the others know it by its id.
    async fn groups(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        fates: Vec<Fate>,
    ) -> Result<Taken, NotTaken> {
        let mut taken = Taken::Dropped(DropReason::NotEngaged.as_str());
        for (wiring, fate) in found.wirings.iter().zip(fates) {
            let now = match fate {
                Fate::Accept => self.accept(arrival, written, found, wiring).await?,
                Fate::Context => self.overhear(arrival, written, wiring).await?,
                Fate::AskSender => self.ask_sender(arrival, written, &wiring.folder).await?,
                Fate::Refuse(act) => self.refuse(arrival, act).await?,
                Fate::Drop(reason) => self.dropped(arrival, reason).await?,
            };
            if !matches!(taken, Taken::Accepted | Taken::Known) || now == Taken::Accepted {
                taken = now;
            }
        }
        Ok(taken)
    }

    async fn accept(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        wiring: &Wiring,
    ) -> Result<Taken, NotTaken> {
        let command = match &found.asks {
            Asks::Conversation(command) => Some(command.clone()),
            Asks::Agent | Asks::Own(_) => None,
        };
        let mut message = inbound(arrival, &written.text, written.output_schema.clone());
        self.place(&wiring.folder, written, &mut message).await?;
        let taken = self.accept_as(&wiring.folder, wiring, message, command).await?;
        if wiring.terms.sticky && wiring.terms.engage != EngageMode::Always {
            let central = self.inner.stores.central();
            central.engage(&arrival.chat, &wiring.folder).await.map_err(failed)?;
        }
        Ok(taken)
    }

    /// ① Puts a message into the inbox of a wiring's group.
    pub(super) async fn accept_as(
        &self,
        folder: &Folder,
        wiring: &Wiring,
        message: Inbound,
        command: Option<crate::model::command::Command>,
    ) -> Result<Taken, NotTaken> {
        let mode = wiring.terms.session_mode;
        match router::accept(&self.inner.stores, folder, mode, message, command).await.map_err(failed)? {
            Routed::Accepted(store, accepted) => {
                (self.inner.tells.accepted)(store.folder(), &accepted);
                Ok(if accepted.duplicate { Taken::Known } else { Taken::Accepted })
            }
            Routed::Dropped(reason) => Ok(Taken::Dropped(reason.as_str())),
            Routed::Full(waiting) => Err(NotTaken::Full(waiting)),
        }
    }

    async fn overhear(&self, arrival: &Arrival, written: &Written, wiring: &Wiring) -> Result<Taken, NotTaken> {
        let mut text = written.text.clone();
        for file in &written.files {
            text += &format!(" [file {}]", crate::files::safe_name(&file.name));
        }
        let key = wiring.terms.session_mode.session_key(&arrival.chat);
        let store = self.inner.stores.group(&wiring.folder).await.map_err(failed)?;
        store.overhear(inbound(arrival, &text, None), key).await.map_err(failed)?;
        Ok(Taken::Accepted)
    }

    /// Tells who asked for more than they may, and counts that.
    async fn refuse(&self, arrival: &Arrival, act: Act) -> Result<Taken, NotTaken> {
        let post = NewPost::new(arrival.chat.clone(), words::refused(act));
        if !self.answer(arrival, Some(post)).await? {
            return Ok(Taken::Known);
        }
        self.dropped(arrival, DropReason::AboveRole).await
    }

    /// Says something to an arrival's chat, once for each arrival. Answers whether this was the first time.
    pub(super) async fn answer(&self, arrival: &Arrival, post: Option<NewPost>) -> Result<bool, NotTaken> {
        let central = self.inner.stores.central();
        let first = central.answer(&arrival.chat, &arrival.platform_id, post).await.map_err(failed)?;
        self.told([arrival.chat.clone()]);
        Ok(first)
    }
}

/// What becomes of strangers in this chat.
pub(super) fn policy(arrival: &Arrival, found: &Found) -> UnknownPolicy {
    let said = found.chat.as_ref().and_then(|chat| chat.unknown);
    said.unwrap_or(UnknownPolicy::of(arrival.kind))
}

/// Whether a wiring's pattern fits a text. It was checked when it was made; one that is none fits nothing.
fn fits(wiring: &Wiring, text: &str) -> bool {
    let pattern = wiring.terms.pattern.as_deref();
    pattern.and_then(|pattern| regex::Regex::new(pattern).ok()).is_some_and(|pattern| pattern.is_match(text))
}

/// The message as a group takes it.
pub(super) fn inbound(arrival: &Arrival, text: &str, output_schema: Option<String>) -> Inbound {
    Inbound {
        chat: arrival.chat.clone(),
        platform_id: arrival.platform_id.clone(),
        sender: arrival.sender.name.clone(),
        sender_id: Some(arrival.sender.id.clone()),
        text: text.to_owned(),
        output_schema,
        files: Vec::new(),
    }
}
