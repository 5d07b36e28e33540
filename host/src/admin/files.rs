//! Files from people: taken in before their message, and put into the workspace with it.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Query, Request, State};
use cofferdam_protocol::admin::{ErrorKind, MAX_FILE_BYTES, MAX_FILES, StagedFile};
use cofferdam_protocol::ids::{FileId, Folder};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::Admin;
use super::answers::{parse, registered};
use super::error::Failed;
use crate::desk::placing::{self, NoInbox};
use crate::error_chain;
use crate::files::beneath::OpenError;
use crate::files::inbox::Inbox;
use crate::files::safe_name;
use crate::model::chat::{Attachment, Inbound};

/// How long a file waits for its message.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
pub(super) struct UploadQuery {
    group: String,
    name: String,
}

/// Takes a file in.
pub(super) async fn upload(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Json<StagedFile>, Failed> {
    let folder: Folder = registered(&admin, &parse(&query.group)?).await?.folder;
    let staging = admin.home.staging(&folder);
    let (id, dir) = new_place(staging).await?;
    let name = safe_name(&query.name);
    let taken = take(request, &dir.join(&name)).await;
    if taken.is_err() {
        // What came of it is of no use; the next upload clears what stays.
        let _ = tokio::fs::remove_dir_all(&dir).await;
    }
    Ok(Json(StagedFile { id, name, bytes: taken? }))
}

/// A fresh directory of its own; also clears what waited for too long.
async fn new_place(staging: PathBuf) -> Result<(FileId, PathBuf), Failed> {
    let made = tokio::task::spawn_blocking(move || {
        clear_old(&staging);
        let id: FileId = uuid::Uuid::now_v7().simple().to_string().parse().map_err(io::Error::other)?;
        let dir = staging.join(id.as_str());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok::<_, io::Error>((id, dir))
    });
    made.await.map_err(io::Error::other).and_then(|made| made).map_err(|error| disk(&error))
}

fn clear_old(staging: &Path) {
    let Ok(entries) = std::fs::read_dir(staging) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if modified.elapsed().is_ok_and(|age| age > KEPT) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

async fn take(request: Request, path: &Path) -> Result<u64, Failed> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = tokio::fs::File::from_std(made.map_err(|error| disk(&error))?);
    let mut body = request.into_body().into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            Failed::new(ErrorKind::Usage, format!("the file did not arrive whole: {error}"), "send it again")
        })?;
        bytes += piece.len() as u64;
        if bytes > MAX_FILE_BYTES {
            let message = format!("the file has over {MAX_FILE_BYTES} bytes");
            return Err(Failed::new(ErrorKind::Usage, message, "put it into the group's workspace yourself"));
        }
        file.write_all(&piece).await.map_err(|error| disk(&error))?;
    }
    file.flush().await.map_err(|error| disk(&error))?;
    Ok(bytes)
}

/// Puts a message's files into the workspace's inbox, before the message is accepted: an accepted message has them.
/// Doing it again is harmless, since their names come from their ids; a message that is known has them already.
pub(super) async fn place(
    admin: &Admin,
    group: &Folder,
    inbound: &Inbound,
    files: &[FileId],
) -> Result<Vec<Attachment>, Failed> {
    if files.len() > MAX_FILES {
        let message = format!("{} files with one message", files.len());
        return Err(Failed::new(ErrorKind::Usage, message, format!("send at most {MAX_FILES}")));
    }
    let folder = registered(admin, group).await?.folder;
    if let Some(known) =
        admin.stores.group(&folder).await?.files_of_known(&inbound.chat, &inbound.platform_id).await?
    {
        return Ok(known);
    }
    let (home, files) = (admin.home.clone(), files.to_vec());
    let placed = tokio::task::spawn_blocking(move || {
        let inbox = placing::open(&home, &folder).map_err(|error| match error {
            NoInbox::Workspace(error) => disk(&error),
            NoInbox::Folder(error) => refused(&error),
        })?;
        files.iter().map(|id| place_one(&home.staging(&folder), id, &inbox)).collect()
    });
    placed.await.map_err(|error| disk(&error))?
}

fn place_one(staging: &Path, id: &FileId, inbox: &Inbox) -> Result<Attachment, Failed> {
    let dir = staging.join(id.as_str());
    let found = || -> io::Result<Option<(String, std::fs::File)>> {
        let Some(entry) = std::fs::read_dir(&dir)?.next().transpose()? else { return Ok(None) };
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok(Some((name, std::fs::File::open(entry.path())?)))
    };
    let Ok(Some((name, mut file))) = found() else {
        let message = format!("there is no file {id} for this group");
        return Err(Failed::not_found(message, "hand it in with `POST /v1/files`; it waits for a day"));
    };
    placing::put(inbox, &prefix(id), name, &mut file).map_err(|error| disk(&error))
}

/// When the file came, and what tells it from others of that second.
fn prefix(id: &FileId) -> String {
    let time = jiff::Timestamp::from_millisecond(id.millis()).unwrap_or_default();
    format!("{}-{}", time.strftime("%Y%m%d-%H%M%S"), &id.as_str()[26..])
}

/// Removes what an accepted message has taken. What stays is cleared with time.
pub(super) fn forget(admin: &Admin, folder: &Folder, files: Vec<FileId>) {
    if files.is_empty() {
        return;
    }
    let staging = admin.home.staging(folder);
    tokio::task::spawn_blocking(move || {
        for id in files {
            let _ = std::fs::remove_dir_all(staging.join(id.as_str()));
        }
    });
}

fn disk(error: &(dyn std::error::Error + 'static)) -> Failed {
    let message = format!("the file could not be kept: {}", error_chain(error));
    Failed::new(ErrorKind::Disk, message, "nothing was accepted; see that the disk is not full, then send it again")
}

fn refused(error: &OpenError) -> Failed {
    let message = format!("the file could not be put into the workspace's inbox: {}", error_chain(error));
    Failed::new(ErrorKind::Disk, message, "look at inbox/ in the group's workspace, then send it again")
}
