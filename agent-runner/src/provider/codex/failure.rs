//! Codex's words for failures, as ours.

use cofferdam_protocol::runner::{Failure, FailureKind};
use serde_json::Value;

use super::protocol::{ErrorInfo, TurnError};
use crate::bounds::one_line;

/// The longest message, in characters.
const MAX_MESSAGE: usize = 800;

/// A failed turn's error as a [`Failure`] that keeps the server's own words.
pub fn failure(error: &TurnError) -> Failure {
    Failure::new(kind(error), words(error))
}

/// The same failure with the names of the models that there are, when it is about one that there is not.
pub fn naming_models(mut failure: Failure, known: &[&str]) -> Failure {
    if failure.kind == FailureKind::ModelNotFound && !known.is_empty() {
        let said = failure.message.trim_end().trim_end_matches('.');
        let all = format!("{said}. Known models: {}.", known.join(", "));
        failure.message = one_line(&all, MAX_MESSAGE);
    }
    failure
}

/// The server's words, on one line.
pub fn words(error: &TurnError) -> String {
    let mut text = without_our_url(&unwrapped(&error.message));
    if let Some(details) = error.additional_details.as_deref().map(unwrapped)
        && !text.contains(&details)
    {
        text = format!("{text} ({details})");
    }
    one_line(&text, MAX_MESSAGE)
}

/// Codex ends some errors with the URL that it called: ours, on loopback, which tells people nothing.
fn without_our_url(text: &str) -> String {
    match text.split_once(", url: http://127.0.0.1:") {
        Some((words, _)) => words.to_owned(),
        None => text.to_owned(),
    }
}

/// A body such as `{"error":{"message":"…"}}` by its message; other text as it is.
fn unwrapped(text: &str) -> String {
    let inner = |body: Value| {
        let message = body.pointer("/error/message").or_else(|| body.get("message")).or_else(|| body.get("detail"));
        message.and_then(Value::as_str).map(str::to_owned)
    };
    serde_json::from_str(text).ok().and_then(inner).unwrap_or_else(|| text.to_owned())
}

/// The words that codex has for failures, and what they are here. A test holds them against its schema.
pub const WORDS: [(&str, FailureKind); 18] = [
    ("contextWindowExceeded", FailureKind::ContextWindow),
    ("sessionBudgetExceeded", FailureKind::UsageLimit),
    ("usageLimitExceeded", FailureKind::UsageLimit),
    ("rateLimitExceeded", FailureKind::RateLimited),
    ("flexUnavailable", FailureKind::Upstream),
    ("serverOverloaded", FailureKind::Upstream),
    ("policyCapacityUnavailable", FailureKind::Upstream),
    ("internalServerError", FailureKind::Upstream),
    ("modelNotFound", FailureKind::ModelNotFound),
    ("cyberPolicy", FailureKind::Refused),
    ("misalignmentPolicyViolation", FailureKind::Refused),
    ("tooManyDenials", FailureKind::Refused),
    ("inferenceHookDenied", FailureKind::Refused),
    ("badRequest", FailureKind::Refused),
    ("unauthorized", FailureKind::Unauthorized),
    ("threadRollbackFailed", FailureKind::Other),
    ("sandboxError", FailureKind::Other),
    ("other", FailureKind::Other),
];
/// Those that come with the vendor's HTTP status, which tells what they are.
pub const WITH_STATUS: [&str; 4] = [
    "httpConnectionFailed",
    "responseStreamConnectionFailed",
    "responseStreamDisconnected",
    "responseTooManyFailedAttempts",
];
/// Those that come with something else and are none of the vendor's.
pub const WITH_MORE: [&str; 1] = ["activeTurnNotSteerable"];

fn kind(error: &TurnError) -> FailureKind {
    match &error.codex_error_info {
        Some(ErrorInfo::Word(word)) => by_word(word, &error.message),
        Some(ErrorInfo::Http(parts)) => match parts.iter().next() {
            Some((name, status)) if WITH_STATUS.contains(&name.as_str()) => by_status(status.http_status_code),
            _ => FailureKind::Other,
        },
        Some(ErrorInfo::Other(_)) | None => by_word("other", &error.message),
    }
}

fn by_word(word: &str, message: &str) -> FailureKind {
    match WORDS.iter().find(|(known, _)| *known == word) {
        // The last retry of a cut stream has no word of its own.
        Some((_, FailureKind::Other)) | None if message.starts_with("stream disconnected") => {
            FailureKind::Connection
        }
        Some((_, kind)) => *kind,
        None => FailureKind::Other,
    }
}

fn by_status(status: Option<u16>) -> FailureKind {
    match status {
        Some(401 | 403) => FailureKind::Unauthorized,
        Some(429) => FailureKind::RateLimited,
        Some(404) => FailureKind::ModelNotFound,
        Some(400 | 413 | 415 | 422) => FailureKind::Refused,
        // The gateway's own: the endpoint could not be reached, or sent no answer.
        Some(502 | 504) => FailureKind::Connection,
        Some(500..=599) => FailureKind::Upstream,
        _ => FailureKind::Connection,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(info: Value, message: &str) -> Failure {
        let error = json!({"message": message, "codexErrorInfo": info, "additionalDetails": null});
        failure(&serde_json::from_value(error).unwrap())
    }

    #[test]
    fn every_known_error_has_its_kind() {
        for (info, kind) in [
            (json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}), FailureKind::RateLimited),
            (json!({"httpConnectionFailed": {"httpStatusCode": 401}}), FailureKind::Unauthorized),
            (json!({"httpConnectionFailed": {"httpStatusCode": 403}}), FailureKind::Unauthorized),
            (json!({"httpConnectionFailed": {"httpStatusCode": null}}), FailureKind::Connection),
            (json!({"responseStreamDisconnected": {"httpStatusCode": null}}), FailureKind::Connection),
            (json!({"responseTooManyFailedAttempts": {"httpStatusCode": 502}}), FailureKind::Connection),
            (json!("internalServerError"), FailureKind::Upstream),
            (json!("serverOverloaded"), FailureKind::Upstream),
            (json!("modelNotFound"), FailureKind::ModelNotFound),
            (json!("usageLimitExceeded"), FailureKind::UsageLimit),
            (json!("contextWindowExceeded"), FailureKind::ContextWindow),
            (json!("somethingNew"), FailureKind::Other),
            (json!({"responseTooManyFailedAttempts": {"httpStatusCode": 413}}), FailureKind::Refused),
            (json!("cyberPolicy"), FailureKind::Refused),
            (json!("rateLimitExceeded"), FailureKind::RateLimited),
            (json!({"activeTurnNotSteerable": {"turnKind": "compact"}}), FailureKind::Other),
            (json!({"somethingNew": {"deep": [1]}}), FailureKind::Other),
            (json!({"somethingNew": 3}), FailureKind::Other),
            (json!(null), FailureKind::Other),
        ] {
            assert_eq!(of(info.clone(), "x").kind, kind, "{info}");
        }
        assert_eq!(of(json!("other"), "stream disconnected before completion").kind, FailureKind::Connection);
    }

    #[test]
    fn a_model_that_is_not_known_comes_with_those_that_are() {
        let unknown = of(json!("modelNotFound"), "no such model 'x'.");
        let named = naming_models(unknown.clone(), &["gpt-a", "gpt-b"]);
        assert_eq!(named.message, "no such model 'x'. Known models: gpt-a, gpt-b.");
        assert_eq!(naming_models(unknown.clone(), &[]), unknown);
        let other = of(json!("other"), "x");
        assert_eq!(naming_models(other.clone(), &["gpt-a"]), other);
    }

    #[test]
    fn our_own_url_is_not_shown() {
        let info = json!({"httpConnectionFailed": {"httpStatusCode": 401}});
        let failure = of(info, "unexpected status 401: no, url: http://127.0.0.1:8787/v1/responses, request id: 1");
        assert_eq!(failure.message, "unexpected status 401: no");
    }

    #[test]
    fn the_servers_own_words_are_kept() {
        let body = r#"{"error": {"message": "bad\nthing", "code": 7}}"#;
        assert_eq!(of(json!("other"), body).message, "bad thing");
        assert_eq!(of(json!("other"), "plain").message, "plain");
        assert_eq!(of(json!("other"), "{broken").message, "{broken");
    }
}
