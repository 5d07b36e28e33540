//! Failures on request, said the way the vendor says them.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::events;
use crate::gateway::error::{json_response, kind};

/// Codes that the vendor reports inside the stream, after status 200.
const IN_STREAM: &[&str] = &["context_length_exceeded", "insufficient_quota", "invalid_prompt"];
/// How long a 429 asks to wait.
const RETRY_AFTER_SECS: u64 = 1;
/// When a reached usage limit resets, from now.
const RESETS_IN: Duration = Duration::from_secs(3600);

/// A failure that a message asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    code: String,
}

impl Failure {
    /// A failure with `status` (400 to 599) and the vendor's code, by default the status's usual one.
    pub(super) fn new(status: u16, code: Option<&str>) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok().filter(|s| s.is_client_error() || s.is_server_error())?;
        let usual = match status.as_u16() {
            401 => "invalid_api_key",
            403 => "permission_denied",
            404 => "model_not_found",
            429 => "rate_limit_exceeded",
            503 => "server_is_overloaded",
            500.. => "server_error",
            _ => "invalid_request",
        };
        Some(Self { status, code: code.unwrap_or(usual).to_owned() })
    }

    /// Whether the vendor says it in the stream rather than by a status.
    pub(super) fn in_stream(&self) -> bool {
        IN_STREAM.contains(&self.code.as_str())
    }

    /// `error` of a failed response object.
    pub(super) fn error(&self) -> Value {
        json!({ "code": self.code, "message": self.message() })
    }

    /// The failure as an HTTP error.
    pub(super) fn response(&self) -> Response<Body> {
        let mut error =
            json!({ "message": self.message(), "type": kind(self.status), "param": null, "code": self.code });
        if self.code == "usage_limit_reached" {
            let resets = events::now() + RESETS_IN.as_secs();
            error["type"] = json!(self.code);
            error["plan_type"] = json!("plus");
            error["resets_at"] = json!(resets);
            error["resets_in_seconds"] = json!(RESETS_IN.as_secs());
            let mut response = json_response(self.status, &json!({ "error": error }));
            for (name, value) in [
                ("x-codex-primary-used-percent", 100),
                ("x-codex-primary-window-minutes", 300),
                ("x-codex-primary-reset-at", resets),
            ] {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
            }
            return response;
        }
        let mut response = json_response(self.status, &json!({ "error": error }));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        response
    }

    fn message(&self) -> String {
        let says = match self.code.as_str() {
            "context_length_exceeded" => "Your input exceeds the context window of this model.",
            "insufficient_quota" => "You exceeded your current quota, please check your plan and billing details.",
            "usage_limit_reached" => "The usage limit has been reached.",
            "model_not_found" => "The model does not exist or you do not have access to it.",
            "rate_limit_exceeded" => "Rate limit reached. Please try again in 1s.",
            "server_is_overloaded" => "Our servers are currently overloaded. Please try again later.",
            "invalid_api_key" => "Incorrect API key provided.",
            _ => "The request failed.",
        };
        format!("{}{says} (asked for with !fail {} {})", super::MARK, self.status.as_u16(), self.code)
    }
}
