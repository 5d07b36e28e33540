//! What a home says about a bot, and what a token looks like.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::channels::BadSettings;
use crate::trust::is_loopback;

/// A bot's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Where the Bot API is.
    #[serde(default = "official")]
    api_url: String,
    /// Has Telegram call us, instead of us asking.
    webhook: Option<WebhookSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSettings {
    /// What Telegram calls.
    url: String,
    /// Where we listen for it.
    #[serde(default = "on_loopback")]
    listen: SocketAddr,
}

/// Settings that hold together.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) api_url: Url,
    pub(super) webhook: Option<Webhook>,
}

/// Where Telegram calls us.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    /// The address that Telegram knows.
    pub(super) url: Url,
    /// The address of this machine that it ends at.
    pub(super) listen: SocketAddr,
}

fn official() -> String {
    "https://api.telegram.org".to_owned()
}

/// One of the ports that Telegram calls, for those who forward it as it is.
fn on_loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8443))
}

impl Settings {
    pub(super) fn parse(settings: serde_json::Value) -> Result<Known, BadSettings> {
        let settings = if settings.is_null() { serde_json::json!({}) } else { settings };
        let settings: Self =
            serde_path_to_error::deserialize(settings).map_err(|error| BadSettings(error.to_string()))?;
        let api_url = address("api_url", &settings.api_url)?;
        let webhook = settings.webhook.map(|webhook| {
            let url = address("webhook.url", &webhook.url)?;
            Ok(Webhook { url, listen: webhook.listen })
        });
        Ok(Known { api_url, webhook: webhook.transpose()? })
    }
}

/// An address that neither shows the token on the way nor has secrets of its own.
fn address(name: &str, text: &str) -> Result<Url, BadSettings> {
    let bad = |why: &str| BadSettings(format!("{name}: {why}"));
    let url: Url = text.parse().map_err(|error| bad(&format!("this is no address: {error}")))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
        return Err(bad("it has to begin with https://; http:// is for this machine only"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it has to be an address only, without a login, `?` or `#`"));
    }
    Ok(url)
}

/// The bot's id, which stays when it gets another token: the number before the colon.
pub(super) fn bot_of(token: &SecretString) -> String {
    token.expose_secret().split_once(':').map(|(id, _)| id.to_owned()).unwrap_or_default()
}

/// Refuses what is no token, without showing it.
pub(super) fn check_token(token: &SecretString) -> Result<(), BadSettings> {
    let looks = |token: &str| {
        let (id, secret) = token.split_once(':')?;
        let number = (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
        let rest = secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        Some(number && rest && (20..=100).contains(&secret.len()))
    };
    if looks(token.expose_secret()) == Some(true) {
        return Ok(());
    }
    let why = "this is no bot token: @BotFather gives them, a number, a colon and 35 characters, such as \
               123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";
    Err(BadSettings(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tokens_pass_and_what_is_refused_is_not_shown() {
        check_token(&"123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11".into()).unwrap();
        for bad in [
            "",
            "hush",
            "123456:",
            ":hushhushhushhushhushhush",
            "x1:hushhushhushhushhushhush",
            "1:hush hush/../hushhush",
        ] {
            let error = check_token(&bad.into()).unwrap_err().to_string();
            assert!(error.contains("@BotFather") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn settings_have_defaults_and_refuse_what_they_do_not_know() {
        let known = Settings::parse(serde_json::Value::Null).unwrap();
        assert_eq!(known.api_url.as_str(), "https://api.telegram.org/");
        assert!(known.webhook.is_none());
        let known = Settings::parse(json!({"webhook": {"url": "https://example.org/tg"}})).unwrap();
        assert!(known.webhook.unwrap().listen.ip().is_loopback());
        for (bad, says) in [
            (json!({"token": "x"}), "unknown field"),
            (json!({"api_url": "http://example.org"}), "https://"),
            (json!({"api_url": "https://u:p@example.org"}), "without a login"),
            (json!({"api_url": "nonsense"}), "no address"),
            (json!({"webhook": {}}), "webhook: missing field `url`"),
            (json!({"webhook": {"url": "https://e.org", "listen": "here"}}), "webhook.listen"),
            (json!([]), "invalid"),
        ] {
            let error = Settings::parse(bad.clone()).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
