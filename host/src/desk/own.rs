//! Commands that Cofferdam answers itself, at once: in every chat, also in the terminal's.

use cofferdam_protocol::ids::{Folder, WaitingId};

use super::edit::may_write;
use super::message::Found;
use super::questions::{Place, line};
use super::{DecideError, Decider, Desk, failed, lasts, words};
use crate::channels::{Arrival, NotTaken, Taken};
use crate::model::approval::DENY;
use crate::model::chat::ChatRef;
use crate::model::own_command::{Asks, OwnCommand, Verdict};
use crate::model::people::Role;
use crate::model::question::shortened;
use crate::router::DropReason;
use crate::store::StoreError;
use crate::store::posts::NewPost;
use crate::store::wirings::Wiring;

/// Somebody who gives a command, and where.
struct Asker<'a> {
    by: Decider,
    /// What they may do anywhere.
    role: Option<Role>,
    place: Place<'a>,
    /// Those of the place whose groups they may write to.
    wirings: &'a [Wiring],
}

/// What is said to a command.
struct Said {
    words: String,
    /// It takes a higher role.
    refused: bool,
}

impl Said {
    fn now(words: impl Into<String>) -> Self {
        Self { words: words.into(), refused: false }
    }
}

/// What a verdict without a name is about.
enum Meant {
    This(WaitingId),
    /// Nothing, or too much; in words.
    Unclear(String),
}

impl Desk {
    pub(super) async fn own(&self, arrival: &Arrival, found: &Found) -> Result<Taken, NotTaken> {
        let Asks::Own(command) = &found.asks else {
            return self.dropped(arrival, DropReason::Empty).await;
        };
        if let OwnCommand::Pair(code) = command {
            return self.pair(arrival, code).await;
        }
        let place =
            Place { chat: &arrival.chat, platform_id: &arrival.platform_id, sender_id: Some(&arrival.sender.id) };
        let by = Decider::of(arrival, found.sender.clone());
        let shown = |wiring: &&Wiring| may_write(arrival, found, &wiring.folder);
        let wirings: Vec<Wiring> = found.wirings.iter().filter(shown).cloned().collect();
        let asker = Asker { by, role: found.sender.anywhere(), place, wirings: &wirings };
        let said = self.obey_once(&asker, command).await.map_err(failed)?;
        let post = NewPost::new(arrival.chat.clone(), said.words.clone());
        if self.answer(arrival, Some(post)).await? && said.refused {
            self.dropped(arrival, DropReason::AboveRole).await?;
        }
        Ok(Taken::Done(said.words))
    }

    /// What is said to a command of somebody who has the host, in a chat with these wirings.
    pub async fn owners_command(
        &self,
        chat: &ChatRef,
        platform_id: &str,
        wirings: &[Wiring],
        command: &OwnCommand,
    ) -> Result<String, StoreError> {
        // The command is a message of the chat itself; an answer that it gives is another one.
        let platform_id = format!("{platform_id} answers");
        let place = Place { chat, platform_id: &platform_id, sender_id: None };
        let asker = Asker { by: Decider::Host, role: Some(Role::Owner), place, wirings };
        Ok(self.obey_once(&asker, command).await?.words)
    }

    /// A verdict that comes again decides nothing: without a number it would be about whatever waits by now.
    async fn obey_once(&self, asker: &Asker<'_>, command: &OwnCommand) -> Result<Said, StoreError> {
        let Place { chat, platform_id, .. } = asker.place;
        let decides = matches!(command, OwnCommand::Approve(_) | OwnCommand::Deny(_));
        if decides && self.inner.stores.central().was_answered(chat, platform_id).await? {
            // Of a question the answer is found again, and is the same.
            return match self.answered_before(asker.place, asker.wirings).await? {
                Some(_) => self.obey(asker, command).await,
                None => Ok(Said::now(words::said_before())),
            };
        }
        self.obey(asker, command).await
    }

    async fn obey(&self, asker: &Asker<'_>, command: &OwnCommand) -> Result<Said, StoreError> {
        match command {
            OwnCommand::Help | OwnCommand::Start => Ok(Said::now(words::help(asker.role))),
            OwnCommand::Status => self.status(asker).await.map(Said::now),
            OwnCommand::Approve(verdict) => self.verdict(asker, verdict, false).await,
            OwnCommand::Deny(verdict) => self.verdict(asker, verdict, true).await,
            // On a channel it is paired instead.
            OwnCommand::Pair(_) => Ok(Said::now(words::owner_already())),
        }
    }

    /// How the chat's conversations stand.
    async fn status(&self, asker: &Asker<'_>) -> Result<String, StoreError> {
        let mut lines = Vec::new();
        for wiring in asker.wirings {
            let stands = match self.stands(wiring, asker.place.chat).await {
                Err(error) if lasts(&error) => "takes nothing just now; `cofferdam doctor` says why".to_owned(),
                stands => stands?,
            };
            lines.push(format!("{}: {stands}", wiring.folder));
        }
        if lines.is_empty() {
            lines.push("No agent listens in this chat.".to_owned());
        }
        Ok(lines.join("\n"))
    }

    async fn stands(&self, wiring: &Wiring, chat: &ChatRef) -> Result<String, StoreError> {
        let key = wiring.terms.session_mode.session_key(chat);
        let glance = self.inner.stores.group(&wiring.folder).await?.glance(key).await?;
        Ok(glance.map_or_else(|| "no conversation yet".to_owned(), |glance| glance.words()))
    }

    /// Decides by words. The same message again decides nothing more: what it did is done.
    async fn verdict(&self, asker: &Asker<'_>, verdict: &Verdict, deny: bool) -> Result<Said, StoreError> {
        let id = match &verdict.of {
            Some(id) => id.clone(),
            None => match self.meant(asker).await? {
                Meant::This(id) => id,
                Meant::Unclear(words) => return Ok(Said::now(words)),
            },
        };
        let word = if deny { Some(DENY) } else { verdict.word.as_deref() };
        let made = match &id {
            WaitingId::Approval(number) => {
                let decided = self.decide_in(&asker.by, *number, word, Some(asker.place)).await;
                decided.map(|(_, made)| made.label)
            }
            WaitingId::Question(folder, question) => {
                let of: (&Folder, _) = (folder, *question);
                let answered = self.answer_from(&asker.by, of, word, Some(asker.place)).await;
                answered.map(|row| shortened(&row.answer.unwrap_or_default()))
            }
        };
        match made {
            Ok(made) => Ok(Said::now(words::decided(&id, &made))),
            Err(DecideError::Store(error)) if lasts(&error) => Ok(Said::now(words::unable(&error))),
            Err(DecideError::Store(error)) => Err(error),
            Err(error) => {
                let refused = matches!(error, DecideError::Role(_));
                Ok(Said { words: words::sentence(&error.to_string()) + ".", refused })
            }
        }
    }

    /// What waits in this very chat, or else the only approval that waits.
    async fn meant(&self, asker: &Asker<'_>) -> Result<Meant, StoreError> {
        if let Some(id) = self.answered_before(asker.place, asker.wirings).await? {
            return Ok(Meant::This(id));
        }
        let mut here = self.waiting_here(&asker.by, asker.place.chat, asker.wirings).await?;
        if here.len() > 1 {
            let lines: Vec<String> = here.iter().map(line).collect();
            let first = &here[0].0;
            let words = format!("Several questions wait here: say which, as in /approve {first} ANSWER.\n");
            return Ok(Meant::Unclear(words + &lines.join("\n")));
        }
        if let Some((id, _)) = here.pop() {
            return Ok(Meant::This(id));
        }
        let open = self.inner.stores.central().approvals(false, 2).await?;
        match open.as_slice() {
            [one] => Ok(Meant::This(WaitingId::Approval(one.id))),
            [] => {
                let elsewhere = self.waiting_elsewhere(&asker.by, asker.place.chat).await?;
                Ok(Meant::Unclear(nothing_here(&elsewhere.iter().map(line).collect::<Vec<_>>())))
            }
            _ => Ok(Meant::Unclear("Several approvals wait: say which, as in /approve 3.".to_owned())),
        }
    }
}

fn nothing_here(elsewhere: &[String]) -> String {
    if elsewhere.is_empty() {
        return "Nothing waits for an approval.".to_owned();
    }
    format!(
        "Nothing waits here. In other chats: /approve with the first word and an answer.\n{}",
        elsewhere.join("\n")
    )
}
