//! A server as the file writes it.

use std::collections::BTreeMap;

use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use super::template::Template;
use super::{McpServer, McpServers, Terms, Transport};
use crate::config::values;

/// The longest name of a server, in bytes.
const MAX_NAME: usize = 64;

/// A server that offers tools to the agent. `command` runs it in the container; `url` reaches it through the host.
/// `${NAME}` in `command`, `args`, `env`, `url` and `headers` stands for a value of the host's configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "McpServer", extend("oneOf" = [{"required": ["command"]}, {"required": ["url"]}]))]
pub struct Written {
    /// How it is reached; follows from `command` or `url`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// The program, which must be in the container's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Template>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Template>,
    /// Its environment. The agent can read it.
    #[serde(deserialize_with = "variables", skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, Template>,
    /// The Streamable HTTP endpoint of a remote server.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Template>,
    /// Headers of every request to it. They stay on the host, except for what this file itself says.
    #[serde(deserialize_with = "headers", skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Template>,
    /// Leaves the server out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    /// Without the server the session does not start, and its messages are told so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    /// How long it may take to start, in seconds.
    #[serde(deserialize_with = "values::within::<1, 3600, _>")]
    #[schemars(range(min = 1, max = 3600))]
    startup_timeout_sec: u64,
    /// How long one call may take, in seconds.
    #[serde(deserialize_with = "values::within::<1, 86_400, _>")]
    #[schemars(range(min = 1, max = 86_400))]
    tool_timeout_sec: u64,
    /// The only tools that are offered to the agent; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled_tools: Option<Vec<String>>,
}

/// How a server is reached, as other programs write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A program in the container.
    Stdio,
    /// Streamable HTTP.
    Http,
    /// The same.
    StreamableHttp,
    /// The older transport, which is not supported.
    Sse,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            kind: None,
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            url: None,
            headers: BTreeMap::new(),
            disabled: false,
            required: false,
            startup_timeout_sec: 30,
            tool_timeout_sec: 300,
            enabled_tools: None,
        }
    }
}

impl TryFrom<Written> for McpServer {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let kind = written.kind;
        let transport = match (written.command, written.url) {
            _ if kind == Some(Kind::Sse) => {
                return Err(
                    "the older transport `sse` is not supported: give the server's Streamable HTTP address, with the type `http`",
                );
            }
            (Some(_), Some(_)) => return Err("it has both `command` and `url`: keep one of them"),
            (None, None) => {
                return Err("it needs `command` (a program in the container) or `url` (a remote server)");
            }
            (Some(_), None) if !matches!(kind, None | Some(Kind::Stdio)) => {
                return Err("a server with a `command` has the type `stdio`");
            }
            (Some(_), None) if !written.headers.is_empty() => {
                return Err("a server with a `command` has no `headers`; secrets go into `env`");
            }
            (Some(command), None) if command.text().trim().is_empty() => return Err("its `command` is empty"),
            (Some(command), None) => Transport::Stdio { command, args: written.args, env: written.env },
            (None, Some(_)) if kind == Some(Kind::Stdio) => {
                return Err("a server with a `url` has the type `http`");
            }
            (None, Some(_)) if !written.args.is_empty() || !written.env.is_empty() => {
                return Err("a server with a `url` has no `args` and no `env`; secrets go into `headers`");
            }
            (None, Some(url)) => {
                if url.names().next().is_none() {
                    check_url(url.text())?;
                }
                Transport::Remote { url, headers: written.headers }
            }
        };
        let terms = Terms {
            required: written.required,
            startup_timeout_sec: written.startup_timeout_sec,
            tool_timeout_sec: written.tool_timeout_sec,
            enabled_tools: written.enabled_tools,
        };
        Ok(Self { transport, disabled: written.disabled, terms })
    }
}

impl From<McpServer> for Written {
    fn from(server: McpServer) -> Self {
        let McpServer { transport, disabled, terms } = server;
        let mut written = Self {
            disabled,
            required: terms.required,
            startup_timeout_sec: terms.startup_timeout_sec,
            tool_timeout_sec: terms.tool_timeout_sec,
            enabled_tools: terms.enabled_tools,
            ..Self::default()
        };
        match transport {
            Transport::Stdio { command, args, env } => {
                (written.command, written.args, written.env) = (Some(command), args, env);
            }
            Transport::Remote { url, headers } => (written.url, written.headers) = (Some(url), headers),
        }
        written
    }
}

/// Whether a remote server can be at that address.
pub(super) fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "its `url` is not an address")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err("its `url` is not an http or https address");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("its `url` has a user or password in it: put an `Authorization` into `headers`");
    }
    Ok(())
}

/// The servers by name.
pub(in crate::config) fn servers<'de, D: Deserializer<'de>>(d: D) -> Result<McpServers, D::Error> {
    values::named(d, "an object of servers by name", |name| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        match plain && (1..=MAX_NAME).contains(&name.len()) {
            true => Ok(()),
            false => Err("is not a server's name: 1 to 64 letters, digits, `_` and `-`".to_owned()),
        }
    })
}

fn variables<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Template>, D::Error> {
    values::named(d, "an object of names and text values", |name| match values::is_variable(name) {
        true => Ok(()),
        false => Err("is not a variable's name: letters, digits and `_`, not starting with a digit".to_owned()),
    })
}

/// Headers that the connection itself decides.
const NOT_OURS: &[&str] =
    &["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

fn headers<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Template>, D::Error> {
    values::named(d, "an object of names and text values", |name| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(header) if NOT_OURS.contains(&header.as_str()) => {
            Err("cannot be set: the connection decides it".to_owned())
        }
        Ok(_) => Ok(()),
        Err(_) => Err("is not a header's name".to_owned()),
    })
}
