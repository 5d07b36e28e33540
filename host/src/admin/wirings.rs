//! Which chats reach which groups, and what they are shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cofferdam_protocol::admin::{Wiring, WiringChange};

use super::Admin;
use super::answers::Answer;
use super::error::Failed;
use crate::store::central;

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Answer<Vec<Wiring>> {
    Ok(Json(admin.stores.central().wirings().await?.into_iter().map(view).collect()))
}

pub(super) async fn change(State(admin): State<Arc<Admin>>, Json(change): Json<WiringChange>) -> Answer<Wiring> {
    let central = admin.stores.central();
    if let Some(progress) = change.progress {
        central.set_progress(&change.channel, &change.chat_id, progress).await?;
    }
    let wiring = central.wiring(&change.channel, &change.chat_id).await?.ok_or_else(|| {
        Failed::not_found(
            format!("no chat '{}:{}' is wired to a group", change.channel, change.chat_id),
            "`cofferdam wiring list` shows the wirings",
        )
    })?;
    Ok(Json(view(wiring)))
}

fn view(wiring: central::Wiring) -> Wiring {
    Wiring {
        channel: wiring.channel,
        chat_id: wiring.chat_id,
        group: wiring.folder,
        session_mode: wiring.session_mode.as_str().to_owned(),
        progress: wiring.progress,
    }
}
