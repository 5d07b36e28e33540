//! Files that came with a message: fetched from the platform into the workspace's inbox before the message is accepted.

use std::io;
use std::os::unix::fs::DirBuilderExt;

use cofferdam_protocol::admin::{MAX_FILE_BYTES, MAX_FILES};
use cofferdam_protocol::ids::Folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Desk, failed, placing};
use crate::channels::{Channel, NotTaken, Offered, SendError, Written};
use crate::error_chain;
use crate::files::safe_name;
use crate::model::chat::{Attachment, ChatRef, FILE_NOTE};

/// A message's files in a group's workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placed {
    folder: Folder,
    pub(super) files: Vec<Attachment>,
    /// Lines about those that could not be had, for behind the text.
    pub(super) notes: String,
}

impl Desk {
    /// Puts a message's files into a group's workspace, unless they are there: `before` says so, or the message is known. What
    /// cannot be had is named in the notes: the rest goes on.
    pub(super) async fn placed(
        &self,
        folder: &Folder,
        written: &Written,
        (chat, platform_id): (&ChatRef, &str),
        before: &[Placed],
    ) -> Result<Placed, NotTaken> {
        let mut placed = Placed { folder: folder.clone(), files: Vec::new(), notes: String::new() };
        if written.files.is_empty() {
            return Ok(placed);
        }
        let store = self.inner.stores.group(folder).await.map_err(failed)?;
        if let Some(files) = store.files_of_known(chat, platform_id).await.map_err(failed)? {
            return Ok(Placed { files, ..placed });
        }
        if let Some(before) = before.iter().find(|before| before.folder == *folder) {
            return Ok(before.clone());
        }
        let channel = self.inner.channels.get(&chat.channel);
        let channel = channel.ok_or_else(|| NotTaken::Failed("the channel is gone".to_owned()))?;
        for (number, offered) in written.files.iter().enumerate() {
            let got = match offered.bytes {
                _ if number >= MAX_FILES => Err(format!("only {MAX_FILES} files are taken with one message")),
                Some(bytes) if bytes > MAX_FILE_BYTES => Err(format!("it has over {MAX_FILE_BYTES} bytes")),
                _ => {
                    let prefix = prefix(chat, platform_id, number);
                    self.place_one(folder, channel.as_ref(), offered, prefix).await?
                }
            };
            match got {
                Ok(attachment) => placed.files.push(attachment),
                Err(why) => {
                    let name = safe_name(&offered.name);
                    placed.notes += &format!("{FILE_NOTE}{name} could not be taken: {why}]");
                }
            }
        }
        Ok(placed)
    }

    /// The outer error is for now, the inner one for good.
    async fn place_one(
        &self,
        folder: &Folder,
        channel: &dyn Channel,
        offered: &Offered,
        prefix: String,
    ) -> Result<Result<Attachment, String>, NotTaken> {
        let staging = self.inner.home.staging(folder);
        let disk = |error: io::Error| NotTaken::Failed(format!("the file could not be kept: {error}"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&staging).map_err(disk)?;
        let staged = tempfile::NamedTempFile::new_in(&staging).map_err(disk)?;
        let mut file = tokio::fs::File::from_std(staged.reopen().map_err(disk)?);
        match channel.fetch(offered, &mut file, MAX_FILE_BYTES).await {
            Ok(_) => {}
            Err(SendError::Refused { why }) => return Ok(Err(why)),
            Err(error) => return Err(NotTaken::Failed(format!("a file could not be fetched: {error}"))),
        }
        file.flush().await.map_err(disk)?;
        let (home, folder, name) = (self.inner.home.clone(), folder.clone(), safe_name(&offered.name));
        let placed = tokio::task::spawn_blocking(move || {
            let inbox = placing::open(&home, &folder).map_err(|error| error_chain(&error))?;
            let mut staged = std::fs::File::open(staged.path()).map_err(|error| error.to_string())?;
            placing::put(&inbox, &prefix, name, &mut staged).map_err(|error| error.to_string())
        });
        let placed = placed.await.map_err(|error| NotTaken::Failed(error.to_string()))?;
        placed.map(Ok).map_err(NotTaken::Failed)
    }
}

/// The same for the same file of the same message at every try: one that was cut off is written over.
fn prefix(chat: &ChatRef, platform_id: &str, number: usize) -> String {
    let hash = Sha256::digest(format!("{chat}\0{platform_id}\0{number}"));
    let hex: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let day = jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap_or_default();
    format!("{}-{hex}", day.strftime("%Y%m%d"))
}
