//! The process, and all that it starts.

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::settings::Settings;

/// All that a program has of the daemon's environment.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A process and its group. Dropping it kills all of them.
pub(super) struct Program {
    child: Child,
    /// None once it was killed.
    group: Option<Pid>,
}

/// The ends of its pipes that are ours.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Program {
    /// Starts it.
    pub(super) fn start(settings: &Settings) -> io::Result<(Self, Pipes)> {
        let [name, arguments @ ..] = settings.command.as_slice() else {
            return Err(io::Error::other("no program is named"));
        };
        let mut command = Command::new(name);
        command.args(arguments).env_clear().process_group(0).kill_on_drop(true);
        command.envs(ENVIRONMENT.into_iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
        if let Some(cwd) = &settings.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("it has no pipes");
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(missing)?;
        let pipes = Pipes {
            stdin: child.stdin.take().ok_or_else(missing)?,
            stdout: child.stdout.take().ok_or_else(missing)?,
            stderr: child.stderr.take().ok_or_else(missing)?,
        };
        Ok((Self { child, group: Some(group) }, pipes))
    }

    /// Waits until the process ended, and kills what it leaves behind. The group's number is nobody else's while somebody
    /// of it lives; when nobody does, it is asked for before it can come round again.
    pub(super) async fn ended(&mut self) {
        let _ = self.child.wait().await;
        self.kill();
    }

    /// Kills it, and all that it started and that is still in its group.
    pub(super) fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // Gone already, at worst.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// How it ended, once it was killed or ended by itself.
    pub(super) async fn status(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.child.wait().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
