//! A group's servers with the host's values filled in: secret from here on.

use std::collections::BTreeMap;
use std::path::Path;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::template::Template;
use super::written::check_url;
use super::{McpServer, McpServers, Terms, Transport};
use crate::config::ConfigError;
use crate::config::home::Home;
use crate::config::host_values::{self, HostValues};

/// A server that takes part.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its name.
    pub name: String,
    /// How the agent works with it.
    pub terms: Terms,
    /// How it is reached.
    pub reached: Reached,
}

/// How a server is reached. Debugging it shows no value.
#[derive(Debug, Clone)]
pub enum Reached {
    /// A program in the container, with everything of it.
    Stdio {
        /// The program.
        command: SecretString,
        /// Its arguments.
        args: Vec<SecretString>,
        /// Its environment.
        env: BTreeMap<String, SecretString>,
    },
    /// An address that only the host knows.
    Remote(Remote),
}

/// Where a remote server is.
#[derive(Debug, Clone)]
pub struct Remote {
    /// An http or https address without user and password.
    pub url: SecretString,
    /// Headers of every request; valid as such.
    pub headers: Vec<(String, SecretString)>,
    /// The host's values among them.
    pub secrets: Vec<SecretString>,
}

/// Fills the host's values into all servers that are not disabled. `file` is for errors, which name a value and its
/// key and never show one. The host's files are read only when a value is needed.
pub fn resolve(
    servers: &McpServers,
    home: &Home,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Resolved>, ConfigError> {
    let used: Vec<_> = servers.iter().filter(|(_, server)| !server.disabled).collect();
    let needs = |server: &McpServer| server.templates().iter().any(|(_, text)| text.names().next().is_some());
    let values = match used.iter().any(|(_, server)| needs(server)) {
        true => Some(HostValues::load(home, env)?),
        false => None,
    };
    let get = |name: &str| values.as_ref().and_then(|values| values.get(name));
    let fill = |name: &str, key: &str, text: &Template| {
        let full_key = format!("mcpServers.{name}.{key}");
        let filled = text.fill(get).map_err(|value| {
            ConfigError::new(file, format!("`${{{value}}}` has no value on this host"))
                .with_key(&full_key)
                .with_hint(host_values::hint(home, value))
        })?;
        check(key, filled.expose_secret())
            .map_err(|problem| ConfigError::new(file, problem).with_key(&full_key))?;
        Ok(filled)
    };
    used.into_iter()
        .map(|(name, server)| {
            let mut resolved = one(name, server, &|key, text| fill(name, key, text))?;
            if let Reached::Remote(remote) = &mut resolved.reached {
                let templates = server.templates();
                remote.secrets = templates.iter().flat_map(|(_, text)| text.names()).filter_map(get).collect();
            }
            Ok(resolved)
        })
        .collect()
}

type Fill<'f> = dyn Fn(&str, &Template) -> Result<SecretString, ConfigError> + 'f;

fn one(name: &str, server: &McpServer, fill: &Fill<'_>) -> Result<Resolved, ConfigError> {
    let reached = match &server.transport {
        Transport::Stdio { command, args, env } => Reached::Stdio {
            command: fill("command", command)?,
            args: args
                .iter()
                .enumerate()
                .map(|(at, arg)| fill(&format!("args[{at}]"), arg))
                .collect::<Result<_, _>>()?,
            env: env
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(&format!("env.{name}"), value)?)))
                .collect::<Result<_, ConfigError>>()?,
        },
        Transport::Remote { url, headers } => Reached::Remote(Remote {
            url: fill("url", url)?,
            headers: headers
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(&format!("headers.{name}"), value)?)))
                .collect::<Result<_, ConfigError>>()?,
            secrets: Vec::new(),
        }),
    };
    Ok(Resolved { name: name.to_owned(), terms: server.terms.clone(), reached })
}

/// What a value can break. The words do not repeat it.
fn check(key: &str, filled: &str) -> Result<(), &'static str> {
    if filled.contains('\0') {
        return Err("with the host's value it has a NUL");
    }
    if key == "url" {
        return check_url(filled);
    }
    if key.starts_with("headers.") && HeaderValue::from_str(filled).is_err() {
        return Err("with the host's value it has characters that no header can carry");
    }
    Ok(())
}
