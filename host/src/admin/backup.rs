//! Backups and restores: work that takes long, told line by line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{
    BackupReport, BackupRequest, ErrorKind, FilesCopied, GroupRestore, HomeRestore, RestoreReport, RestoreRequest,
    SessionState, SharedRestore, TableRestore, WorkEvent,
};
use cofferdam_protocol::ids::Folder;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Admin;
use super::answers::{not_ended, registered};
use super::error::Failed;
use crate::backup::restore::Backup;
use crate::backup::{BackupError, salvage, take};
use crate::error_chain;
use crate::store::{Errand, Hold, StoreError, backup as databases};
use crate::supervisor::{GroupEnd, Quiet};

/// Lines that a slow client may be behind; more of them are dropped, as the next says the same.
const BACKLOG: usize = 16;

/// Tells whoever asked how far the work is.
type Teller<T> = mpsc::Sender<WorkEvent<T>>;

pub(super) async fn backup(State(admin): State<Arc<Admin>>, Json(request): Json<BackupRequest>) -> Response {
    answer(async move |tell: Teller<BackupReport>| {
        let dir = absolute(&request.dir)?;
        let (home, install, stores) = (admin.home.clone(), admin.install.clone(), admin.stores.clone());
        blocking(move || {
            let wish = take::Wish {
                home: &home,
                stores: &stores,
                install: &install,
                dir: &dir,
                only: &request.groups,
                progress: &telling(&tell),
            };
            take::take(&wish)
        })
        .await
    })
}

pub(super) async fn restore(State(admin): State<Arc<Admin>>, Json(request): Json<RestoreRequest>) -> Response {
    answer(async move |tell: Teller<RestoreReport>| match &request.from {
        Some(dir) => from_backup(&admin, &request, absolute(dir)?, &tell).await,
        None => {
            let [folder] = request.groups.as_slice() else {
                return Err(Failed::new(
                    ErrorKind::Usage,
                    "no backup is named",
                    "name one with --from DIR, or one group whose database is damaged",
                ));
            };
            Ok(RestoreReport { groups: vec![own(&admin, &request, folder).await?], shared: None, home: None })
        }
    })
}

async fn from_backup(
    admin: &Admin,
    request: &RestoreRequest,
    dir: PathBuf,
    tell: &Teller<RestoreReport>,
) -> Result<RestoreReport, Failed> {
    let backup = Arc::new(blocking(move || Backup::open(&dir)).await?);
    // Each once.
    let groups: BTreeSet<Folder> = if request.groups.is_empty() {
        backup.folders().cloned().collect()
    } else {
        request.groups.iter().cloned().collect()
    };
    // All of them are looked at before the first is touched, and nobody is in any of them.
    for folder in &groups {
        backup.group(folder)?;
        refuse_running(admin, request, folder)?;
    }
    let put = put_groups(admin, request, &backup, &groups, tell).await;
    if put.is_err() {
        wake(admin, &groups).await;
    }
    let restored = put?;
    let (mut shared_back, mut home_back) = (None, None);
    if request.groups.is_empty() {
        shared_back = shared(admin, request, backup.clone(), tell).await?;
        home_back = Some(of_home(admin, &backup).await?);
    }
    // What came is looked at: channels run, and who may decide is asked.
    admin.switchboard.look().await;
    admin.desk.look_soon();
    Ok(RestoreReport { groups: restored, shared: shared_back, home: home_back })
}

/// What chats need besides their groups.
async fn of_home(admin: &Admin, backup: &Backup) -> Result<HomeRestore, Failed> {
    let back = admin.stores.central().take_home(backup.source()).await?;
    let mut to_do = Vec::new();
    for (name, _) in &back.channels {
        let lacks = admin.switchboard.lacks(name).await?;
        to_do.extend(lacks.map(|why| format!("channel {name}: {why}")));
    }
    let hooks = super::channels::lost_secrets(admin).await?;
    to_do.extend(hooks.into_iter().map(|lost| format!("{}; {}", lost.what, lost.mend)));
    Ok(HomeRestore {
        channels: back.channels.into_iter().map(|(name, _)| name).collect(),
        channels_kept: back.kept,
        people: back.people,
        approvals: back.approvals,
        posts: back.posts,
        to_do,
    })
}

async fn put_groups(
    admin: &Admin,
    request: &RestoreRequest,
    backup: &Arc<Backup>,
    groups: &BTreeSet<Folder>,
    tell: &Teller<RestoreReport>,
) -> Result<Vec<GroupRestore>, Failed> {
    // All of them to their end, also when one fails: nobody wakes a session that is still told to end.
    let taken = join_all(groups.iter().map(|folder| take_over(admin, folder))).await;
    let taken = taken.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut restored = Vec::new();
    for (folder, taken) in groups.iter().cloned().zip(taken) {
        let (_, row, wirings) = backup.group(&folder)?;
        let (source, home, name) = (backup.clone(), admin.home.clone(), folder.clone());
        let (replace, tell) = (request.folder, tell.clone());
        let put = blocking(move || source.put(&home, &name, replace, &telling(&tell))).await?;
        let alone = !request.groups.is_empty();
        let back = admin.stores.central().take_in((row, wirings), backup.source(), alone).await?;
        drop(taken);
        go_on(admin, &folder).await?;
        restored.push(GroupRestore {
            group: folder,
            as_of: Some(backup.manifest.at.clone()),
            aside: shown(&put.aside),
            folder: put.folder,
            copied: put.copied.into(),
            tables: Vec::new(),
            wired_elsewhere: back.elsewhere.iter().map(|w| format!("{}:{}", w.channel, w.chat_id)).collect(),
            no_channel: if alone { back.no_channel } else { Vec::new() },
            roles: back.roles,
        });
    }
    Ok(restored)
}

/// Wakes what waits in groups whose sessions were ended for nothing.
async fn wake(admin: &Admin, groups: &BTreeSet<Folder>) {
    for folder in groups {
        if let Err(error) = admin.supervisor.look_after(folder).await {
            tracing::warn!(group = %folder, error = %error_chain(&error), "what waits in it is looked for later");
        }
    }
}

async fn shared(
    admin: &Admin,
    request: &RestoreRequest,
    backup: Arc<Backup>,
    tell: &Teller<RestoreReport>,
) -> Result<Option<SharedRestore>, Failed> {
    let (home, replace, tell) = (admin.home.clone(), request.folder, tell.clone());
    let put = blocking(move || backup.put_shared(&home, replace, &telling(&tell))).await?;
    Ok(put.folder.then(|| SharedRestore { aside: shown(&put.aside), copied: put.copied.into() }))
}

fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// From the group's own damaged database.
async fn own(admin: &Admin, request: &RestoreRequest, folder: &Folder) -> Result<GroupRestore, Failed> {
    let row = registered(admin, folder).await?;
    refuse_running(admin, request, folder)?;
    let taken = take_over(admin, folder).await?;
    let (home, name, empty) = (admin.home.clone(), folder.clone(), request.empty);
    let salvaged = blocking(move || {
        if row.set_aside.is_none() && databases::check(&home.group_db(&name)).is_ok() {
            return Err(BackupError::InOrder(name));
        }
        salvage::salvage(&home, &name, empty)
    })
    .await;
    let salvaged = match salvaged {
        Ok(salvaged) => salvaged,
        Err(failed) => {
            drop(taken);
            wake(admin, &BTreeSet::from([folder.clone()])).await;
            return Err(failed);
        }
    };
    admin.stores.central().mark_busy(folder).await?;
    drop(taken);
    go_on(admin, folder).await?;
    let table = |table: crate::store::salvage::Table| TableRestore {
        table: table.name,
        saved: table.saved,
        lost: table.lost,
        unusable: table.unusable,
    };
    Ok(GroupRestore {
        group: folder.clone(),
        as_of: None,
        aside: vec![salvaged.aside.display().to_string()],
        folder: false,
        copied: FilesCopied::default(),
        tables: salvaged.tables.into_iter().map(table).collect(),
        wired_elsewhere: Vec::new(),
        no_channel: Vec::new(),
        roles: Vec::new(),
    })
}

/// Keeps everybody out of a group until the answer is dropped: nothing begins in it, its sessions are gone, its database is
/// closed.
async fn take_over(admin: &Admin, folder: &Folder) -> Result<(Hold, Quiet), Failed> {
    let hold = admin.stores.hold(folder, Errand::Restore).await?;
    let ended = admin.supervisor.end_group(folder, GroupEnd::Restore).await;
    let quiet = ended.map_err(|error| not_ended(folder, hold.errand(), &error))?;
    hold.close().await;
    Ok((hold, quiet))
}

/// The group is used again, and what waits in it wakes.
async fn go_on(admin: &Admin, folder: &Folder) -> Result<(), Failed> {
    admin.stores.put_back(folder).await?;
    tracing::info!(group = %folder, "restored");
    admin.supervisor.look_after(folder).await?;
    Ok(())
}

fn refuse_running(admin: &Admin, request: &RestoreRequest, folder: &Folder) -> Result<(), Failed> {
    let views = admin.supervisor.views();
    let running = views.iter().find(|(_, (group, view))| {
        let works = !matches!(view.state, SessionState::Stopped | SessionState::Idle);
        group == folder && works && !request.stop
    });
    match running {
        None => Ok(()),
        Some((session, _)) => Err(Failed::new(
            ErrorKind::Conflict,
            format!("session {session} of group {folder} is working"),
            "wait for its end, or end it with --stop: what it does is not in what is restored",
        )),
    }
}

fn absolute(dir: &str) -> Result<PathBuf, Failed> {
    let path = Path::new(dir);
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(path.to_owned());
    }
    Err(Failed::new(ErrorKind::Usage, format!("'{dir}' is not the full path of a directory"), "name one"))
}

fn telling<T: Send>(tell: &Teller<T>) -> impl Fn(String) + Sync + use<'_, T> {
    |words| {
        let _ = tell.try_send(WorkEvent::Progress(words));
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Failed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Closed.into()),
    }
}

/// Runs the work, also when the client goes away: half of it helps nobody.
fn answer<T, W>(work: impl FnOnce(Teller<T>) -> W + Send + 'static) -> Response
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T, Failed>> + Send + 'static,
{
    let (tell, mut told) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let last = match work(tell.clone()).await {
            Ok(done) => WorkEvent::Done(done),
            Err(failed) => WorkEvent::Failed(failed.0),
        };
        // The client may have gone.
        let _ = tell.send(last).await;
    });
    let lines = futures_util::stream::poll_fn(move |context| told.poll_recv(context)).map_ok_line();
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Events as lines.
trait Lines: futures_util::Stream + Sized
where
    Self::Item: Serialize,
{
    fn map_ok_line(self) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures_util::StreamExt::map(self, |event| {
            let mut text = serde_json::to_vec(&event).unwrap_or_default();
            text.push(b'\n');
            Ok(text.into())
        })
    }
}

impl<S: futures_util::Stream<Item: Serialize>> Lines for S {}

impl From<BackupError> for Failed {
    fn from(error: BackupError) -> Self {
        let message = error_chain(&error);
        match error {
            BackupError::Place { .. } => {
                Self::new(ErrorKind::Conflict, message, "name a directory that does not exist")
            }
            BackupError::NoBackup { .. } => Self::new(
                ErrorKind::NotFound,
                message,
                "name the directory of a backup that was made to its end; one with a wrong sum was changed since",
            ),
            BackupError::NoParent(_) => Self::not_found(message, "make it, or name a directory elsewhere"),
            BackupError::NoGroup(_) => Self::not_found(message, "`cofferdam group list` shows the groups"),
            BackupError::NotInBackup { .. } => Self::not_found(message, "name one of these, or another backup"),
            BackupError::NoDatabase { .. } => Self::new(
                ErrorKind::Database,
                message,
                "take an older backup, or name the groups to take: `restore --from DIR GROUP…`",
            ),
            BackupError::InOrder(_) => {
                Self::new(ErrorKind::Conflict, message, "`--from DIR` takes it back from a backup")
            }
            BackupError::Nothing(_) => Self::new(
                ErrorKind::Database,
                message,
                "take a backup with --from DIR; `--empty` begins anew. The damaged file stays",
            ),
            BackupError::Io { .. } | BackupError::Tree(_) => {
                Self::new(ErrorKind::Disk, message, "see that the disk is not full and can be written")
            }
            BackupError::Store(error) => error.into(),
        }
    }
}
