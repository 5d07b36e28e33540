//! What waits for a person: approvals and questions of agents; and what was dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{Approval, Drops, ErrorKind, Verdict};
use cofferdam_protocol::ids::{Folder, QuestionId, WaitingId};
use serde::Deserialize;

use super::Admin;
use super::answers::Answer;
use super::error::Failed;
use crate::desk::{DecideError, Decider};
use crate::model::approval::{ApprovalKind, ApprovalState};
use crate::model::question::QuestionState;
use crate::store::approvals::ApprovalRow;
use crate::store::group::answers::QuestionRow;
use crate::store::{StoreError, rfc3339};

/// The most of a list that is answered.
const MOST: usize = 200;

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>, Query(which): Query<Which>) -> Answer<Vec<Approval>> {
    let approvals = admin.stores.central().approvals(which.all, MOST).await?;
    let groups = groups(&admin).await?;
    let mut found: Vec<_> = approvals.into_iter().map(|row| (row.asked_at, view(row, &groups))).collect();
    for (folder, row) in questions(&admin, which.all).await? {
        found.push((row.asked_at, view_of_question(folder, row)));
    }
    found.sort_by_key(|(asked_at, _)| if which.all { -asked_at } else { *asked_at });
    Ok(Json(found.into_iter().take(MOST).map(|(_, approval)| approval).collect()))
}

/// Those of all groups that wait, or all.
async fn questions(admin: &Admin, all: bool) -> Result<Vec<(Folder, QuestionRow)>, Failed> {
    let central = admin.stores.central();
    let folders: Vec<Folder> = if all {
        central.groups().await?.into_iter().map(|row| row.folder).collect()
    } else {
        // A group with questions that wait is marked.
        central.busy_groups().await?
    };
    let mut found = Vec::new();
    for folder in folders.into_iter().filter(|folder| admin.home.has_state(folder)) {
        // One group's trouble is not the others'; `status` tells of it.
        let Ok(store) = admin.stores.group(&folder).await else { continue };
        let Ok(rows) = store.questions(all, MOST).await else { continue };
        found.extend(rows.into_iter().map(|row| (folder.clone(), row)));
    }
    Ok(found)
}

pub(super) async fn decide(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<i64>,
    Json(verdict): Json<Verdict>,
) -> Answer<Approval> {
    admin.desk.decide(&Decider::Host, id, verdict.word.as_deref()).await.map_err(failed)?;
    let row = admin.stores.central().approval(id).await?;
    let row = row.ok_or_else(|| failed(DecideError::Unknown(WaitingId::Approval(id))))?;
    Ok(Json(view(row, &groups(&admin).await?)))
}

async fn groups(admin: &Admin) -> Result<Vec<Folder>, StoreError> {
    Ok(admin.stores.central().groups().await?.into_iter().map(|row| row.folder).collect())
}

pub(super) async fn answer(
    State(admin): State<Arc<Admin>>,
    Path((folder, number)): Path<(Folder, i64)>,
    Json(verdict): Json<Verdict>,
) -> Answer<Approval> {
    let of = (&folder, QuestionId(number));
    let row = admin.desk.answer_question(&Decider::Host, of, verdict.word.as_deref()).await.map_err(failed)?;
    Ok(Json(view_of_question(folder, row)))
}

pub(super) async fn drops(State(admin): State<Arc<Admin>>) -> Answer<Vec<Drops>> {
    let rows = admin.stores.central().drops(MOST).await?;
    let view = |row: crate::store::drops::DropRow| Drops {
        channel: row.channel,
        chat_id: row.chat_id,
        sender: row.sender,
        reason: row.reason,
        count: row.count,
        last_at: rfc3339(row.last_at),
    };
    Ok(Json(rows.into_iter().map(view).collect()))
}

fn failed(error: DecideError) -> Failed {
    let message = error.to_string();
    let hint = "`cofferdam approval list` shows what waits";
    match error {
        DecideError::Unknown(_) => Failed::not_found(message, hint),
        DecideError::Before { .. } | DecideError::Gone { .. } | DecideError::Said => {
            Failed::new(ErrorKind::Conflict, message, "nothing was changed")
        }
        DecideError::Unsaid { id, .. } => {
            Failed::new(ErrorKind::Usage, message, format!("`cofferdam approval approve {id} ANSWER`"))
        }
        DecideError::Word { .. } | DecideError::Role(_) | DecideError::TooLong(_) => {
            Failed::new(ErrorKind::Usage, message, hint)
        }
        DecideError::Store(StoreError::Full(_)) => {
            Failed::new(ErrorKind::Daemon, message, "nothing was changed; answer when some of them are answered")
        }
        DecideError::Store(error) => error.into(),
    }
}

fn view(row: ApprovalRow, groups: &[Folder]) -> Approval {
    let waits = row.kind == ApprovalKind::Wiring && row.state == ApprovalState::Open;
    let is_offered = |folder: &Folder| row.choices.iter().any(|choice| choice.word == folder.as_str());
    let others = groups.iter().filter(|folder| waits && !is_offered(folder)).cloned().collect();
    Approval {
        others,
        id: WaitingId::Approval(row.id),
        kind: row.kind.as_str().to_owned(),
        chat: format!("{}:{}", row.channel, row.chat_id),
        group: row.folder,
        words: row.words,
        choices: row.choices.into_iter().map(|choice| choice.word).collect(),
        state: row.state.as_str().to_owned(),
        choice: row.choice,
        decided_by: row.decided_by,
        asked_at: rfc3339(row.asked_at),
        expires_at: rfc3339(row.expires_at),
    }
}

fn view_of_question(folder: Folder, row: QuestionRow) -> Approval {
    // Its time may be over before somebody ends it.
    let state = match row.state {
        QuestionState::Open if !row.waits() => QuestionState::Expired,
        state => state,
    };
    Approval {
        id: WaitingId::Question(folder.clone(), row.id),
        kind: "question".to_owned(),
        chat: row.chat.to_string(),
        group: Some(folder),
        words: row.text,
        choices: row.options,
        others: Vec::new(),
        state: state.as_str().to_owned(),
        choice: row.answer,
        decided_by: row.answered_by,
        asked_at: rfc3339(row.asked_at),
        expires_at: rfc3339(row.expires_at),
    }
}
