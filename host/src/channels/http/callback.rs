//! Replies to a webhook's address: one POST each, signed with the secret that its calls are signed with.

use std::time::Duration;

use reqwest::{Client, Url, header};
use secrecy::SecretString;
use serde_json::json;

use super::signature;
use crate::channels::SendError;
use crate::clock::now_ms;
use crate::model::reply::{Outbound, ReplyKind};
use crate::trust::{Trust, is_loopback};

/// How long the address may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Makes the calls. Redirects are not followed, and certificates are checked (`trust`).
pub(super) struct Callbacks {
    near: Client,
    far: Client,
}

impl Callbacks {
    pub(super) fn new(trust: &Trust) -> Result<Self, String> {
        let client = |url: &str| {
            let url = Url::parse(url).map_err(|error| error.to_string())?;
            let client = trust.client(&url).connect_timeout(ANSWER / 3).timeout(ANSWER);
            client.build().map_err(|error| crate::error_chain(&error))
        };
        Ok(Self { near: client("http://127.0.0.1/")?, far: client("https://example.com/")? })
    }

    /// Posts a reply. What is said of a failure has nothing of the address in it but its host.
    pub(super) async fn post(&self, url: &Url, secret: &SecretString, reply: &Outbound) -> Result<(), SendError> {
        let kind = if reply.kind == ReplyKind::Notice { "notice" } else { "reply" };
        let body = json!({
            "chat": reply.chat.chat_id, "thread": reply.chat.thread_id, "reply": reply.text, "key": reply.key,
            "kind": kind,
        });
        let body = body.to_string();
        let client = if is_loopback(url) { &self.near } else { &self.far };
        let sent = client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(signature::HEADER, signature::sign_callback(secret, now_ms() / 1000, body.as_bytes()))
            .body(body)
            .send()
            .await;
        let host = url.host_str().unwrap_or("the callback").to_owned();
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                let (before, error) = (error.is_connect(), error.without_url());
                let why = format!("{host}: {}", crate::error_chain(&error));
                return Err(if before { SendError::later(why, None) } else { SendError::Doubt { why } });
            }
        };
        let status = answer.status();
        let why = format!("{host} answered {status}");
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 429 => Err(SendError::later(why, pause(answer.headers()))),
            400..=499 => Err(SendError::Refused { why }),
            300..=399 => Err(SendError::later(format!("{why}; redirects are not followed"), None)),
            _ => Err(SendError::later(why, pause(answer.headers()))),
        }
    }
}

/// A callback's address without what may be a secret in it; none when it is no address that can be posted to.
pub fn shown(callback: &str) -> Option<String> {
    let url = Url::parse(callback).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}/…", url.scheme(), url.host_str()?))
}

/// The pause that is asked for in seconds; at most an hour of it.
fn pause(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}
