//! Dead letters: what a person sees of them and decides.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{DeadLetter, ErrorKind, OWN_LETTERS, SettledLetters};
use cofferdam_protocol::ids::Folder;
use serde::Deserialize;

use super::Admin;
use super::answers::{Answer, parse, registered};
use super::error::Failed;
use crate::error_chain;
use crate::model::chat::Due;
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState, Letter};
use crate::store::group::dead_letters::{Fate, LetterRow, Settled, Woken};
use crate::store::post_letters::PostLetter;
use crate::store::{StoreError, rfc3339};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    group: Option<String>,
    #[serde(default)]
    all: bool,
}

/// Whose letters.
enum Of {
    Group(Folder),
    /// Cofferdam's own words.
    Own,
}

impl Of {
    /// By the word that stands in a group's place.
    async fn named(admin: &Admin, word: &str) -> Result<Self, Failed> {
        if word == OWN_LETTERS {
            return Ok(Self::Own);
        }
        Ok(Self::Group(registered(admin, &parse(word)?).await?.folder))
    }

    fn word(&self) -> &str {
        match self {
            Self::Group(folder) => folder.as_str(),
            Self::Own => OWN_LETTERS,
        }
    }

    fn reference(&self, number: i64) -> String {
        format!("{}/{number}", self.word())
    }
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<ListQuery>,
) -> Answer<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    if let Some(word) = &query.group {
        match Of::named(&admin, word).await? {
            Of::Group(folder) => letters_of(&admin, &folder, !query.all, &mut letters).await?,
            Of::Own => own_letters(&admin, !query.all, &mut letters).await?,
        }
        return Ok(Json(letters));
    }
    for row in admin.stores.central().groups().await? {
        if let Err(Failed(error)) = letters_of(&admin, &row.folder, !query.all, &mut letters).await {
            // One group's trouble does not hide the others' letters.
            tracing::warn!(group = %row.folder, error = %error.message, "its dead letters cannot be read");
        }
    }
    own_letters(&admin, !query.all, &mut letters).await?;
    Ok(Json(letters))
}

async fn own_letters(admin: &Admin, open: bool, letters: &mut Vec<DeadLetter>) -> Result<(), StoreError> {
    letters.extend(admin.stores.central().post_letters(open).await?.into_iter().map(own_view));
    Ok(())
}

/// A group that was never talked to has no database, and gets none by being looked at.
async fn letters_of(
    admin: &Admin,
    folder: &Folder,
    open: bool,
    letters: &mut Vec<DeadLetter>,
) -> Result<(), Failed> {
    if admin.home.has_state(folder) {
        let rows = admin.stores.group(folder).await?.dead_letters(open).await?;
        letters.extend(rows.into_iter().map(|row| view(folder, row)));
    }
    Ok(())
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path((word, number)): Path<(String, i64)>,
) -> Answer<DeadLetter> {
    let of = Of::named(&admin, &word).await?;
    Ok(Json(letter(&admin, &of, number).await?))
}

pub(super) async fn retry(
    State(admin): State<Arc<Admin>>,
    Path((folder, number)): Path<(String, i64)>,
) -> Answer<DeadLetter> {
    settle(&admin, &folder, number, DeadLetterEvent::Retry).await
}

pub(super) async fn let_go(
    State(admin): State<Arc<Admin>>,
    Path((folder, number)): Path<(String, i64)>,
) -> Answer<DeadLetter> {
    settle(&admin, &folder, number, DeadLetterEvent::Drop).await
}

pub(super) async fn retry_all(
    State(admin): State<Arc<Admin>>,
    Path(folder): Path<String>,
) -> Answer<SettledLetters> {
    settle_all(&admin, &folder, DeadLetterEvent::Retry).await
}

pub(super) async fn let_all_go(
    State(admin): State<Arc<Admin>>,
    Path(folder): Path<String>,
) -> Answer<SettledLetters> {
    settle_all(&admin, &folder, DeadLetterEvent::Drop).await
}

async fn settle(admin: &Admin, word: &str, number: i64, decision: DeadLetterEvent) -> Answer<DeadLetter> {
    let of = Of::named(admin, word).await?;
    let settled = match &of {
        Of::Group(folder) if !admin.home.has_state(folder) => Settled::Unknown,
        Of::Group(folder) => {
            let _busy = admin.stores.busy(folder).await?;
            admin.stores.group(folder).await?.settle_dead_letter(number, decision).await?
        }
        Of::Own => admin.stores.central().settle_post_letter(number, decision).await?,
    };
    match settled {
        Settled::Unknown => return Err(unknown(&of, number)),
        Settled::Already(state) => return Err(decided(&of, number, state)),
        Settled::Done(woken) => wake(admin, &of, woken),
    }
    calm(admin, &of).await;
    Ok(Json(letter(admin, &of, number).await?))
}

async fn settle_all(admin: &Admin, word: &str, decision: DeadLetterEvent) -> Answer<SettledLetters> {
    let of = Of::named(admin, word).await?;
    let done = match &of {
        Of::Group(folder) if !admin.home.has_state(folder) => Vec::new(),
        Of::Group(folder) => {
            let _busy = admin.stores.busy(folder).await?;
            admin.stores.group(folder).await?.settle_dead_letters(decision).await?
        }
        Of::Own => admin.stores.central().settle_post_letters(decision).await?,
    };
    let mut settled = Vec::new();
    for (number, woken) in done {
        settled.push(of.reference(number));
        wake(admin, &of, woken);
    }
    calm(admin, &of).await;
    Ok(Json(SettledLetters { settled }))
}

/// The rows are the truth; without a daemon the next one finds them.
fn wake(admin: &Admin, of: &Of, woken: Woken) {
    if admin.since.is_none() {
        return;
    }
    match (of, woken) {
        (_, Woken::Nobody) | (Of::Own, Woken::Session(_)) => {}
        (Of::Group(folder), Woken::Session(session)) => admin.supervisor.nudge(folder, &session),
        (Of::Group(folder), Woken::Chat(chat)) => admin.delivery.nudge(Due { folder: folder.clone(), chat }),
        (Of::Own, Woken::Chat(chat)) => admin.delivery.look_own(chat),
    }
}

/// The last open letter may have been what kept the group busy.
async fn calm(admin: &Admin, of: &Of) {
    let Of::Group(folder) = of else { return };
    if let Err(error) = admin.stores.settle(folder).await {
        tracing::warn!(group = %folder, error = %error_chain(&error), "the group stays marked busy");
    }
}

async fn letter(admin: &Admin, of: &Of, number: i64) -> Result<DeadLetter, Failed> {
    let found = match of {
        Of::Group(folder) if !admin.home.has_state(folder) => None,
        Of::Group(folder) => {
            let row = admin.stores.group(folder).await?.dead_letter(number).await?;
            row.map(|row| view(folder, row))
        }
        Of::Own => admin.stores.central().post_letter(number).await?.map(own_view),
    };
    found.ok_or_else(|| unknown(of, number))
}

fn unknown(of: &Of, number: i64) -> Failed {
    Failed::not_found(
        format!("there is no dead letter {}", of.reference(number)),
        format!("`cofferdam dead-letter list {}` shows those that wait", of.word()),
    )
}

fn decided(of: &Of, number: i64, state: DeadLetterState) -> Failed {
    let message = format!("dead letter {} was {} before", of.reference(number), state.as_str());
    let hint = match state {
        DeadLetterState::Retried => {
            "what fails again is another dead letter: `cofferdam dead-letter list` shows it"
        }
        _ => "`cofferdam dead-letter show` still has its text, to send it again",
    };
    Failed::new(ErrorKind::Conflict, message, hint)
}

fn view(folder: &Folder, row: LetterRow) -> DeadLetter {
    let (message, reply) = match row.letter {
        Letter::Message(message) => (Some(message), None),
        Letter::Reply(reply) => (None, Some(reply)),
    };
    let letter = DeadLetter {
        reference: Of::Group(folder.clone()).reference(row.number),
        group: Some(folder.clone()),
        number: row.number,
        session: Some(row.session),
        chat: row.chat.to_string(),
        message,
        reply,
        turn: row.turn,
        text: row.text,
        ..DeadLetter::default()
    };
    with_fate(letter, row.fate)
}

fn own_view(row: PostLetter) -> DeadLetter {
    let letter = DeadLetter {
        reference: Of::Own.reference(row.number),
        number: row.number,
        chat: row.chat.to_string(),
        reply: Some(row.post),
        text: row.text,
        ..DeadLetter::default()
    };
    with_fate(letter, row.fate)
}

fn with_fate(letter: DeadLetter, fate: Fate) -> DeadLetter {
    DeadLetter {
        cause: fate.cause.as_str().to_owned(),
        error: fate.error,
        tries: fate.tries,
        state: fate.state.as_str().to_owned(),
        at: rfc3339(fate.at),
        settled_at: fate.settled_at.map(rfc3339),
        ..letter
    }
}
