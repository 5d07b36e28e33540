//! What comes of a request to the issuer when it is no answer.
//!
//! None of it has the body of a request or an answer: an issuer may repeat a token in its explanation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// The longest wait that an issuer may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why a request to the issuer failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IssuerError {
    /// No connection: the request was not sent.
    #[error("the issuer cannot be reached ({0})")]
    Unreachable(Arc<str>),
    /// The request went out, and no whole answer came: what it asked for may have been done.
    #[error("the issuer took the request and gave no whole answer ({0})")]
    Unanswered(Arc<str>),
    /// It cannot serve anybody just now, or not us: 429 and 5xx.
    #[error("the issuer is busy or broken (status {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It will never take this token or code.
    #[error("{0}")]
    Refused(Refusal),
    /// It refused for a reason that has nothing to do with the login.
    #[error("the issuer refused the request (status {status}, {code})")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// Its own word for the reason.
        code: Code,
    },
    /// It answered with success and with something else than was asked for.
    #[error("the issuer's answer is not what it should be: {0}")]
    Malformed(&'static str),
}

/// Why a token or code is never taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was not used for too long.
    #[error("the login has expired")]
    Expired,
    /// Somebody else spent it: another holder of the same login.
    #[error("the login's refresh token was already used, by another program that has the same login")]
    Reused,
    /// Somebody logged out, or changed the password.
    #[error("the login was revoked")]
    Revoked,
    /// The person said no.
    #[error("the login was declined")]
    Denied,
    /// Anything else.
    #[error("the issuer no longer accepts the login ({0})")]
    Other(Code),
}

/// An issuer's word for a reason, as far as it can be shown: at most 64 of `a-z0-9_.-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(Option<String>);

impl Code {
    pub(in crate::vault) fn new(code: Option<&str>) -> Self {
        let shown = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let code = code.filter(|code| (1..=64).contains(&code.len()) && code.chars().all(shown));
        Self(code.map(str::to_ascii_lowercase))
    }

    /// The word; empty when there is none.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("no reason given"))
    }
}

impl IssuerError {
    /// Whether the same request can succeed a little later.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Rejected { .. })
    }

    /// Whether the issuer may have done what was asked although this came of it.
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Malformed(_))
    }

    pub(super) fn of_transport(error: reqwest::Error) -> Self {
        let (unsent, error) = (error.is_connect() || error.is_builder(), error.without_url());
        let chain: Arc<str> = crate::error_chain(&error).into();
        if unsent { Self::Unreachable(chain) } else { Self::Unanswered(chain) }
    }

    /// What an answer without success means for a login.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let code = Code::new(body.as_ref().and_then(code_of));
        let refusal = match code.as_str() {
            "refresh_token_expired" => Some(Refusal::Expired),
            "refresh_token_reused" => Some(Refusal::Reused),
            "refresh_token_invalidated" => Some(Refusal::Revoked),
            "access_denied" | "authorization_declined" => Some(Refusal::Denied),
            "invalid_grant" => Some(Refusal::Other(code.clone())),
            // Codex takes every 401 so; one without a word of the issuer's is some proxy's.
            "" => None,
            _ if status == StatusCode::UNAUTHORIZED => Some(Refusal::Other(code.clone())),
            _ => None,
        };
        match refusal {
            Some(refusal) => Self::Refused(refusal),
            None if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Self::Busy { status: status.as_u16(), retry_after: retry_after(headers) }
            }
            None => Self::Rejected { status: status.as_u16(), code },
        }
    }
}

/// The issuer's forms: `{"error": {"code": …}}`, `{"error": …}` and `{"code": …}`.
fn code_of(body: &Value) -> Option<&str> {
    let error = &body["error"];
    error["code"].as_str().or_else(|| error.as_str()).or_else(|| body["code"].as_str())
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            crate::clock::until(at.as_millisecond())
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> IssuerError {
        IssuerError::of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn each_of_the_issuers_words_is_what_it_means_in_every_form() {
        let refused = |error| match error {
            IssuerError::Refused(refusal) => Some(refusal),
            _ => None,
        };
        for (code, refusal) in [
            ("refresh_token_expired", Refusal::Expired),
            ("refresh_token_reused", Refusal::Reused),
            ("REFRESH_TOKEN_INVALIDATED", Refusal::Revoked),
            ("invalid_grant", Refusal::Other(Code::new(Some("invalid_grant")))),
        ] {
            for body in [
                format!("{{\"error\": {{\"code\": \"{code}\", \"message\": \"x\"}}}}"),
                format!("{{\"error\": \"{code}\"}}"),
                format!("{{\"code\": \"{code}\"}}"),
            ] {
                assert_eq!(refused(of(401, &body)), Some(refusal.clone()), "{body}");
                assert_eq!(refused(of(400, &body)), Some(refusal.clone()), "{body}");
            }
        }
        assert!(refused(of(401, "{\"error\": \"novel\"}")).is_some(), "a 401 of the issuer's");
    }

    #[test]
    fn what_is_not_about_the_login_does_not_end_it() {
        for (status, body) in
            [(401, "<html>proxy</html>"), (403, "{\"error\": \"blocked\"}"), (404, ""), (400, "{}")]
        {
            assert!(matches!(of(status, body), IssuerError::Rejected { .. }), "{status} {body}");
        }
        for status in [429, 500, 502, 503, 529] {
            assert!(of(status, "{\"error\": \"x\"}").is_passing(), "{status}");
        }
    }

    #[test]
    fn a_wait_is_read_in_both_forms_and_bounded() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn nothing_of_the_body_is_shown_but_a_plain_word() {
        for body in ["{\"error\": \"rt-secret said no\"}", "{\"error\": {\"message\": \"rt-secret\"}}", "rt-secret"]
        {
            let error = of(400, body);
            assert!(!format!("{error} {error:?}").contains("rt-secret"), "{body}");
        }
    }
}
