//! Files that came with a message: fetched from the platform into the workspace's inbox before the message is accepted.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use cofferdam_protocol::admin::{MAX_FILE_BYTES, MAX_FILES};
use cofferdam_protocol::ids::Folder;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Desk, failed};
use crate::channels::{Channel, NotTaken, Offered, SendError, Written};
use crate::error_chain;
use crate::files::inbox::{self, Inbox};
use crate::files::{is_image, safe_name};
use crate::model::chat::{Attachment, Inbound};
use crate::sandbox::mounts;

impl Desk {
    /// Puts a message's files into a group's workspace. What cannot be had is named in the text: the rest goes on. A message that is
    /// known has them already.
    pub(super) async fn place(
        &self,
        folder: &Folder,
        written: &Written,
        message: &mut Inbound,
    ) -> Result<(), NotTaken> {
        if written.files.is_empty() {
            return Ok(());
        }
        let store = self.inner.stores.group(folder).await.map_err(failed)?;
        if let Some(known) = store.files_of_known(&message.chat, &message.platform_id).await.map_err(failed)? {
            message.files = known;
            return Ok(());
        }
        let channel = self.inner.channels.get(&message.chat.channel);
        let channel = channel.ok_or_else(|| NotTaken::Failed("the channel is gone".to_owned()))?;
        for (number, offered) in written.files.iter().enumerate() {
            let name = safe_name(&offered.name);
            let got = match offered.bytes {
                _ if number >= MAX_FILES => Err(format!("only {MAX_FILES} files are taken with one message")),
                Some(bytes) if bytes > MAX_FILE_BYTES => Err(format!("it has over {MAX_FILE_BYTES} bytes")),
                _ => self.place_one(folder, channel.as_ref(), offered, prefix(message, number)).await?,
            };
            match got {
                Ok(attachment) => message.files.push(attachment),
                Err(why) => message.text += &format!("\n[the file {name} could not be taken: {why}]"),
            }
        }
        Ok(())
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
            let user = mounts::container_user();
            let workspace = mounts::own_workspace(&home, &folder, user).map_err(|error| error_chain(&error))?;
            let inbox = Inbox::open(&workspace, (user.uid, user.gid)).map_err(|error| error_chain(&error))?;
            put(&inbox, staged.path(), &prefix, name).map_err(|error| error.to_string())
        });
        let placed = placed.await.map_err(|error| NotTaken::Failed(error.to_string()))?;
        placed.map(Ok).map_err(NotTaken::Failed)
    }
}

fn put(inbox: &Inbox, staged: &Path, prefix: &str, name: String) -> io::Result<Attachment> {
    let path = format!("{prefix}-{name}");
    let (bytes, head) = inbox.put(&path, &mut std::fs::File::open(staged)?)?;
    Ok(Attachment { name, path: format!("{}/{path}", inbox::NAME), bytes, image: is_image(&head, bytes) })
}

/// The same for the same file of the same message at every try: one that was cut off is written over.
fn prefix(message: &Inbound, number: usize) -> String {
    let hash = Sha256::digest(format!("{}\0{}\0{number}", message.chat, message.platform_id));
    let hex: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let day = jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap_or_default();
    format!("{}-{hex}", day.strftime("%Y%m%d"))
}
