//! Files, both ways.

use std::time::Duration;

use frankenstein::methods::GetFileParams;
use reqwest::Body;
use reqwest::multipart::Part;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::api::Api;
use super::failure::Failure;
use super::post::Target;
use super::text::is_caption;
use super::wire::{FilePath, Sent};
use super::{CALL, words};
use crate::channels::{Offered, SendError};
use crate::model::action::SentFile;

/// The largest file that a bot may send, the largest that it may fetch, and the largest photo, in bytes
/// ([sending files](https://core.telegram.org/bots/api#sending-files), [getFile](https://core.telegram.org/bots/api#getfile)).
const MAX_SENT: u64 = 50 * 1024 * 1024;
const MAX_PHOTO: u64 = 10 * 1024 * 1024;
/// What a slow line carries, in bytes a second.
const SLOW_LINE: u64 = 256 * 1024;
/// The longest time that fetching a file takes.
const FETCH: Duration = Duration::from_secs(300);
/// The longest path of a file at Telegram's, in bytes.
const MAX_PATH: usize = 1024;

/// Sends a file; answers the message's id. An image is a photo when Telegram takes it as one.
pub(super) async fn send(api: &Api, target: Target, file: &SentFile) -> Result<String, Failure> {
    if is_image(&file.name) && file.bytes <= MAX_PHOTO {
        match upload(api, target, ("sendPhoto", "photo"), file).await {
            Err(failure @ Failure::No(_)) if failure.is_about_the_file() => {
                tracing::debug!(%failure, "no photo for Telegram; sent as a file");
            }
            sent => return sent,
        }
    }
    upload(api, target, ("sendDocument", "document"), file).await
}

async fn upload(
    api: &Api,
    target: Target,
    (method, field): (&str, &'static str),
    file: &SentFile,
) -> Result<String, Failure> {
    let lost = |error| Failure::Never(format!("the file {} cannot be read: {error}", file.name));
    let open = tokio::fs::File::open(&file.path).await.map_err(lost)?;
    let bytes = open.metadata().await.map_err(lost)?.len();
    if bytes > MAX_SENT {
        return Err(Failure::Never(format!(
            "{} has {bytes} bytes; Telegram takes at most {MAX_SENT} from bots",
            file.name
        )));
    }
    let part = Part::stream_with_length(Body::from(open), bytes).file_name(file.name.clone());
    let mut fields = fields(target);
    fields.extend(file.caption.clone().filter(|caption| is_caption(caption)).map(|caption| ("caption", caption)));
    let limit = CALL + Duration::from_secs(bytes / SLOW_LINE);
    let sent: Sent = api.upload(method, fields, (field, part), limit).await?;
    Ok(sent.message_id.to_string())
}

/// Sends a text as a file; answers the message's id.
pub(super) async fn send_text(api: &Api, target: Target, name: &str, content: &str) -> Result<String, Failure> {
    let limit = CALL + Duration::from_secs(content.len() as u64 / SLOW_LINE);
    let part = Part::text(content.to_owned()).file_name(name.to_owned());
    let sent: Sent = api.upload("sendDocument", fields(target), ("document", part), limit).await?;
    Ok(sent.message_id.to_string())
}

fn fields(target: Target) -> Vec<(&'static str, String)> {
    let thread = target.thread.map(|thread| ("message_thread_id", thread.to_string()));
    [("chat_id", target.chat.to_string())].into_iter().chain(thread).collect()
}

fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png" | "webp"))
}

impl Failure {
    /// Whether another form of the same file may be taken.
    fn is_about_the_file(&self) -> bool {
        self.says(&["photo", "image", "wrong file", "file is too big", "entity too large"])
    }
}

/// Writes a file of somebody's message, at most so many bytes; a larger one is refused.
pub(super) async fn fetch(
    api: &Api,
    file: &Offered,
    into: &mut (dyn AsyncWrite + Send + Unpin),
    most: u64,
) -> Result<u64, SendError> {
    let params = GetFileParams::builder().file_id(file.reference.clone()).build();
    let found: FilePath = api.call("getFile", &params, CALL).await.map_err(|failure| in_words(failure, file))?;
    let path = path(&found).map_err(SendError::from)?;
    let too_large = || SendError::Refused { why: format!("{} has more than {most} bytes", shown(file)) };
    if found.file_size.is_some_and(|bytes| bytes > most) {
        return Err(too_large());
    }
    let mut response = api.file(path, FETCH).await.map_err(Failure::harmless)?;
    let mut bytes = 0;
    // Reading again does no harm.
    while let Some(chunk) = response.chunk().await.map_err(|error| api.broken(error).harmless())? {
        bytes += chunk.len() as u64;
        if bytes > most {
            return Err(too_large());
        }
        into.write_all(&chunk).await.map_err(|error| unwritten(file, &error))?;
    }
    into.flush().await.map_err(|error| unwritten(file, &error))?;
    Ok(bytes)
}

/// The path below the files' address; nothing that leads elsewhere.
fn path(found: &FilePath) -> Result<&str, Failure> {
    let Some(path) = found.file_path.as_deref() else {
        return Err(Failure::Never(
            "Telegram does not say where the file is; it may be too large for bots".to_owned(),
        ));
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '?', '#']);
    if path.len() > MAX_PATH || !path.split('/').all(plain) {
        return Err(Failure::Never("Telegram names a place for the file that cannot be read over HTTP".to_owned()));
    }
    Ok(path)
}

fn in_words(failure: Failure, file: &Offered) -> SendError {
    if failure.says(&["file is too big"]) {
        let why = format!("{} is too large: Telegram lets bots fetch files of at most 20 MB", shown(file));
        return SendError::Refused { why };
    }
    failure.harmless().into()
}

fn unwritten(file: &Offered, error: &std::io::Error) -> SendError {
    SendError::later(format!("{} cannot be written here: {error}", shown(file)), None)
}

/// A name from outside, for a message.
fn shown(file: &Offered) -> String {
    let clean: String = file.name.chars().filter(|c| !c.is_control()).collect();
    format!("the file '{}'", words::cut(&clean, 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_nowhere_else() {
        let at = |path: &str| FilePath { file_path: Some(path.into()), file_size: None };
        assert_eq!(path(&at("photos/file_1.jpg")), Ok("photos/file_1.jpg"));
        for bad in ["", "/etc/passwd", "a/../b", "a//b", "a?b", "a#b", "./a", "a\\b", &"a".repeat(2000)] {
            assert!(path(&at(bad)).is_err(), "{bad}");
        }
        assert!(path(&FilePath { file_path: None, file_size: None }).is_err());
    }

    #[test]
    fn images_are_known_by_their_ending() {
        assert!(is_image("a.PNG") && is_image("b.jpeg") && !is_image("c.gif") && !is_image("png"));
    }
}
