//! A login without a browser on this machine: a code that the person types into a page elsewhere.
//!
//! The issuer's own form of RFC 8628: it answers the poll with an authorization code *and* its verifier.

use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CLIENT_ID, Issuer, IssuerError, answer};
use crate::vault::Tokens;

/// The pause between two polls when the issuer names none (RFC 8628, 3.2), and what "slow down" adds (3.5).
const PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that is waited, whatever the issuer names.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A login that waits for its code to be typed.
#[derive(Debug)]
pub struct DeviceCode {
    /// The page to open, anywhere.
    pub page: String,
    /// What to type there: 1 to 32 letters, digits and dashes.
    pub user_code: String,
    id: SecretString,
    /// The pause before the next poll.
    pub pause: Duration,
}

/// What a poll found.
#[derive(Debug)]
pub enum Poll {
    /// The person has not typed the code yet.
    Pending,
    /// They did.
    Done(Tokens),
    /// The code is too old.
    Expired,
}

#[derive(Deserialize)]
struct UserCode {
    device_auth_id: SecretString,
    #[serde(alias = "usercode")]
    user_code: String,
    /// Seconds, as a number or a text.
    interval: Option<Value>,
}

#[derive(Deserialize)]
struct Approved {
    authorization_code: SecretString,
    code_verifier: SecretString,
}

impl Issuer {
    /// Begins such a login. Not every workspace allows it: then the issuer answers with 404 or a refusal.
    pub async fn device_code(&self) -> Result<DeviceCode, IssuerError> {
        let request = self.client.post(self.address.at("/api/accounts/deviceauth/usercode"));
        let found: UserCode = answer(request.json(&json!({"client_id": CLIENT_ID}))).await?;
        let shown = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=32).contains(&found.user_code.len()) || !found.user_code.chars().all(shown) {
            return Err(IssuerError::Malformed("the code is not one that a person can type"));
        }
        Ok(DeviceCode {
            page: self.address.at("/codex/device"),
            user_code: found.user_code,
            id: found.device_auth_id,
            pause: found.interval.as_ref().and_then(seconds).unwrap_or(PAUSE).min(LONGEST_PAUSE),
        })
    }

    /// Asks once whether the code was typed. Passing trouble is [`Poll::Pending`]: the code is still good.
    pub async fn poll(&self, login: &mut DeviceCode) -> Result<Poll, IssuerError> {
        let request = self.client.post(self.address.at("/api/accounts/deviceauth/token"));
        let body = json!({"device_auth_id": login.id.expose_secret(), "user_code": login.user_code});
        let approved: Approved = match answer(request.json(&body)).await {
            Ok(approved) => approved,
            Err(error) => return waits(login, error),
        };
        let redirect = self.address.at("/deviceauth/callback");
        self.exchange(&approved.authorization_code, &approved.code_verifier, &redirect).await.map(Poll::Done)
    }
}

/// What an answer without tokens means for a login that waits.
fn waits(login: &mut DeviceCode, error: IssuerError) -> Result<Poll, IssuerError> {
    const FORBIDDEN: u16 = StatusCode::FORBIDDEN.as_u16();
    const NOT_FOUND: u16 = StatusCode::NOT_FOUND.as_u16();
    match error {
        IssuerError::Busy { retry_after, .. } => {
            login.pause = retry_after.unwrap_or(login.pause + PAUSE).min(LONGEST_PAUSE);
            Ok(Poll::Pending)
        }
        IssuerError::Rejected { status, code } => match (code.as_str(), status) {
            ("slow_down", _) => {
                login.pause = (login.pause + PAUSE).min(LONGEST_PAUSE);
                Ok(Poll::Pending)
            }
            ("authorization_pending", _) => Ok(Poll::Pending),
            (code, _) if code.contains("expired") => Ok(Poll::Expired),
            // The issuer does not know the code yet: nobody has typed it.
            (_, FORBIDDEN | NOT_FOUND) => Ok(Poll::Pending),
            _ => Err(IssuerError::Rejected { status, code }),
        },
        IssuerError::Unreachable(_) | IssuerError::Unanswered(_) => Ok(Poll::Pending),
        error => Err(error),
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Some(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_in_both_forms_and_never_none() {
        assert_eq!(seconds(&json!("7")), Some(Duration::from_secs(7)));
        assert_eq!(seconds(&json!(7)), Some(Duration::from_secs(7)));
        assert_eq!(seconds(&json!(0)), Some(Duration::from_secs(1)));
        assert_eq!(seconds(&json!("soon")), None);
    }
}
