//! A session in depth, and what its turns changed in files.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_protocol::admin::{ContextView, Conversation, SessionDetail, Setting, SettingSource, TurnDiff};
use cofferdam_protocol::ids::TurnId;
use serde::Deserialize;

use super::Admin;
use super::answers::{Answer, find_session, load};
use super::error::Failed;
use crate::config::group::GroupConfig;
use crate::model::{self, setting::Origin};
use crate::store::group::detail::Detail;
use crate::supervisor::conversation::inherited;

pub(super) async fn session(State(admin): State<Arc<Admin>>, Path(id): Path<String>) -> Answer<SessionDetail> {
    let session = find_session(&admin, &id).await?;
    let config = load(&admin, &session.group).await.ok().map(|loaded| loaded.config);
    // A file with errors says nothing; what else is known is shown.
    let usual = GroupConfig::default();
    let settings = config.as_ref().unwrap_or(&usual);
    let model = admin.gateway.model_of(settings.account.as_ref()).or_else(|| admin.default_model.clone());
    let accounts = admin.gateway.accounts_of(&settings.serving());
    let inherited = inherited(settings, model.as_deref(), &accounts);
    let detail = admin.stores.group(&session.group).await?.detail(&session.id, inherited).await?;
    let conversation = conversation(&detail, config.as_ref());
    let lists = detail.lists;
    Ok(Json(SessionDetail {
        session,
        conversation,
        compactions: lists.compactions,
        mcp_servers: lists.mcp_servers,
        tool_calls: lists.tool_calls,
        questions: lists.questions,
        failures: lists.failures,
        deliveries: lists.deliveries,
    }))
}

fn conversation(detail: &Detail, config: Option<&GroupConfig>) -> Conversation {
    Conversation {
        generation: detail.generation,
        model: setting(&detail.model),
        effort: setting(&detail.effort),
        during_turn: config.and_then(|config| {
            let word = serde_json::to_value(config.during_turn).ok()?;
            word.as_str().map(str::to_owned)
        }),
        context: ContextView {
            since_compaction: detail.since_compaction,
            threshold: config.map(|config| config.compaction.threshold_tokens),
        },
    }
}

fn setting(setting: &model::setting::Setting) -> Setting {
    let from = match setting.origin {
        Origin::Chat => SettingSource::Chat,
        Origin::Group => SettingSource::Group,
        Origin::Account => SettingSource::Account,
        Origin::Provider => SettingSource::Provider,
    };
    Setting { value: setting.now.clone(), from }
}

#[derive(Deserialize)]
pub(super) struct DiffQuery {
    turn: Option<i64>,
}

pub(super) async fn diff(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Answer<TurnDiff> {
    let session = find_session(&admin, &id).await?;
    let store = admin.stores.group(&session.group).await?;
    match (store.diff(&session.id, query.turn.map(TurnId)).await?, query.turn) {
        (Some(diff), _) => Ok(Json(diff)),
        (None, None) => Ok(Json(TurnDiff { turn: None, at: None, diff: None })),
        (None, Some(turn)) => Err(Failed::not_found(
            format!("session {} has no turn {turn}", session.id),
            "without --turn the newest turn that changed files is shown; `chat --json` names each turn",
        )),
    }
}
