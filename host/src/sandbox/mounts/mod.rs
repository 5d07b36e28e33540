//! What a session's container sees of the host, and the files that are prepared for it.
//!
//! Everything here runs before the container does, and never follows a link that an agent may have made.
//!
//! - `codex_home`, `codex_config`: the session's codex home. [`credentials`]: its `auth.json`. `skills`: what is mounted beside it.
//! - `files`: making files and directories.

mod codex_config;
mod codex_home;
pub mod credentials;
mod files;
mod skills;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::{Folder, SessionId};

use super::{Mount, User};
use crate::config::group::GroupConfig;
use crate::config::home::Home;
use crate::config::mcp::McpServers;
use crate::config::mcp::resolve::{Resolved, resolve};
use crate::config::pool::Serving;
use crate::config::{ConfigError, agents};

use credentials::Credentials;
use files::{at, own_dir, readable, remove_file, replace_file};

/// The agent's working directory.
pub const CWD: &str = "/group/workspace";
/// Codex's home in the container.
const CODEX_HOME: &str = "/home/agent/.codex";

/// A session's files cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file of the host.
    #[error("cannot prepare {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What people wrote; only they can mend it.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Which session is made ready, and with what.
pub struct Plan<'p> {
    /// The group.
    pub folder: &'p Folder,
    /// The session.
    pub session: &'p SessionId,
    /// Who runs in the container.
    pub user: User,
    /// The group's settings.
    pub config: &'p GroupConfig,
    /// What its `auth.json` has.
    pub credentials: &'p Credentials,
    /// The model that Codex is configured with.
    pub model: Option<&'p str>,
    /// A codex home to start from.
    pub seed: Option<&'p Path>,
    /// Looks up the host's environment, for its values.
    pub env: &'p dyn Fn(&str) -> Option<String>,
}

/// What the container of a session sees.
#[derive(Debug)]
pub struct Prepared {
    /// The mounts.
    pub mounts: Vec<Mount>,
}

/// The user for containers: whoever runs the daemon, or a fixed unprivileged one when that is root.
pub fn container_user() -> User {
    /// The user `agent` of our image.
    const AGENT: u32 = 10001;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    if uid == 0 { User { uid: AGENT, gid: AGENT } } else { User { uid, gid } }
}

/// The group's workspace, made if need be and given to `user`.
pub fn own_workspace(home: &Home, folder: &Folder, user: User) -> Result<PathBuf, PrepareError> {
    let workspace = home.workspace(folder);
    own_dir(&workspace, user)?;
    Ok(workspace)
}

/// Makes ready what a container of the session mounts.
pub fn prepare(home: &Home, plan: &Plan<'_>) -> Result<Prepared, PrepareError> {
    let (folder, session) = (plan.folder, plan.session);
    let workspace = own_workspace(home, folder, plan.user)?;
    let (agents, settings) = (home.agents_md(folder), home.container_json(folder));
    if fs::symlink_metadata(&agents).is_err() {
        fs::write(&agents, "").map_err(at(&agents))?;
    }
    let shared = agents::load(home, folder)?.unwrap_or_default();
    for file in [&agents, &settings] {
        if !fs::symlink_metadata(file).map_err(at(file))?.is_file() {
            return Err(at(file)(io::Error::other("it is not a regular file")));
        }
        readable(file)?;
    }
    let servers = resolve(&plan.config.mcp_servers, home, &settings, plan.env)?;
    let skills = skills::find(home, folder)?;
    let codex = home.codex_home(folder, session);
    codex_home::make_ready(&codex, plan, &servers)?;
    plan.credentials.write(home, folder, session)?;
    // A copy: what people change meanwhile is for the next start.
    let instructions = home.session_agents_md(folder, session);
    replace_file(&instructions, shared.as_bytes(), plan.user)?;
    keep_servers(home, plan)?;
    keep_serving(home, plan)?;
    let door = home.door(session);
    own_dir(&door, plan.user)?;

    let mount = |source: PathBuf, target: String, writable| Mount { source, target, writable };
    let mut mounts = vec![
        mount(workspace, CWD.to_owned(), true),
        mount(agents, "/group/AGENTS.md".to_owned(), false),
        mount(settings, "/group/container.json".to_owned(), false),
        mount(codex, CODEX_HOME.to_owned(), true),
        mount(door, "/run/cofferdam".to_owned(), false),
    ];
    for name in codex_home::INSTRUCTIONS {
        mounts.push(mount(instructions.clone(), format!("{CODEX_HOME}/{name}"), false));
    }
    mounts.extend(skills.into_iter().map(|(name, path)| mount(path, format!("{}/{name}", skills::ROOT), false)));
    Ok(Prepared { mounts })
}

/// Keeps what the container starts with, for a daemon that takes it over when the group's file has changed.
fn keep_servers(home: &Home, plan: &Plan<'_>) -> Result<(), PrepareError> {
    let path = home.session_servers(plan.folder, plan.session);
    if plan.config.mcp_servers.is_empty() {
        return remove_file(&path);
    }
    let text = serde_json::to_vec(&plan.config.mcp_servers).map_err(|error| at(&path)(error.into()))?;
    replace_file(&path, &text, own_user())
}

/// The same for the accounts that the group names.
fn keep_serving(home: &Home, plan: &Plan<'_>) -> Result<(), PrepareError> {
    let path = home.session_account(plan.folder, plan.session);
    let serving = plan.config.serving();
    if serving == Serving::default() {
        return remove_file(&path);
    }
    let text = serde_json::to_vec(&serving).map_err(|error| at(&path)(error.into()))?;
    replace_file(&path, &text, own_user())
}

fn own_user() -> User {
    User { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
}

/// What a session's container was, or will be, started with.
pub fn serving_of(home: &Home, folder: &Folder, session: &SessionId) -> io::Result<Serving> {
    match fs::read_to_string(home.session_account(folder, session)) {
        Ok(text) => Serving::read(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Serving::default()),
        Err(error) => Err(error),
    }
}

/// The MCP servers that a session's container was started with, with the host's values of now.
pub fn started_with(
    home: &Home,
    folder: &Folder,
    session: &SessionId,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Resolved>, PrepareError> {
    let path = home.session_servers(folder, session);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(&path)(error)),
    };
    let servers: McpServers = serde_json::from_slice(&text).map_err(|error| at(&path)(error.into()))?;
    Ok(resolve(&servers, home, &path, env)?)
}

#[cfg(test)]
mod tests;
