//! What the issuer answers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Of};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cofferdam::vault::Tokens;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{CLIENT_ID, Family, Grant, Inside, Person, Refresh, SECRET, Say, State, jwt};

impl State {
    pub(super) fn new_family(&mut self) -> Value {
        self.families.push(Family { account: self.account.clone(), revoked: false });
        jwt::tokens(self, self.families.len() - 1)
    }

    fn new_grant(&mut self, challenge: String, redirect: String) -> String {
        self.number += 1;
        let code = format!("ac-{SECRET}-{}", self.number);
        self.grants.insert(code.clone(), Grant { challenge, redirect });
        code
    }
}

pub(super) fn as_tokens(answer: &Value) -> Tokens {
    let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
    let mut tokens = Tokens {
        id_token: text("id_token").into(),
        access_token: text("access_token").into(),
        refresh_token: text("refresh_token").into(),
        account_id: None,
        last_refresh: jiff::Timestamp::now(),
    };
    tokens.account_id = cofferdam::vault::Claims::of(&tokens).account_id;
    tokens
}

/// The vendor's form of an error.
fn refused(status: u16, code: &str) -> Response {
    let body = json!({"error": {"message": format!("no {SECRET} is taken"), "type": "invalid_request_error",
        "param": null, "code": code}});
    answer(status, &body)
}

fn answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The page on which a person grants the login, and is sent back.
pub(super) async fn authorize(
    Of(inside): Of<Arc<Inside>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut state = inside.state();
    let given = |name: &str| query.get(name).cloned().unwrap_or_default();
    let right = given("client_id") == CLIENT_ID
        && given("response_type") == "code"
        && given("code_challenge_method") == "S256"
        && given("code_challenge").len() == 43
        && given("scope").split(' ').any(|scope| scope == "offline_access")
        && given("id_token_add_organizations") == "true"
        && given("codex_cli_simplified_flow") == "true"
        && given("redirect_uri").starts_with("http://127.0.0.1:");
    if !right {
        return refused(400, "invalid_request");
    }
    let (redirect, back) = (given("redirect_uri"), given("state"));
    if std::mem::take(&mut state.declines) {
        return Redirect::to(&format!("{redirect}?error=access_denied&state={back}")).into_response();
    }
    let code = state.new_grant(given("code_challenge"), redirect.clone());
    Redirect::to(&format!("{redirect}?code={code}&scope=openid&state={back}")).into_response()
}

/// A code is exchanged by a form, a refresh token by JSON.
pub(super) async fn token(Of(inside): Of<Arc<Inside>>, headers: HeaderMap, body: Bytes) -> Response {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if is_form {
        return exchange(&mut inside.state(), &body);
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return refused(400, "invalid_request") };
    if body["client_id"] != CLIENT_ID || body["grant_type"] != "refresh_token" {
        return refused(400, "invalid_request");
    }
    refresh(&inside, headers, &body).await
}

fn exchange(state: &mut State, body: &Bytes) -> Response {
    let url = format!("http://x/?{}", String::from_utf8_lossy(body));
    let url = reqwest::Url::parse(&url).expect("a query");
    let form: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let given = |name: &str| form.get(name).cloned().unwrap_or_default();
    let Some(grant) = state.grants.remove(&given("code")) else { return refused(400, "invalid_grant") };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier")));
    let right = given("grant_type") == "authorization_code"
        && given("client_id") == CLIENT_ID
        && given("redirect_uri") == grant.redirect
        && challenge == grant.challenge;
    if !right {
        return refused(400, "invalid_grant");
    }
    answer(200, &state.new_family())
}

async fn refresh(inside: &Inside, headers: HeaderMap, body: &Value) -> Response {
    let token = body["refresh_token"].as_str().unwrap_or_default().to_owned();
    let reason = body["refresh_reason"].as_str().unwrap_or_default().to_owned();
    let (number, say) = {
        let mut state = inside.state();
        state.refreshes.push(Refresh { token: token.clone(), reason, granted: false, headers });
        (state.refreshes.len(), state.script.pop_front())
    };
    inside.seen.send_replace(number);
    match say {
        None => spend(inside, &token, number),
        Some(Say::Held(told)) => {
            told.notified().await;
            spend(inside, &token, number)
        }
        Some(Say::SpentThenHeld(told)) => {
            let spent = spend(inside, &token, number);
            told.notified().await;
            spent
        }
        Some(Say::Cut) => {
            let _ = spend(inside, &token, number);
            let cut = [Ok("{\"id_token\": \"ey"), Err(std::io::Error::other("cut"))];
            Body::from_stream(futures_util::stream::iter(cut)).into_response()
        }
        Some(Say::Garbage(body)) => body.into_response(),
        Some(Say::Status(status, body, retry_after)) => {
            let mut response = answer(status, &body);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

/// Each refresh token once.
fn spend(inside: &Inside, token: &str, number: usize) -> Response {
    let mut state = inside.state();
    let family = match state.tokens.get_mut(token) {
        None => return refused(401, "invalid_grant"),
        Some((_, true)) => return refused(401, "refresh_token_reused"),
        Some((family, spent)) => {
            *spent = true;
            *family
        }
    };
    if state.families[family].revoked {
        return refused(401, "refresh_token_invalidated");
    }
    state.refreshes[number - 1].granted = true;
    answer(200, &jwt::tokens(&mut state, family))
}

pub(super) async fn revoke(Of(inside): Of<Arc<Inside>>, body: Bytes) -> Response {
    let mut state = inside.state();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let family = state.tokens.get(body["token"].as_str().unwrap_or_default()).map(|(family, _)| *family);
    // As RFC 7009 says, an unknown token is none the less revoked.
    if let Some(family) = family {
        state.families[family].revoked = true;
    }
    answer(200, &json!({}))
}

pub(super) async fn user_code(Of(inside): Of<Arc<Inside>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["client_id"] != CLIENT_ID {
        return refused(400, "invalid_request");
    }
    inside.state().person = Person::Away;
    answer(200, &json!({"device_auth_id": format!("dev-{SECRET}"), "user_code": "ABCD-12345", "interval": "1"}))
}

pub(super) async fn poll(Of(inside): Of<Arc<Inside>>, body: Bytes) -> Response {
    let mut state = inside.state();
    state.polls += 1;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["user_code"] != "ABCD-12345" || body["device_auth_id"] != format!("dev-{SECRET}") {
        return refused(400, "invalid_request");
    }
    match state.person {
        Person::Away => refused(403, "deviceauth_authorization_unknown"),
        Person::Hurried => refused(400, "slow_down"),
        Person::Denies => refused(403, "access_denied"),
        Person::Late => refused(403, "deviceauth_expired"),
        Person::Approves => {
            let verifier = format!("verifier-{SECRET}-{}", "v".repeat(30));
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
            let redirect = format!("http://127.0.0.1:{}/deviceauth/callback", inside.port);
            let code = state.new_grant(challenge.clone(), redirect);
            answer(
                200,
                &json!({"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier}),
            )
        }
    }
}
