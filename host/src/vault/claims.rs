//! What is read of a login's JWTs.
//!
//! Their signature is not checked: they came from the issuer over TLS, and nothing is allowed because of what they say. They
//! are shown to people and compared, so they are read as hostile: bounded, and without control characters.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::Tokens;

/// The largest JWT that is looked at, in bytes; the vendor's have about 2 KB.
const MAX_JWT: usize = 64 * 1024;
/// The longest text that is taken from one, in characters.
const MAX_TEXT: usize = 254;

/// Who a login is, and how long its access token lives. What a token does not say is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// The vendor's id of the account (`chatgpt_account_id`).
    pub account_id: Option<String>,
    /// The e-mail address of who logged in.
    pub email: Option<String>,
    /// The plan, such as `plus` or `pro`.
    pub plan: Option<String>,
    /// When the access token ends, by the issuer's clock.
    pub expires: Option<Timestamp>,
    /// How long the access token lived when it was issued.
    pub lifetime: Option<Duration>,
}

impl Claims {
    /// Reads both JWTs of a login: who it is from the first, until when from the second.
    pub fn of(tokens: &Tokens) -> Self {
        let id = payload(&tokens.id_token).unwrap_or_default();
        let access = payload(&tokens.access_token).unwrap_or_default();
        let auth = |name| text(inner(&id, "auth"), name).or_else(|| text(inner(&access, "auth"), name));
        let email = text(Some(&id), "email").or_else(|| text(inner(&id, "profile"), "email"));
        let (issued, expires) = (time(&access, "iat"), time(&access, "exp"));
        let lifetime = issued.zip(expires).and_then(|(issued, expires)| {
            Duration::try_from(expires.duration_since(issued)).ok().filter(|lifetime| !lifetime.is_zero())
        });
        Self {
            account_id: auth("chatgpt_account_id"),
            email: email.or_else(|| text(inner(&access, "profile"), "email")),
            plan: auth("chatgpt_plan_type"),
            expires,
            lifetime,
        }
    }

    /// When the access token ends by this host's clock: its lifetime after it came, however wrong either clock is, or else
    /// what the token says.
    pub fn ends(&self, came: Timestamp) -> Option<Timestamp> {
        let by_lifetime = self.lifetime.filter(|_| came != Timestamp::UNIX_EPOCH);
        by_lifetime.and_then(|lifetime| came.checked_add(lifetime).ok()).or(self.expires)
    }
}

/// The claims of a JWT; none when it is not one.
fn payload(jwt: &SecretString) -> Option<Map<String, Value>> {
    let mut parts = jwt.expose_secret().split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = ![header, payload, signature].contains(&"") && parts.next().is_none();
    if !whole || jwt.expose_secret().len() > MAX_JWT {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

/// The vendor's claims stand in objects whose names are addresses.
fn inner<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Map<String, Value>> {
    claims.get(&format!("https://api.openai.com/{name}"))?.as_object()
}

fn text(claims: Option<&Map<String, Value>>, name: &str) -> Option<String> {
    let text = claims?.get(name)?.as_str()?;
    let clean = !text.is_empty() && text.chars().count() <= MAX_TEXT && text.chars().all(is_plain);
    clean.then(|| text.to_owned())
}

/// Nothing that moves a cursor or turns the direction of the text around it.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !c.is_whitespace()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn time(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    let value = claims.get(name)?;
    #[expect(clippy::cast_possible_truncation, reason = "a time in seconds; what is out of range is no time")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn jwt(claims: &Value) -> String {
        format!("aGVhZA.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn read(id: &str, access: &str) -> Claims {
        Claims::of(&Tokens {
            id_token: id.into(),
            access_token: access.into(),
            refresh_token: "r".into(),
            account_id: None,
            last_refresh: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn who_a_login_is_and_until_when_is_read_from_both_tokens() {
        let auth = json!({"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "pro"});
        let id = jwt(&json!({"email": "a@example.com", "exp": 1, "https://api.openai.com/auth": auth}));
        let claims = read(&id, &jwt(&json!({"iat": 1_800_000_000, "exp": 1_800_003_600.5})));
        assert_eq!(
            claims,
            Claims {
                account_id: Some("acc-1".to_owned()),
                email: Some("a@example.com".to_owned()),
                plan: Some("pro".to_owned()),
                expires: Some(Timestamp::from_second(1_800_003_600).unwrap()),
                lifetime: Some(Duration::from_secs(3600)),
            }
        );
        let came = Timestamp::from_second(5_000).unwrap();
        assert_eq!(claims.ends(came), Some(Timestamp::from_second(8_600).unwrap()), "by our own clock");
        assert_eq!(claims.ends(Timestamp::UNIX_EPOCH), claims.expires, "nobody knows when it came");
    }

    #[test]
    fn the_access_token_says_what_the_other_does_not() {
        let profile = json!({"email": "b@example.com"});
        let auth = json!({"chatgpt_account_id": "acc-2"});
        let access = json!({"https://api.openai.com/profile": profile, "https://api.openai.com/auth": auth});
        let claims = read("opaque", &jwt(&access));
        assert_eq!((claims.email.as_deref(), claims.account_id.as_deref()), (Some("b@example.com"), Some("acc-2")));
    }

    #[test]
    fn what_would_harm_a_terminal_is_not_taken() {
        let long = "x".repeat(300);
        for bad in ["\u{1b}[2Ja@b", "a\u{202e}b", "a\nb", "a b", "", long.as_str()] {
            assert_eq!(read(&jwt(&json!({"email": bad})), "x").email, None, "{bad:?}");
        }
        let wrong = json!({"email": ["a"], "exp": "soon", "https://api.openai.com/auth": 7});
        assert_eq!(read(&jwt(&wrong), &jwt(&wrong)), Claims::default());
        assert_eq!(read(&jwt(&json!({"email": "a@b"})).repeat(2), "a..b"), Claims::default());
        let huge = jwt(&json!({"email": "a@b", "more": "x".repeat(MAX_JWT)}));
        assert_eq!(read(&huge, "x"), Claims::default());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail(id in ".*", raw in proptest::collection::vec(any::<u8>(), 0..200), exp in any::<f64>()) {
            let _ = read(&id, &format!("a.{}.b", URL_SAFE_NO_PAD.encode(raw)));
            let _ = read(&id, &jwt(&json!({"exp": exp, "iat": i64::MIN}))).ends(Timestamp::MAX);
        }
    }
}
