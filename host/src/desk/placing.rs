//! A workspace's inbox, for files of people: those of platforms, and those that come through the admin socket.

use std::io::{self, Read};

use cofferdam_protocol::ids::Folder;

use crate::config::home::Home;
use crate::files::beneath::OpenError;
use crate::files::inbox::{self, Inbox};
use crate::files::is_image;
use crate::model::chat::Attachment;
use crate::sandbox::mounts::{self, PrepareError};

/// Why there is no inbox to put a file into.
#[derive(Debug, thiserror::Error)]
pub enum NoInbox {
    /// The group has no workspace that could be made or used.
    #[error(transparent)]
    Workspace(#[from] PrepareError),
    /// Its folder for files cannot be made or opened.
    #[error(transparent)]
    Folder(#[from] OpenError),
}

/// Opens a group's inbox; makes it, and the workspace, if need be. Blocks on the disk.
pub fn open(home: &Home, folder: &Folder) -> Result<Inbox, NoInbox> {
    let user = mounts::container_user();
    let workspace = mounts::own_workspace(home, folder, user)?;
    Ok(Inbox::open(&workspace, (user.uid, user.gid))?)
}

/// Puts a file there as `PREFIX-NAME`, over one of that name; `name` is safe. Blocks on the disk.
pub fn put(inbox: &Inbox, prefix: &str, name: String, from: &mut impl Read) -> io::Result<Attachment> {
    let path = format!("{prefix}-{name}");
    let (bytes, head) = inbox.put(&path, from)?;
    Ok(Attachment { name, path: format!("{}/{path}", inbox::NAME), bytes, image: is_image(&head, bytes) })
}
