//! Programs as channels: real ones, written by each test, with the faults that programs have.

use std::path::Path;
use std::sync::Arc;

use cofferdam::channels::exec::Exec;
use cofferdam::channels::{
    Channel, Content, NotTaken, Offered, Progress, SendError, Showing, State, Status, Taken, Written,
};
use cofferdam::model::action::{Action, Asked, SentFile};
use cofferdam::model::chat::ChatRef;
use cofferdam::model::reply::ReplyKind;
use cofferdam_protocol::ids::{QuestionId, TurnId};
use cofferdam_tests::eventually;
use cofferdam_tests::recorder::{Recorder, Running, buttons, reply};
use rustix::process::{Pid, test_kill_process};
use secrecy::SecretString;
use serde_json::{Value, json};
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
def answer_all():
    while (line := hear())["type"] not in ("stop", "gone"):
        if "call" in line: say(type="done", call=line["call"], id="m%d" % line["call"], text=json.dumps(line))
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

#[tokio::test]
async fn a_message_comes_in_and_a_reply_goes_out() {
    let bench = Bench::new(
        r##"
hello()
message(1, "one", title="The lab", addressed=True, cursor="c1", thread=None, unknown=[1], files=[{"name": "a", "bytes": 3, "reference": "r"}])
line = hear()
note("taken", json.dumps(line))
line = hear()
note("sent", json.dumps(line))
say(type="done", call=line["call"], id="m1")
answer_all()
note("ended", 1)
"##,
    );
    let running = bench.run();
    let book = running.intake.until("a message", |book| book.arrivals.len() == 1 && book.cursors == ["c1"]).await;
    let arrival = &book.arrivals[0];
    assert_eq!((&arrival.chat, arrival.title.as_deref()), (&chat("#c"), Some("The lab")));
    assert_eq!((arrival.sender.id.as_str(), arrival.sender.name.as_str()), ("u", "U"));
    let Content::Message(written) = &arrival.content else { panic!("{arrival:?}") };
    assert!(written.addressed);
    assert_eq!(written.files, [Offered { name: "a".into(), bytes: Some(3), reference: "r".into() }]);
    let taken: Value = serde_json::from_str(&bench.notes("taken").await).unwrap();
    assert_eq!(taken, json!({"type": "taken", "id": "1", "chat": "#c", "text": null}));

    assert_eq!(send(&running.channel, "**two**").await.unwrap().as_deref(), Some("m1"));
    let sent: Value = serde_json::from_str(&bench.notes("sent").await).unwrap();
    assert_eq!(
        sent,
        json!({
            "type": "send", "call": 1, "chat": "#c", "thread": null, "key": format!("{}/0", reply(&chat("#c"), "").key),
            "kind": "reply", "text": "two", "plain": null, "onto": null, "gone": false, "buttons": null, "file": null,
            "react": null,
        })
    );
    assert_eq!(running.channel.state(), State::Connected);
    running.close().await;
    assert_eq!(bench.noted("ended").as_deref(), Some("1"), "it was told to stop, and ended by itself");
}

#[tokio::test]
async fn stray_lines_and_wrong_ones_are_left_out() {
    let bench = Bench::new(
        r##"
print("warming up\n\n[1]\n{}\nnull\n" + '{"type": 7}\n{"type": "later", "x": 1}' + "\n\xff\x00")
hello()
sys.stdout.flush(); sys.stdout.buffer.write(b'{"type":"message","id":"\xff\xfe"}\n'); sys.stdout.flush()
say(type="message", id=7, chat="#c", kind="group", sender={"id": "u"}, text="x")
say(type="message", id="7", chat="#c", kind="crowd", sender={"id": "u"}, text="x")
say(type="message", id="7", chat="#c", kind="group", sender={"id": "u"})
say(type="message", id="7", chat="x" * 300, kind="group", sender={"id": "u"}, text="x")
say(type="press", id="7", chat="#c", kind="group", sender={"id": "u"}, data=["x"])
say(type="done", call=99)
say(type="failed", call=98, sort="absent")
say(type="failed", call=97, sort="sideways")
hello(edit=True)
message(8, "fine")
answer_all()
"##,
    );
    let running = bench.run();
    let book = running.intake.until("a message", |book| !book.arrivals.is_empty()).await;
    assert_eq!(book.texts("#c"), ["fine"]);
    assert!(!running.channel.abilities().edit, "only the first hello counts");
    assert_eq!(running.channel.state(), State::Connected);
    assert!(send(&running.channel, "x").await.is_ok());
    running.close().await;
}

/// Each breaks the protocol at its first run; at its second it is well.
async fn is_started_again_after(breaks: &str, because: &str) {
    let bench = Bench::new(&format!(
        r##"
if times("runs") == 1:
    {}
    time.sleep(600)
hello()
answer_all()
"##,
        breaks.trim().replace('\n', "\n    ")
    ));
    let running = bench.run();
    let state = running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { why, .. } = state else { panic!("{state:?}") };
    assert!(why.contains(because), "{why}");
    there(&running).await;
    assert_eq!(bench.noted("runs").as_deref(), Some("2"));
    assert!(send(&running.channel, "x").await.is_ok());
    running.close().await;
}

#[tokio::test]
async fn a_line_of_two_mebibytes_ends_the_program() {
    is_started_again_after(r#"hello(); message(1, "x" * 2 * 1024 * 1024)"#, "over 1 MiB").await;
}

#[tokio::test]
async fn a_line_without_an_end_ends_the_program() {
    let endless = "hello()\nwhile True: sys.stdout.write('x' * 65536)";
    is_started_again_after(endless, "over 1 MiB").await;
}

#[tokio::test]
async fn garbage_without_an_end_ends_the_program() {
    is_started_again_after("hello()\nwhile True: print('hush')", "lines that are wrong").await;
}

#[tokio::test]
async fn another_protocol_ends_the_program() {
    let other = r#"say(type="hello", protocol=2, text={"markup": "plain", "limit": 400, "measure": "bytes"})"#;
    is_started_again_after(other, "version 2").await;
}

#[tokio::test]
async fn a_message_before_the_hello_ends_the_program() {
    is_started_again_after(r#"message(1, "x")"#, "before its hello").await;
}

#[tokio::test]
async fn a_closed_stdout_ends_the_program() {
    is_started_again_after("hello()\nos.close(1)", "ended").await;
}

#[tokio::test]
async fn what_a_program_said_last_is_why_it_ended_without_secrets_and_control_characters() {
    let program = r#"
print("before", file=sys.stderr)
print("\x1b[31mno login with %s\x07" % start["secrets"]["token"], file=sys.stderr)
sys.exit(3)
"#;
    let bench = Bench::new(program);
    let running = bench.run();
    let state = running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { why, again_at } = state else { panic!("{state:?}") };
    assert_eq!(why, "the program ended (exit status: 3): [31mno login with ***");
    assert!(again_at > 0);
    assert!(!running.channel.is_there(&chat("#c")));
    running.close().await;
}

#[tokio::test]
async fn a_program_that_cannot_start_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let settings = json!({"command": ["/nowhere/bot"]});
    let channel = Exec::new("prog", settings, None, dir.path().join("state")).unwrap();
    let running = Running::start(channel, Recorder::new(None));
    let state = running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { why, .. } = state else { panic!("{state:?}") };
    assert!(why.starts_with("cannot start `/nowhere/bot`: No such file"), "{why}");
    running.close().await;
}

#[tokio::test]
async fn a_program_that_dies_in_a_send_leaves_a_doubt_and_comes_back() {
    let bench = Bench::new(
        r##"
runs = times("runs")
hello()
if runs == 1:
    message(1, "last words")
    while hear()["type"] != "send": pass
    message(2, "read after its death")
    os.kill(os.getpid(), 9)
answer_all()
"##,
    );
    let running = bench.run();
    running.intake.until("it is there", |book| !book.arrivals.is_empty()).await;
    let sent = send(&running.channel, "x").await;
    assert!(matches!(sent, Err(SendError::Doubt { .. })), "{sent:?}");
    // Delivery asks before it tries again.
    if !running.channel.is_there(&chat("#c")) {
        running.intake.until("the chat can be reached", |book| book.present == [chat("#c")]).await;
    }
    there(&running).await;
    assert!(send(&running.channel, "x").await.is_ok());
    assert_eq!(running.intake.book().texts("#c"), ["last words", "read after its death"]);
    running.close().await;
}

#[tokio::test]
async fn answers_have_their_meaning() {
    let bench = Bench::new(
        r##"
hello()
answers = [dict(sort="later", why="slow\ndown", after_ms=1500, whole_channel=True), dict(sort="refused", why="no"),
           dict(sort="doubt", why="who knows"), dict(sort="absent"), dict(sort="later", why="", after_ms=10**15)]
message(1, "ready")
for answer in answers:
    while (line := hear())["type"] != "send": pass
    say(type="failed", call=line["call"], **answer)
say(type="state", state="connected")
answer_all()
"##,
    );
    let running = bench.run();
    there(&running).await;
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(send(&running.channel, "x").await.unwrap_err());
    }
    let [SendError::Later { why, after: Some(after), whole_channel: true }, ..] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((why.as_str(), after.as_millis()), ("slow down", 1500));
    assert_eq!(said[1], SendError::Refused { why: "no".into() });
    assert_eq!(said[2], SendError::Doubt { why: "who knows".into() });
    assert_eq!(said[3], SendError::Absent);
    let SendError::Later { after: Some(bounded), .. } = &said[4] else { panic!("{said:?}") };
    assert_eq!(bounded.as_secs(), 24 * 3600);
    running.intake.until("the chat that was absent", |book| book.present.contains(&chat("#c"))).await;
    running.close().await;
}

#[tokio::test]
async fn a_flood_is_held_up_and_nothing_of_it_is_lost_or_doubled() {
    let bench = Bench::new(
        r##"
hello()
for n in range(3000): message(n, "%d %s" % (n, "x" * 2000)); note("wrote", n)
answer_all()
"##,
    );
    let intake = Recorder::new(None);
    intake.refuse("#c", Some(NotTaken::Full(100)));
    let running = bench.run_with(intake.clone());
    intake.until("it was refused", |book| book.refused > 0).await;
    let refused = intake.book().refused;
    intake.until("it was refused again", |book| book.refused > refused).await;
    let wrote: usize = bench.notes("wrote").await.parse().unwrap();
    assert!(wrote < 400, "no more than waits here and in the pipe: {wrote}");
    // Nobody reads its answer meanwhile; it is awaited all the same.
    let reply = reply(&chat("#other"), "x");
    let pieces = running.channel.pieces(&reply);
    let sending = running.channel.send(&reply, (0, &pieces[0]), None);
    let (sent, ()) = tokio::join!(sending, async { intake.refuse("#c", None) });
    assert!(sent.is_ok(), "{sent:?}");
    let book = intake.until("all of it", |book| book.arrivals.len() == 3000).await;
    let ids: Vec<_> = book.arrivals.iter().map(|arrival| arrival.platform_id.clone()).collect();
    assert!(ids.iter().enumerate().all(|(at, id)| *id == at.to_string()), "in their order");
    running.close().await;
}

#[tokio::test]
async fn a_full_chat_holds_up_no_other_chat_and_no_reply() {
    let bench = Bench::new(
        r##"
hello()
for n in range(99): message(n, "x", chat="#full")
for n in range(99): message(n, str(n), cursor=str(n))
answer_all()
"##,
    );
    let intake = Recorder::new(Some("kept"));
    intake.refuse("#full", Some(NotTaken::Full(100)));
    let running = bench.run_with(intake.clone());
    let book = intake.until("the other chat's", |book| book.texts("#c").len() == 99).await;
    assert!(book.texts("#c").iter().enumerate().all(|(at, text)| *text == at.to_string()));
    assert!(book.texts("#full").is_empty() && book.cursors.is_empty(), "the cursor waits for what came before");
    assert!(send(&running.channel, "x").await.is_ok());
    intake.refuse("#full", None);
    let book = intake.until("the cursor", |book| book.cursors.last().is_some_and(|cursor| cursor == "98")).await;
    assert_eq!(book.texts("#full").len(), 99);
    running.close().await;
}

#[tokio::test]
async fn a_program_goes_on_where_it_left_off() {
    let bench = Bench::new(
        r##"
hello()
at = int(start["cursor"])
for n in range(at + 1, at + 4): message(n, str(n), cursor=str(n))
for _ in range(3):
    while hear()["type"] != "taken": pass
if at < 10: sys.exit(1)
answer_all()
"##,
    );
    let running = bench.run_with(Recorder::new(Some("6")));
    let book = running.intake.until("both runs", |book| book.arrivals.len() >= 6).await;
    assert_eq!(book.texts("#c"), ["7", "8", "9", "10", "11", "12"], "{:?}", book.cursors);
    running.close().await;
}

#[tokio::test]
async fn a_secret_is_in_the_first_line_and_nowhere_else() {
    let bench = Bench::new(
        r##"
note("secret", start["secrets"]["token"])
note("mode", oct(os.stat(home).st_mode & 0o777))
note("environ", "\n".join(sorted(os.environ)))
note("pid", os.getpid())
hello()
answer_all()
"##,
    );
    let running = bench.run();
    there(&running).await;
    let pid = bench.notes("pid").await;
    assert_eq!(bench.noted("secret").as_deref(), Some(SECRET));
    assert_eq!(bench.noted("mode").as_deref(), Some("0o700"));
    for place in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{place}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{place}");
    }
    let environ = bench.noted("environ").unwrap();
    // From the fifth on: what shells and Python set by themselves.
    let known = ["HOME", "LANG", "PATH", "TZ", "LC_CTYPE", "OLDPWD", "PWD", "SHLVL", "_", "_PYENV_INSTALL_PREFIX"];
    let more: Vec<_> = environ.lines().filter(|name| !known.contains(name) && !name.starts_with("PYENV")).collect();
    assert!(std::env::vars_os().count() > known.len(), "there is more that could be passed on");
    assert!(more.is_empty(), "{more:?}");
    assert!(!format!("{:?}", running.channel.state()).contains(SECRET));
    running.close().await;
}

#[tokio::test]
async fn what_a_program_started_ends_with_it() {
    let bench = Bench::new(
        r##"
child = subprocess.Popen(["sleep", "600"])
note("child", child.pid)
hello()
answer_all()
"##,
    );
    let running = bench.run();
    there(&running).await;
    let child = bench.notes("child").await;
    assert!(is_alive(&child));
    running.close().await;
    dies(&child).await;
}

#[tokio::test]
async fn a_program_that_does_not_stop_is_killed_with_all_that_it_started() {
    let bench = Bench::new(
        r##"
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sh", "-c", "trap '' TERM HUP; sleep 600 & wait"], stdout=subprocess.DEVNULL)
note("child", child.pid)
note("pid", os.getpid())
hello()
while True:
    if hear()["type"] == "gone": time.sleep(0.1)
"##,
    );
    let running = bench.run();
    there(&running).await;
    let (pid, child) = (bench.notes("pid").await, bench.notes("child").await);
    running.close().await;
    dies(&pid).await;
    dies(&child).await;
}

#[tokio::test]
async fn a_channel_that_is_dropped_takes_its_program_along() {
    let bench = Bench::new("note('pid', os.getpid())\nhello()\ntime.sleep(600)");
    let running = bench.run();
    let pid = bench.notes("pid").await;
    running.abandon().await;
    dies(&pid).await;
}

#[tokio::test]
async fn after_the_stop_nothing_is_taken_in_but_replies_go_out() {
    let bench = Bench::new(
        r##"
hello()
message(1, "before")
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "send":
        message("a%d" % line["call"], "after")
        say(type="done", call=line["call"], id="m")
"##,
    );
    let mut running = bench.run();
    running.intake.until("the first", |book| book.arrivals.len() == 1).await;
    running.stop().await;
    for _ in 0..200 {
        assert!(send(&running.channel, "x").await.is_ok());
    }
    assert_eq!(running.intake.book().texts("#c"), ["before"]);
    running.close().await;
}

#[tokio::test]
async fn a_press_has_its_short_answer() {
    let bench = Bench::new(
        r##"
hello(buttons=True)
message(1, "x")
say(type="press", id="p1", chat="#c", kind="group", sender={"id": "u"}, data="q:1:2")
while (line := hear())["type"] != "taken" or line["id"] != "p1": pass
note("answer", line["text"])
answer_all()
"##,
    );
    let intake = Recorder::new(None);
    intake.answer("p1", Taken::Done("Blue it is.".into()));
    intake.answer("1", Taken::Done("only for presses".into()));
    let running = bench.run_with(intake.clone());
    assert_eq!(bench.notes("answer").await, "Blue it is.");
    assert_eq!(intake.book().arrivals[1].content, Content::Press("q:1:2".into()));
    running.close().await;
}

#[tokio::test]
async fn a_change_comes_in_as_one_and_is_acknowledged_as_a_message_is() {
    let bench = Bench::new(
        r##"
hello()
message(1, "one", cursor="c1")
message(1, "two", edit=True, cursor="c2")
heard = []
while len(heard) < 2:
    if (line := hear())["type"] == "taken": heard.append(line["id"])
note("taken", heard)
answer_all()
"##,
    );
    let running = bench.run();
    assert_eq!(bench.notes("taken").await, "['1', '1']");
    let book =
        running.intake.until("the cursor", |book| book.cursors.last().is_some_and(|last| last == "c2")).await;
    let changed = Written { text: "two".into(), ..Written::default() };
    assert_eq!(book.arrivals[1].content, Content::Edit(changed));
    assert_eq!(book.arrivals[0].platform_id, book.arrivals[1].platform_id);
    running.close().await;
}

#[tokio::test]
async fn equal_messages_of_a_reply_have_keys_of_their_places() {
    let lines = told("limit=64", None, &"a".repeat(150), None).await;
    assert_eq!(lines[0]["text"], lines[1]["text"], "equal in everything but their places");
    let own = reply(&chat("#c"), "").key;
    let keys: Vec<_> = lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, (0..lines.len()).map(|place| format!("{own}/{place}")).collect::<Vec<_>>());
    assert!(keys.len() >= 3 && keys.iter().all(|key| key.len() <= 64));
}

/// What a program that can all is told of a reply's pieces: it answers with the lines themselves.
async fn told(hello: &str, action: Option<Action>, text: &str, onto: Option<&str>) -> Vec<Value> {
    let bench = Bench::new(&format!(
        r##"
hello({hello})
while (line := hear())["type"] not in ("stop", "gone"):
    if "call" not in line: continue
    if line.get("file"): line["content"] = open(line["file"]["path"]).read()
    note("line%d" % line["call"], json.dumps(line))
    say(type="done", call=line["call"])
"##
    ));
    let running = bench.run();
    there(&running).await;
    let mut out = reply(&chat("#c"), text);
    out.buttons = action.as_ref().map(buttons).unwrap_or_default();
    out.action = action;
    let mut lines = Vec::new();
    for piece in running.channel.pieces(&out).iter().enumerate() {
        running.channel.send(&out, piece, onto).await.unwrap();
        let line: Value = serde_json::from_str(&bench.noted(&format!("line{}", lines.len() + 1)).unwrap()).unwrap();
        if let Some(path) = line["file"]["path"].as_str().filter(|path| path.contains("/state/files/")) {
            assert!(!Path::new(path).exists(), "it is gone after the call");
        }
        lines.push(line);
    }
    running.close().await;
    lines
}

fn question(red: &str) -> Option<Action> {
    let options = vec![red.to_owned(), "Blue".to_owned()];
    let (id, question) = (QuestionId(5), "Which?".to_owned());
    Some(Action::Question(Asked { id, question, options, expires_at: 0 }))
}

#[tokio::test]
async fn a_question_has_buttons_or_else_a_list() {
    let list = "Which?\n1. Red\n2. Blue";
    let lines = told("buttons=True", question("Red"), list, None).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["text"], "Which?");
    let buttons = json!([{"label": "Red", "data": "q:demo0000:5:0"}, {"label": "Blue", "data": "q:demo0000:5:1"}]);
    assert_eq!(lines[0]["buttons"], buttons);
    let lines = told("", question("Red"), list, None).await;
    assert_eq!(
        (lines[0]["text"].as_str(), &lines[0]["buttons"]),
        (Some("Which?\n\n1. Red\n2. Blue"), &Value::Null)
    );
    let long = "r".repeat(50);
    let lines = told("buttons=True", question(&long), &format!("Which?\n1. {long}\n2. Blue"), None).await;
    assert!(lines[0]["text"].as_str().unwrap().contains(&long), "no button shows it in full");
    assert_eq!(lines[0]["buttons"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_notice_is_no_markdown() {
    let bench = Bench::new(
        "hello()\nline = hear()\nnote('sent', json.dumps(line))\nsay(type='done', call=line['call'])\nanswer_all()",
    );
    let running = bench.run();
    there(&running).await;
    let mut out = reply(&chat("#c"), "*Not* `marked` up_here_");
    out.kind = ReplyKind::Notice;
    running.deliver(&out).await;
    let sent: Value = serde_json::from_str(&bench.notes("sent").await).unwrap();
    assert_eq!((&sent["kind"], &sent["text"]), (&json!("notice"), &json!("*Not* `marked` up_here_")));
    running.close().await;
}

#[tokio::test]
async fn long_code_is_a_file_or_else_text_that_fits() {
    let code: String = (0..200).map(|n| format!("let x{n} = {n};\n")).collect();
    let text = format!("Look:\n\n```rust\n{code}```\n");
    let lines = told("files=True", None, &text, None).await;
    let file = lines.iter().find(|line| !line["file"].is_null()).expect("a file");
    assert_eq!((file["content"].as_str().unwrap().trim_end(), &file["text"]), (code.trim_end(), &json!("")));
    let name = file["file"]["name"].as_str().unwrap();
    assert!(name.ends_with(".rs") && file["file"]["path"].as_str().unwrap().ends_with(name), "{name}");
    let keys: Vec<_> = lines.iter().map(|line| line["key"].clone()).collect();
    assert!(keys[0] != keys[1], "each message has a key of its own");

    for markup in ["plain", "markdown"] {
        let lines = told(&format!("markup={markup:?}"), None, &text, None).await;
        assert!(lines.iter().all(|line| line["file"].is_null() && line["text"].as_str().unwrap().len() <= 400));
        let all: Vec<_> = lines.iter().flat_map(|line| line["text"].as_str().unwrap().lines()).collect();
        assert!(code.lines().all(|line| all.contains(&line)), "each line is whole: {all:?}");
    }
}

#[tokio::test]
async fn a_sent_file_is_where_it_lies_and_words_where_no_files_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy").to_string_lossy().into_owned();
    std::fs::write(&path, "content").unwrap();
    let file = SentFile { name: "plan.txt".into(), path: path.clone(), bytes: 7, caption: Some("the plan".into()) };
    let lines = told("files=True", Some(Action::File(file.clone())), "", None).await;
    let wanted = json!({"name": "plan.txt", "path": path, "bytes": 7, "caption": "the plan"});
    assert_eq!((&lines[0]["file"], &lines[0]["content"]), (&wanted, &json!("content")));
    let lines = told("", Some(Action::File(file)), "", None).await;
    assert_eq!((&lines[0]["file"], &lines[0]["text"]), (&Value::Null, &json!("[file plan.txt] the plan")));
}

#[tokio::test]
async fn only_a_program_that_can_change_messages_is_told_which() {
    assert_eq!(told("edit=True", None, "x", Some("m7")).await[0]["onto"], "m7");
    assert_eq!(told("", None, "x", Some("m7")).await[0]["onto"], Value::Null);
    let react = Action::React {
        message: cofferdam_protocol::ids::MessageId(1),
        platform_id: "m1".into(),
        emoji: "👍".into(),
    };
    let lines = told("react=True", Some(react), "👍", None).await;
    assert_eq!((&lines[0]["react"], &lines[0]["text"]), (&json!({"message": "m1", "emoji": "👍"}), &json!("")));
}

#[tokio::test]
async fn progress_is_one_message_that_fits() {
    let bench = Bench::new(
        r##"
hello(progress=True, edit=True)
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "progress":
        note("progress%d" % line["call"], json.dumps(line))
        say(type="done", call=line["call"], id="shown")
"##,
    );
    let running = bench.run();
    there(&running).await;
    let working = Status::Working { status: "reads a.txt".into(), draft: "long words ".repeat(400) };
    let working = Progress { turn: TurnId(3), status: working };
    let shown = running.channel.progress(&chat("#c"), &working, None, &|_: Showing| true).await.unwrap();
    assert_eq!(shown.as_deref(), Some("shown"));
    // It changes messages, so a showing counts as one.
    let skipped =
        running.channel.progress(&chat("#c"), &working, Some("shown"), &|what| what == Showing::Mark).await;
    assert_eq!(skipped.unwrap().as_deref(), Some("shown"), "it was not asked, and goes on as it is");
    let ended = Progress { turn: TurnId(3), status: Status::Ended };
    running.channel.progress(&chat("#c"), &ended, shown.as_deref(), &|_: Showing| false).await.unwrap();
    let line: Value = serde_json::from_str(&bench.notes("progress1").await).unwrap();
    assert!((300..=400).contains(&line["draft"].as_str().unwrap().len()), "{line}");
    assert_eq!((&line["status"], &line["turn"], &line["shown"]), (&json!("reads a.txt"), &json!(3), &Value::Null));
    let line: Value = serde_json::from_str(&bench.notes("progress2").await).unwrap();
    assert_eq!((&line["ended"], &line["shown"]), (&json!(true), &json!("shown")));
    running.close().await;
}

#[tokio::test]
async fn a_file_is_fetched_where_we_say_and_nothing_else_is_read() {
    let bench = Bench::new(
        r##"
hello(files=True)
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] != "fetch": continue
    what, path = line["reference"], line["path"]
    if what == "fine": open(path, "w").write("content")
    if what == "long": open(path, "w").write("x" * (line["most"] + 1))
    if what == "link": os.symlink("/etc/hostname", path)
    if what == "pipe": os.mkfifo(path)
    if what == "gone": say(type="failed", call=line["call"], sort="refused", why="too old")
    else: say(type="done", call=line["call"])
"##,
    );
    let running = bench.run();
    there(&running).await;
    let fetch = async |reference: &str| {
        let file = Offered { name: "a".into(), bytes: None, reference: reference.into() };
        let mut into = Vec::new();
        let fetched = running.channel.fetch(&file, &mut into, 100).await;
        fetched.map(|bytes| (bytes, String::from_utf8(into).unwrap()))
    };
    assert_eq!(fetch("fine").await.unwrap(), (7, "content".to_owned()));
    assert_eq!(fetch("gone").await.unwrap_err(), SendError::Refused { why: "too old".into() });
    let long = fetch("long").await.unwrap_err();
    assert!(matches!(&long, SendError::Refused { why } if why.contains("100 bytes")), "{long:?}");
    for odd in ["link", "pipe", "nothing"] {
        let error = fetch(odd).await.unwrap_err();
        assert!(matches!(error, SendError::Later { .. }), "{odd}: {error:?}");
    }
    let files = bench.dir.path().join("state/files");
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 0, "nothing is left");
    running.close().await;
}

#[tokio::test]
async fn a_program_is_asked_who_it_is_also_when_it_does_not_run() {
    let bench = Bench::new(
        r##"
times("runs")
note("pid", os.getpid())
hello()
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "test": say(type="done", call=line["call"], text="it\nis me")
"##,
    );
    let channel = bench.channel();
    assert_eq!(channel.test().await.unwrap(), "it is me");
    dies(&bench.notes("pid").await).await;
    let running = Running::start(channel, Recorder::new(None));
    there(&running).await;
    assert_eq!(running.channel.test().await.unwrap(), "it is me");
    assert_eq!(bench.noted("runs").as_deref(), Some("2"), "the one that runs was asked");
    running.close().await;

    let bench = Bench::new("print('no such server', file=sys.stderr)");
    let error = bench.channel().test().await.unwrap_err();
    assert!(error.to_string().ends_with("no such server"), "{error}");
}

#[tokio::test]
async fn a_program_that_needs_a_person_is_not_started_again() {
    let bench = Bench::new(
        r##"
times("runs")
hello()
say(type="state", state="waiting", why="no network", again_ms=5000)
say(type="state", state="stopped", why="wrong password")
sys.exit(1)
"##,
    );
    let mut running = bench.run();
    running.ends().await;
    assert_eq!(running.channel.state(), State::Stopped { why: "wrong password".into() });
    assert_eq!(bench.noted("runs").as_deref(), Some("1"));
    assert!(!running.channel.is_there(&chat("#c")));
}
