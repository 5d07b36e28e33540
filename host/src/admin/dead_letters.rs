//! Dead letters: what a person sees of them and decides.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{DeadLetter, ErrorKind, SettledLetters};
use cofferdam_protocol::ids::Folder;
use serde::Deserialize;

use super::Admin;
use super::answers::{Answer, parse, registered};
use super::error::Failed;
use crate::error_chain;
use crate::model::chat::Due;
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState, Letter};
use crate::store::group::dead_letters::{LetterRow, Settled, Woken};
use crate::store::rfc3339;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    group: Option<String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<ListQuery>,
) -> Answer<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    if let Some(folder) = &query.group {
        let folder = registered(&admin, &parse(folder)?).await?.folder;
        letters_of(&admin, &folder, !query.all, &mut letters).await?;
        return Ok(Json(letters));
    }
    for row in admin.stores.central().groups().await? {
        if let Err(Failed(error)) = letters_of(&admin, &row.folder, !query.all, &mut letters).await {
            // One group's trouble does not hide the others' letters.
            tracing::warn!(group = %row.folder, error = %error.message, "its dead letters cannot be read");
        }
    }
    Ok(Json(letters))
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
    Path((folder, number)): Path<(String, i64)>,
) -> Answer<DeadLetter> {
    let folder = registered(&admin, &parse(&folder)?).await?.folder;
    Ok(Json(letter(&admin, &folder, number).await?))
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

async fn settle(admin: &Admin, folder: &str, number: i64, decision: DeadLetterEvent) -> Answer<DeadLetter> {
    let folder = registered(admin, &parse(folder)?).await?.folder;
    if !admin.home.has_state(&folder) {
        return Err(unknown(&folder, number));
    }
    let busy = admin.stores.busy(&folder).await?;
    let settled = admin.stores.group(&folder).await?.settle_dead_letter(number, decision).await?;
    drop(busy);
    match settled {
        Settled::Unknown => return Err(unknown(&folder, number)),
        Settled::Already(state) => return Err(decided(&folder, number, state)),
        Settled::Done(woken) => wake(admin, &folder, woken),
    }
    calm(admin, &folder).await;
    Ok(Json(letter(admin, &folder, number).await?))
}

async fn settle_all(admin: &Admin, folder: &str, decision: DeadLetterEvent) -> Answer<SettledLetters> {
    let folder = registered(admin, &parse(folder)?).await?.folder;
    if !admin.home.has_state(&folder) {
        return Ok(Json(SettledLetters { settled: Vec::new() }));
    }
    let busy = admin.stores.busy(&folder).await?;
    let done = admin.stores.group(&folder).await?.settle_dead_letters(decision).await?;
    drop(busy);
    let mut settled = Vec::new();
    for (number, woken) in done {
        settled.push(reference(&folder, number));
        wake(admin, &folder, woken);
    }
    calm(admin, &folder).await;
    Ok(Json(SettledLetters { settled }))
}

/// The rows are the truth; without a daemon the next one finds them.
fn wake(admin: &Admin, folder: &Folder, woken: Woken) {
    if admin.since.is_none() {
        return;
    }
    match woken {
        Woken::Nobody => {}
        Woken::Session(session) => admin.supervisor.nudge(folder, &session),
        Woken::Chat(chat) => admin.delivery.nudge(Due { folder: folder.clone(), chat }),
    }
}

/// The last open letter may have been what kept the group busy.
async fn calm(admin: &Admin, folder: &Folder) {
    if let Err(error) = admin.stores.settle(folder).await {
        tracing::warn!(group = %folder, error = %error_chain(&error), "the group stays marked busy");
    }
}

async fn letter(admin: &Admin, folder: &Folder, number: i64) -> Result<DeadLetter, Failed> {
    if !admin.home.has_state(folder) {
        return Err(unknown(folder, number));
    }
    let row = admin.stores.group(folder).await?.dead_letter(number).await?;
    row.map(|row| view(folder, row)).ok_or_else(|| unknown(folder, number))
}

fn unknown(folder: &Folder, number: i64) -> Failed {
    Failed::not_found(
        format!("there is no dead letter {}", reference(folder, number)),
        format!("`cofferdam dead-letter list {folder}` shows those that wait"),
    )
}

fn decided(folder: &Folder, number: i64, state: DeadLetterState) -> Failed {
    let message = format!("dead letter {} was {} before", reference(folder, number), state.as_str());
    let hint = match state {
        DeadLetterState::Retried => {
            "what fails again is another dead letter: `cofferdam dead-letter list` shows it"
        }
        _ => "`cofferdam dead-letter show` still has its text, to send it again",
    };
    Failed::new(ErrorKind::Conflict, message, hint)
}

fn reference(folder: &Folder, number: i64) -> String {
    format!("{folder}/{number}")
}

fn view(folder: &Folder, row: LetterRow) -> DeadLetter {
    let (message, reply) = match row.letter {
        Letter::Message(message) => (Some(message), None),
        Letter::Reply(reply) => (None, Some(reply)),
    };
    DeadLetter {
        reference: reference(folder, row.number),
        group: folder.clone(),
        number: row.number,
        session: row.session,
        chat: row.chat.to_string(),
        message,
        reply,
        turn: row.turn,
        text: row.text,
        cause: row.fate.cause.as_str().to_owned(),
        error: row.fate.error,
        tries: row.fate.tries,
        state: row.fate.state.as_str().to_owned(),
        at: rfc3339(row.fate.at),
        settled_at: row.fate.settled_at.map(rfc3339),
    }
}
