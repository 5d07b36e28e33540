//! The JWTs of the vendor's issuer, with its claims and no valid signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{CLIENT_ID, State};

/// The vendor's words for what a token is of.
fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "of-a-test"});
    format!("{}.{}.{}", part(&header), part(claims), URL_SAFE_NO_PAD.encode("not signed"))
}

/// The JSON answer with new tokens of a family: its refresh token is new, and its access token is good from now on.
pub(super) fn tokens(state: &mut State, family: usize) -> Value {
    state.number += 1;
    let number = state.number;
    let account = state.families[family].account.clone();
    let now = cofferdam::clock::now_ms() / 1000;
    let ends = now + i64::try_from(state.lives.as_secs()).expect("a time");
    let auth = json!({"chatgpt_account_id": account, "chatgpt_plan_type": "pro", "chatgpt_user_id": "user-test",
        "user_id": "user-test"});
    let email = format!("{account}@example.com");
    let id = jwt(
        &json!({"iss": "of-a-test", "aud": [CLIENT_ID], "sub": "auth0|test", "iat": now, "exp": now + 3600,
        "email": email, "email_verified": true, "https://api.openai.com/auth": auth, "jti": format!("id-{number}")}),
    );
    let access = jwt(&json!({"iss": "of-a-test", "aud": ["https://api.openai.com/v1"], "client_id": CLIENT_ID,
        "sub": "auth0|test", "iat": now, "exp": ends, "jti": format!("access-{number}"),
        "https://api.openai.com/auth": auth, "https://api.openai.com/profile": {"email": email}}));
    let refresh = format!("rt-{}-{number}-{}", super::SECRET, fastrand::u64(..));
    state.tokens.insert(refresh.clone(), (family, false));
    state.access.push(access.clone());
    state.granted.extend([id.clone(), access.clone(), refresh.clone()]);
    json!({"id_token": id, "access_token": access, "refresh_token": refresh, "token_type": "Bearer",
        "expires_in": state.lives.as_secs(), "scope": "openid profile email offline_access"})
}
