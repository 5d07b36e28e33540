//! The token sink: where the Codex in a container refreshes its login, which leads nowhere else.
//!
//! ```text
//! Codex ── its refresh form ──▶ the form? ──▶ this session's handle? ──┬ sealed: placeholders of the form of tokens
//!                                 │ 400         │ 401, as the issuer     └ copy: the account's access token, fresh
//! ```
//!
//! The refresh token that comes back is the handle that came: a real one never passes a door.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Inside;
use crate::error_chain;
use crate::gateway::login::{CLIENT_ID, Login, NoLogin};

/// Where the door has it.
pub const TOKEN_SINK: &str = "/oauth/token";
/// The largest form, in bytes; Codex's has about 300.
pub(super) const MAX_FORM: usize = 8 * 1024;
/// How long a placeholder says that it is good, in seconds. Codex comes again before that.
const PLACEHOLDER_SECS: i64 = 3600;

/// What Codex sends, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    client_id: String,
    /// There is only one; another is no form of Codex's.
    #[serde(rename = "grant_type")]
    _grant: Grant,
    refresh_token: SecretString,
    refresh_reason: Reason,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Grant {
    RefreshToken,
}

/// Why Codex wants other tokens.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    ProactiveExpiry,
    UnauthorizedRecovery,
}

/// Answers a refresh.
pub(super) async fn refresh(
    State(inside): State<Arc<Inside>>,
    form: Result<Json<Form>, JsonRejection>,
) -> Response {
    let form = match form {
        // The parser's own words may repeat the token.
        Err(rejection) => return refused(rejection.status(), "invalid_request"),
        Ok(Json(form)) if form.client_id != CLIENT_ID => {
            return refused(StatusCode::BAD_REQUEST, "invalid_request");
        }
        Ok(Json(form)) => form,
    };
    let issued = inside.issued.as_ref().filter(|issued| issued.is_handle(&form.refresh_token));
    let Some(issued) = issued else {
        inside.warn_once("a refresh with a token that is not the session's");
        return refused(StatusCode::UNAUTHORIZED, "refresh_token_invalidated");
    };
    let Some(account) = &issued.copy_of else {
        let session = inside.session.as_str();
        let placeholder = |kind| placeholder(kind, session).into();
        return granted(&placeholder("id"), &placeholder("access"), &form.refresh_token);
    };
    // One after the other: a session has one login.
    let _turn = inside.refreshes.acquire().await;
    match inside.gateway.login_again(account, form.refresh_reason == Reason::UnauthorizedRecovery).await {
        Ok(Login { id_token, access_token, .. }) => granted(&id_token, &access_token, &form.refresh_token),
        Err(error) => {
            let why = error_chain(&error);
            tracing::warn!(group = %inside.caller.group, session = %inside.session, error = %why, "a container's login was not refreshed");
            match error {
                NoLogin::Ended(_) => refused(StatusCode::UNAUTHORIZED, "refresh_token_invalidated"),
                NoLogin::Later(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            }
        }
    }
}

fn granted(id_token: &SecretString, access_token: &SecretString, handle: &SecretString) -> Response {
    let [id_token, access_token, refresh_token] = [id_token, access_token, handle].map(ExposeSecret::expose_secret);
    Json(json!({ "id_token": id_token, "access_token": access_token, "refresh_token": refresh_token }))
        .into_response()
}

/// The issuer's form of an error.
fn refused(status: StatusCode, code: &str) -> Response {
    let message = "Cofferdam's host did not renew this login.";
    let error = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": code });
    (status, Json(json!({ "error": error }))).into_response()
}

/// A token that is none, in the form that Codex reads: claims in a JWT whose signature nobody made.
fn placeholder(kind: &str, session: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = crate::clock::now_ms() / 1000;
    let auth = json!({ "chatgpt_account_id": "cofferdam", "chatgpt_plan_type": "unknown" });
    let claims = json!({
        "iss": "cofferdam", "sub": format!("cofferdam-session-{session}"), "jti": kind,
        "iat": now, "exp": now + PLACEHOLDER_SECS, "https://api.openai.com/auth": auth,
    });
    let header = json!({ "alg": "none", "typ": "JWT" });
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("of nobody"))
}
