//! One `codex app-server` process: its birth, its end, and the last words on its stderr.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use crate::bounds::one_line;
use crate::config::OWN_PREFIX;

/// How much of stderr is kept, in bytes and in lines.
const TAIL_BYTES: usize = 8 * 1024;
const TAIL_LINES: usize = 40;
/// A command that codex left behind may hold its pipes open; they are read so long after its end.
const PIPES_GRACE: Duration = Duration::from_millis(200);
/// How long a process may take to end after its input did (60 ms were seen).
const STOP_GRACE: Duration = Duration::from_millis(300);
/// How long to wait for the news of an end that has surely come.
const NEWS_GRACE: Duration = Duration::from_secs(2);

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Death {
    status: String,
    tail: Vec<String>,
}

impl Death {
    /// One line for people: the status and the last word on stderr, backtraces and hints about them aside.
    pub fn describe(&self) -> String {
        let traces = |line: &&String| !line.to_ascii_lowercase().starts_with("stack backtrace:");
        let said: Vec<_> = self.tail.iter().take_while(traces).collect();
        let last = said.into_iter().rev().find(|line| !line.trim().is_empty() && !line.starts_with("note: "));
        let last = last.map(|line| format!(": {}", one_line(line, 400))).unwrap_or_default();
        format!("codex app-server ended ({}){last}", self.status)
    }
}

/// A running app-server. Dropping kills it.
pub struct Process {
    /// To speak to it.
    pub client: Client,
    /// The thread that it has open.
    pub thread: Option<String>,
    /// Its number.
    pub pid: u32,
    death: watch::Receiver<Option<Death>>,
    kill: CancellationToken,
}

impl Process {
    /// Starts `program app-server` with this environment, less the runner's own variables.
    pub fn spawn(program: &OsStr) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("app-server").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_PREFIX) {
                command.env_remove(name);
            }
        }
        let mut child = command.kill_on_drop(true).spawn()?;
        let (Some(input), Some(output), Some(errors), Some(pid)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id())
        else {
            return Err(io::Error::other("its pipes or its number are missing"));
        };
        let client = Client::new(output, input);
        let kill = CancellationToken::new();
        let (tell, death) = watch::channel(None);
        tokio::spawn(supervise(child, errors, client.clone(), kill.clone(), tell));
        Ok(Self { client, thread: None, pid, death, kill })
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.death.borrow().is_some()
    }

    /// How it ended; it is killed when it closed its output but does not end.
    pub async fn death(&mut self) -> Death {
        if let Some(death) = self.wait(NEWS_GRACE).await {
            return death;
        }
        self.kill.cancel();
        let unknown = || Death { status: "it closed its output but did not end".into(), tail: Vec::new() };
        self.wait(NEWS_GRACE).await.unwrap_or_else(unknown)
    }

    /// Ends it: end of input, a grace, then a kill.
    pub async fn stop(mut self) {
        self.client.close();
        if self.wait(STOP_GRACE).await.is_none() {
            self.kill().await;
        }
    }

    /// Ends it at once, and waits for that, so that its locks are free.
    pub async fn kill(mut self) {
        self.kill.cancel();
        self.wait(NEWS_GRACE).await;
    }

    async fn wait(&mut self, limit: Duration) -> Option<Death> {
        let death = tokio::time::timeout(limit, self.death.wait_for(Option::is_some)).await.ok()?.ok()?;
        death.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

async fn supervise(
    mut child: Child,
    errors: ChildStderr,
    client: Client,
    kill: CancellationToken,
    tell: watch::Sender<Option<Death>>,
) {
    let tail = Arc::new(Mutex::new(Tail::default()));
    let reading = tokio::spawn(read_tail(errors, tail.clone()));
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.cancelled() => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    let reading = tokio::time::timeout(PIPES_GRACE, reading).await;
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    if client.is_open() && !kill.is_cancelled() {
        tracing::warn!(status, stderr = tail.join(" | "), "codex app-server ended by itself");
    } else {
        tracing::debug!(status, "codex app-server ended");
    }
    tell.send_replace(Some(Death { status, tail }));
    if reading.is_err() {
        tracing::debug!("something still holds the pipes of the codex app-server that ended");
    }
    // What it wrote before its end is read first.
    tokio::time::sleep(PIPES_GRACE).await;
    client.close();
}

async fn read_tail(mut errors: ChildStderr, tail: Arc<Mutex<Tail>>) {
    let mut chunk = [0; 2048];
    loop {
        match errors.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => tail.lock().unwrap_or_else(PoisonError::into_inner).push(&chunk[..count]),
        }
    }
}

/// The last [`TAIL_BYTES`] of a stream.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.drain(..self.0.len().saturating_sub(TAIL_BYTES));
    }

    /// At most [`TAIL_LINES`], without colours.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<_> = text.lines().map(plain).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
    }
}

/// The line without escape sequences (`ESC [ … letter`) and other control characters.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_and_plain() {
        let mut tail = Tail::default();
        for line in 0..5_000 {
            tail.push(format!("\u{1b}[31mline {line}\u{1b}[0m\n").as_bytes());
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines.last().unwrap(), "line 4999");
        assert!(tail.0.len() <= TAIL_BYTES);
    }

    #[test]
    fn a_death_says_its_status_and_last_line() {
        let lines = ["WARNING: x", "Error: no space left", "", "Stack backtrace:", "   0: <unknown>", ""];
        let tail = lines.map(str::to_owned).to_vec();
        let death = Death { status: "exit status: 1".into(), tail };
        assert_eq!(death.describe(), "codex app-server ended (exit status: 1): Error: no space left");
        let death = Death { status: "signal: 9 (SIGKILL)".into(), tail: Vec::new() };
        assert_eq!(death.describe(), "codex app-server ended (signal: 9 (SIGKILL))");
    }
}
