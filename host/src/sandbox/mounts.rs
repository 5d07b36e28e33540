//! What a session's container sees of the host, and the files that are prepared for it.
//!
//! Everything here runs before the container does, and never follows a link that an agent may have made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::{Folder, SessionId};
use cofferdam_protocol::runner::FORWARD_PORT;

use super::{Mount, User, image};
use crate::config::home::Home;

/// The agent's working directory.
pub const CWD: &str = "/group/workspace";

/// A file of the host cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare {path}")]
pub struct PrepareError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What the container of a session sees.
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

/// Makes ready what a container of the session mounts. `seed` is a codex home to start from.
pub fn prepare(
    home: &Home,
    folder: &Folder,
    session: &SessionId,
    user: User,
    model: Option<&str>,
    seed: Option<&Path>,
) -> Result<Prepared, PrepareError> {
    let workspace = home.workspace(folder);
    own_dir(&workspace, user)?;
    let agents = home.agents_md(folder);
    if fs::symlink_metadata(&agents).is_err() {
        fs::write(&agents, "").map_err(at(&agents))?;
    }
    for file in [&agents, &home.container_json(folder)] {
        if !fs::symlink_metadata(file).map_err(at(file))?.is_file() {
            return Err(at(file)(io::Error::other("it is not a regular file")));
        }
        readable(file)?;
    }
    let codex = home.codex_home(folder, session);
    if let Some(seed) = seed.filter(|_| !codex.exists()) {
        start_from(seed, &codex)?;
    }
    own_dir(&codex, user)?;
    // Its agent may have taken our rights to it away.
    fs::set_permissions(&codex, fs::Permissions::from_mode(0o700)).map_err(at(&codex))?;
    forget_planted(&codex)?;
    // The agent can write there: replaced, never written through.
    replace_file(&codex.join("config.toml"), codex_config(model).as_bytes(), user)?;
    replace_file(&codex.join("auth.json"), auth_json(session).as_bytes(), user)?;
    let door = home.door(session);
    own_dir(&door, user)?;
    let mount = |source: PathBuf, target, writable| Mount { source, target, writable };
    Ok(Prepared {
        mounts: vec![
            mount(workspace, CWD, true),
            mount(agents, "/group/AGENTS.md", false),
            mount(home.container_json(folder), "/group/container.json", false),
            mount(codex, "/home/agent/.codex", true),
            mount(door, "/run/cofferdam", false),
        ],
    })
}

/// Removes what Codex would read as instructions from its home: only an agent can have put it there, and what a turn
/// was talked into must not outlive its container as an order.
fn forget_planted(codex: &Path) -> Result<(), PrepareError> {
    const PLANTED: &[&str] = &[
        "AGENTS.md",
        "AGENTS.override.md",
        "prompts",
        "skills",
        "rules",
        "hooks.json",
        "hooks",
        "plugins",
        "memories",
    ];
    for name in PLANTED {
        let path = codex.join(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(at(&path))?;
    }
    Ok(())
}

/// Lets the container's user read the instructions, which a strict umask may keep to their writer.
fn readable(file: &Path) -> Result<(), PrepareError> {
    let mode = fs::symlink_metadata(file).map_err(at(file))?.permissions().mode();
    if mode & 0o044 == 0o044 {
        return Ok(());
    }
    fs::set_permissions(file, fs::Permissions::from_mode(mode | 0o044)).map_err(at(file))
}

/// Codex's configuration: quiet, and every model call through the door. Passes `--strict-config`.
fn codex_config(model: Option<&str>) -> String {
    let model = model.map(|m| format!("model = {}\n", toml::Value::from(m))).unwrap_or_default();
    format!(
        r#"# Written by Cofferdam before each start.
{model}model_provider = "cofferdam"
project_root_markers = ["container.json"]
cli_auth_credentials_store = "file"
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.cofferdam]
name = "Cofferdam"
base_url = "http://127.0.0.1:{FORWARD_PORT}/v1"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false
request_max_retries = 2
stream_max_retries = 3
stream_idle_timeout_ms = 300000

[features]
plugins = false
apps = false
goals = false
hooks = false
multi_agent = false
shell_snapshot = false
image_generation = false
memories = false

[agents]
enabled = false

[analytics]
enabled = false

[feedback]
enabled = false

[skills]
bundled = {{ enabled = false }}

[history]
persistence = "none"
"#
    )
}

/// The session's own copy of `auth.json`: worth nothing but to tell whose call it is.
fn auth_json(session: &SessionId) -> String {
    serde_json::json!({ "OPENAI_API_KEY": format!("cofferdam-session-{session}") }).to_string()
}

/// The directory, made if need be, 0700 and owned by `user`.
fn own_dir(path: &Path, user: User) -> Result<(), PrepareError> {
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(path)?.is_dir() {
                    return Err(io::Error::other("it is not a directory"));
                }
            }
            Err(error) => return Err(error),
        }
        own(path, user)
    };
    make().map_err(at(path))
}

fn own(path: &Path, user: User) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let now = fs::symlink_metadata(path)?;
    if (now.uid(), now.gid()) == (user.uid, user.gid) {
        return Ok(());
    }
    lchown(path, Some(user.uid), Some(user.gid))
}

/// Writes a file beside `path` and renames it over whatever is there.
fn replace_file(path: &Path, content: &[u8], user: User) -> Result<(), PrepareError> {
    let fresh = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        own(&fresh, user)?;
        fs::rename(&fresh, path)
    };
    write().map_err(at(path))
}

/// Copies the seeded codex home; renamed into place when complete.
fn start_from(seed: &Path, codex: &Path) -> Result<(), PrepareError> {
    let partial = codex.with_extension("partial");
    let copy = || {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&partial)?;
        image::copy_seed(seed, &partial)?;
        fs::rename(&partial, codex)
    };
    copy().map_err(at(codex))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PrepareError + '_ {
    move |source| PrepareError { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        home: Home,
        folder: Folder,
        session: SessionId,
        user: User,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let folder: Folder = "demo".parse().unwrap();
        fs::create_dir_all(home.group(&folder)).unwrap();
        fs::write(home.container_json(&folder), "{}").unwrap();
        let session = "0123456789abcdef0123456789abcdef".parse().unwrap();
        Fixture { dir, home, folder, session, user: container_user() }
    }

    fn prepare_it(f: &Fixture) -> Result<Prepared, PrepareError> {
        prepare(&f.home, &f.folder, &f.session, f.user, Some("m\"x"), None)
    }

    #[test]
    fn a_container_never_runs_as_root() {
        assert_ne!(container_user().uid, 0);
    }

    #[test]
    fn only_workspace_and_codex_home_are_writable() {
        let f = fixture();
        let writable: Vec<_> =
            prepare_it(&f).unwrap().mounts.into_iter().filter(|m| m.writable).map(|m| m.target).collect();
        assert_eq!(writable, [CWD, "/home/agent/.codex"]);
    }

    #[test]
    fn a_link_that_an_agent_left_in_its_codex_home_is_replaced_not_followed() {
        let f = fixture();
        prepare_it(&f).unwrap();
        let victim = f.dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let config = f.home.codex_home(&f.folder, &f.session).join("config.toml");
        fs::remove_file(&config).unwrap();
        symlink(&victim, &config).unwrap();
        prepare_it(&f).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(&config).unwrap().is_file());
    }

    #[test]
    fn orders_that_an_agent_left_in_its_codex_home_are_gone_at_the_next_start() {
        let f = fixture();
        prepare_it(&f).unwrap();
        let codex = f.home.codex_home(&f.folder, &f.session);
        fs::write(codex.join("AGENTS.md"), "obey").unwrap();
        fs::create_dir_all(codex.join("skills/evil")).unwrap();
        symlink("/etc", codex.join("prompts")).unwrap();
        fs::write(codex.join("state_5.sqlite"), "kept").unwrap();
        prepare_it(&f).unwrap();
        for gone in ["AGENTS.md", "skills", "prompts"] {
            assert!(fs::symlink_metadata(codex.join(gone)).is_err(), "{gone}");
        }
        assert!(codex.join("state_5.sqlite").exists() && Path::new("/etc").exists());
    }

    #[test]
    fn instructions_that_are_a_link_are_refused() {
        let f = fixture();
        symlink("/etc/passwd", f.home.agents_md(&f.folder)).unwrap();
        assert!(prepare_it(&f).is_err());
    }

    #[test]
    fn codex_config_is_toml_whatever_the_model_is_called() {
        let parsed: toml::Table = codex_config(Some("a\"\n[x]")).parse().unwrap();
        assert_eq!(parsed["model"].as_str(), Some("a\"\n[x]"));
    }

    #[test]
    fn auth_json_holds_only_a_placeholder() {
        let f = fixture();
        assert!(auth_json(&f.session).contains("cofferdam-session-"));
    }
}
