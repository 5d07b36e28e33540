//! What waits for a person: asked, decided from a button, by a command or on the host, and what was held meanwhile let go.

use cofferdam_protocol::ids::{Folder, WaitingId};

use super::questions::Place;
use super::{DecideError, Decider, Desk, failed, words};
use crate::channels::{Arrival, NotTaken, Taken, Written};
use crate::model::approval::{ApprovalEvent, ApprovalKind, ApprovalState, Choice, DENY, EVERYBODY};
use crate::model::chat::ChatKind;
use crate::model::own_command::{Asks, OwnCommand};
use crate::model::people::{Role, UnknownPolicy};
use crate::router::DropReason;
use crate::store::StoreError;
use crate::store::approvals::{ApprovalRow, Asked, Decided, Effect, NewApproval, Saying};
use crate::store::people::NewUser;
use crate::store::wirings::{ChatRow, Terms, Wiring};

/// The most groups that a wiring has buttons for; the others are named in words.
const MOST_GROUPS: usize = 6;

impl Desk {
    /// Nobody listens in this chat: which group is it for?
    pub(super) async fn ask_wiring(&self, arrival: &Arrival, written: &Written) -> Result<Taken, NotTaken> {
        let groups = self.inner.stores.central().groups().await.map_err(failed)?;
        let offered = groups.iter().take(MOST_GROUPS);
        let mut choices: Vec<Choice> = offered.flat_map(|group| for_group(arrival.kind, &group.folder)).collect();
        choices.push(choice(DENY, "No"));
        let words = format!(
            "{}, where no agent listens: {}\nWhich group is that chat for?",
            words::who(arrival),
            words::excerpt(&written.text)
        );
        let told = Some(words::unwired());
        let new = NewApproval {
            kind: ApprovalKind::Wiring,
            asker: arrival.sender.id.clone(),
            chat: arrival.chat.clone(),
            user_id: None,
            folder: None,
            words,
            choices,
            told,
            bare: is_bare(written),
        };
        self.ask(arrival, new).await
    }

    /// Nobody knows this sender: may they write to the group?
    pub(super) async fn ask_sender(
        &self,
        arrival: &Arrival,
        written: &Written,
        folder: &Folder,
    ) -> Result<Taken, NotTaken> {
        let words = format!("{} to {folder}: {}\nMay they?", words::who(arrival), words::excerpt(&written.text));
        let choices = vec![
            choice(Role::Member.as_str(), "Yes, as a member"),
            choice(Role::Guest.as_str(), "Yes, as a guest"),
            choice(DENY, "No"),
        ];
        let new = NewApproval {
            kind: ApprovalKind::Sender,
            asker: arrival.sender.id.clone(),
            chat: arrival.chat.clone(),
            user_id: Some(arrival.sender.id.clone()),
            folder: Some(folder.clone()),
            words,
            choices,
            told: Some(words::unknown_sender()),
            bare: is_bare(written),
        };
        self.ask(arrival, new).await
    }

    async fn ask(&self, arrival: &Arrival, new: NewApproval) -> Result<Taken, NotTaken> {
        let kept = serde_json::to_string(arrival).map_err(|error| NotTaken::Failed(error.to_string()))?;
        let central = self.inner.stores.central();
        match central.ask(new, arrival.platform_id.clone(), kept).await.map_err(failed)? {
            Asked::New(id, told) => {
                tracing::info!(approval = id, chat = %arrival.chat, asked = told.len(), "waits for an approval");
                self.told(told);
                Ok(Taken::Accepted)
            }
            Asked::Waits(_) => Ok(Taken::Accepted),
            Asked::Denied => self.dropped(arrival, DropReason::Denied).await,
            Asked::Full => self.dropped(arrival, DropReason::TooManyAsk).await,
            Asked::Over => Err(NotTaken::Failed("it was allowed meanwhile, and is decided on anew".to_owned())),
        }
    }

    /// Decides. `word` is one of the approval's choices; none is the first for an approval, and [`DENY`] denies.
    pub async fn decide(
        &self,
        by: &Decider,
        id: i64,
        word: Option<&str>,
    ) -> Result<(ApprovalRow, Choice), DecideError> {
        self.decide_in(by, id, word, None).await
    }

    /// The same, by a message: it is answered with the decision, and the same message again decides nothing.
    pub(super) async fn decide_in(
        &self,
        by: &Decider,
        id: i64,
        word: Option<&str>,
        place: Option<Place<'_>>,
    ) -> Result<(ApprovalRow, Choice), DecideError> {
        let central = self.inner.stores.central();
        let named = WaitingId::Approval(id);
        let row = central.approval(id).await?.ok_or_else(|| DecideError::Unknown(named.clone()))?;
        if !by.may(row.folder.as_ref()) {
            return Err(DecideError::Role(named));
        }
        if row.state != ApprovalState::Open {
            return Err(before(&row));
        }
        let made = self.meant_choice(by, &row, word).await?.ok_or_else(|| DecideError::Word {
            id: named.clone(),
            word: word.unwrap_or_default().to_owned(),
            takes: takes(&row, None),
        })?;
        let (event, effect) = match made.word.as_str() {
            DENY => (ApprovalEvent::Deny, Effect::default()),
            word => (ApprovalEvent::Approve, self.effect(&row, word).await.map_err(|error| gone(&row, error))?),
        };
        let said = (made.word.clone(), by.recorded());
        let saying = place.map(|place| Saying {
            chat: place.chat.clone(),
            platform_id: place.platform_id.to_owned(),
            // On the host the answer is kept with the command.
            answer: matches!(by, Decider::Person { .. }).then(|| words::decided(&named, &made.label)),
        });
        match central.decide(id, event, said, effect, saying).await.map_err(|error| gone(&row, error))? {
            Decided::Now(news) => self.told(news),
            Decided::Said => return Err(DecideError::Said),
            Decided::Before(state) => return Err(before(&ApprovalRow { state, ..row })),
            Decided::Unknown => return Err(DecideError::Unknown(named)),
        }
        tracing::info!(approval = id, choice = made.word, by = by.recorded(), "decided");
        // What was held waits with the late ones now.
        self.inner.late.notify_one();
        Ok((row, made))
    }

    /// What a word chooses: of those that were offered, or of a wiring any group that is there.
    async fn meant_choice(
        &self,
        by: &Decider,
        row: &ApprovalRow,
        word: Option<&str>,
    ) -> Result<Option<Choice>, StoreError> {
        let Some(word) = word else { return Ok(row.choices.iter().find(|choice| choice.word != DENY).cloned()) };
        let offered = row.choices.iter().find(|choice| choice.word.eq_ignore_ascii_case(word));
        if offered.is_some() || row.kind != ApprovalKind::Wiring {
            return Ok(offered.cloned());
        }
        let word = word.to_ascii_lowercase();
        let Ok(folder) = word.strip_suffix(EVERYBODY).unwrap_or(&word).parse::<Folder>() else { return Ok(None) };
        if !by.may(Some(&folder)) || self.inner.stores.central().group(&folder).await?.is_none() {
            return Ok(None);
        }
        let Some(arrival) = self.first_held(row.id).await? else { return Ok(None) };
        Ok(for_group(arrival.kind, &folder).into_iter().find(|choice| choice.word == word))
    }

    /// What a yes does.
    async fn effect(&self, row: &ApprovalRow, word: &str) -> Result<Effect, StoreError> {
        let user = |arrival: &Arrival| NewUser {
            channel: row.channel.clone(),
            user_id: arrival.sender.id.clone(),
            name: arrival.sender.name.clone(),
            direct: (arrival.kind == ChatKind::Direct).then(|| row.chat_id.clone()),
        };
        let first = self.first_held(row.id).await?;
        let mut effect = Effect::default();
        match (row.kind, first) {
            (ApprovalKind::Sender, Some(arrival)) => {
                let role = Role::parse(word).unwrap_or(Role::Guest);
                effect.user = Some((user(&arrival), role, row.folder.clone()));
            }
            (ApprovalKind::Wiring, Some(arrival)) => {
                let (folder, everybody) = match word.strip_suffix(EVERYBODY) {
                    Some(folder) => (folder, true),
                    None => (word, false),
                };
                let unknown = || StoreError::Unknown { what: "group", value: word.to_owned() };
                let folder: Folder = folder.parse().map_err(|_| unknown())?;
                if arrival.kind == ChatKind::Direct {
                    effect.user = Some((user(&arrival), Role::Member, Some(folder.clone())));
                }
                effect.chat = Some(ChatRow {
                    kind: arrival.kind,
                    title: arrival.title.clone(),
                    unknown: everybody.then_some(UnknownPolicy::Public),
                });
                effect.wiring = Some(Wiring {
                    channel: row.channel.clone(),
                    chat_id: row.chat_id.clone(),
                    folder,
                    terms: Terms::of(arrival.kind),
                });
            }
            // Nothing is held without an arrival: a row that somebody changed by hand.
            (_, None) => {}
        }
        Ok(effect)
    }

    async fn first_held(&self, approval: i64) -> Result<Option<Arrival>, StoreError> {
        let kept = self.inner.stores.central().first_held(approval).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()))
    }
}

/// A choice whose group is gone stays so, however often it is made.
fn gone(row: &ApprovalRow, error: StoreError) -> DecideError {
    let group = match error {
        StoreError::NoGroup(folder) => folder.to_string(),
        StoreError::Unknown { what: "group", value } => value,
        error => return DecideError::Store(error),
    };
    DecideError::Gone { id: WaitingId::Approval(row.id), takes: takes(row, Some(&group)), group }
}

/// What an approval takes, in words, without the choices of a group that is gone.
fn takes(row: &ApprovalRow, without: Option<&str>) -> Vec<String> {
    let gone = |word: &str| Some(word.strip_suffix(EVERYBODY).unwrap_or(word)) == without;
    let mut takes: Vec<_> =
        row.choices.iter().map(|choice| choice.word.clone()).filter(|word| !gone(word)).collect();
    if row.kind == ApprovalKind::Wiring {
        takes.push("any other group".to_owned());
    }
    takes
}

/// The choices by which a chat is wired to a group.
fn for_group(kind: ChatKind, folder: &Folder) -> Vec<Choice> {
    let folder = folder.as_str();
    match kind {
        ChatKind::Direct => vec![choice(folder, folder)],
        ChatKind::Group => vec![
            choice(folder, &format!("{folder}: people I know")),
            choice(&format!("{folder}{EVERYBODY}"), &format!("{folder}: everybody there")),
        ],
    }
}

/// Whether it says nothing but that somebody is there.
fn is_bare(written: &Written) -> bool {
    Asks::parse(&written.text) == Asks::Own(OwnCommand::Start)
}

/// It was decided, so and by whom.
fn before(row: &ApprovalRow) -> DecideError {
    let how = match (&row.choice, &row.decided_by) {
        (Some(choice), Some(by)) => format!("{} by {by} ({choice})", row.state.as_str()),
        _ => row.state.as_str().to_owned(),
    };
    DecideError::Before { id: WaitingId::Approval(row.id), how }
}

fn choice(word: &str, label: &str) -> Choice {
    Choice { word: word.to_owned(), label: label.to_owned() }
}
