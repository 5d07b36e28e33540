//! What Docker and Codex cost by themselves: the same image, flags and codex home, without Cofferdam.
//!
//! The engine starts `codex app-server` in place of the runner, and this process speaks to it through the attached
//! stdin and stdout. The container's flags are read from a live session's container, so they are the product's own.
//! A turn needs a way to a model, and without a runner nothing leads out of `--network none`: so the turn is measured
//! in a second container that has the host's network, and all that comes before it in one that has none.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Instant;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{ContainerCreateBody, HostConfig, Mount};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use cofferdam::sandbox::mounts::container_user;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{Bench, Trouble, model};

/// The label of these containers.
const LABEL: &str = "cofferdam.bench";
/// Where the codex home is in a session's container.
const CODEX_HOME: &str = "/home/agent/.codex";

/// A pattern to start bare app-servers after.
pub struct Floor<'a> {
    bench: &'a Bench,
    pattern: HostConfig,
    user: String,
    env: Vec<String>,
    config: String,
    auth: String,
    image: String,
    port: u16,
}

/// How long the parts of one bare start took, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// The engine's create, attach and start.
    pub container: f64,
    /// Started → `initialize` answered.
    pub initialize: f64,
    /// `thread/start`.
    pub thread: f64,
    /// The first turn.
    pub turn: f64,
}

impl Parts {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.container + self.initialize + self.thread + self.turn
    }
}

/// A bare app-server that lives.
pub struct Bare {
    docker: bollard::Docker,
    id: String,
    /// Of its init on the host.
    pub pid: u32,
    _home: TempDir,
    /// Its stdin ends with this, and the app-server with its stdin.
    _talk: Option<Talk>,
}

impl<'a> Floor<'a> {
    /// After a live session's container, by its id; `codex` is that session's codex home on the host.
    pub async fn after(bench: &'a Bench, container: &str, codex: &Path) -> Result<Floor<'a>, Trouble> {
        let port = model::offline().await?;
        let seen = bench.docker.inspect_container(container, None::<InspectContainerOptions>).await?;
        let odd = |what: &str| Trouble::Odd(format!("a container without {what}"));
        let config = seen.config.ok_or_else(|| odd("config"))?;
        let forward = format!("127.0.0.1:{}", cofferdam_protocol::runner::FORWARD_PORT);
        let toml = fs::read_to_string(codex.join("config.toml"))?;
        if !toml.contains(&forward) {
            return Err(Trouble::Odd("config.toml does not name the forwarded port".to_owned()));
        }
        Ok(Self {
            bench,
            pattern: seen.host_config.ok_or_else(|| odd("host config"))?,
            user: config.user.ok_or_else(|| odd("user"))?,
            env: config.env.unwrap_or_default(),
            image: config.image.ok_or_else(|| odd("image"))?,
            config: toml.replace(&forward, &format!("127.0.0.1:{port}")),
            auth: fs::read_to_string(codex.join("auth.json"))?,
            port,
        })
    }

    /// The codex home of a new session, as the daemon prepares it.
    fn codex_home(&self) -> Result<TempDir, Trouble> {
        let dir = tempfile::Builder::new().prefix("bare-").tempdir_in(&self.bench.dir)?;
        let user = container_user();
        for entry in fs::read_dir(&self.bench.seed)? {
            let entry = entry?;
            fs::copy(entry.path(), dir.path().join(entry.file_name()))?;
        }
        fs::write(dir.path().join("config.toml"), &self.config)?;
        fs::write(dir.path().join("auth.json"), &self.auth)?;
        if is_root() {
            chown(dir.path(), Some(user.uid), Some(user.gid))?;
            for entry in fs::read_dir(dir.path())? {
                chown(entry?.path(), Some(user.uid), Some(user.gid))?;
            }
        }
        Ok(dir)
    }

    fn body(&self, codex: &Path, networked: bool) -> ContainerCreateBody {
        let mut host_config = self.pattern.clone();
        if networked {
            host_config.network_mode = Some("host".to_owned());
        }
        let ours = |mount: Mount| match mount.target.as_deref() {
            Some(CODEX_HOME) => Mount { source: Some(codex.to_string_lossy().into_owned()), ..mount },
            _ => mount,
        };
        host_config.mounts = host_config.mounts.map(|mounts| mounts.into_iter().map(ours).collect());
        ContainerCreateBody {
            image: Some(self.image.clone()),
            user: Some(self.user.clone()),
            env: Some(self.env.clone()),
            entrypoint: Some(vec!["/usr/local/bin/codex".to_owned()]),
            cmd: Some(vec!["app-server".to_owned()]),
            working_dir: Some("/group/workspace".to_owned()),
            labels: Some([(LABEL.to_owned(), self.port.to_string())].into()),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// The floor of a cold message: everything from nothing to the end of the first turn.
    pub async fn cold(&self) -> Result<Parts, Trouble> {
        let (parts, sealed, _talk) = self.open(false).await?;
        sealed.end().await?;
        let (Parts { turn, .. }, networked) = self.start().await?;
        networked.end().await?;
        Ok(Parts { turn, ..parts })
    }

    /// A bare app-server with the host's network that has had one turn.
    pub async fn start(&self) -> Result<(Parts, Bare), Trouble> {
        let (parts, bare, mut talk) = self.open(true).await?;
        let begun = Instant::now();
        let params = json!({ "threadId": talk.thread, "input": [{ "type": "text", "text": "hello" }] });
        talk.ask(3, "turn/start", params).await?;
        talk.until_completed().await?;
        let turn = begun.elapsed().as_secs_f64() * 1e3;
        Ok((Parts { turn, ..parts }, Bare { _talk: Some(talk), ..bare }))
    }

    /// From nothing to an open thread.
    async fn open(&self, networked: bool) -> Result<(Parts, Bare, Talk), Trouble> {
        let home = self.codex_home()?;
        let body = self.body(home.path(), networked);
        let docker = &self.bench.docker;
        let begun = Instant::now();
        let lap = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
        let options =
            AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
        let pipes = docker.attach_container(&id, Some(options)).await?;
        docker.start_container(&id, None::<StartContainerOptions>).await?;
        let container = lap(begun);
        let mut talk = Talk::new(pipes);
        let mut at = Instant::now();
        let mut since_last = || lap(std::mem::replace(&mut at, Instant::now()));
        let params = json!({
            "clientInfo": { "name": "cofferdam", "title": "Cofferdam", "version": "0" },
            "capabilities": { "experimentalApi": true },
        });
        talk.ask(1, "initialize", params).await?;
        let initialize = since_last();
        talk.say(&json!({ "method": "initialized" })).await?;
        let params =
            json!({ "cwd": "/group/workspace", "sandbox": "danger-full-access", "approvalPolicy": "never" });
        let answer = talk.ask(2, "thread/start", params).await?;
        let thread = since_last();
        talk.thread = answer["thread"]["id"].clone();
        let parts = Parts { container, initialize, thread, turn: 0.0 };
        let seen = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
        let pid = seen.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        Ok((parts, Bare { docker: docker.clone(), id, pid, _home: home, _talk: None }, talk))
    }
}

impl Bare {
    /// Removes the container.
    pub async fn end(self) -> Result<(), Trouble> {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        Ok(self.docker.remove_container(&self.id, Some(options)).await?)
    }
}

/// Whether files can be given to the container's user.
fn is_root() -> bool {
    container_user().uid == 10001
}

/// The app-server's lines.
struct Talk {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    text: String,
    lines: VecDeque<String>,
    /// The open thread's id.
    thread: Value,
}

impl Talk {
    fn new(pipes: AttachContainerResults) -> Self {
        let AttachContainerResults { input, output } = pipes;
        Self { input, output, text: String::new(), lines: VecDeque::new(), thread: Value::Null }
    }

    async fn say(&mut self, message: &Value) -> Result<(), Trouble> {
        self.input.write_all(format!("{message}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    async fn hear(&mut self) -> Result<Value, Trouble> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(serde_json::from_str(&line)?);
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => {
                    self.text.push_str(&String::from_utf8_lossy(&message));
                    while let Some(end) = self.text.find('\n') {
                        let rest = self.text.split_off(end + 1);
                        self.lines.push_back(std::mem::replace(&mut self.text, rest));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Trouble::Odd("the bare app-server ended".to_owned())),
            }
        }
    }

    async fn ask(&mut self, id: u32, method: &str, params: Value) -> Result<Value, Trouble> {
        self.say(&json!({ "id": id, "method": method, "params": params })).await?;
        loop {
            let mut heard = self.hear().await?;
            if heard["id"] == id && heard["method"].is_null() {
                return match heard["result"].take() {
                    Value::Null => Err(Trouble::Odd(format!("{method}: {heard}"))),
                    result => Ok(result),
                };
            }
        }
    }

    async fn until_completed(&mut self) -> Result<(), Trouble> {
        let mut answered = false;
        loop {
            let heard = self.hear().await?;
            answered |= heard["method"] == "item/completed" && heard["params"]["item"]["type"] == "agentMessage";
            if heard["method"] == "turn/completed" {
                let good = answered && heard["params"]["turn"]["status"] == "completed";
                return if good { Ok(()) } else { Err(Trouble::Odd(heard.to_string())) };
            }
        }
    }
}

/// Removes what an interrupted run left.
pub async fn sweep(docker: &bollard::Docker) -> Result<(), Trouble> {
    use bollard::query_parameters::ListContainersOptionsBuilder;
    let filters = std::collections::HashMap::from([("label", vec![LABEL])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for found in docker.list_containers(Some(options)).await? {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        if let Some(id) = found.id {
            // One that removes itself just now is fine.
            let _ = docker.remove_container(&id, Some(options)).await;
        }
    }
    Ok(())
}

/// Where a session's codex home is on the host.
pub fn codex_home_of(
    home: &cofferdam::config::home::Home,
    group: &str,
    session: &cofferdam_protocol::ids::SessionId,
) -> Result<PathBuf, Trouble> {
    let folder = group.parse().map_err(|_| Trouble::Odd(group.to_owned()))?;
    Ok(home.codex_home(&folder, session))
}
