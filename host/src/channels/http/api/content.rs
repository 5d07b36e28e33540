//! The content of a message: texts, and files as data. Nothing is fetched for a caller: an address in a request would make
//! this machine call it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::files::File;
use super::error::ApiError;

/// The most files of a request.
pub(super) const MOST_FILES: usize = 10;
/// The longest name of a file, in characters.
const MOST_NAME: usize = 200;

/// The images that models look at, with the ends of their names.
const IMAGES: &[(&str, &str)] =
    &[("image/png", "png"), ("image/jpeg", "jpg"), ("image/gif", "gif"), ("image/webp", "webp")];

/// A message's content. Its files are still in their text form: those of earlier messages are never needed.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) text: String,
    pub(super) files: Vec<Data<'a>>,
}

/// A file in a request.
#[derive(Debug)]
pub(super) struct Data<'a> {
    param: String,
    name: Option<&'a str>,
    /// A data URL, or base64 alone.
    data: &'a str,
    image: bool,
}

/// Reads the `content` of a message, which is at `param` of the request.
pub(super) fn read<'a>(content: &'a Value, param: &str) -> Result<Content<'a>, ApiError> {
    match content {
        Value::Null => Ok(Content::default()),
        Value::String(text) => Ok(Content { text: text.clone(), files: Vec::new() }),
        Value::Array(parts) => {
            let mut content = Content::default();
            for (at, part) in parts.iter().enumerate() {
                read_part(part, &format!("{param}[{at}]"), &mut content)?;
            }
            Ok(content)
        }
        _ => Err(ApiError::bad(param, format!("'{param}' is neither a text nor a list of parts"))),
    }
}

fn read_part<'a>(part: &'a Value, param: &str, content: &mut Content<'a>) -> Result<(), ApiError> {
    let kind = part["type"].as_str().unwrap_or_default();
    match kind {
        "text" | "input_text" | "output_text" | "refusal" => {
            let text = part[if kind == "refusal" { kind } else { "text" }].as_str();
            let text = text.ok_or_else(|| ApiError::bad(param, format!("'{param}' has no text")))?;
            if !content.text.is_empty() {
                content.text.push('\n');
            }
            content.text.push_str(text);
        }
        "image_url" | "input_image" => {
            let url = part["image_url"].as_str().or_else(|| part["image_url"]["url"].as_str());
            let url = url.ok_or_else(|| ApiError::bad(param, format!("'{param}' has no 'image_url'")))?;
            content.files.push(Data {
                param: param.to_owned(),
                name: None,
                data: is_data(url, param)?,
                image: true,
            });
        }
        "file" | "input_file" => {
            let file = if kind == "file" { &part["file"] } else { part };
            if file["file_url"].is_string() {
                is_data("", param)?;
            }
            let data = file["file_data"].as_str();
            let data = data.ok_or_else(|| ApiError::bad(param, format!("'{param}' has no 'file_data'")))?;
            let name = file["filename"].as_str();
            content.files.push(Data { param: param.to_owned(), name, data, image: false });
        }
        _ => {
            let message = format!("'{param}' is of the type '{kind}'; texts, images and files are taken");
            return Err(ApiError::bad(param, message));
        }
    }
    if content.files.len() > MOST_FILES {
        return Err(ApiError::bad(param, format!("more than {MOST_FILES} files")));
    }
    Ok(())
}

fn is_data<'a>(url: &'a str, param: &str) -> Result<&'a str, ApiError> {
    if url.starts_with("data:") {
        return Ok(url);
    }
    let message = format!("'{param}' is no data URL: nothing is fetched for a caller; send the bytes as base64");
    Err(ApiError { code: Some("invalid_image_url"), ..ApiError::bad(param, message) })
}

impl Data<'_> {
    /// What it is known by in a fingerprint.
    pub(super) fn stamp(&self) -> [u8; 32] {
        Sha256::digest(self.data.as_bytes()).into()
    }

    /// Its bytes, and a name for them; it is the request's file of this number.
    pub(super) fn decode(&self, number: usize) -> Result<File, ApiError> {
        let bad = |what: &str| ApiError::bad(&self.param, format!("'{}' {what}", self.param));
        let (kind, data) = match self.data.strip_prefix("data:") {
            Some(url) => {
                let (head, data) = url.split_once(',').ok_or_else(|| bad("is no data URL"))?;
                let kind = head.strip_suffix(";base64").ok_or_else(|| bad("is not in base64"))?;
                (kind.split(';').next().unwrap_or_default(), data)
            }
            None => ("", self.data),
        };
        let image = IMAGES.iter().find(|(image, _)| *image == kind.to_ascii_lowercase()).map(|(_, end)| end);
        if self.image && image.is_none() {
            return Err(bad("is no PNG, JPEG, GIF or WebP"));
        }
        let bytes = STANDARD.decode(data).map_err(|_| bad("is not in base64"))?;
        if bytes.is_empty() {
            return Err(bad("is empty"));
        }
        let name: String =
            self.name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MOST_NAME).collect();
        let name = match (name.trim(), image) {
            ("", Some(end)) => format!("image-{number}.{end}"),
            ("", None) => format!("file-{number}"),
            (name, _) => name.to_owned(),
        };
        Ok(File { name, bytes })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_files_of_both_apis_are_read() {
        let png = format!("data:image/png;base64,{}", STANDARD.encode(b"PNG"));
        let content = json!([
            {"type": "text", "text": "look"}, {"type": "input_text", "text": "here"},
            {"type": "image_url", "image_url": {"url": &png}}, {"type": "input_image", "image_url": &png},
            {"type": "file", "file": {"filename": "a/b.txt", "file_data": STANDARD.encode(b"text")}},
            {"type": "input_file", "file_data": format!("data:text/plain;base64,{}", STANDARD.encode(b"more"))},
        ]);
        let content = read(&content, "messages[0].content").unwrap();
        assert_eq!(content.text, "look\nhere");
        let files: Vec<_> =
            content.files.iter().enumerate().map(|(at, data)| data.decode(at + 1).unwrap()).collect();
        let files: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
        assert_eq!(
            files,
            [("image-1.png", &b"PNG"[..]), ("image-2.png", b"PNG"), ("a/b.txt", b"text"), ("file-4", b"more")]
        );
    }

    #[test]
    fn what_would_be_fetched_is_refused() {
        for part in [
            json!({"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}),
            json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
            json!({"type": "input_image", "image_url": "file:///etc/passwd"}),
            json!({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
        ] {
            let error = read(&json!([part]), "content").unwrap_err();
            assert_eq!(error.param.as_deref(), Some("content[0]"));
            assert!(error.message.contains("nothing is fetched"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_no_content_is_refused_by_its_place() {
        let data = |url: &str| json!([{"type": "input_image", "image_url": url}]);
        for url in [
            "data:",
            "data:image/png,x",
            "data:image/svg+xml;base64,QQ==",
            "data:image/png;base64,!",
            "data:image/png;base64,",
        ] {
            let content = data(url);
            let content = read(&content, "c").unwrap();
            assert_eq!(content.files[0].decode(1).unwrap_err().param.as_deref(), Some("c[0]"), "{url}");
        }
        for content in [json!(1), json!([{"type": "input_audio"}]), json!([1]), json!([{"type": "text"}])] {
            assert!(read(&content, "c").is_err(), "{content}");
        }
        let many: Vec<Value> = (0..11).map(|_| data("data:image/png;base64,QQ==")[0].clone()).collect();
        assert!(read(&json!(many), "c").unwrap_err().message.contains("more than 10"));
    }
}
