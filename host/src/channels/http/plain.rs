//! The body of a webhook in our own form: JSON, or plain text.

use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

/// What a caller wrote.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    pub(super) text: String,
    #[serde(default)]
    pub(super) thread: Option<String>,
    #[serde(default)]
    pub(super) sender: Option<String>,
}

/// The longest name of a sender, in characters.
const MOST_NAME: usize = 80;

/// Reads a body; or the status and the words for a wrong one.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Plain, (StatusCode, String)> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut plain = match kind.as_str() {
        "application/json" => {
            serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, format!("the body: {error}")))?
        }
        "text/plain" => {
            let text =
                str::from_utf8(body).map_err(|_| (StatusCode::BAD_REQUEST, "the body is no UTF-8".to_owned()))?;
            Plain { text: text.to_owned(), ..Plain::default() }
        }
        _ => {
            let why = "send Content-Type: application/json, or text/plain".to_owned();
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    if plain.text.trim().is_empty() {
        return Err((StatusCode::BAD_REQUEST, "the text is empty".to_owned()));
    }
    if plain.thread.as_deref().is_some_and(|thread| !is_name(thread)) {
        return Err((StatusCode::BAD_REQUEST, "'thread' is not of 1 to 64 of A-Z a-z 0-9 . _ -".to_owned()));
    }
    plain.sender = plain.sender.map(|sender| {
        sender.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect::<String>().trim().to_owned()
    });
    plain.sender = plain.sender.filter(|sender| !sender.is_empty());
    Ok(plain)
}

/// Whether it can name a thread, a webhook or a key.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(kind: &str, body: &str) -> Result<Plain, (StatusCode, String)> {
        let headers = [(header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect();
        read(&headers, body.as_bytes())
    }

    #[test]
    fn json_and_plain_text_are_read() {
        let whole = body("application/json; charset=utf-8", r#"{"text": "hi", "thread": "a-1", "sender": "CI\n"}"#);
        assert_eq!(
            whole.unwrap(),
            Plain { text: "hi".into(), thread: Some("a-1".into()), sender: Some("CI".into()) }
        );
        assert_eq!(body("text/plain", "hi\n").unwrap().text, "hi\n");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (kind, text, status, named) in [
            ("application/x-www-form-urlencoded", "hi", 415, "Content-Type"),
            ("application/json", "hi", 400, "body"),
            ("application/json", r#"{"text": "a", "treahd": "b"}"#, 400, "treahd"),
            ("application/json", r#"{"text": " "}"#, 400, "empty"),
            ("application/json", r#"{"text": "a", "thread": "a/b"}"#, 400, "thread"),
            ("text/plain", "", 400, "empty"),
        ] {
            let (is, words) = body(kind, text).unwrap_err();
            assert_eq!(is.as_u16(), status, "{text}");
            assert!(words.contains(named), "{words}");
        }
    }
}
