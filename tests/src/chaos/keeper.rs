//! Keeps the daemon running, as a service manager does: whenever it ends it is started again.

use std::collections::VecDeque;
use std::fs::File;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::disk::Disk;
use crate::LIMIT;

/// The pause before the daemon is started again, after it ran and after it refused to.
const PAUSE: Duration = Duration::from_millis(100);
const LONGER_PAUSE: Duration = Duration::from_millis(500);

/// Makes the daemon's command, given the share of nudges that it is to lose.
pub type Make = Box<dyn Fn(u32) -> Command + Send>;

/// The daemon's keeper.
pub struct Keeper {
    shared: Arc<Shared>,
    keeping: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stop: Notify,
}

#[derive(Default)]
struct State {
    pid: Option<Pid>,
    /// Somebody signalled the running daemon: its end is no news.
    signalled: bool,
    stopping: bool,
    starts: usize,
    /// Ends that nobody asked for, in words.
    fallen: Vec<String>,
}

impl Keeper {
    /// Starts the daemon, and starts it again whenever it ends.
    pub fn start(make: Make, lost_nudges: Vec<u32>, log: File, disk: Arc<Disk>) -> Self {
        let shared = Arc::<Shared>::default();
        let keeping = tokio::spawn(keep(shared.clone(), make, lost_nudges.into(), log, disk));
        Self { shared, keeping }
    }

    /// Sends the running daemon a signal that ends it. Answers whether one runs.
    pub fn signal(&self, signal: Signal) -> bool {
        let mut state = self.shared.state();
        let Some(pid) = state.pid else { return false };
        state.signalled = true;
        kill_process(pid, signal).is_ok()
    }

    /// How often the daemon was started.
    pub fn starts(&self) -> usize {
        self.shared.state().starts
    }

    /// Ends the daemon in order, for good. Answers what it did that nobody asked for.
    pub async fn end(self) -> Vec<String> {
        self.shared.state().stopping = true;
        self.shared.stop.notify_one();
        self.signal(Signal::TERM);
        if tokio::time::timeout(LIMIT, self.keeping).await.is_err() {
            self.shared.state().fallen.push("the daemon does not end after SIGTERM".to_owned());
            kill(&self.shared);
        }
        std::mem::take(&mut self.shared.state().fallen)
    }
}

fn kill(shared: &Shared) {
    if let Some(pid) = shared.state().pid {
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one daemon; none when the run is over.
    fn spawn(&self, mut command: Command) -> Option<Child> {
        let mut state = self.state();
        if state.stopping {
            return None;
        }
        let child = command.spawn().expect("the daemon starts");
        state.pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        state.signalled = false;
        state.starts += 1;
        Some(child)
    }
}

async fn keep(shared: Arc<Shared>, make: Make, mut lost: VecDeque<u32>, log: File, disk: Arc<Disk>) {
    loop {
        lost.rotate_left(1);
        let mut command = make(lost.front().copied().unwrap_or(0));
        command.stdout(Stdio::null()).stderr(log.try_clone().expect("a log"));
        let Some(mut child) = shared.spawn(command) else { return };
        let began = Instant::now();
        let status = child.wait().await.expect("a status");
        let pause = if began.elapsed() > LONGER_PAUSE { PAUSE } else { LONGER_PAUSE };
        {
            let mut state = shared.state();
            state.pid = None;
            // It may refuse to start on a full disk, and says so.
            if !state.signalled && !disk.was_full() {
                state.fallen.push(format!("the daemon ended by itself: {status}"));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.notified() => {}
        }
    }
}
