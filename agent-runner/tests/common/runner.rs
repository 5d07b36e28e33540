//! The real runner, as a process of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use super::door::{Door, LIMIT};

pub struct Runner {
    child: Child,
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
        Self { child: command.spawn().unwrap() }
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
            tokio::task::yield_now().await;
        }
    }

    /// Its children's process ids.
    pub fn children(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

pub fn signal_pid(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
