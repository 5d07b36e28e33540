//! Commands that Cofferdam answers itself, at once.

use super::message::Found;
use super::{DecideError, Decider, Desk, failed, words};
use crate::channels::{Arrival, NotTaken, Taken};
use crate::model::approval::DENY;
use crate::model::own_command::{Asks, OwnCommand, Verdict};
use crate::router::DropReason;
use crate::store::StoreError;
use crate::store::posts::NewPost;

impl Desk {
    pub(super) async fn own(&self, arrival: &Arrival, found: &Found) -> Result<Taken, NotTaken> {
        let Asks::Own(command) = &found.asks else {
            return self.dropped(arrival, DropReason::Empty).await;
        };
        let words = match command {
            OwnCommand::Pair(code) => return self.pair(arrival, code).await,
            OwnCommand::Help => words::help(found.sender.anywhere()),
            OwnCommand::Status => self.status(arrival, found).await.map_err(failed)?,
            OwnCommand::Approve(verdict) => self.verdict(arrival, found, verdict, false).await?,
            OwnCommand::Deny(verdict) => self.verdict(arrival, found, verdict, true).await?,
        };
        self.answer(arrival, Some(NewPost::new(arrival.chat.clone(), words.clone()))).await?;
        Ok(Taken::Done(words))
    }

    /// How the chat's conversations stand.
    async fn status(&self, arrival: &Arrival, found: &Found) -> Result<String, StoreError> {
        let mut lines = Vec::new();
        for wiring in &found.wirings {
            let key = wiring.terms.session_mode.session_key(&arrival.chat);
            let store = self.inner.stores.group(&wiring.folder).await?;
            let stands = match store.glance(key).await? {
                Some(glance) => glance.words(),
                None => "no conversation yet".to_owned(),
            };
            lines.push(format!("{}: {stands}", wiring.folder));
        }
        if lines.is_empty() {
            lines.push("No agent listens in this chat.".to_owned());
        }
        Ok(lines.join("\n"))
    }

    /// Decides by words. The same message again decides nothing more: what it did is done.
    async fn verdict(
        &self,
        arrival: &Arrival,
        found: &Found,
        verdict: &Verdict,
        deny: bool,
    ) -> Result<String, NotTaken> {
        let id = match verdict.approval {
            Some(id) => id,
            None => {
                let open = self.inner.stores.central().approvals(false, 2).await.map_err(failed)?;
                match open.as_slice() {
                    [] => return Ok("Nothing waits for an approval.".to_owned()),
                    [one] => one.id,
                    _ => return Ok("Several approvals wait: say which, as in /approve 3.".to_owned()),
                }
            }
        };
        let word = if deny { Some(DENY) } else { verdict.word.as_deref() };
        let by = Decider::Person { name: arrival.sender.name.clone(), known: found.sender.clone() };
        match self.decide(&by, id, word).await {
            Ok((row, made)) => Ok(format!("Approval {}: {}", row.id, made.label)),
            Err(DecideError::Store(error)) => Err(failed(error)),
            Err(error) => {
                if matches!(error, DecideError::Role(_)) {
                    self.dropped(arrival, DropReason::AboveRole).await?;
                }
                Ok(sentence(&error.to_string()))
            }
        }
    }
}

/// Words as a sentence.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>() + ".").unwrap_or_default()
}
