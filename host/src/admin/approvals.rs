//! What waits for a person, and what was dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{Approval, Drops, ErrorKind, Verdict};
use serde::Deserialize;

use super::Admin;
use super::answers::Answer;
use super::error::Failed;
use crate::desk::{DecideError, Decider};
use crate::store::approvals::ApprovalRow;
use crate::store::rfc3339;

/// The most of a list that is answered.
const MOST: usize = 200;

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>, Query(which): Query<Which>) -> Answer<Vec<Approval>> {
    let rows = admin.stores.central().approvals(which.all, MOST).await?;
    Ok(Json(rows.into_iter().map(view).collect()))
}

pub(super) async fn decide(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<i64>,
    Json(verdict): Json<Verdict>,
) -> Answer<Approval> {
    admin.desk.decide(&Decider::Host, id, verdict.word.as_deref()).await.map_err(failed)?;
    let row = admin.stores.central().approval(id).await?.ok_or_else(|| failed(DecideError::Unknown(id)))?;
    Ok(Json(view(row)))
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
        DecideError::Before { .. } => Failed::new(ErrorKind::Conflict, message, "nothing was changed"),
        DecideError::Word { .. } | DecideError::Role(_) => Failed::new(ErrorKind::Usage, message, hint),
        DecideError::Store(error) => error.into(),
    }
}

fn view(row: ApprovalRow) -> Approval {
    Approval {
        id: row.id,
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
