//! What becomes of a message.

use cofferdam_protocol::ids::Folder;

use super::files::Placed;
use super::{Desk, failed, words};
use crate::channels::{Arrival, NotTaken, Taken, Writers, Written};
use crate::model::chat::{ChatKind, Inbound};
use crate::model::command::Command;
use crate::model::engage::EngageMode;
use crate::model::own_command::Asks;
use crate::model::people::{Act, UnknownPolicy};
use crate::router::decide::{Decision, Fate, Listener, Said, decide};
use crate::router::{self, DropReason, MAX_MESSAGE_BYTES, Routed};
use crate::store::StoreError;
use crate::store::late::Ahead;
use crate::store::looked::Looked;
use crate::store::people::Known;
use crate::store::posts::NewPost;
use crate::store::wirings::{ChatRow, Wiring};

/// What is looked up about a message.
pub(super) struct Found {
    pub(super) wirings: Vec<Wiring>,
    pub(super) chat: Option<ChatRow>,
    pub(super) sender: Known,
    /// The groups with which its thread goes on.
    engaged: Vec<Folder>,
    /// Earlier ones of its sender's that wait.
    pub(super) ahead: Ahead,
    pub(super) asks: Asks,
    /// Its files, where they are in a workspace already.
    pub(super) placed: Vec<Placed>,
}

impl Found {
    /// Whether it ends a group's turn there: that is of no use later.
    pub(super) fn stops(&self, fate: &Fate) -> bool {
        *fate == Fate::Accept && self.asks == Asks::Conversation(Command::Stop)
    }
}

impl Desk {
    pub(super) async fn message(
        &self,
        arrival: &Arrival,
        written: &Written,
        writers: Writers,
    ) -> Result<Taken, NotTaken> {
        let mut found = self.find(arrival, &written.text).await.map_err(failed)?;
        let decision = self.decided(arrival, written, &found);
        if writers == Writers::Programs {
            let decision = decision.unasked();
            // A program has its files only while it waits for our answer: either all groups have them, or none has the message.
            found.placed = self.place_for_all(arrival, written, &found, &decision).await?;
            return self.done(arrival, written, &found, decision).await;
        }
        match self.slow(arrival, written, &found, &decision).await? {
            Some(taken) => Ok(taken),
            None => self.done(arrival, written, &found, decision).await,
        }
    }

    /// Looks up all that a decision takes.
    pub(super) async fn find(&self, arrival: &Arrival, text: &str) -> Result<Found, StoreError> {
        let (central, chat) = (self.inner.stores.central(), &arrival.chat);
        let Looked { sender, chat: row, wirings, engaged, ahead } = central.look(chat, &arrival.sender.id).await?;
        if sender.person.is_some() && self.is_read(arrival) && sender.direct.as_deref() != Some(&chat.chat_id) {
            central.put_direct(&chat.channel, &arrival.sender.id, &chat.chat_id).await?;
            self.look_soon();
        }
        let (asks, placed) = (Asks::parse(text), Vec::new());
        Ok(Found { wirings, chat: row, sender, engaged, ahead, asks, placed })
    }

    pub(super) fn decided(&self, arrival: &Arrival, written: &Written, found: &Found) -> Decision {
        let said = Said {
            kind: arrival.kind,
            addressed: written.addressed,
            asks: &found.asks,
            empty: written.text.trim().is_empty() && written.files.is_empty(),
            too_large: written.text.len() > MAX_MESSAGE_BYTES,
        };
        let listeners: Vec<Listener> = found
            .wirings
            .iter()
            .map(|wiring| Listener {
                fits: self.inner.patterns.fits(wiring, &written.text),
                goes_on: goes_on(wiring) && found.engaged.contains(&wiring.folder),
                ..router::listener(wiring, found.sender.role(&wiring.folder))
            })
            .collect();
        decide(said, policy(arrival, found), found.sender.anywhere(), &listeners)
    }

    /// Does what was decided.
    pub(super) async fn done(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        decision: Decision,
    ) -> Result<Taken, NotTaken> {
        match decision {
            Decision::Own => self.own(arrival, found).await,
            Decision::AskWiring => self.ask_wiring(arrival, written).await,
            Decision::Drop(DropReason::AboveRole) => {
                let act = found.asks.act().unwrap_or(Act::Decide);
                self.refuse(arrival, act).await
            }
            Decision::Drop(reason) => self.dropped(arrival, reason).await,
            Decision::Groups(fates) => self.groups(arrival, written, found, fates).await,
        }
    }

    /// Takes it in with its files, which are in the group's workspace.
    pub(super) async fn accept(
        &self,
        arrival: &Arrival,
        written: &Written,
        found: &Found,
        (wiring, placed): (&Wiring, Placed),
    ) -> Result<Taken, NotTaken> {
        let command = match &found.asks {
            Asks::Conversation(command) => Some(command.clone()),
            Asks::Agent | Asks::Own(_) => None,
        };
        let mut message = inbound(arrival, written, &written.text);
        message.text += &placed.notes;
        message.files = placed.files;
        let taken = self.accept_as(&wiring.folder, wiring, message, command).await?;
        if goes_on(wiring) {
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
        command: Option<Command>,
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

    pub(super) async fn overhear(
        &self,
        arrival: &Arrival,
        written: &Written,
        wiring: &Wiring,
    ) -> Result<Taken, NotTaken> {
        let mut text = written.text.clone();
        for file in &written.files {
            text += &format!(" [file {}]", crate::files::safe_name(&file.name));
        }
        let key = wiring.terms.session_mode.session_key(&arrival.chat);
        let store = self.inner.stores.group(&wiring.folder).await.map_err(failed)?;
        store
            .overhear(Inbound { output_schema: None, ..inbound(arrival, written, &text) }, key)
            .await
            .map_err(failed)?;
        Ok(Taken::Accepted)
    }

    /// Tells who asked for more than they may, and counts that.
    pub(super) async fn refuse(&self, arrival: &Arrival, act: Act) -> Result<Taken, NotTaken> {
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

impl Desk {
    /// Whether its sender reads what is said in its chat, so that they can be asked there: not where programs call.
    pub(super) fn is_read(&self, arrival: &Arrival) -> bool {
        let channel = self.inner.channels.get(&arrival.chat.channel);
        arrival.kind == ChatKind::Direct && channel.is_some_and(|channel| channel.writers() == Writers::People)
    }

    /// Who writes in this chat.
    pub(super) fn writers(&self, arrival: &Arrival) -> Writers {
        let channel = self.inner.channels.get(&arrival.chat.channel);
        channel.map_or(Writers::People, |channel| channel.writers())
    }
}

/// What becomes of strangers in this chat.
pub(super) fn policy(arrival: &Arrival, found: &Found) -> UnknownPolicy {
    let said = found.chat.as_ref().and_then(|chat| chat.unknown);
    said.unwrap_or(UnknownPolicy::of(arrival.kind))
}

/// Whether a thread in which one engaged goes on by itself.
pub(super) fn goes_on(wiring: &Wiring) -> bool {
    wiring.terms.sticky && wiring.terms.engage != EngageMode::Always
}

/// The message as a group takes it.
pub(super) fn inbound(arrival: &Arrival, written: &Written, text: &str) -> Inbound {
    Inbound {
        chat: arrival.chat.clone(),
        platform_id: arrival.platform_id.clone(),
        sender: arrival.sender.name.clone(),
        sender_id: Some(arrival.sender.id.clone()),
        text: text.to_owned(),
        quote: written.quote.clone(),
        output_schema: written.output_schema.clone(),
        files: Vec::new(),
    }
}
