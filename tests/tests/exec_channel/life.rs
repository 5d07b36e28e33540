//! A program starts, breaks what was agreed, and ends.

use cofferdam::channels::exec::Exec;
use cofferdam::channels::{Channel as _, State};
use cofferdam_tests::recorder::{Recorder, Running};
use serde_json::json;

use super::{Bench, SECRET, chat, dies, is_alive, send, there};

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
    let counted =
        |chat: &str| book.turned_away.iter().filter(|turned| **turned == (chat.to_owned(), "bad-line")).count();
    assert_eq!((counted("#c"), counted("lines"), book.turned_away.len()), (1, 5, 6), "only what was to come in");
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
