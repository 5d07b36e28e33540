//! The agents' questions, answered from wherever: by a button, a command, or on the host. What is the chat's next message is
//! an answer too, and needs nobody here.

use cofferdam_protocol::ids::{Folder, QuestionId, WaitingId};

use super::{DecideError, Decider, Desk, lasts};
use crate::model::action::question_words;
use crate::model::approval::DENY;
use crate::model::chat::{ChatRef, Inbound};
use crate::model::question::{plain, shortened};
use crate::router::MAX_MESSAGE_BYTES;
use crate::store::StoreError;
use crate::store::group::answers::{Answer, Given, QuestionRow};
use crate::store::wirings::Wiring;

/// The most questions of other chats that somebody is told of.
const ELSEWHERE: usize = 5;

/// Where words are said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) chat: &'a ChatRef,
    /// The platform's id of the message.
    pub(super) platform_id: &'a str,
    /// The platform's id of who says them.
    pub(super) sender_id: Option<&'a str>,
}

impl Desk {
    /// Answers a question of an agent: with an option's text or number, or other words; none is a plain yes and [`DENY`] a plain
    /// no, where one option says that. What is answered is how the question stands then.
    pub async fn answer_question(
        &self,
        by: &Decider,
        (folder, id): (&Folder, QuestionId),
        word: Option<&str>,
    ) -> Result<QuestionRow, DecideError> {
        self.answer_from(by, (folder, id), word, None).await
    }

    /// The same, from a chat. That chat sees it; another one is told.
    pub(super) async fn answer_from(
        &self,
        by: &Decider,
        (folder, id): (&Folder, QuestionId),
        word: Option<&str>,
        place: Option<Place<'_>>,
    ) -> Result<QuestionRow, DecideError> {
        let named = WaitingId::Question(folder.clone(), id);
        if !by.may(Some(folder)) {
            return Err(DecideError::Role(named));
        }
        let row = self.find_question(folder, id).await?.ok_or_else(|| DecideError::Unknown(named.clone()))?;
        let text = match word.map(str::trim).filter(|word| !word.is_empty()) {
            Some(DENY) => plain(&row.options, false),
            Some(word) => Some(word),
            None => plain(&row.options, true),
        };
        let Some(text) = text else {
            // One that is over takes no answer, whatever was said.
            return Err(if row.waits() { unsaid(named, &row) } else { over(named, &row) });
        };
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(DecideError::TooLong(named));
        }
        let message = message(&row, by, text, place);
        let elsewhere = place.is_none_or(|place| *place.chat != row.chat);
        self.give(folder, id, Answer { message, elsewhere }).await?;
        tracing::info!(question = %named, by = by.recorded(), "answered");
        Ok(self.find_question(folder, id).await?.unwrap_or(row))
    }

    /// ① Takes an answer in.
    pub(super) async fn give(&self, folder: &Folder, id: QuestionId, answer: Answer) -> Result<(), DecideError> {
        let named = WaitingId::Question(folder.clone(), id);
        match self.inner.stores.answer(folder, id, answer).await? {
            Given::Now(accepted) => {
                (self.inner.tells.accepted)(folder, &accepted);
                Ok(())
            }
            Given::Over(row) => Err(over(named, &row)),
            Given::Unknown => Err(DecideError::Unknown(named)),
        }
    }

    pub(super) async fn find_question(
        &self,
        folder: &Folder,
        id: QuestionId,
    ) -> Result<Option<QuestionRow>, StoreError> {
        // A group that was never talked to gets no database by being asked about.
        if !self.inner.home.has_state(folder) {
            return Ok(None);
        }
        match self.inner.stores.group(folder).await {
            Ok(store) => store.question(id).await,
            Err(StoreError::NoGroup(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Questions that wait in a chat, of groups where somebody may decide.
    pub(super) async fn waiting_here(
        &self,
        by: &Decider,
        chat: &ChatRef,
        wirings: &[Wiring],
    ) -> Result<Vec<(WaitingId, QuestionRow)>, StoreError> {
        let folders: Vec<Folder> = wirings.iter().map(|wiring| wiring.folder.clone()).collect();
        let mut waiting = self.waiting(by, folders).await?;
        waiting.retain(|(_, row)| row.chat == *chat);
        Ok(waiting)
    }

    /// The question that a message answered before: a command that comes again is about the same one.
    pub(super) async fn answered_before(
        &self,
        place: Place<'_>,
        wirings: &[Wiring],
    ) -> Result<Option<WaitingId>, StoreError> {
        for Wiring { folder, .. } in wirings.iter().filter(|wiring| self.inner.home.has_state(&wiring.folder)) {
            match self.answered_in(folder, place).await {
                Ok(None) => {}
                // One group's trouble is not the others'.
                Err(error) if lasts(&error) => {}
                found => return Ok(found?.map(|question| WaitingId::Question(folder.clone(), question))),
            }
        }
        Ok(None)
    }

    async fn answered_in(&self, folder: &Folder, place: Place<'_>) -> Result<Option<QuestionId>, StoreError> {
        self.inner.stores.group(folder).await?.question_answered_by(place.chat, place.platform_id).await
    }

    /// The same of other chats, a few of them.
    pub(super) async fn waiting_elsewhere(
        &self,
        by: &Decider,
        chat: &ChatRef,
    ) -> Result<Vec<(WaitingId, QuestionRow)>, StoreError> {
        let folders = self.inner.stores.central().busy_groups().await?;
        let mut waiting = self.waiting(by, folders).await?;
        waiting.retain(|(_, row)| row.chat != *chat);
        waiting.truncate(ELSEWHERE);
        Ok(waiting)
    }

    async fn waiting(
        &self,
        by: &Decider,
        folders: Vec<Folder>,
    ) -> Result<Vec<(WaitingId, QuestionRow)>, StoreError> {
        /// Of one group; nobody reads more.
        const MOST: usize = 50;
        let mut waiting = Vec::new();
        for folder in folders.into_iter().filter(|folder| by.may(Some(folder))) {
            if !self.inner.home.has_state(&folder) {
                continue;
            }
            // One group's trouble is not the others'.
            let Ok(store) = self.inner.stores.group(&folder).await else { continue };
            let Ok(rows) = store.questions(false, MOST).await else { continue };
            waiting.extend(rows.into_iter().map(|row| (WaitingId::Question(folder.clone(), row.id), row)));
        }
        Ok(waiting)
    }
}

/// The answer as the agent is given it.
fn message(row: &QuestionRow, by: &Decider, text: &str, place: Option<Place<'_>>) -> Inbound {
    let platform_id = match place {
        // The message that says it is the answer.
        Some(place) if *place.chat == row.chat => place.platform_id.to_owned(),
        // Another chat's ids may be this one's too.
        Some(place) => format!("from {} {}", place.chat, place.platform_id),
        None => format!("from the host {}", uuid::Uuid::new_v4()),
    };
    Inbound {
        chat: row.chat.clone(),
        platform_id,
        sender: by.name(),
        sender_id: place.and_then(|place| place.sender_id).map(str::to_owned),
        text: text.replace('\0', ""),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

fn over(id: WaitingId, row: &QuestionRow) -> DecideError {
    DecideError::Before { id, how: row.end() }
}

fn unsaid(id: WaitingId, row: &QuestionRow) -> DecideError {
    let options: Vec<String> =
        row.options.iter().enumerate().map(|(at, option)| format!("{}. {}", at + 1, shortened(option))).collect();
    let takes = if options.is_empty() {
        "words of your own".to_owned()
    } else {
        format!("{}, or words of your own", options.join(", "))
    };
    DecideError::Unsaid { id, takes }
}

/// A question in one line, with how it is named.
pub(super) fn line((id, row): &(WaitingId, QuestionRow)) -> String {
    format!("{id} {}", shortened(&question_words(&row.text, &row.options)))
}
