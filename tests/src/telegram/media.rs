//! Files.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::Response;
use serde_json::{Value, json};

use super::answer::No;
use super::messages::{new, put, text};
use super::pace::Counts;
use super::params::Params;
use super::serve::response;
use super::state::{Inside, State, Stored};
use super::view::File;

/// The largest file that bots may send, the largest photo, and the largest file that they may fetch, in bytes.
const MAX_SENT: usize = 50 * 1024 * 1024;
const MAX_PHOTO: usize = 10 * 1024 * 1024;
const MAX_FETCHED: u64 = 20 * 1024 * 1024;
/// The longest caption, in UTF-16 units after its entities were read.
const MAX_CAPTION: usize = 1024;

/// Takes the file in this field. What is none of that form is shown as a document.
pub(crate) fn send(inside: &Inside, params: &Params, field: &str) -> Result<Value, No> {
    let (caption, entities) = text(params, "caption")?;
    let mut state = inside.state();
    let chat = state.called_chat(params)?.id;
    if caption.encode_utf16().count() > MAX_CAPTION {
        return Err(No::bad("message caption is too long"));
    }
    let mut message = new(state.chat(chat), params, caption, entities)?;
    let (name, content) =
        params.files.get(field).cloned().ok_or_else(|| No::bad(&format!("there is no {field} in the request")))?;
    check(field, &content)?;
    let kind = shown_as(field, &content);
    state.meter.message(chat, Counts::New, Instant::now())?;
    message.file = Some(state.store(kind, Some(name), content, None));
    let file = message.file.clone().expect("just put there");
    let mut json = put(state.chat(chat), message);
    json[kind] = file_json(&file);
    Ok(json)
}

fn check(kind: &str, content: &Bytes) -> Result<(), No> {
    if content.is_empty() {
        return Err(No::bad("file must be non-empty"));
    }
    if content.len() > MAX_SENT {
        return Err(No::new(413, "Request Entity Too Large"));
    }
    let image = content.starts_with(b"\x89PNG\r\n\x1a\n")
        || content.starts_with(b"\xff\xd8\xff")
        || content.starts_with(b"RIFF");
    match kind {
        "photo" if content.len() > MAX_PHOTO => Err(No::bad("file is too big for a photo")),
        "photo" if !image => Err(No::bad("IMAGE_PROCESS_FAILED")),
        _ => Ok(()),
    }
}

/// What a file is shown as: "other formats may be sent as Document".
fn shown_as<'f>(field: &'f str, content: &Bytes) -> &'f str {
    let opus = content.starts_with(b"OggS") && content.get(28..36) == Some(b"OpusHead");
    let mp3 = content.starts_with(b"ID3") || matches!(content[..], [0xff, second, ..] if second >= 0xe0);
    let mp4 = content.get(4..8) == Some(b"ftyp");
    match field {
        "voice" if !(opus || mp3 || mp4) => "document",
        "audio" if !(mp3 || mp4) => "document",
        "video" if !mp4 => "document",
        field => field,
    }
}

/// A file as messages name it. Photos come in several sizes.
pub(crate) fn file_json(file: &File) -> Value {
    let mut json = json!({"file_id": file.id, "file_unique_id": format!("u{}", file.id), "file_size": file.bytes});
    if let Some(name) = &file.name {
        json["file_name"] = name.clone().into();
    }
    if file.kind != "photo" {
        return json;
    }
    (json["width"], json["height"]) = (1280.into(), 960.into());
    let small = json!({"file_id": format!("{}-small", file.id), "file_unique_id": "s", "width": 90, "height": 67, "file_size": 1});
    json!([small, json])
}

impl State {
    /// Keeps a file; `claims` is a size that it says to have.
    pub(crate) fn store(&mut self, kind: &str, name: Option<String>, content: Bytes, claims: Option<u64>) -> File {
        let number = self.id();
        let id = format!("AgAC{number}");
        let extension =
            name.as_deref().and_then(|name| name.rsplit_once('.')).map_or("bin", |(_, extension)| extension);
        let path = format!("{kind}s/file_{number}.{extension}");
        let bytes = content.len();
        self.files.insert(id.clone(), Stored { path, content, claims });
        File { kind: kind.to_owned(), name, id, bytes }
    }
}

pub(crate) fn get(inside: &Inside, params: &Params) -> Result<Value, No> {
    let id = params.text("file_id").unwrap_or_default();
    let state = inside.state();
    let file =
        state.files.get(&id).ok_or_else(|| No::bad("wrong file_id or the file is temporarily unavailable"))?;
    let bytes = file.claims.unwrap_or(file.content.len() as u64);
    if bytes > MAX_FETCHED {
        return Err(No::bad("file is too big"));
    }
    Ok(json!({"file_id": id, "file_unique_id": "u", "file_size": bytes, "file_path": file.path}))
}

pub(crate) fn download(inside: &Inside, path: &str) -> Response<Body> {
    let state = inside.state();
    match state.files.values().find(|file| file.path == path) {
        Some(file) => response(200, "application/octet-stream", Body::from(file.content.clone())),
        None => response(404, "application/json", Body::from(No::new(404, "Not Found").json().to_string())),
    }
}
