//! Programs as channels: real ones, written by each test, with the faults that programs have.

mod bugs;
mod flow;
mod life;
mod replies;

use std::sync::Arc;

use cofferdam::channels::exec::Exec;
use cofferdam::channels::{Channel as _, SendError};
use cofferdam::model::chat::ChatRef;
use cofferdam_tests::eventually;
use cofferdam_tests::recorder::{Recorder, Running, reply};
use rustix::process::{Pid, test_kill_process};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

const SECRET: &str = "hush-hush-7171";

/// What each program begins with.
const BEGIN: &str = r##"
import json, os, subprocess, sys, time
def say(**line): print(json.dumps(line), flush=True)
def hear(): return json.loads(sys.stdin.readline() or '{"type":"gone"}')
def message(id, text, chat="#c", **more):
    say(type="message", id=str(id), chat=chat, kind="group", sender={"id": "u", "name": "U"}, text=text, **more)
def hello(markup="plain", limit=400, **can):
    say(type="hello", protocol=1, abilities=can, text={"markup": markup, "limit": limit, "measure": "bytes"}, who="a test")
start = hear()
home = start["state_dir"]
def note(name, text):
    with open(home + "/" + name + ".new", "w") as file: file.write(str(text))
    os.rename(home + "/" + name + ".new", home + "/" + name)
def times(name):
    n = int(open(home + "/" + name).read()) + 1 if os.path.exists(home + "/" + name) else 1
    note(name, n)
    return n
def answer(line): say(type="done", call=line["call"], id="m%d" % line["call"], text=json.dumps(line))
def answer_one():
    while "call" not in (line := hear()): pass
    answer(line)
def answer_all():
    while (line := hear())["type"] not in ("stop", "gone"):
        if "call" in line: answer(line)
"##;

/// A program and its channel's directory.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(program: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-exec-").tempdir().expect("a directory");
        std::fs::write(dir.path().join("program.py"), format!("{BEGIN}{program}")).expect("written");
        Self { dir }
    }

    fn channel(&self) -> Exec {
        let program = self.dir.path().join("program.py");
        let settings = json!({"command": ["python3", program], "settings": {"nick": "c"}});
        let secret = SecretString::from(SECRET.to_owned());
        Exec::new("prog", settings, Some(secret), self.dir.path().join("state")).expect("settings")
    }

    fn run(&self) -> Running<Exec> {
        self.run_with(Recorder::new(None))
    }

    fn run_with(&self, intake: Arc<Recorder>) -> Running<Exec> {
        Running::start(self.channel(), intake)
    }

    fn noted(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join("state/program").join(name)).ok()
    }

    async fn notes(&self, name: &str) -> String {
        eventually(&format!("the program notes {name}"), || async { self.noted(name) }).await
    }
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "prog".into(), chat_id: id.into(), thread_id: None }
}

fn is_alive(pid: &str) -> bool {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a number");
    // A zombie is dead, and waits for its parent only.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}

async fn dies(pid: &str) {
    eventually("the process is dead", || async { (!is_alive(pid)).then_some(()) }).await;
}

/// Sends a text in its pieces; the program's own words on the last, when its answer's text has them.
async fn send(channel: &Exec, text: &str) -> Result<Option<String>, SendError> {
    let reply = reply(&chat("#c"), text);
    let mut last = None;
    for piece in channel.pieces(&reply).iter().enumerate() {
        last = channel.send(&reply, piece, None).await?.id;
    }
    Ok(last)
}

/// Waits until the program that is there took a reply.
async fn there(running: &Running<Exec>) {
    eventually("the program is there", || async { running.channel.is_there(&chat("#poll")).then_some(()) }).await;
}
