//! A daemon to measure: the real program as its own process, on a home of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cofferdam::config::home::Home;
use cofferdam_protocol::admin::Status;
use hyper::Method;
use tempfile::TempDir;

use crate::client::Client;
use crate::{Bench, Trouble};

/// Set for this program, it is `cofferdam` with the hooks that tests pull: the program that is measured has none, and knows no
/// vendor's logins but the vendor's own.
pub const AS_PROGRAM: &str = "COFFERDAM_BENCH_AS_PROGRAM";

/// A home for one figure; removed with it.
pub struct BenchHome {
    pub home: Home,
    /// Whether its programs have the hooks.
    hooked: bool,
    _dir: TempDir,
}

impl BenchHome {
    /// An empty home that shares the cache (the fetched Codex, the seeded codex home) with the one that the image was
    /// built in.
    pub fn new(bench: &Bench) -> Result<Self, Trouble> {
        let dir = tempfile::Builder::new().prefix("home-").tempdir_in(&bench.dir)?;
        let home = Home::new(dir.path())?;
        fs::create_dir_all(home.data())?;
        symlink(bench.source.cache(), home.cache())?;
        Ok(Self { home, hooked: false, _dir: dir })
    }

    /// The same, for programs with the hooks.
    pub fn hooked(bench: &Bench) -> Result<Self, Trouble> {
        Ok(Self { hooked: true, ..Self::new(bench)? })
    }

    /// Writes `cofferdam.toml`.
    pub fn configure(&self, text: &str) -> Result<(), Trouble> {
        Ok(fs::write(self.home.root().join("cofferdam.toml"), text)?)
    }

    /// Writes a group's folder. The time-outs keep its containers alive for the whole figure.
    pub fn group(&self, folder: &str, provider: &str) -> Result<(), Trouble> {
        let dir = self.home.groups().join(folder);
        fs::create_dir_all(&dir)?;
        let config = serde_json::json!({ "provider": provider, "timeouts": { "idle_secs": 3600 } });
        fs::write(dir.join("container.json"), config.to_string())?;
        fs::write(dir.join("AGENTS.md"), "Answer briefly.\n")?;
        Ok(())
    }

    /// `cofferdam --home HOME`, with these variables.
    fn command(&self, bench: &Bench, env: &[(&str, String)]) -> Result<Command, Trouble> {
        let mut command = if self.hooked {
            let mut command = Command::new(std::env::current_exe()?);
            command.env(AS_PROGRAM, "1");
            command
        } else {
            Command::new(&bench.program)
        };
        command.arg("--home").arg(self.home.root()).stdin(Stdio::null());
        for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "COFFERDAM_MODEL", "COFFERDAM_LOG", "COFFERDAM_HOME"] {
            command.env_remove(name);
        }
        command.env("COFFERDAM_RUNNER", &bench.runner).env("COFFERDAM_ACCOUNT", "offline");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a command to its end, which must be a good one.
    pub fn run(&self, bench: &Bench, env: &[(&str, String)], words: &[&str]) -> Result<(), Trouble> {
        let ended = self.command(bench, env)?.args(words).output()?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(Trouble::Odd(format!("{words:?}: {}", String::from_utf8_lossy(&ended.stderr)))),
        }
    }

    /// Starts `cofferdam up` and waits until its admin socket answers.
    pub async fn up(&self, bench: &Bench, env: &[(&str, String)]) -> Result<Daemon, Trouble> {
        let log = fs::File::create(self.home.root().join("daemon.log"))?;
        let mut command = self.command(bench, env)?;
        let child = command.arg("up").stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut daemon = Daemon { child, socket: self.home.admin_socket() };
        let begun = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(&daemon.socket).await
                && client.call(Method::GET, "/v1/status").await.is_ok()
            {
                return Ok(daemon);
            }
            if daemon.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(20) {
                let log = fs::read_to_string(self.home.root().join("daemon.log")).unwrap_or_default();
                return Err(Trouble::Daemon(log));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The running daemon; killed if it is not stopped.
pub struct Daemon {
    child: Child,
    pub socket: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn client(&self) -> Result<Client, Trouble> {
        Client::connect(&self.socket).await
    }

    pub async fn register(&self, folder: &str) -> Result<(), Trouble> {
        self.client().await?.call(Method::PUT, &format!("/v1/groups/{folder}")).await.map(drop)
    }

    pub async fn status(&self) -> Result<Status, Trouble> {
        Ok(serde_json::from_slice(&self.client().await?.call(Method::GET, "/v1/status").await?)?)
    }

    /// Kills it; its containers stay.
    pub fn kill(mut self) -> Result<(), Trouble> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as a person does; its containers end with it.
    pub async fn down(mut self) -> Result<(), Trouble> {
        signal(self.child.id(), "TERM")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(Trouble::Daemon("it does not end".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After an error: it ends its containers itself when it is asked.
        if matches!(self.child.try_wait(), Ok(None)) && signal(self.child.id(), "TERM").is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn signal(pid: u32, name: &str) -> Result<(), Trouble> {
    let done = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    if done.success() { Ok(()) } else { Err(Trouble::Daemon(format!("cannot signal process {pid}"))) }
}

/// The program to measure: given, or beside this one.
pub fn program(given: Option<PathBuf>) -> Result<PathBuf, Trouble> {
    let beside = || -> std::io::Result<PathBuf> {
        let own = std::env::current_exe()?;
        Ok(own.parent().unwrap_or(Path::new(".")).join("cofferdam"))
    };
    let program = given.map_or_else(beside, Ok)?;
    if program.is_file() {
        Ok(program)
    } else {
        Err(Trouble::Odd(format!("{} is not there: `make build` makes it", program.display())))
    }
}
