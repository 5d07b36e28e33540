//! Groups, sessions, status.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use cofferdam_protocol::admin::{
    DiskTrouble, Dropped, ErrorKind, ForPeople, Group, OpenLetters, Places, Session, SessionState, Status,
    StoppedSession,
};
use cofferdam_protocol::ids::{Attempt, Folder};
use serde::Deserialize;

use super::ending::Ending;
use super::error::Failed;
use super::{Admin, accounts, channels};
use crate::config::credentials::CredentialMode;
use crate::config::group::GroupConfig;
use crate::error_chain;
use crate::sandbox::mounts::credentials::CopiesOf;
use crate::store::central::GroupRow;
use crate::store::drops::DropRow;
use crate::store::{Errand, rfc3339};
use crate::supervisor::{NotEnded, View};

fn dropped(row: DropRow) -> Dropped {
    Dropped { chat: format!("{}:{}", row.channel, row.chat_id), reason: row.reason, count: row.count }
}

/// Reasons for drops that `status` shows.
const DROPS: usize = 20;
/// The most of a log that is answered, in bytes: its end.
const LOG_TAIL: u64 = 4 * 1024 * 1024;

pub(super) type Answer<T> = Result<Json<T>, Failed>;

pub(super) async fn status(
    State(admin): State<Arc<Admin>>,
    Extension(ending): Extension<Ending>,
) -> Answer<Status> {
    let views = admin.supervisor.views();
    let turns = views.values().filter(|(_, view)| view.state == SessionState::Busy).count();
    // Those that wait for another try may have no container and nobody who looks after them just now.
    let mut folders: BTreeSet<Folder> = admin.stores.central().busy_groups().await?.into_iter().collect();
    folders.extend(views.values().map(|(folder, _)| folder.clone()));
    let mut notes: Vec<String> = ending.note(turns).into_iter().collect();
    notes.extend(notes_of_groups(&admin).await?);
    notes.extend(admin.accounts.at_rest());
    let (mut sessions, mut dead_letters, mut questions) = (Vec::new(), Vec::new(), 0);
    for folder in &folders {
        let all = match sessions_of(&admin, folder).await {
            Ok(all) => all,
            Err(error) => {
                notes.extend(unread(folder, error));
                continue;
            }
        };
        // A group with open dead letters or questions stays marked as busy, so that no others have to be asked.
        let store = admin.stores.group(folder).await?;
        questions += store.open_questions().await?;
        let count = store.open_dead_letters().await?;
        if count > 0 {
            dead_letters.push(OpenLetters { group: Some(folder.clone()), count });
        }
        let mut shown = all.into_iter().filter(|s| views.contains_key(&s.id) || s.retry_at.is_some()).peekable();
        if shown.peek().is_none() {
            continue;
        }
        sessions.extend(shown);
        if let Err(error) = load(&admin, folder).await {
            notes.push(format!("{error}; running sessions go on with what they started with"));
        }
    }
    for session in sessions.iter().filter(|session| session.config_changed) {
        notes.push(format!(
            "container.json of {} changed; session {} takes it at its next start",
            session.group, session.id
        ));
    }
    let own = admin.stores.central().open_post_letters().await?;
    if own > 0 {
        dead_letters.push(OpenLetters { group: None, count: own });
    }
    let (running, queued) = admin.supervisor.counts();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        home: admin.home.root().display().to_string(),
        install: admin.install.clone(),
        pid: std::process::id(),
        uptime_secs: admin.since.map(|since| since.elapsed().as_secs()),
        ends_within_secs: ending.secs_left(),
        account: admin.gateway.account_name(),
        limits: super::accounts::limits(admin.accounts.default_limits().as_ref()),
        places: Places { max_sessions: admin.max_sessions, running, queued },
        groups: admin.stores.central().group_count().await?,
        engine_error: admin.supervisor.engine_error(),
        disk: disk_trouble(&admin).await,
        notes,
        dead_letters,
        channels: channels::all(&admin).await?,
        people: ForPeople {
            approvals: admin.stores.central().open_approvals().await?,
            unasked: admin.stores.central().unasked_approvals().await?,
            questions,
        },
        lost_secrets: channels::lost_secrets(&admin).await?,
        dropped: admin.stores.central().drops(DROPS).await?.into_iter().map(dropped).collect(),
        sessions,
    }))
}

/// Groups that are not used, in words.
async fn notes_of_groups(admin: &Admin) -> Result<Vec<String>, Failed> {
    let groups = admin.stores.central().groups().await?;
    let aside = groups.into_iter().filter_map(|row| Some((row.folder, row.set_aside?)));
    let note = |(folder, why)| format!("group {folder} is set aside: {why}; `cofferdam restore {folder}` mends it");
    Ok(aside.map(note).collect())
}

/// A group whose sessions cannot be listed does not hide the others'. That it is set aside is said of it already.
fn unread(folder: &Folder, error: Failed) -> Option<String> {
    (error.0.kind != ErrorKind::Database || !error.0.message.contains("set aside"))
        .then(|| format!("group {folder}: {}", error.0.message))
}

async fn disk_trouble(admin: &Admin) -> Option<DiskTrouble> {
    let (data, note) = (admin.home.data(), admin.stores.disk_note().clone());
    tokio::task::spawn_blocking(move || super::disk::look(&data, &note)).await.ok().flatten()
}

pub(super) async fn groups(State(admin): State<Arc<Admin>>) -> Answer<Vec<Group>> {
    let mut groups = Vec::new();
    for row in admin.stores.central().groups().await? {
        groups.push(group_view(&admin, row).await);
    }
    Ok(Json(groups))
}

pub(super) async fn group(State(admin): State<Arc<Admin>>, Path(folder): Path<String>) -> Answer<Group> {
    let row = registered(&admin, &parse(&folder)?).await?;
    Ok(Json(group_view(&admin, row).await))
}

pub(super) async fn put_group(State(admin): State<Arc<Admin>>, Path(folder): Path<String>) -> Answer<Group> {
    let folder: Folder = parse(&folder)?;
    let loaded = load(&admin, &folder).await?;
    let config = serde_json::to_string(&loaded.config).unwrap_or_default();
    let new = admin.stores.central().put_group(&folder, config, loaded.hash).await?;
    tracing::info!(group = %folder, new, "registered");
    if loaded.config.credentials.mode == CredentialMode::Sealed {
        // It may have had copies before.
        let wiped = accounts::wipe(&admin, CopiesOf::Group(folder.clone())).await;
        if wiped.left > 0 {
            return Err(copies_left(&folder, wiped.left));
        }
    }
    let row = registered(&admin, &folder).await?;
    Ok(Json(group_view(&admin, row).await))
}

fn copies_left(folder: &Folder, left: usize) -> Failed {
    let message = format!("{left} sessions of group {folder} may still have a copy of its account's login");
    let hint =
        format!("see that the Docker engine answers (`cofferdam doctor`), then `cofferdam group add {folder}`");
    Failed::new(ErrorKind::Engine, message, hint)
}

#[derive(Deserialize)]
pub(super) struct SessionQuery {
    group: Option<String>,
}

pub(super) async fn sessions(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<SessionQuery>,
) -> Answer<Vec<Session>> {
    let one = query.group.is_some();
    let folders = match query.group {
        Some(folder) => vec![registered(&admin, &parse(&folder)?).await?.folder],
        None => admin.stores.central().groups().await?.into_iter().map(|row| row.folder).collect(),
    };
    let mut sessions = Vec::new();
    for folder in folders {
        // A group that was never talked to has no database, and gets none by being looked at.
        if admin.home.has_state(&folder) {
            match sessions_of(&admin, &folder).await {
                Ok(found) => sessions.extend(found),
                // One group's trouble is not the others'; who asked for it is told.
                Err(error) if one => return Err(error),
                Err(_) => {}
            }
        }
    }
    sessions.sort_by(|a, b| b.active_at.cmp(&a.active_at));
    Ok(Json(sessions))
}

pub(super) async fn stop_session(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Answer<StoppedSession> {
    let session = find_session(&admin, &id).await?;
    match admin.supervisor.stop(&session.id).await {
        Ok(()) => {
            let now = find_session(&admin, session.id.as_str()).await;
            Ok(Json(StoppedSession { waiting: now.map_or(session.waiting, |now| now.waiting) }))
        }
        Err(error) => Err(not_stopped(&error)),
    }
}

fn not_stopped(error: &NotEnded) -> Failed {
    let (why, hint) = match error {
        NotEnded::Engine(error) => {
            (error_chain(error), "it ends by itself when the engine answers; `cofferdam status` shows it")
        }
        NotEnded::Lingers(_) => (
            error_chain(error),
            "the engine is asked again until it has ended; `cofferdam status` shows it, `docker ps` what the engine says",
        ),
    };
    let message = format!("the session is told to stop, but its container may still run: {why}");
    Failed::new(ErrorKind::Engine, message, hint)
}

#[derive(Deserialize)]
pub(super) struct LogQuery {
    attempt: Option<i64>,
}

pub(super) async fn logs(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<String, Failed> {
    let session = find_session(&admin, &id).await?;
    let attempt = query.attempt.map_or(session.attempt, Attempt);
    let path = admin.home.log(&session.group, &session.id, attempt);
    tokio::task::spawn_blocking(move || tail(path))
        .await
        .map_err(|_| Failed::new(ErrorKind::Internal, "the log reader died", "try again"))?
        .map_err(|error| {
            Failed::not_found(
                format!("attempt {attempt} of session {} has no log: {error}", session.id),
                "attempts count from 1; one exists after the session's first start",
            )
        })
}

fn tail(path: PathBuf) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds a session by its id, or by the beginning of one.
pub(super) async fn find_session(admin: &Admin, id: &str) -> Result<Session, Failed> {
    let mut found = Vec::new();
    for row in admin.stores.central().groups().await? {
        if admin.home.has_state(&row.folder) {
            let Ok(sessions) = sessions_of(admin, &row.folder).await else { continue };
            found.extend(sessions.into_iter().filter(|session| session.id.as_str().starts_with(id)));
        }
    }
    let hint = "`cofferdam session list` shows the sessions";
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failed::not_found(format!("no session begins with '{id}'"), hint)),
        n => Err(Failed::not_found(format!("{n} sessions begin with '{id}'"), hint)),
    }
}

/// A group's sessions: the rows, and over them what lives now.
async fn sessions_of(admin: &Admin, folder: &Folder) -> Result<Vec<Session>, Failed> {
    let store = admin.stores.group(folder).await?;
    let (mut sessions, mut retries) = (store.sessions().await?, store.retries().await?);
    let views = admin.supervisor.views();
    let current = load(admin, folder).await.ok().map(|loaded| loaded.hash);
    for session in &mut sessions {
        let retry_at = retries.remove(&session.id);
        match views.get(&session.id) {
            Some((_, view)) => show_live(session, view, current.as_deref()),
            // The rows know it, and nobody looks after it: no daemon runs, or it has just begun.
            None if session.container.take().is_some() => {
                session.note = Some("its container may still run; `cofferdam up` takes it over".to_owned());
            }
            None => {}
        }
        session.retry_at = retry_at.or(session.retry_at.take());
    }
    Ok(sessions)
}

fn show_live(session: &mut Session, view: &View, current: Option<&str>) {
    session.state = view.state;
    // A live one says itself when it starts again.
    session.retry_at = None;
    session.note.clone_from(&view.note);
    session.container.clone_from(&view.container);
    let has_container = matches!(view.state, SessionState::Starting | SessionState::Idle | SessionState::Busy);
    session.config_changed = has_container && current.is_some() && view.config_hash.as_deref() != current;
}

async fn group_view(admin: &Admin, row: GroupRow) -> Group {
    // The file is the one source; the row's copy is what was last good.
    let (config, config_error) = match load(admin, &row.folder).await {
        Ok(loaded) => (serde_json::to_value(&loaded.config).unwrap_or_default(), None),
        Err(error) => (serde_json::from_str(&row.config).unwrap_or_default(), Some(error.to_string())),
    };
    Group {
        path: admin.home.group(&row.folder).display().to_string(),
        registered_at: rfc3339(row.registered_at),
        config,
        config_error,
        set_aside: row.set_aside,
        folder: row.folder,
    }
}

pub(super) async fn registered(admin: &Admin, folder: &Folder) -> Result<GroupRow, Failed> {
    admin.stores.central().group(folder).await?.ok_or_else(|| no_group(folder))
}

pub(super) fn no_group(folder: &Folder) -> Failed {
    Failed::not_found(
        format!("no group '{folder}' is registered"),
        format!("`cofferdam group add {folder}` registers it, `cofferdam group list` shows those that are"),
    )
}

/// Nothing of a group was touched, because its sessions did not end.
pub(super) fn not_ended(folder: &Folder, errand: Errand, error: &NotEnded) -> Failed {
    let message = format!("group {folder} is not {errand}: {}", error_chain(error));
    match error {
        NotEnded::Engine(_) => Failed::new(
            ErrorKind::Engine,
            message,
            "nothing of it was changed; see that the Docker engine answers (`cofferdam doctor` looks), and try again",
        ),
        NotEnded::Lingers(session) => Failed::new(
            ErrorKind::Engine,
            message,
            format!("nothing of it was changed; `cofferdam session stop {session}`, and try again"),
        ),
    }
}

pub(super) async fn load(
    admin: &Admin,
    folder: &Folder,
) -> Result<crate::config::group::LoadedGroup, crate::config::error::ConfigError> {
    let (home, folder) = (admin.home.clone(), folder.clone());
    let path = home.container_json(&folder);
    tokio::task::spawn_blocking(move || GroupConfig::load(&home, &folder))
        .await
        .unwrap_or_else(|_| Err(crate::config::error::ConfigError::new(&path, "reading it failed")))
}

pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failed> {
    text.parse()
        .map_err(|error: T::Err| Failed::new(ErrorKind::Usage, error.to_string(), "see `cofferdam group --help`"))
}
