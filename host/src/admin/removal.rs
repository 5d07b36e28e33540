//! A group is removed: its sessions end, what waits is told, it is forgotten, and its data goes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_protocol::admin::ErrorKind;
use cofferdam_protocol::ids::Folder;

use super::Admin;
use super::answers::{not_ended, parse, registered};
use super::error::Failed;
use crate::backup::beside;
use crate::error_chain;
use crate::files::tree;
use crate::store::{Errand, StoreError};
use crate::supervisor::GroupEnd;

/// How long the last words may take to their channels.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Ends the group's sessions, then forgets it and its state. Its folder stays. When they do not end, nothing is removed.
/// Goes on when the client leaves: half of it helps nobody.
pub(super) async fn delete_group(
    State(admin): State<Arc<Admin>>,
    Path(folder): Path<String>,
) -> Result<StatusCode, Failed> {
    let folder: Folder = parse(&folder)?;
    let work = tokio::spawn(async move { remove(&admin, &folder).await });
    work.await.map_err(|_| Failed::from(StoreError::Closed))??;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(admin: &Admin, folder: &Folder) -> Result<(), Failed> {
    registered(admin, folder).await?;
    // From here on nothing begins in it.
    let hold = admin.stores.hold(folder, Errand::Removal).await?;
    let ended = admin.supervisor.end_group(folder, GroupEnd::Removal).await;
    let _quiet = ended.map_err(|error| not_ended(folder, hold.errand(), &error))?;
    // A damaged database takes no words.
    if let Ok(store) = admin.stores.group(folder).await {
        if let Err(error) = admin.supervisor.last_words(&store).await {
            tracing::warn!(group = %folder, error = %error_chain(&error), "what waits ends without words");
        }
        admin.delivery.done_with(folder, LAST_WORDS).await;
    }
    hold.forget().await?;
    let data = admin.home.group_data(folder);
    let removed = tokio::task::spawn_blocking(move || remove_data(data)).await;
    removed.map_err(|_| Failed::from(StoreError::Closed))?.map_err(|(left, error)| {
        Failed::new(
            ErrorKind::Disk,
            format!("the group is forgotten, but {} was not removed: {error}", left.display()),
            "remove it by hand",
        )
    })
}

/// Moves a group's data aside first, so that a group that is registered under its name finds nothing of it; also what an
/// agent has made unwritable goes. Answers what is left.
fn remove_data(data: PathBuf) -> Result<(), (PathBuf, io::Error)> {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let aside = beside(&data, &format!("{name}.aside-"));
    let place = if std::fs::rename(&data, &aside).is_ok() { aside } else { data };
    match tree::remove(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((place, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_of_a_groups_data_stays_also_not_what_an_agent_made_unwritable() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("demo");
        let home = data.join("sessions/1/codex");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("file"), "text").unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o555)).unwrap();
        remove_data(data.clone()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        remove_data(data).expect("a group that was never talked to has none");
    }
}
