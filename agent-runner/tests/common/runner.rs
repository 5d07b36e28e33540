//! The real runner, as a process of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::Notify;

use super::door::{AGAIN, Door, LIMIT};

pub struct Runner {
    child: Child,
    log: Arc<Log>,
}

/// What it has logged so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Notify,
}

/// The variables of one runner besides the door's.
#[derive(Default)]
pub struct Extra {
    pub codex: Option<PathBuf>,
    pub codex_home: Option<PathBuf>,
    pub forward_port: u16,
}

impl Runner {
    pub fn start(door: &Door) -> Self {
        Self::start_with(door, &Extra::default())
    }

    pub fn start_with(door: &Door, extra: &Extra) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam-runner"));
        command
            .env("COFFERDAM_ATTEMPT", "1")
            .env("COFFERDAM_DOOR", door.socket())
            .env("COFFERDAM_FORWARD_PORT", extra.forward_port.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(codex) = &extra.codex {
            command.env("COFFERDAM_CODEX", codex);
        }
        if let Some(home) = &extra.codex_home {
            command.env("CODEX_HOME", home).env("HOME", home);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        tokio::spawn(log.clone().read(child.stderr.take().unwrap()));
        Self { child, log }
    }

    /// Waits until it has logged so many lines with these words.
    pub async fn logged(&self, words: &str, count: usize) {
        let waiting = async {
            loop {
                let more = self.log.more.notified();
                if self.log.lines.lock().unwrap().iter().filter(|line| line.contains(words)).count() >= count {
                    return;
                }
                more.await;
            }
        };
        tokio::time::timeout(LIMIT, waiting)
            .await
            .unwrap_or_else(|_| panic!("'{words}' was not logged {count} times"));
    }

    pub fn pid(&self) -> i32 {
        self.child.id().unwrap().try_into().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_pid(self.pid(), signal);
    }

    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait()).await.expect("the runner ends").unwrap()
    }

    /// Waits until it has noticed a child's end.
    pub async fn reaped(&mut self, pid: i32) {
        let begun = std::time::Instant::now();
        while self.children().contains(&pid) {
            assert!(begun.elapsed() < LIMIT, "{pid} is not reaped");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Its children's process ids.
    pub fn children(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Log {
    async fn read(self: Arc<Self>, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
            self.lines.lock().unwrap().push(line);
            self.more.notify_waiters();
        }
    }
}

pub fn signal_pid(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
