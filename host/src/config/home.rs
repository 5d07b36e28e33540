//! Where everything lies under the home directory.

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::{Attempt, Folder, SessionId};

/// The folder beside the groups' with what all of them share; no group can have its name.
pub const SHARED: &str = "global";

/// The home directory of one installation, absolute.
///
/// ```text
/// cofferdam.toml  .env           the host's configuration
/// vault.key                      opens the accounts in data/central.db, or says where the key is; in no copy of data/
/// groups/<folder>/               container.json, AGENTS.md, skills/, workspace/
/// groups/global/                 AGENTS.md and skills/ of all groups
/// data/central.db                what spans groups
/// data/groups/<folder>/state.db  one group's state
/// data/groups/<folder>/sessions/<id>/{codex,logs}/
/// data/cache/                    fetched Codex packages, the seeded codex home
/// run/daemon.lock  run/admin.sock
/// run/doors/<session>/door.sock
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `root`, made absolute without touching the disk.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        std::path::absolute(root).map(Self)
    }

    /// The home that a command works on: `--home`, or `COFFERDAM_HOME`, or `~/.cofferdam`.
    pub fn resolve(flag: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> std::io::Result<Self> {
        let given = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match flag.map(Path::to_owned).or_else(|| given("COFFERDAM_HOME")) {
            Some(root) => Self::new(&root),
            None => match given("HOME") {
                Some(home) => Self::new(&home.join(".cofferdam")),
                None => Err(std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "neither --home nor COFFERDAM_HOME nor HOME is set",
                )),
            },
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The host's configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("cofferdam.toml")
    }

    /// Variables that are read as if they were in the environment.
    pub fn env_file(&self) -> PathBuf {
        self.0.join(".env")
    }

    /// The vault's key, or where it is.
    pub fn vault_key(&self) -> PathBuf {
        self.0.join("vault.key")
    }

    /// All groups' folders.
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }

    /// One group's folder.
    pub fn group(&self, folder: &Folder) -> PathBuf {
        self.groups().join(folder.as_str())
    }

    /// One group's workspace, the only part of its folder that the agent may write.
    pub fn workspace(&self, folder: &Folder) -> PathBuf {
        self.group(folder).join("workspace")
    }

    /// One group's `container.json`.
    pub fn container_json(&self, folder: &Folder) -> PathBuf {
        self.group(folder).join("container.json")
    }

    /// One group's `AGENTS.md`.
    pub fn agents_md(&self, folder: &Folder) -> PathBuf {
        self.group(folder).join("AGENTS.md")
    }

    /// One group's skills.
    pub fn skills(&self, folder: &Folder) -> PathBuf {
        self.group(folder).join("skills")
    }

    /// What all groups share; no group can have that name.
    pub fn shared(&self) -> PathBuf {
        self.groups().join(SHARED)
    }

    /// The instructions of all groups.
    pub fn shared_agents_md(&self) -> PathBuf {
        self.shared().join("AGENTS.md")
    }

    /// The skills of all groups.
    pub fn shared_skills(&self) -> PathBuf {
        self.shared().join("skills")
    }

    /// Everything that must survive.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What can be fetched or made again.
    pub fn cache(&self) -> PathBuf {
        self.data().join("cache")
    }

    /// The database of what spans groups.
    pub fn central_db(&self) -> PathBuf {
        self.data().join("central.db")
    }

    /// Locks and notes of the refresh of logins.
    pub fn logins(&self) -> PathBuf {
        self.data().join("logins")
    }

    /// The state of all groups.
    pub fn groups_data(&self) -> PathBuf {
        self.data().join("groups")
    }

    /// One group's state.
    pub fn group_data(&self, folder: &Folder) -> PathBuf {
        self.groups_data().join(folder.as_str())
    }

    /// One group's database.
    pub fn group_db(&self, folder: &Folder) -> PathBuf {
        self.group_data(folder).join("state.db")
    }

    /// Whether a group has state: a database, or sessions, which had one.
    pub fn has_state(&self, folder: &Folder) -> bool {
        self.group_db(folder).exists() || self.sessions(folder).read_dir().is_ok_and(|mut all| all.next().is_some())
    }

    /// The directories of one group's sessions.
    pub fn sessions(&self, folder: &Folder) -> PathBuf {
        self.group_data(folder).join("sessions")
    }

    /// One session's own directory.
    pub fn session(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.sessions(folder).join(session.as_str())
    }

    /// Files from people that wait for their message.
    pub fn staging(&self, folder: &Folder) -> PathBuf {
        self.group_data(folder).join("staging")
    }

    /// Copies of the files that a session's agent sent, as [`Home::group_data`] has them.
    pub fn sent(&self, session: &SessionId) -> PathBuf {
        Path::new("sessions").join(session.as_str()).join("sent")
    }

    /// One session's codex home, mounted at `~/.codex`.
    pub fn codex_home(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.session(folder, session).join("codex")
    }

    /// The `mcpServers` that a session's container was started with, as their file had them.
    pub fn session_servers(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.session(folder, session).join("mcp.json")
    }

    /// The account that a session's container was started with, if its group named one.
    pub fn session_account(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.session(folder, session).join("account")
    }

    /// What a session's container has of its account's credential.
    pub fn session_credentials(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.session(folder, session).join("credentials")
    }

    /// One session's copy of the instructions of all groups, mounted into its container.
    pub fn session_agents_md(&self, folder: &Folder, session: &SessionId) -> PathBuf {
        self.session(folder, session).join("AGENTS.md")
    }

    /// The log of one attempt.
    pub fn log(&self, folder: &Folder, session: &SessionId, attempt: Attempt) -> PathBuf {
        self.session(folder, session).join("logs").join(format!("{attempt}.log"))
    }

    /// What lives only while the daemon does.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Held by the one daemon of this home.
    pub fn lock(&self) -> PathBuf {
        self.run().join("daemon.lock")
    }

    /// The daemon's own socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.run().join("admin.sock")
    }

    /// One session's door directory, mounted into its container.
    pub fn door(&self, session: &SessionId) -> PathBuf {
        self.run().join("doors").join(session.as_str())
    }
}
