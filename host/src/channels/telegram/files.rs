//! Files, both ways.

use std::time::Duration;

use frankenstein::methods::GetFileParams;
use reqwest::Body;
use reqwest::multipart::Part;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::api::Api;
use super::failure::Failure;
use super::post::Place;
use super::text::is_caption;
use super::wire::{FilePath, Sent};
use super::{CALL, words};
use crate::channels::{Offered, SendError};
use crate::model::action::SentFile;

/// The largest file that a bot may send, the largest that it may fetch, and the largest photo, in bytes
/// ([sending files](https://core.telegram.org/bots/api#sending-files), [getFile](https://core.telegram.org/bots/api#getfile)).
const MAX_SENT: u64 = 50 * 1024 * 1024;
const MAX_PHOTO: u64 = 10 * 1024 * 1024;
/// How much of a file's beginning tells what it is, in bytes.
const HEAD: u64 = 64;
/// What a slow line carries, in bytes a second.
const SLOW_LINE: u64 = 256 * 1024;
/// The longest time that fetching a file takes.
const FETCH: Duration = Duration::from_secs(300);
/// The longest path of a file at Telegram's, in bytes.
const MAX_PATH: usize = 1024;

/// Sends a file; answers the message's id. What Telegram can show or play it gets in that form, where it takes it as such.
pub(super) async fn send(api: &Api, place: Place, file: &SentFile) -> Result<String, Failure> {
    if let Some(form) = form(file).await? {
        match upload(api, place, form, file).await {
            Err(failure @ Failure::No(_)) if failure.is_about_the_file() => {
                tracing::debug!(%failure, form.method, "not taken in this form by Telegram; sent as a document");
            }
            sent => return sent,
        }
    }
    upload(api, place, DOCUMENT, file).await
}

/// A form that Telegram takes files in: the method, and the field that the file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    method: &'static str,
    field: &'static str,
}

const DOCUMENT: Form = Form { method: "sendDocument", field: "document" };
const PHOTO: Form = Form { method: "sendPhoto", field: "photo" };
const VOICE: Form = Form { method: "sendVoice", field: "voice" };
const AUDIO: Form = Form { method: "sendAudio", field: "audio" };
const VIDEO: Form = Form { method: "sendVideo", field: "video" };

/// The form of a file that is more than a document.
async fn form(file: &SentFile) -> Result<Option<Form>, Failure> {
    let mut head = Vec::new();
    let open = open(file).await?;
    open.take(HEAD).read_to_end(&mut head).await.map_err(|error| lost(file, &error))?;
    Ok(form_of(&file.name, &head, file.bytes))
}

/// By its ending and its first bytes, as Telegram's documentation has it: a voice is Opus in OGG
/// ([sendVoice](https://core.telegram.org/bots/api#sendvoice)), music MP3 or M4A
/// ([sendAudio](https://core.telegram.org/bots/api#sendaudio)), a video MPEG-4
/// ([sendVideo](https://core.telegram.org/bots/api#sendvideo)).
fn form_of(name: &str, head: &[u8], bytes: u64) -> Option<Form> {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    // An OGG page has at least one byte in the table of its segments, and its first packet is the codec's head.
    let is_opus = head.starts_with(b"OggS") && head.windows(8).any(|bytes| bytes == b"OpusHead");
    let is_mp3 = head.starts_with(b"ID3") || matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0);
    let is_mp4 = head.get(4..8) == Some(b"ftyp");
    match extension.as_deref()? {
        "jpg" | "jpeg" | "png" | "webp" if bytes <= MAX_PHOTO => Some(PHOTO),
        "ogg" | "oga" | "opus" if is_opus => Some(VOICE),
        "mp3" if is_mp3 => Some(AUDIO),
        "m4a" if is_mp4 => Some(AUDIO),
        "mp4" if is_mp4 => Some(VIDEO),
        _ => None,
    }
}

fn lost(file: &SentFile, error: &std::io::Error) -> Failure {
    Failure::Never(format!("the file {} cannot be read: {error}", file.name))
}

async fn open(file: &SentFile) -> Result<tokio::fs::File, Failure> {
    tokio::fs::File::open(&file.path).await.map_err(|error| lost(file, &error))
}

async fn upload(api: &Api, place: Place, Form { method, field }: Form, file: &SentFile) -> Result<String, Failure> {
    let open = open(file).await?;
    let bytes = open.metadata().await.map_err(|error| lost(file, &error))?.len();
    if bytes > MAX_SENT {
        return Err(Failure::Never(format!(
            "{} has {bytes} bytes; Telegram takes at most {MAX_SENT} from bots",
            file.name
        )));
    }
    let part = Part::stream_with_length(Body::from(open), bytes).file_name(file.name.clone());
    let mut fields = fields(place);
    fields.extend(file.caption.clone().filter(|caption| is_caption(caption)).map(|caption| ("caption", caption)));
    let limit = CALL + Duration::from_secs(bytes / SLOW_LINE);
    let sent: Sent = api.upload(method, fields, (field, part), limit).await?;
    Ok(sent.message_id.to_string())
}

/// Sends a text as a file; answers the message's id.
pub(super) async fn send_text(api: &Api, place: Place, name: &str, content: &str) -> Result<String, Failure> {
    let limit = CALL + Duration::from_secs(content.len() as u64 / SLOW_LINE);
    let part = Part::text(content.to_owned()).file_name(name.to_owned());
    let Form { method, field } = DOCUMENT;
    let sent: Sent = api.upload(method, fields(place), (field, part), limit).await?;
    Ok(sent.message_id.to_string())
}

fn fields(place: Place) -> Vec<(&'static str, String)> {
    let thread = place.target.thread.map(|thread| ("message_thread_id", thread.to_string()));
    let parameters = place.reply_parameters().and_then(|parameters| serde_json::to_string(&parameters).ok());
    let parameters = parameters.map(|parameters| ("reply_parameters", parameters));
    [("chat_id", place.target.chat.to_string())].into_iter().chain(thread).chain(parameters).collect()
}

impl Failure {
    /// Whether another form of the same file may be taken: it is none of this form, or the chat, or its person, takes no such ones
    /// (`VOICE_MESSAGES_FORBIDDEN`, "not enough rights to send videos to the chat").
    fn is_about_the_file(&self) -> bool {
        const WORDS: [&str; 9] = [
            "photo",
            "image",
            "voice",
            "audio",
            "video",
            "wrong file",
            "type of file",
            "file is too big",
            "entity too large",
        ];
        self.says(&WORDS)
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
    fn what_a_file_is_its_ending_and_its_first_bytes_say() {
        let opus = [&b"OggS\0\x02"[..], &[0; 20], b"\x01\x13OpusHead\x01\x01"].concat();
        let vorbis = [&b"OggS\0\x02"[..], &[0; 20], b"\x01\x1e\x01vorbis"].concat();
        let mp4: &[u8] = b"\0\0\0\x20ftypisom";
        for (name, head, form) in [
            ("a.PNG", &b""[..], Some(PHOTO)),
            ("b.jpeg", b"", Some(PHOTO)),
            ("c.gif", b"GIF89a", None),
            ("png", b"", None),
            ("a.ogg", &opus, Some(VOICE)),
            ("a.OPUS", &opus, Some(VOICE)),
            ("a.ogg", &vorbis, None),
            ("a.ogg", b"OggS", None),
            ("a.txt", &opus, None),
            ("a.mp3", b"ID3\x04", Some(AUDIO)),
            ("a.mp3", b"\xff\xfb\x90\x64", Some(AUDIO)),
            ("a.mp3", b"text", None),
            ("a.mp3", b"\xff", None),
            ("a.m4a", mp4, Some(AUDIO)),
            ("a.mp4", mp4, Some(VIDEO)),
            ("a.mp4", b"ftyp", None),
            ("a.mp4", b"", None),
            ("a.mkv", mp4, None),
        ] {
            assert_eq!(form_of(name, head, 10), form, "{name} {head:?}");
        }
        assert_eq!(form_of("a.png", b"", MAX_PHOTO + 1), None);
    }
}
