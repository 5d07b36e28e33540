//! One run of the program, from its start to its end.
//!
//! ```text
//!  start ──▶ hello within 30 s ──▶ lines both ways ──▶ stop, stdin closed, 5 s ──▶ its group is killed
//!    └───────────┴──── it ended, or broke the protocol ────────────────────────────────┘
//! ```

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::process::ChildStderr;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::calls::{Out, Outgoing, Wire};
use super::hello::Hello;
use super::inlet::Inlet;
use super::lines::Lines;
use super::link::Link;
use super::loose;
use super::marks::Marks;
use super::orders::ToProgram;
use super::program::{Pipes, Program};
use super::settings::{Secrets, Settings};
use super::wire::PROTOCOL;
use super::words::{Level, REASON, Words};
use crate::channels::Standing;

/// How long a program may take to say hello.
const HELLO: Duration = Duration::from_secs(30);
/// How long it may take to end after it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long it may leave a line on its stdin unread.
const READS_WITHIN: Duration = Duration::from_secs(30);
/// How long its last words are waited for.
const LAST: Duration = Duration::from_secs(1);
/// The most bytes of a line on stderr that are looked at.
const STDERR_LINE: usize = 8 * 1024;

/// What is the same for each run.
pub(super) struct About {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) secrets: Secrets,
    pub(super) words: Arc<Words>,
    pub(super) standing: Standing,
    /// The program's own directory.
    pub(super) state_dir: String,
    /// Where files between us and it are.
    pub(super) files: PathBuf,
}

/// One run.
pub(super) struct Life {
    pub(super) about: Arc<About>,
    /// None while it is only tested: then nothing is taken in.
    pub(super) served: Option<(Arc<Inlet>, Arc<Link>)>,
    pub(super) wire: Arc<Wire>,
    pub(super) marks: Arc<Marks>,
    pub(super) hello: watch::Sender<Option<Hello>>,
}

/// Why a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The process did.
    Ended,
    /// It closed a pipe.
    Closed,
    /// It did what no program may; in words that follow "the program".
    Broke(String),
}

impl Life {
    /// A run that did not begin yet, and what is to be written to it.
    pub(super) fn new(about: &Arc<About>, served: Option<(Arc<Inlet>, Arc<Link>)>) -> (Arc<Self>, Outgoing) {
        let (wire, lines) = Wire::new();
        let (hello, _) = watch::channel(None);
        (Arc::new(Self { about: about.clone(), served, wire, marks: Arc::default(), hello }), lines)
    }

    /// Runs the program until it ends, or until it was told to. Answers why it ended, for people.
    pub(super) async fn run(
        self: Arc<Self>,
        lines: Outgoing,
        cursor: Option<&str>,
        closing: &CancellationToken,
    ) -> String {
        let (mut program, pipes) = match self.start() {
            Ok(started) => started,
            Err(error) => return self.cannot_start(&error),
        };
        let Pipes { stdin, stdout, stderr } = pipes;
        self.wire.tell(Out::Line(self.first_line(cursor))).await;
        let last_words = Arc::<Mutex<String>>::default();
        let mut errors = spawn(log_stderr(stderr, self.about.words.clone(), last_words.clone()));
        let mut reading = spawn(self.clone().read(Lines::new(stdout, super::wire::LONGEST_LINE)));
        let writing = spawn(self.clone().write(stdin, lines));
        let why = tokio::select! {
            why = &mut reading => why.unwrap_or(Why::Closed),
            why = writing => why.unwrap_or(Why::Closed),
            why = self.no_hello() => why,
            () = program.ended() => Why::Ended,
            () = self.told_to_stop(closing) => Why::Ended,
        };
        if why == Why::Closed {
            let patience = if closing.is_cancelled() { GRACE } else { LAST };
            let _ = timeout(patience, program.ended()).await;
        }
        program.kill();
        // What it wrote before it ended is in the pipes. Something that left its group may hold them open.
        if !reading.is_finished() && !matches!(why, Why::Broke(_)) {
            let _ = timeout(LAST, &mut reading).await;
        }
        let _ = timeout(LAST, &mut errors).await;
        let status = program.status().await;
        self.wire.over();
        let last_words = last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        in_words(&why, status, &last_words)
    }

    fn start(&self) -> io::Result<(Program, Pipes)> {
        loose::make_dir(self.about.state_dir.as_ref())?;
        loose::make_dir(&self.about.files)?;
        Program::start(&self.about.settings)
    }

    fn cannot_start(&self, error: &io::Error) -> String {
        let command = self.about.settings.command.first().map(String::as_str).unwrap_or_default();
        self.about.words.line(&format!("cannot start `{command}`: {error}"), REASON)
    }

    fn first_line(&self, cursor: Option<&str>) -> String {
        let About { name, settings, secrets, state_dir, .. } = &*self.about;
        let (settings, secrets) = (&settings.settings, secrets.object());
        ToProgram::Start { protocol: PROTOCOL, channel: name, settings, secrets, cursor, state_dir }.line()
    }

    async fn no_hello(&self) -> Why {
        let mut hello = self.hello.subscribe();
        let said = timeout(HELLO, hello.wait_for(Option::is_some)).await.is_ok();
        if said {
            std::future::pending::<()>().await;
        }
        Why::Broke(format!("did not say hello within {} s", HELLO.as_secs()))
    }

    /// Ends when the program was told to end, and had its time.
    async fn told_to_stop(&self, closing: &CancellationToken) {
        closing.cancelled().await;
        let grace = sleep(GRACE);
        tokio::pin!(grace);
        tokio::select! {
            () = self.wire.tell(Out::Stop) => grace.await,
            () = &mut grace => {}
        }
    }

    async fn write(self: Arc<Self>, mut stdin: impl AsyncWrite + Unpin, mut lines: Outgoing) -> Why {
        while let Some(out) = lines.next().await {
            let (line, last) = match out {
                Out::Line(line) => (line, false),
                Out::Stop => (ToProgram::Stop {}.line(), true),
            };
            tokio::select! {
                written = stdin.write_all(line.as_bytes()) => if written.is_err() {
                    return Why::Closed;
                },
                () = self.wire.patience(READS_WITHIN) => {
                    return Why::Broke(format!("did not read its stdin for {} s", READS_WITHIN.as_secs()));
                }
            }
            if last {
                break;
            }
        }
        drop(stdin);
        std::future::pending().await
    }
}

/// A task that ends with whoever waits for it.
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(future))
}

/// Logs what the program complains about, and remembers the last of it.
async fn log_stderr(stderr: ChildStderr, words: Arc<Words>, last: Arc<Mutex<String>>) {
    let mut lines = Lines::new(stderr, STDERR_LINE);
    while let Ok(Some(line)) = lines.next().await {
        let text = String::from_utf8_lossy(&line.bytes);
        words.log(Level::Info, &text);
        let text = words.line(&text, REASON);
        if !text.is_empty() {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
    }
}

fn in_words(why: &Why, status: io::Result<ExitStatus>, last_words: &str) -> String {
    let what = match (why, status) {
        (Why::Broke(what), _) => return format!("the program {what}; it was ended"),
        (_, Ok(status)) => format!("the program ended ({status})"),
        (_, Err(_)) => "the program ended".to_owned(),
    };
    if last_words.is_empty() { what } else { format!("{what}: {last_words}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(dir: &std::path::Path) -> Arc<About> {
        let settings = Settings::parse(json!({"command": ["sleep", "600"]})).unwrap();
        Arc::new(About {
            name: "c".into(),
            settings,
            secrets: Secrets::default(),
            words: Arc::new(Words::new("c", Secrets::default())),
            standing: Standing::default(),
            state_dir: dir.join("program").to_string_lossy().into_owned(),
            files: dir.join("files"),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_never_says_hello_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (life, lines) = Life::new(&about(dir.path()), None);
        let start = tokio::time::Instant::now();
        let why = life.run(lines, None, &CancellationToken::new()).await;
        assert_eq!(why, "the program did not say hello within 30 s; it was ended");
        assert!(start.elapsed() >= HELLO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_does_not_read_is_ended_unless_it_is_not_read_either() {
        let dir = tempfile::tempdir().unwrap();
        let (life, lines) = Life::new(&about(dir.path()), None);
        let (stdin, _unread) = tokio::io::duplex(16);
        life.wire.tell(Out::Line("x".repeat(99))).await;
        life.wire.hold_up(true);
        let start = tokio::time::Instant::now();
        let reads_again = async {
            sleep(READS_WITHIN * 3).await;
            life.wire.hold_up(false);
        };
        let (why, ()) = tokio::join!(life.clone().write(stdin, lines), reads_again);
        assert_eq!(why, Why::Broke("did not read its stdin for 30 s".into()));
        assert!(start.elapsed() >= READS_WITHIN * 4 - Duration::from_secs(1));
    }
}
