//! Programs that call agents over HTTP: webhooks, and keys of the API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_protocol::admin::{ApiKey, ApiKeyMade, ApiKeyNew, ErrorKind, Hidden, Hook, HookMade, HookPut};
use cofferdam_protocol::ids::Folder;
use secrecy::{ExposeSecret, SecretString};

use super::Admin;
use super::answers::{Answer, no_group};
use super::channels::failed;
use super::error::Failed;
use super::wirings::usage;
use crate::channels::http::book::HookFormat;
use crate::channels::{http, kinds};
use crate::model::channel::KindName;
use crate::store::hooks::{HookRow, KeyRow, Put};
use crate::store::{now_ms, rfc3339};
use crate::switchboard::{ChannelError, HookSecret};

/// The shortest secret, in bytes: a shorter one can be guessed.
const LEAST_SECRET: usize = 16;
/// The longest secret, callback and model's name.
const MOST_SECRET: usize = 1024;
const MOST_CALLBACK: usize = 2048;
const MOST_MODEL: usize = 100;
/// A key's longest life, in days: a hundred years.
const MOST_DAYS: u32 = 36_500;
const DAY: i64 = 24 * 60 * 60 * 1000;

type Of = Path<(String, String)>;

pub(super) async fn hooks(State(admin): State<Arc<Admin>>) -> Answer<Vec<Hook>> {
    let places = Places::of(&admin).await?;
    let rows = admin.stores.central().hooks().await?;
    Ok(Json(rows.into_iter().map(|row| places.hook(row)).collect()))
}

pub(super) async fn keys(State(admin): State<Arc<Admin>>) -> Answer<Vec<ApiKey>> {
    let places = Places::of(&admin).await?;
    let rows = admin.stores.central().keys().await?;
    Ok(Json(rows.into_iter().map(|row| places.key(row)).collect()))
}

pub(super) async fn put_hook(
    State(admin): State<Arc<Admin>>,
    Path((channel, name)): Of,
    Json(put): Json<HookPut>,
) -> Answer<HookMade> {
    let kind = there(&admin, &channel, &name, &put.group).await?;
    let hooks = admin.stores.central().hooks().await?;
    let before = hooks.into_iter().find(|row| row.channel == channel && row.name == name);
    let (mut row, callback) = hook_of(before, &put, (channel, name))?;
    let secret = match (put.secret, put.fresh_secret) {
        (Some(_), true) => return Err(usage("a secret is given, and a fresh one asked for", "leave one out")),
        (Some(secret), false) => HookSecret::Given(checked_secret(secret)?),
        (None, true) => HookSecret::Fresh,
        (None, false) => HookSecret::Keep,
    };
    let secrets = (secret, callback);
    let (done, made) =
        admin.switchboard.put_hook(row.clone(), (put.group.clone(), kind), secrets).await.map_err(failed)?;
    row.chat_id = kept(done, &row.channel, &row.name, &put.group)?;
    let hook = Places::of(&admin).await?.hook(row);
    Ok(Json(HookMade { hook, secret: made.map(|made| Hidden(made.expose_secret().to_owned())) }))
}

/// The webhook as it is to be, and its callback's address if that is another one. What is not said stays.
fn hook_of(
    before: Option<HookRow>,
    put: &HookPut,
    (channel, name): (String, String),
) -> Result<(HookRow, Option<SecretString>), Failed> {
    let new = HookRow {
        channel,
        name,
        chat_id: String::new(),
        format: HookFormat::default().as_str().to_owned(),
        callback: None,
        events: Vec::new(),
    };
    let mut row = before.unwrap_or(new);
    let before = (row.format, row.events);
    let (format, events) = http::changed_form(before, put.format.as_deref(), put.events.as_deref())
        .map_err(|bad| usage(&bad.why, bad.hint))?;
    (row.format, row.events) = (format.as_str().to_owned(), events);
    let callback = put.callback.as_ref().map(|callback| checked_callback(&callback.0)).transpose()?;
    let (shown, callback) = callback.unzip();
    if put.no_callback {
        row.callback = None;
    }
    row.callback = shown.or(row.callback);
    Ok((row, callback))
}

pub(super) async fn remove_hook(
    State(admin): State<Arc<Admin>>,
    Path((channel, name)): Of,
) -> Result<StatusCode, Failed> {
    match admin.stores.central().remove_hook(&channel, &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_hook(&channel, &name)),
    }
}

pub(super) async fn add_key(
    State(admin): State<Arc<Admin>>,
    Path((channel, name)): Of,
    Json(new): Json<ApiKeyNew>,
) -> Answer<ApiKeyMade> {
    let kind = there(&admin, &channel, &name, &new.group).await?;
    let model = new.model.unwrap_or_else(|| new.group.to_string());
    if model.is_empty() || model.len() > MOST_MODEL || model.contains(char::is_control) {
        return Err(usage(
            "the model's name is empty, too long or not printable",
            "leave it out: it is the group's",
        ));
    }
    if new.days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
        return Err(usage("the number of days is out of range", &format!("say 1 to {MOST_DAYS}")));
    }
    let (key, hash) = http::keys::fresh();
    let now = now_ms();
    let mut row = KeyRow {
        channel,
        name,
        chat_id: String::new(),
        model,
        expires_at: new.days.map(|days| now + i64::from(days) * DAY),
        revoked_at: None,
        used_at: None,
        created_at: now,
    };
    let done = admin.stores.central().add_key(row.clone(), hash, (new.group.clone(), kind)).await?;
    row.chat_id = kept(done, &row.channel, &row.name, &new.group)?;
    let shown = Places::of(&admin).await?.key(row);
    Ok(Json(ApiKeyMade { shown, key: Hidden(key.expose_secret().to_owned()) }))
}

pub(super) async fn revoke_key(
    State(admin): State<Arc<Admin>>,
    Path((channel, name)): Of,
) -> Result<StatusCode, Failed> {
    let central = admin.stores.central();
    if central.revoke_key(&channel, &name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let known = central.keys().await?.into_iter().any(|row| row.channel == channel && row.name == name);
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(no_key(&channel, &name)) }
}

pub(super) async fn remove_key(
    State(admin): State<Arc<Admin>>,
    Path((channel, name)): Of,
) -> Result<StatusCode, Failed> {
    match admin.stores.central().remove_key(&channel, &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_key(&channel, &name)),
    }
}

/// Whether a webhook or a key of this name can be, in words that help. Answers its channel's kind.
async fn there(admin: &Admin, channel: &str, name: &str, group: &Folder) -> Result<KindName, Failed> {
    if !http::is_name(name) {
        let message = format!("'{}' cannot name a webhook or a key", name.chars().take(80).collect::<String>());
        return Err(usage(&message, "use 1 to 64 letters, digits, '.', '_' and '-'"));
    }
    let central = admin.stores.central();
    let row = central.channels().await?.into_iter().find(|row| row.name == channel);
    let kind = row.ok_or_else(|| failed(ChannelError::Unknown(channel.to_owned())))?.kind;
    if !kinds::is_for_programs(&kind) {
        let those = kinds::ALL.iter().filter(|kind| kind.programs).map(|kind| kind.name.as_str());
        let hint =
            format!("webhooks and keys belong to one of the kind {}", those.collect::<Vec<_>>().join(" or "));
        return Err(usage(&format!("'{channel}' is a channel of the kind {kind}"), &hint));
    }
    if central.group(group).await?.is_none() {
        return Err(no_group(group));
    }
    Ok(kind)
}

/// The chat of what was made or changed.
fn kept(put: Put, channel: &str, name: &str, group: &Folder) -> Result<String, Failed> {
    match put {
        Put::Done(chat_id) => Ok(chat_id),
        Put::Nowhere => {
            let message = format!("the channel '{channel}' or the group '{group}' was removed meanwhile");
            Err(Failed::new(ErrorKind::Conflict, message, "nothing was changed"))
        }
        Put::Taken => Err(Failed::new(
            ErrorKind::Conflict,
            format!("there is a key '{name}' already, and what it is cannot be shown again"),
            format!("choose another name, or `cofferdam key remove {name}` first"),
        )),
    }
}

fn checked_secret(Hidden(secret): Hidden) -> Result<SecretString, Failed> {
    if (LEAST_SECRET..=MOST_SECRET).contains(&secret.len()) {
        return Ok(SecretString::from(secret));
    }
    let message = format!("the secret has {} bytes", secret.len());
    Err(usage(&message, &format!("take {LEAST_SECRET} to {MOST_SECRET}, or leave it out: a good one is made")))
}

/// A callback as it may be shown, and its address.
fn checked_callback(callback: &str) -> Result<(String, SecretString), Failed> {
    let shown = http::shown(callback).filter(|_| callback.len() <= MOST_CALLBACK);
    // Not shown: it may have a token in it.
    let shown = shown.ok_or_else(|| usage("the callback is no address", "write it as https://HOST/PATH"))?;
    Ok((shown, SecretString::from(callback)))
}

fn no_hook(channel: &str, name: &str) -> Failed {
    Failed::not_found(format!("there is no webhook '{name}' of '{channel}'"), "`cofferdam hook list` shows them")
}

fn no_key(channel: &str, name: &str) -> Failed {
    Failed::not_found(format!("there is no key '{name}' of '{channel}'"), "`cofferdam key list` shows them")
}

/// Where calls go: looked up once for a list.
struct Places {
    /// Channels and their addresses.
    urls: Vec<(String, String)>,
    wirings: Vec<crate::store::wirings::Wiring>,
}

impl Places {
    async fn of(admin: &Admin) -> Result<Self, Failed> {
        let central = admin.stores.central();
        let url = |settings: &str| http::url(&serde_json::from_str(settings).unwrap_or_default());
        let urls = central.channels().await?.into_iter().map(|row| (row.name, url(&row.settings))).collect();
        Ok(Self { urls, wirings: central.wirings().await? })
    }

    fn url(&self, channel: &str) -> &str {
        self.urls.iter().find(|(name, _)| name == channel).map_or("", |(_, url)| url)
    }

    fn groups(&self, channel: &str, chat_id: &str) -> Vec<Folder> {
        let of = self.wirings.iter().filter(|wiring| wiring.channel == channel && wiring.chat_id == chat_id);
        of.map(|wiring| wiring.folder.clone()).collect()
    }

    fn hook(&self, row: HookRow) -> Hook {
        Hook {
            groups: self.groups(&row.channel, &row.chat_id),
            url: format!("{}/hooks/{}", self.url(&row.channel), row.name),
            has_events: HookFormat::parse(&row.format).is_some_and(HookFormat::has_events),
            format: row.format,
            events: row.events,
            callback: row.callback.and_then(|callback| http::shown(&callback)),
            channel: row.channel,
            name: row.name,
            chat: row.chat_id,
        }
    }

    fn key(&self, row: KeyRow) -> ApiKey {
        let state = match (row.revoked_at, row.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(until)) if until <= now_ms() => "expired",
            _ => "good",
        };
        ApiKey {
            groups: self.groups(&row.channel, &row.chat_id),
            url: format!("{}/v1", self.url(&row.channel)),
            state: state.to_owned(),
            expires_at: row.expires_at.map(rfc3339),
            used_at: row.used_at.map(rfc3339),
            created_at: rfc3339(row.created_at),
            channel: row.channel,
            name: row.name,
            chat: row.chat_id,
            model: row.model,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(format: Option<&str>, events: Option<&[&str]>) -> HookPut {
        HookPut {
            group: "demo".parse().unwrap(),
            format: format.map(Into::into),
            events: events.map(|events| events.iter().map(|event| (*event).to_owned()).collect()),
            callback: None,
            no_callback: false,
            secret: None,
            fresh_secret: false,
        }
    }

    fn hook(before: Option<HookRow>, put: &HookPut) -> Result<HookRow, Failed> {
        hook_of(before, put, ("http".into(), "ci".into())).map(|(row, _)| row)
    }

    #[test]
    fn what_is_not_said_of_a_webhook_stays() {
        let first = HookPut {
            callback: Some(Hidden("https://example.org/x?token=1".into())),
            ..put(Some("github"), Some(&["issues"]))
        };
        let there = hook(None, &first).unwrap();
        assert_eq!(there.callback.as_deref(), Some("https://example.org/…"));
        assert_eq!(hook(Some(there.clone()), &put(None, None)).unwrap(), there);
        let all = hook(Some(there.clone()), &put(None, Some(&[]))).unwrap();
        assert!(all.events.is_empty() && all.format == "github" && all.callback == there.callback);
        let plain = hook(Some(there.clone()), &put(Some("plain"), None)).unwrap();
        assert!(plain.events.is_empty() && plain.format == "plain");
        let none = HookPut { no_callback: true, ..put(None, None) };
        assert_eq!(hook(Some(there), &none).unwrap().callback, None);
        assert!(hook(None, &put(None, Some(&["issues"]))).is_err(), "only GitHub's have events");
        assert_eq!(hook(None, &put(None, None)).unwrap().format, "plain");
    }
}
