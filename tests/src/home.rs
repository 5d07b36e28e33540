//! A home of its own for each test, the daemon on it, and their end.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use tokio::process::{Child, Command};

use crate::admin::Admin;
use crate::{LIMIT, engine, eventually};

/// Variables of the surroundings that the program under test may see. Everything else is left out, so that nobody's
/// keys or settings decide a test.
const PASSED: &[&str] = &["PATH", "HOME", "DOCKER_HOST", "COFFERDAM_RUNNER", "TMPDIR"];

/// A home in a temporary directory. Dropping it ends the daemon and removes its containers, also after a panic.
pub struct TestHome {
    dir: TempDir,
    env: Vec<(String, String)>,
    /// Where the log is, when it does not lie in the home.
    log: Option<NamedTempFile>,
    daemon: Option<Child>,
}

impl TestHome {
    /// A home without groups, on the offline model.
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Self {
        Self::made(&std::env::temp_dir(), None)
    }

    /// The same, on a disk that may fill up or fail; its log is elsewhere.
    pub fn new_in(parent: &Path) -> Self {
        Self::made(parent, Some(NamedTempFile::new().expect("a log")))
    }

    /// Puts the log into the home after all: so that it cannot be written either when the disk fails.
    pub fn log_inside(&mut self) -> &mut Self {
        self.log = None;
        self
    }

    fn made(parent: &Path, log: Option<NamedTempFile>) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-test-").tempdir_in(parent).expect("a directory");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("data/");
        let cache = shared_cache();
        std::fs::create_dir_all(&cache).expect("the shared cache");
        std::os::unix::fs::symlink(cache, data.join("cache")).expect("data/cache");
        Self { dir, env: Vec::new(), log, daemon: None }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Sets an environment variable of the programs started from now on.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes `cofferdam.toml`.
    pub fn configure(&self, text: &str) -> &Self {
        std::fs::write(self.root().join("cofferdam.toml"), text).expect("cofferdam.toml");
        self
    }

    /// A group's folder.
    pub fn folder(&self, group: &str) -> PathBuf {
        self.root().join("groups").join(group)
    }

    /// A group's `container.json`.
    pub fn container_json(&self, group: &str) -> PathBuf {
        self.folder(group).join("container.json")
    }

    /// Writes a group's folder with these settings.
    pub fn write_group(&self, group: &str, settings: &Value) {
        let folder = self.folder(group);
        std::fs::create_dir_all(&folder).expect("the group's folder");
        std::fs::write(folder.join("container.json"), settings.to_string()).expect("container.json");
        std::fs::write(folder.join("AGENTS.md"), format!("You are {group}.\n")).expect("AGENTS.md");
    }

    /// Puts a script for the agent to run into a group's workspace, as `script.sh`.
    pub fn write_script(&self, group: &str, text: &str) {
        use std::os::unix::fs::{PermissionsExt, chown};
        let workspace = self.folder(group).join("workspace");
        std::fs::create_dir_all(&workspace).expect("the workspace");
        let script = workspace.join("script.sh");
        std::fs::write(&script, text).expect("a script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).expect("readable");
        let user = cofferdam::sandbox::mounts::container_user();
        for path in [&workspace, &script] {
            chown(path, Some(user.uid), Some(user.gid)).expect("the agent's");
        }
    }

    /// Writes a group's folder and registers it with the running daemon.
    pub async fn group(&self, group: &str, settings: &Value) {
        self.write_group(group, settings);
        self.admin().put_group(group).await.unwrap_or_else(|error| panic!("{group}: {error:?}"));
    }

    /// A client of the daemon.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.root().join("run/admin.sock"))
    }

    /// `cofferdam --home HOME`, with nothing of the surroundings but what it needs.
    pub fn command(&self) -> Command {
        command(self.root(), &self.env)
    }

    /// Makes [`TestHome::command`] again and again, for whoever starts daemons by itself.
    pub fn maker(&self) -> impl Fn() -> Command + Send + use<> {
        let (root, env) = (self.root().to_owned(), self.env.clone());
        move || command(&root, &env)
    }

    /// Leaves the directory where it is, for people to look at.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.root().to_owned()
    }

    /// Runs a command of the CLI to its end.
    pub async fn cli(&self, words: &[&str]) -> Ended {
        let running = self.command().args(words).output();
        let output =
            tokio::time::timeout(LIMIT, running).await.unwrap_or_else(|_| panic!("{words:?} does not end"));
        Ended::of(output.expect("it runs"))
    }

    /// The same, with this on its standard input.
    pub async fn cli_given(&self, words: &[&str], input: &str) -> Ended {
        use tokio::io::AsyncWriteExt;
        let mut command = self.command();
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("it starts");
        let mut stdin = running.stdin.take().expect("a pipe");
        // One that ends without reading is told by its exit code.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(LIMIT, running.wait_with_output()).await;
        Ended::of(output.unwrap_or_else(|_| panic!("{words:?} does not end")).expect("it runs"))
    }

    /// Starts the daemon; returns when the socket answers as this process.
    pub async fn up(&mut self) {
        let mut daemon = self.spawn();
        let own = daemon.id().expect("it runs");
        let admin = self.admin();
        eventually("the daemon's socket answers", || {
            let ended = daemon.try_wait().expect("a child");
            let admin = admin.clone();
            let log = self.log_path();
            async move {
                if let Some(status) = ended {
                    panic!("the daemon ended with {status}:\n{}", std::fs::read_to_string(log).unwrap_or_default());
                }
                admin.pid().await.filter(|pid| *pid == own).map(drop)
            }
        })
        .await;
        self.daemon = Some(daemon);
    }

    /// Starts the daemon, without waiting for anything.
    pub fn start(&mut self) {
        self.daemon = Some(self.spawn());
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = self.command();
        command.arg("up").stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the daemon starts")
    }

    /// Leaves the running daemon to the caller, so that another can be started on the home.
    pub fn take_daemon(&mut self) -> Child {
        self.daemon.take().expect("a running daemon")
    }

    /// Removes an environment variable from the programs started from now on.
    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// A home with a running daemon.
    pub async fn running() -> Self {
        let mut home = Self::new();
        home.up().await;
        home
    }

    /// A home with a running daemon and one group `demo`.
    pub async fn with_demo(settings: &Value) -> Self {
        let home = Self::running().await;
        home.group("demo", settings).await;
        home
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().and_then(Child::id).expect("a running daemon")
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("signalled");
    }

    /// Waits for the daemon's end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon");
        let ended = tokio::time::timeout(LIMIT, daemon.wait()).await;
        ended.unwrap_or_else(|_| panic!("the daemon does not end:\n{}", self.log())).expect("a status")
    }

    /// Ends the daemon as `SIGTERM` does.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ends the daemon without a chance to do anything about it.
    pub async fn crash(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    fn log_path(&self) -> PathBuf {
        self.log.as_ref().map_or_else(|| self.root().join("daemon.log"), |log| log.path().to_owned())
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.start_kill();
        }
        let root = self.root().to_owned();
        // The test's own runtime may be ending, and cannot be waited for here.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(engine::remove_all_of(&root));
        });
        if removing.join().is_err() {
            eprintln!("containers of {} may be left", self.root().display());
        }
    }
}

fn command(root: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(program());
    command.env_clear().envs(PASSED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.arg("--home").arg(root).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A command's end.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not one JSON value ({error}): {self:?}"))
    }
}

/// The program under test.
pub fn program() -> PathBuf {
    let program = match std::env::var_os("COFFERDAM_BIN") {
        Some(path) => PathBuf::from(path),
        // target/debug/deps/TEST → target/debug/cofferdam
        None => {
            std::env::current_exe().expect("an executable").ancestors().nth(2).expect("a target").join("cofferdam")
        }
    };
    assert!(program.is_file(), "{} is missing: run `cargo build -p cofferdam`, or `make test`", program.display());
    program
}

/// The home whose cache all homes of tests share.
pub fn cache_home() -> PathBuf {
    let home = std::env::var_os("COFFERDAM_TEST_HOME").map(PathBuf::from);
    let checkout = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned();
    home.unwrap_or_else(checkout)
}

fn shared_cache() -> PathBuf {
    cache_home().join("data/cache")
}
