//! The host's own configuration: `cofferdam.toml`, `.env` and the environment.
//!
//! The environment wins over `.env`, which wins over the file. `.env` is read, not put into the environment, so no
//! child process inherits a key from it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::AccountName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::home::Home;
use super::host_values::{self, is_name};
use super::retries::Retries;
use super::vault_key::VaultKey;
use super::{ConfigError, read, values};

/// Where model calls go unless `OPENAI_BASE_URL` says otherwise: the vendor's public API.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
/// The most containers at once unless the configuration says otherwise.
pub const DEFAULT_MAX_SESSIONS: usize = 8;
/// The largest `cofferdam.toml` or `.env`, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The largest file of certificates, in bytes; those of whole systems have about 220 KB.
const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;
/// What `max_sessions` can be.
const SESSIONS: std::ops::RangeInclusive<usize> = 1..=512;

/// The account of the key that the host's configuration has: `environment`.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The API's base, without a slash at its end; `/responses` is below it.
    pub base_url: String,
    /// The key, which never leaves the host but to that endpoint.
    pub key: SecretString,
}

/// The host's configuration.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The most containers at once.
    pub max_sessions: usize,
    /// The account of groups that name none, if it is named here.
    pub account: Option<AccountName>,
    /// The account of the key, if there is one.
    pub environment: Option<Environment>,
    /// The model for groups that name none; none leaves it to the provider.
    pub default_model: Option<String>,
    /// The Docker engine's address; none is the local default.
    pub docker_host: Option<String>,
    /// Certificate authorities that the host's own calls trust besides the machine's.
    pub ca: Option<CaFile>,
    /// The static `cofferdam-runner` for images; none looks for it in the usual places.
    pub runner: Option<PathBuf>,
    /// How often starts of containers are tried.
    pub retries: Retries,
    /// Where the vault's key is to be kept.
    pub vault_key: VaultKey,
    /// What is logged, in `tracing`'s filter language.
    pub log: String,
    /// What is not wrong but should be known.
    pub warnings: Vec<String>,
}

/// A file of certificates, as it was read.
#[derive(Debug, Clone)]
pub struct CaFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes; whether they are certificates is seen where they are used.
    pub pem: Vec<u8>,
}

/// `cofferdam.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    #[serde(deserialize_with = "values::sessions")]
    max_sessions: Option<u64>,
    account: Option<String>,
    docker_host: Option<String>,
    ca_file: Option<PathBuf>,
    runner: Option<PathBuf>,
    log: Option<String>,
    vault_key: Option<String>,
    openai: OpenAi,
    retries: Retries,
    pub(super) values: BTreeMap<String, SecretString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OpenAi {
    base_url: Option<String>,
    api_key: Option<SecretString>,
    model: Option<String>,
}

/// A setting and the place to blame when it is wrong.
pub(super) struct Setting {
    pub(super) value: String,
    file: PathBuf,
    key: String,
}

impl Setting {
    pub(super) fn error(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.file, problem).with_key(&self.key)
    }
}

/// Looks names up in their order of precedence.
pub(super) struct Sources<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    dotenv: HashMap<String, String>,
    dotenv_file: PathBuf,
    toml_file: PathBuf,
}

impl Sources<'_> {
    /// Variable `name`, or else the file's `key` with the value `file`. An empty variable counts as none.
    pub(super) fn get(&self, name: &str, key: &str, file: Option<String>) -> Option<Setting> {
        let some = |value: &String| !value.trim().is_empty();
        if let Some(value) = (self.env)(name).filter(some) {
            return Some(Setting { value, file: "the environment".into(), key: name.into() });
        }
        if let Some(value) = self.dotenv.get(name).filter(|value| some(value)) {
            return Some(Setting { value: value.clone(), file: self.dotenv_file.clone(), key: name.into() });
        }
        file.filter(some).map(|value| Setting { value, file: self.toml_file.clone(), key: key.into() })
    }
}

impl HostConfig {
    /// Reads the configuration of `home`; `env` looks up environment variables. Files that are not there are fine.
    pub fn load(home: &Home, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (file, sources) = read_files(home, env)?;
        let mut warnings = readable_secrets(&file, &sources);
        let file_sessions = file.max_sessions.map(|n| n.to_string());
        let environment = environment(&sources, file.openai.base_url, file.openai.api_key, &mut warnings)?;
        let runner = sources.get("COFFERDAM_RUNNER", "runner", file.runner.map(|p| p.display().to_string()));
        let ca = sources.get("COFFERDAM_CA_FILE", "ca_file", file.ca_file.map(|p| p.display().to_string()));
        let log = sources.get("COFFERDAM_LOG", "log", file.log);
        Ok(Self {
            max_sessions: max_sessions(sources.get("COFFERDAM_MAX_SESSIONS", "max_sessions", file_sessions))?,
            account: account(&sources, file.account, environment.is_some())?,
            environment,
            default_model: sources.get("COFFERDAM_MODEL", "openai.model", file.openai.model).map(|s| s.value),
            docker_host: docker_host(sources.get("DOCKER_HOST", "docker_host", file.docker_host))?,
            ca: ca.map(|setting| ca_file(home, &setting)).transpose()?,
            runner: runner.map(|s| home.root().join(s.value)),
            retries: file.retries,
            vault_key: VaultKey::load(&sources, file.vault_key)?,
            log: log_filter(log)?,
            warnings,
        })
    }
}

/// The two files of `home`, read and checked as such.
pub(super) fn read_files<'e>(
    home: &Home,
    env: &'e dyn Fn(&str) -> Option<String>,
) -> Result<(File, Sources<'e>), ConfigError> {
    let toml_file = home.config_file();
    let file = match read::text_file(&toml_file, MAX_BYTES)? {
        Some(text) => parse_toml(&text, &toml_file)?,
        None => File::default(),
    };
    if let Some(bad) = file.values.keys().find(|name| !is_name(name)) {
        let bad: String = bad.chars().take(60).collect();
        let problem = format!("{bad:?} is not a value's name: letters, digits and `_`, not starting with a digit");
        return Err(ConfigError::new(&toml_file, problem).with_key("values"));
    }
    let dotenv_file = home.env_file();
    let dotenv = parse_dotenv(&dotenv_file)?;
    Ok((file, Sources { env, dotenv, dotenv_file, toml_file }))
}

/// Warnings about secrets that lie where everybody can read them.
fn readable_secrets(file: &File, sources: &Sources<'_>) -> Vec<String> {
    let in_dotenv = |name: &String| name == "OPENAI_API_KEY" || name.starts_with(host_values::PREFIX);
    [
        (file.openai.api_key.is_some(), "key", &sources.toml_file),
        (file.openai.api_key.is_none() && !file.values.is_empty(), "values", &sources.toml_file),
        (sources.dotenv.contains_key("OPENAI_API_KEY"), "key", &sources.dotenv_file),
        (
            !sources.dotenv.contains_key("OPENAI_API_KEY") && sources.dotenv.keys().any(in_dotenv),
            "values",
            &sources.dotenv_file,
        ),
    ]
    .into_iter()
    .filter(|(secret, _, path)| *secret && read::world_readable(path))
    .map(|(_, what, path)| {
        let path = path.display();
        format!("everybody on this machine can read the {what} in {path}: chmod 600 {path}")
    })
    .collect()
}

fn max_sessions(setting: Option<Setting>) -> Result<usize, ConfigError> {
    let Some(setting) = setting else { return Ok(DEFAULT_MAX_SESSIONS) };
    match setting.value.trim().parse() {
        Ok(n) if SESSIONS.contains(&n) => Ok(n),
        _ => Err(setting.error(format!("{:?} is not a number from 1 to 512", setting.value))),
    }
}

fn environment(
    sources: &Sources<'_>,
    base_url: Option<String>,
    key: Option<SecretString>,
    warnings: &mut Vec<String>,
) -> Result<Option<Environment>, ConfigError> {
    let key = sources.get("OPENAI_API_KEY", "openai.api_key", key.map(|key| key.expose_secret().to_owned()));
    let Some(key) = key else { return Ok(None) };
    let base_url = sources.get("OPENAI_BASE_URL", "openai.base_url", base_url);
    let base_url = base_url.map_or(Ok(DEFAULT_BASE_URL.to_owned()), |url| parse_base_url(&url, warnings))?;
    let secret = key.value.trim();
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(key.error("the key has characters that no key has").with_hint("copy it again"));
    }
    Ok(Some(Environment { base_url, key: secret.to_owned().into() }))
}

/// The account that is named; whether there is one of that name is seen when the daemon starts.
fn account(
    sources: &Sources<'_>,
    account: Option<String>,
    has_key: bool,
) -> Result<Option<AccountName>, ConfigError> {
    let Some(wanted) = sources.get("COFFERDAM_ACCOUNT", "account", account) else { return Ok(None) };
    match wanted.value.trim() {
        // What the key's account was called before there were others.
        "openai" | AccountName::ENVIRONMENT if has_key => Ok(Some(AccountName::environment())),
        AccountName::ENVIRONMENT => Err(wanted
            .error("the account is `environment`, but there is no key")
            .with_hint("set OPENAI_API_KEY in the environment or `.env`, or name another account")),
        name => match name.parse() {
            Ok(name) => Ok(Some(name)),
            Err(error) => Err(wanted.error(error.to_string()).with_hint("`cofferdam account list` shows them")),
        },
    }
}

fn parse_base_url(setting: &Setting, warnings: &mut Vec<String>) -> Result<String, ConfigError> {
    let text = setting.value.trim().trim_end_matches('/');
    let bad =
        || setting.error("it is not an http or https address").with_hint(format!("such as {DEFAULT_BASE_URL}"));
    let uri: http::Uri = text.parse().map_err(|_| bad())?;
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(bad()) };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
        return Err(setting.error("it has a user, a password or a query, which have no place in it"));
    }
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if scheme == "http" && !loopback {
        warnings.push(format!("the key goes to {host} without encryption: {} should be https", setting.key));
    }
    Ok(text.to_owned())
}

fn docker_host(setting: Option<Setting>) -> Result<Option<String>, ConfigError> {
    let Some(setting) = setting else { return Ok(None) };
    let value = setting.value.trim();
    if ["unix://", "tcp://", "http://", "https://"].iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(Some(value.to_owned()));
    }
    Err(setting
        .error(format!("{value:?} is not an engine's address"))
        .with_hint("such as unix:///var/run/docker.sock"))
}

/// Links are followed: that is how systems keep them.
fn ca_file(home: &Home, setting: &Setting) -> Result<CaFile, ConfigError> {
    let path = home.root().join(setting.value.trim());
    let unusable = |why: String| {
        setting.error(format!("{} {why}", path.display())).with_hint("name a file of certificates in PEM form")
    };
    let unread = |error: std::io::Error| unusable(format!("cannot be read: {error}"));
    let found = std::fs::metadata(&path).map_err(unread)?;
    if !found.is_file() || found.len() > MAX_CA_BYTES {
        return Err(unusable("is no file of at most 4 MiB".to_owned()));
    }
    let pem = std::fs::read(&path).map_err(unread)?;
    Ok(CaFile { path, pem })
}

fn log_filter(setting: Option<Setting>) -> Result<String, ConfigError> {
    let Some(setting) = setting else { return Ok("info".to_owned()) };
    match setting.value.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(setting.value),
        Err(e) => Err(setting
            .error(format!("it is not a log filter: {e}"))
            .with_hint("such as `info` or `cofferdam=debug`")),
    }
}

fn parse_toml(text: &str, path: &Path) -> Result<File, ConfigError> {
    let place = |error: &toml::de::Error| {
        let before = &text[..text.floor_char_boundary(error.span()?.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() as u32 + 1, before[line_start..].chars().count() as u32 + 1))
    };
    let broken = |key: &str, error: &toml::de::Error| {
        // A wrong value may be the key itself.
        let secret = key.ends_with("api_key") || key.starts_with("values");
        let message = if secret { "it is not a text in quotes" } else { error.message() };
        ConfigError::from_serde(path, place(error), key, message.lines().next().unwrap_or_default())
    };
    let toml = toml::Deserializer::parse(text).map_err(|error| broken("", &error))?;
    serde_path_to_error::deserialize(toml).map_err(|error| broken(&error.path().to_string(), error.inner()))
}

fn parse_dotenv(path: &Path) -> Result<HashMap<String, String>, ConfigError> {
    let Some(text) = read::text_file(path, MAX_BYTES)? else { return Ok(HashMap::new()) };
    dotenvy::from_read_iter(text.as_bytes())
        .map(|entry| {
            // The error's own text would print the line, which may hold a key.
            entry.map_err(|_| {
                ConfigError::new(path, "a line is not NAME=value").with_hint("put quotes around values with spaces")
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
