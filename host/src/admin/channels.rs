//! The channels of the home.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_protocol::admin::{self as api, Channel, ChannelPut, ChannelTested, ErrorKind, LostSecret};
use secrecy::SecretString;

use super::Admin;
use super::answers::Answer;
use super::error::Failed;
use super::wirings::usage;
use crate::channels;
use crate::channels::kinds::{self, Kind};
use crate::channels::terminal;
use crate::config::error::nearest;
use crate::error_chain;
use crate::model::channel::KindName;
use crate::store::rfc3339;
use crate::switchboard::{ChannelError, NewChannel, Seen};

/// The longest name; it stands before a colon in wirings.
const MOST_NAME: usize = 32;

/// The kinds that there are.
pub(super) async fn kinds() -> Json<Vec<api::ChannelKind>> {
    let view = |kind: &&Kind| api::ChannelKind {
        name: kind.name.to_string(),
        about: kind.about.to_owned(),
        needs: kind.needs.map(str::to_owned),
        programs: kind.programs,
        example: kind.example.to_owned(),
    };
    Json(kinds::ALL.iter().map(view).collect())
}

/// The kind of this name, or which there are.
fn kind_of(name: &str) -> Result<&'static Kind, Failed> {
    KindName::parse(name).and_then(|name| kinds::find(&name)).ok_or_else(|| {
        let near = nearest(name, kinds::ALL.iter().map(|kind| kind.name.as_str()));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let all: Vec<_> = kinds::ALL.iter().map(|kind| format!("{} ({})", kind.name, kind.about)).collect();
        let name: String = name.chars().take(80).collect();
        usage(&format!("there is no channel kind '{name}'"), &format!("{near}it is one of: {}", all.join(", ")))
    })
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Answer<Vec<Channel>> {
    Ok(Json(all(&admin).await?))
}

pub(super) async fn all(admin: &Admin) -> Result<Vec<Channel>, Failed> {
    Ok(admin.switchboard.list().await?.into_iter().map(view).collect())
}

/// Webhooks whose secret is to be given again; channels say it of themselves.
pub(super) async fn lost_secrets(admin: &Admin) -> Result<Vec<LostSecret>, Failed> {
    let lost = admin.stores.central().lost_secrets().await?;
    let hooks = lost.iter().filter(|of| of.is_hook()).filter_map(|of| of.name.split_once('/'));
    let lost = hooks.map(|(channel, name)| LostSecret {
        what: format!(
            "the webhook {name} of {channel} has no secret here, as no backup has one: its calls are refused"
        ),
        mend: format!(
            "`cofferdam hook add {name} GROUP --channel {channel}` with what it had makes one (--secret-file takes one): \
             give it to who calls it"
        ),
    });
    Ok(lost.collect())
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<Channel> {
    let seen = admin.switchboard.list().await?.into_iter().find(|seen| seen.row.name == name);
    seen.map(|seen| Json(view(seen))).ok_or_else(|| failed(ChannelError::Unknown(name)))
}

pub(super) async fn put(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Json(put): Json<ChannelPut>,
) -> Answer<ChannelTested> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > MOST_NAME
        || !name.chars().all(plain)
        || name == terminal::NAME
        || name == "platform"
    {
        let message = format!("'{name}' cannot be a channel's name");
        let hint = format!("use 1 to {MOST_NAME} lower-case letters, digits and '-'; `terminal` is taken");
        return Err(usage(&message, &hint));
    }
    let kind = kind_of(&put.kind)?;
    let new = NewChannel {
        name,
        kind,
        settings: put.settings,
        secret: put.secret.map(|secret| SecretString::from(secret.0)),
    };
    let words = admin.switchboard.put(new).await.map_err(failed)?;
    let up = if admin.since.is_some() { "" } else { "`cofferdam up` serves it; then " };
    let next = match kind.programs {
        true => "`cofferdam key add NAME GROUP` makes a key of its API, `cofferdam hook add NAME GROUP` a webhook",
        false if admin.stores.central().has_owner().await? => {
            "`cofferdam pair --person N` (`user list` has the numbers) makes a code by which somebody who is known shows that they \
             are it there, too"
        }
        false => "`cofferdam pair --group GROUP` makes a code: send `/pair CODE` there, and it knows who you are",
    };
    Ok(Json(ChannelTested { words, next: Some(format!("{up}{next}")) }))
}

pub(super) async fn test(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<ChannelTested> {
    Ok(Json(ChannelTested { words: admin.switchboard.test(&name).await.map_err(failed)?, next: None }))
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failed> {
    match admin.switchboard.remove(&name).await.map_err(failed)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(failed(ChannelError::Unknown(name))),
    }
}

fn view(seen: Seen) -> Channel {
    let (state, why, again_at) = match seen.state {
        None => ("off", None, None),
        Some(channels::State::Connecting) => ("connecting", None, None),
        Some(channels::State::Connected) => ("connected", None, None),
        Some(channels::State::Waiting { why, again_at }) => ("waiting", Some(why), Some(rfc3339(again_at))),
        Some(channels::State::Stopped { why }) => ("stopped", Some(why), None),
    };
    Channel {
        name: seen.row.name,
        programs: kinds::is_for_programs(&seen.row.kind),
        kind: seen.row.kind.to_string(),
        settings: serde_json::from_str(&seen.row.settings).unwrap_or_default(),
        state: state.to_owned(),
        why,
        again_at,
    }
}

pub(super) fn failed(error: ChannelError) -> Failed {
    let message = error_chain(&error);
    match error {
        ChannelError::Settings(_) => {
            usage(&message, "nothing was changed; docs/channels/ says what each kind takes")
        }
        ChannelError::OtherKind(_) => {
            Failed::new(ErrorKind::Conflict, message, "choose another name, or remove that channel first")
        }
        ChannelError::OtherIdentity { .. } => Failed::new(
            ErrorKind::Conflict,
            message,
            "nothing was changed; give it a name of its own: `cofferdam channel add NAME KIND`. The old one's name is free once it \
             was removed (`cofferdam channel remove`) and no group has messages of it",
        ),
        ChannelError::SameIdentity { .. } => Failed::new(
            ErrorKind::Conflict,
            message,
            "nothing was changed; use that channel, or give this one an identity (such as a bot) of its own",
        ),
        ChannelError::Unknown(_) => Failed::not_found(message, "`cofferdam channel list` shows the channels"),
        ChannelError::Test { .. } => Failed::new(
            ErrorKind::Account,
            message,
            "nothing was changed; see that the secret and the settings are right",
        ),
        ChannelError::Secret(_) => {
            Failed::new(ErrorKind::Account, message, "`cofferdam doctor` says how the vault's key is")
        }
        ChannelError::NoSecret(_) | ChannelError::UnknownKind { .. } => usage(&message, "nothing was changed"),
        ChannelError::BrokeOff => {
            Failed::new(ErrorKind::Internal, message, "`cofferdam channel list` shows how the channel stands")
        }
        ChannelError::Store(error) => error.into(),
    }
}
