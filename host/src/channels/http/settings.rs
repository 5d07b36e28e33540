//! The channel's settings, and its fixed limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::channels::BadSettings;
use crate::channels::socket::Bounds;

/// The longest that a call may be told to wait, in seconds: proxies give up on quiet connections sooner.
const LONGEST_WAIT: u64 = 3600;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Where to listen.
    pub(super) listen: SocketAddr,
    /// Others than this machine may call.
    pub(super) public: bool,
    /// The longest that a call waits for its answer, in seconds.
    pub(super) max_wait_secs: u64,
    /// Origins whose pages may call the API from browsers, as these send them.
    pub(super) origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (IpAddr::V4(Ipv4Addr::LOCALHOST), 8787).into(),
            public: false,
            max_wait_secs: 600,
            origins: Vec::new(),
        }
    }
}

impl Settings {
    pub(super) fn parse(channel: &str, settings: Value) -> Result<Self, BadSettings> {
        let bad = |what: String| BadSettings(format!("the settings of the channel '{channel}': {what}"));
        if settings.is_null() {
            return Ok(Self::default());
        }
        if !settings.is_object() {
            return Err(bad("they are no JSON object".to_owned()));
        }
        let settings: Self = serde_path_to_error::deserialize(settings).map_err(|error| bad(error.to_string()))?;
        if !settings.listen.ip().is_loopback() && !settings.public {
            return Err(bad(format!(
                "'listen' is {}, where other machines can call: set \"public\": true if they may (and put a proxy with \
                 TLS before it), or listen on 127.0.0.1",
                settings.listen
            )));
        }
        if !(1..=LONGEST_WAIT).contains(&settings.max_wait_secs) {
            return Err(bad(format!("'max_wait_secs' is {}: take 1 to {LONGEST_WAIT}", settings.max_wait_secs)));
        }
        if let Some(wrong) = settings.origins.iter().find(|origin| !is_origin(origin)) {
            return Err(bad(format!(
                "'origins' has '{wrong}', which no browser sends: write an origin without a path or an asterisk, such as \
                 http://localhost:3000"
            )));
        }
        Ok(settings)
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_secs(self.max_wait_secs)
    }
}

/// Whether browsers send an origin so: in small letters, without the usual port, and with nothing behind.
fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let Some(host) = url.host_str().filter(|host| !host.contains('*')) else { return false };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    text == format!("{}://{host}{port}", url.scheme())
}

/// Where a channel with these settings is called, as its own machine reaches it.
pub fn url(settings: &Value) -> String {
    let mut listen = Settings::parse("", settings.clone()).unwrap_or_default().listen;
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{listen}")
}

/// What callers may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls of one key or webhook at once.
    pub calls_of_one: usize,
    /// Calls at once.
    pub calls: usize,
    /// Calls at once of webhooks that there are, whose signature is not checked yet.
    pub unsigned: usize,
    /// The same of one name, whether there is such a webhook or not.
    pub unsigned_of_one: usize,
    /// Connections at once; further ones wait in the kernel.
    pub connections: usize,
    /// How long a request's head may take, and an idle connection is kept.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// The same before it is known who sends it.
    pub unsigned_body: Duration,
    /// How long the other end may take nothing of its answer.
    pub untaken: Duration,
    /// The silence in a stream before a comment is sent, so that proxies keep it.
    pub keep_alive: Duration,
    /// How often a waiting call looks by itself whether it is answered: what it is told is only a hint.
    pub look: Duration,
    /// The bodies of requests with a key that are in memory, in bytes.
    pub memory: usize,
    /// Those of webhooks' calls, in bytes.
    pub unsigned_memory: usize,
    /// The same of one name, in bytes.
    pub unsigned_memory_of_one: usize,
}

impl Limits {
    pub(super) fn of_connections(&self) -> Bounds {
        Bounds { connections: self.connections, head: Some(self.head), untaken: self.untaken }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_of_one: 64,
            calls: 256,
            unsigned: 128,
            unsigned_of_one: 32,
            connections: 512,
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            unsigned_body: Duration::from_secs(10),
            untaken: Duration::from_secs(120),
            keep_alive: Duration::from_secs(15),
            look: Duration::from_secs(3),
            memory: 64 * 1024 * 1024,
            unsigned_memory: 16 * 1024 * 1024,
            unsigned_memory_of_one: 4 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn others_than_this_machine_may_call_only_when_that_is_said() {
        let parse = |settings: Value| Settings::parse("api", settings);
        assert_eq!(parse(json!({})).unwrap(), Settings::default());
        assert_eq!(parse(Value::Null).unwrap().listen.to_string(), "127.0.0.1:8787");
        assert!(parse(json!({"listen": "[::1]:1"})).is_ok());
        for listen in ["0.0.0.0:8787", "[::]:8787", "192.0.2.1:80"] {
            let error = parse(json!({ "listen": listen })).unwrap_err().to_string();
            assert!(error.contains("\"public\": true") && error.contains(listen), "{error}");
            assert!(parse(json!({"listen": listen, "public": true})).is_ok());
        }
    }

    #[test]
    fn an_address_is_one_that_this_machine_reaches() {
        for (settings, is) in [
            (json!({}), "http://127.0.0.1:8787"),
            (json!({"listen": "0.0.0.0:80", "public": true}), "http://127.0.0.1:80"),
            (json!({"listen": "[::]:80", "public": true}), "http://[::1]:80"),
        ] {
            assert_eq!(url(&settings), is);
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        let parse = |origin: &str| Settings::parse("api", json!({"origins": ["http://localhost:3000", origin]}));
        for right in ["https://chat.example.org", "http://[::1]:5173", "http://192.0.2.1", "app://obsidian.md"] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "*",
            "null",
            "",
            "localhost:3000",
            "http://localhost:3000/",
            "http://localhost/chat",
            "HTTP://localhost",
            "http://Example.org",
            "http://localhost:80",
            "https://*.example.org",
            "http://u@localhost",
            "file://",
            "http://localhost, http://other",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("'{wrong}'")), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (settings, named) in [
            (json!({"port": 1}), "port"),
            (json!({"listen": "localhost"}), "listen"),
            (json!({"max_wait_secs": 0}), "max_wait_secs"),
            (json!({"max_wait_secs": 3601}), "max_wait_secs"),
            (json!({"origins": "http://localhost:3000"}), "origins"),
            (json!([]), "api"),
        ] {
            let error = Settings::parse("api", settings).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
