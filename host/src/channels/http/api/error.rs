//! Errors in the form that OpenAI's clients read.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a call is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// OpenAI's `type`.
    pub(super) kind: &'static str,
    pub(super) param: Option<String>,
    pub(super) code: Option<&'static str>,
    /// When to call again, in seconds.
    pub(super) again: Option<u64>,
    /// The clients call again by themselves after a 5xx; here that changes nothing.
    pub(super) is_final: bool,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code: None, again: None, is_final: false }
    }

    /// The request is wrong.
    pub(super) fn bad(param: impl Into<String>, message: impl Into<String>) -> Self {
        let bad = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param: Some(param.into()), ..bad }
    }

    /// The request asks for what an agent does not have.
    pub(super) fn unsupported(param: &str, why: &str) -> Self {
        let message = format!("'{param}' is not supported: {why}");
        Self { code: Some("unsupported_parameter"), ..Self::bad(param, message) }
    }

    /// The request as a whole is wrong.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// Its `Idempotency-Key` is another call's. 422, as OpenAI's clients repeat a 409.
    pub(super) fn other_call() -> Self {
        let message =
            "This Idempotency-Key was used for another call: send the same call again, or use another key.";
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error", message);
        Self { code: Some("idempotency_key_reused"), param: Some("Idempotency-Key".to_owned()), ..error }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message);
        Self { code: Some("invalid_api_key"), ..error }
    }

    pub(super) fn dropped(reason: &'static str) -> Self {
        let why = match reason {
            "above-role" => "the key's role does not allow what it asks for (`cofferdam role set` gives another)",
            "unwired" => "the key reaches no group any more (`cofferdam wire`)",
            "empty" => "there is nothing in it",
            "too-large" => "it is too large",
            _ => "Cofferdam dropped it",
        };
        let message = format!("the message was not taken ({reason}): {why}");
        Self { code: Some(reason), ..Self::new(StatusCode::FORBIDDEN, "permission_error", message) }
    }

    pub(super) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message) }
    }

    pub(super) fn too_large(message: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "the request's body took too long")
    }

    pub(super) fn too_many(message: &str) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { code: Some("rate_limit_exceeded"), again: Some(5), ..error }
    }

    /// Not now, of Cofferdam's own.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { again: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message) }
    }

    /// The agent's turn ended in this notice.
    pub(super) fn agent(notice: impl Into<String>) -> Self {
        Self { is_final: true, ..Self::new(StatusCode::BAD_GATEWAY, "agent_error", notice) }
    }

    /// The turn takes longer than a call may wait.
    pub(super) fn late() -> Self {
        let message = "The agent still works on this. Called again with the same Idempotency-Key, if it had one, it waits on.";
        Self { code: Some("timeout"), ..Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message) }
    }

    /// A book's failure, which is nothing for callers.
    pub(super) fn book(why: &str) -> Self {
        tracing::warn!(why, "a call could not be looked up");
        Self::unavailable("Cofferdam cannot look the call up now; call again")
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.body())).into_response();
        let headers = answer.headers_mut();
        if let Some(again) = self.again {
            headers.insert(header::RETRY_AFTER, again.into());
        }
        if self.is_final {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // What is left of the body is nobody's next request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
