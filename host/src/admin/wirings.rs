//! Which chats reach which groups, and how.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use cofferdam_protocol::admin::{ErrorKind, Wiring, WiringChange};
use cofferdam_protocol::ids::Folder;
use serde::Deserialize;

use super::Admin;
use super::answers::{Answer, no_group};
use super::error::Failed;
use crate::channels::{kinds, terminal};
use crate::model::chat::{ChatKind, SessionMode};
use crate::model::engage::{EngageMode, Others};
use crate::model::people::UnknownPolicy;
use crate::store::Central;
use crate::store::wirings::{self, ChatRow, Terms};

/// The longest pattern, in bytes, and the most memory that one may take when it is compiled.
const MOST_PATTERN: usize = 1000;

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Answer<Vec<Wiring>> {
    let central = admin.stores.central();
    let mut all = Vec::new();
    for wiring in central.wirings().await? {
        all.push(view(central, wiring).await?);
    }
    Ok(Json(all))
}

pub(super) async fn put(State(admin): State<Arc<Admin>>, Json(change): Json<WiringChange>) -> Answer<Wiring> {
    let central = admin.stores.central();
    let group = change
        .group
        .clone()
        .ok_or_else(|| usage("the group is missing", "name the group that the chat reaches"))?;
    if central.group(&group).await?.is_none() {
        return Err(no_group(&group));
    }
    let row = central.channels().await?.into_iter().find(|row| row.name == change.channel);
    if change.channel != terminal::NAME && row.is_none() {
        let message = format!("there is no channel '{}'", change.channel);
        return Err(Failed::not_found(message, "`cofferdam channel list` shows the channels"));
    }
    id_fits(&admin, &change.channel, &change.chat_id).await?;
    let chat = central.chat(&change.channel, &change.chat_id).await?;
    let kind = match &change.kind {
        Some(kind) => word("kind", kind, ChatKind::parse, "`direct` or `group`")?,
        None => chat.as_ref().map_or(ChatKind::Group, |chat| chat.kind),
    };
    let there = central.wirings_of(&change.channel, &change.chat_id).await?;
    let terms = match there.into_iter().find(|wiring| wiring.folder == group) {
        Some(wiring) => wiring.terms,
        None if row.is_some_and(|row| kinds::is_for_programs(&row.kind)) => Terms::of_program(),
        None => Terms::of(kind),
    };
    let terms = changed(terms, &change)?;
    let kept = keep(central, &change, group, kind, terms).await;
    // Somebody may have been asked for it.
    admin.desk.look_soon();
    kept
}

pub(super) async fn change(State(admin): State<Arc<Admin>>, Json(change): Json<WiringChange>) -> Answer<Wiring> {
    id_fits(&admin, &change.channel, &change.chat_id).await?;
    let central = admin.stores.central();
    let mut there = central.wirings_of(&change.channel, &change.chat_id).await?;
    if let Some(group) = &change.group {
        there.retain(|wiring| wiring.folder == *group);
    }
    let wiring = match (there.pop(), there.is_empty()) {
        (Some(wiring), true) => wiring,
        (Some(_), false) => {
            return Err(usage("several groups listen in this chat", "say which with --group"));
        }
        (None, _) => return Err(unwired(&change.channel, &change.chat_id)),
    };
    let chat = central.chat(&change.channel, &change.chat_id).await?;
    let kind = match &change.kind {
        Some(kind) => word("kind", kind, ChatKind::parse, "`direct` or `group`")?,
        None => chat.map_or(ChatKind::Group, |chat| chat.kind),
    };
    let terms = changed(wiring.terms, &change)?;
    keep(central, &change, wiring.folder, kind, terms).await
}

#[derive(Deserialize)]
pub(super) struct Which {
    channel: String,
    chat_id: String,
    group: Option<Folder>,
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Query(which): Query<Which>,
) -> Result<StatusCode, Failed> {
    let central = admin.stores.central();
    match central.unwire(&which.channel, &which.chat_id, which.group.as_ref()).await? {
        0 => Err(unwired(&which.channel, &which.chat_id)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Refuses an id that names nothing on its channel: what is noted of it would never be found.
pub(super) async fn id_fits(admin: &Admin, channel: &str, id: &str) -> Result<(), Failed> {
    match admin.switchboard.unfit_id(channel, id).await? {
        Some(why) => Err(usage(
            &why,
            "nothing was changed; `cofferdam wiring list` and `dropped` show ids as they are, and `unwire` takes away what was wired before",
        )),
        None => Ok(()),
    }
}

async fn keep(
    central: &Central,
    change: &WiringChange,
    folder: Folder,
    kind: ChatKind,
    terms: Terms,
) -> Answer<Wiring> {
    let policy = |policy: &String| word("unknown", policy, UnknownPolicy::parse, "`drop`, `ask` or `public`");
    let unknown = change.unknown.as_ref().map(policy).transpose()?;
    // The terminal's senders are the home's owners: there is nothing to note of its chats.
    if change.channel != terminal::NAME {
        central.put_chat(&change.channel, &change.chat_id, ChatRow { kind, title: None, unknown }).await?;
    }
    let wiring =
        wirings::Wiring { channel: change.channel.clone(), chat_id: change.chat_id.clone(), folder, terms };
    if !central.wire(wiring.clone()).await? {
        return Err(no_group(&wiring.folder));
    }
    Ok(Json(view(central, wiring).await?))
}

/// The terms with what is to change.
fn changed(mut terms: Terms, change: &WiringChange) -> Result<Terms, Failed> {
    if let Some(mode) = &change.session_mode {
        terms.session_mode = word("session mode", mode, SessionMode::parse, "`shared`, `per-thread` or `group`")?;
    }
    if let Some(engage) = &change.engage {
        terms.engage = word("engage mode", engage, EngageMode::parse, "`always`, `mention` or `pattern`")?;
    }
    if let Some(pattern) = &change.pattern {
        if change.engage.is_some() && terms.engage != EngageMode::Pattern {
            let message = format!("the engage mode `{}` has no pattern", terms.engage.as_str());
            return Err(usage(&message, "leave one of --engage and --pattern out"));
        }
        checked(pattern)?;
        terms.engage = EngageMode::Pattern;
        terms.pattern = Some(pattern.clone());
    }
    if let Some(others) = &change.others {
        terms.others = word("others", others, Others::parse, "`drop` or `context`")?;
    }
    terms.sticky = change.sticky.unwrap_or(terms.sticky);
    terms.progress = change.progress.unwrap_or(terms.progress);
    match (terms.engage, &terms.pattern) {
        (EngageMode::Pattern, None) => {
            Err(usage("the engage mode `pattern` needs a pattern", "say which with --pattern"))
        }
        (EngageMode::Pattern, Some(_)) => Ok(terms),
        _ => Ok(Terms { pattern: None, ..terms }),
    }
}

fn checked(pattern: &str) -> Result<(), Failed> {
    if pattern.len() > MOST_PATTERN {
        return Err(usage(&format!("the pattern has over {MOST_PATTERN} bytes"), "write a shorter one"));
    }
    match crate::model::engage::compiled(pattern) {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = error.to_string();
            let last = why.lines().last().unwrap_or_default().trim().to_owned();
            Err(usage(&format!("the pattern is no regular expression: {last}"), "write it as in `(?i)deploy`"))
        }
    }
}

fn word<T>(what: &str, word: &str, parse: fn(&str) -> Option<T>, takes: &str) -> Result<T, Failed> {
    parse(word).ok_or_else(|| usage(&format!("'{word}' is nothing that '{what}' takes"), &format!("say {takes}")))
}

pub(super) fn usage(message: &str, hint: &str) -> Failed {
    Failed::new(ErrorKind::Usage, message, hint)
}

fn unwired(channel: &str, chat_id: &str) -> Failed {
    Failed::not_found(
        format!("the chat '{channel}:{chat_id}' is not wired so"),
        "`cofferdam wiring list` shows the wirings",
    )
}

async fn view(central: &Central, wiring: wirings::Wiring) -> Result<Wiring, Failed> {
    let chat = central.chat(&wiring.channel, &wiring.chat_id).await?;
    let kind = chat.as_ref().map_or(ChatKind::Group, |chat| chat.kind);
    let unknown = chat.as_ref().and_then(|chat| chat.unknown).unwrap_or(UnknownPolicy::of(kind));
    let Terms { session_mode, engage, pattern, sticky, others, progress } = wiring.terms;
    Ok(Wiring {
        owners_only: wiring.channel == terminal::NAME,
        channel: wiring.channel,
        chat_id: wiring.chat_id,
        title: chat.and_then(|chat| chat.title),
        group: wiring.folder,
        session_mode: session_mode.as_str().to_owned(),
        engage: engage.as_str().to_owned(),
        pattern,
        sticky,
        others: others.as_str().to_owned(),
        unknown: unknown.as_str().to_owned(),
        progress,
    })
}
