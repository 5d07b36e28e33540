//! Files that came with a message: fetched from the platform into the workspace's inbox before the message is accepted.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofferdam_protocol::admin::{MAX_FILE_BYTES, MAX_FILES};
use cofferdam_protocol::ids::Folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Desk, failed, fetching, placing};
use crate::channels::{Channel, NotTaken, Offered, SendError, Written};
use crate::error_chain;
use crate::files::safe_name;
use crate::model::chat::{Attachment, ChatRef, FILE_NOTE};

/// A message's files in a group's workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub(super) folder: Folder,
    pub(super) files: Vec<Attachment>,
    /// Lines about those that could not be had, for behind the text.
    pub(super) notes: String,
}

/// A file that cannot be had for so long, nor the second time, is left out: what is written behind it waits no longer.
const PATIENCE: Duration = Duration::from_secs(300);
/// So many files are remembered before those are forgotten whose message does not come again.
const REMEMBERED: usize = 1024;
/// After so long it does not.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Files that could not be had so far: since when, and how often they were tried. A restart begins anew.
#[derive(Default)]
pub(super) struct Lacking(Mutex<HashMap<String, (Instant, u32)>>);

impl Lacking {
    /// A try that began then failed. Answers whether it was the last.
    fn missed(&self, file: String, begun: Instant) -> bool {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= REMEMBERED {
            files.retain(|_, (since, _)| since.elapsed() < FORGOTTEN);
        }
        let (since, tries) = files.entry(file).or_insert((begun, 0));
        *tries = tries.saturating_add(1);
        *tries > 1 && since.elapsed() >= PATIENCE
    }

    fn had(&self, file: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(file);
    }
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
                    let name = format!("{folder}\0{chat}\0{platform_id}\0{number}");
                    let prefix = prefix(chat, platform_id, number);
                    self.place_one(folder, channel.as_ref(), offered, (name, prefix)).await?
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
        (of, prefix): (String, String),
    ) -> Result<Result<Attachment, String>, NotTaken> {
        let staging = self.inner.home.staging(folder);
        let disk = |error: io::Error| NotTaken::Failed(format!("the file could not be kept: {error}"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&staging).map_err(disk)?;
        let staged = tempfile::NamedTempFile::new_in(&staging).map_err(disk)?;
        let file = tokio::fs::File::from_std(staged.reopen().map_err(disk)?);
        let begun = Instant::now();
        // A full disk passes, and is no file's fault.
        let why = match fetching::fetch(channel, offered, file).await.map_err(disk)? {
            Ok(_) => None,
            Err(SendError::Refused { why }) => return Ok(Err(why)),
            // Nobody was asked for it.
            Err(error @ SendError::Absent) => return Err(NotTaken::Failed(error.to_string())),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            if !self.inner.lacking.missed(of, begun) {
                return Err(NotTaken::Failed(format!("a file could not be fetched: {why}")));
            }
            tracing::warn!(group = %folder, why, "a file could not be fetched for minutes; its message goes on without it");
            return Ok(Err("it could not be fetched, though it was tried for minutes".to_owned()));
        }
        self.inner.lacking.had(&of);
        let (home, of, name) = (self.inner.home.clone(), folder.clone(), safe_name(&offered.name));
        let placed = tokio::task::spawn_blocking(move || {
            let mut staged = std::fs::File::open(staged.path()).map_err(disk)?;
            Ok::<_, NotTaken>(placing::open(&home, &of).map_err(|error| unplaced(&error)).and_then(|inbox| {
                placing::put(&inbox, &prefix, name, &mut staged).map_err(|error| unplaced(&error))
            }))
        });
        match placed.await.map_err(|error| NotTaken::Failed(error.to_string()))?? {
            Ok(attachment) => Ok(Ok(attachment)),
            Err(Unplaced { now, for_good: Some(words) }) => {
                tracing::warn!(group = %folder, why = now, "a file is not placed; its message goes on without it");
                Ok(Err(words))
            }
            Err(Unplaced { now, for_good: None }) => Err(NotTaken::Failed(now)),
        }
    }
}

/// Why a file is not in the workspace.
struct Unplaced {
    /// In the log's words.
    now: String,
    /// In the agent's, when it will be so at each try.
    for_good: Option<String>,
}

fn unplaced(error: &(dyn std::error::Error + 'static)) -> Unplaced {
    Unplaced { now: error_chain(error), for_good: placing::for_good(error) }
}

/// The same for the same file of the same message at every try, whatever the day: one that was cut off is written over.
pub(super) fn prefix(chat: &ChatRef, platform_id: &str, number: usize) -> String {
    let hash = Sha256::digest(format!("{chat}\0{platform_id}\0{number}"));
    // So many that nobody finds a message of their own whose file would come over another's.
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_the_same_whenever_it_is_tried() {
        let chat = ChatRef { channel: "tg".into(), chat_id: "-5".into(), thread_id: None };
        assert_eq!(prefix(&chat, "7", 0), "01b82bb30364a2de");
        assert_ne!(prefix(&chat, "7", 0), prefix(&chat, "7", 1));
    }
}
