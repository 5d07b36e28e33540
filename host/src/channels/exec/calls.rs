//! What is asked of a program, until it answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::arrivals;
use super::orders::ToProgram;
use super::wire::{self, Sort};
use super::words::{REASON, Words};
use crate::channels::SendError;
use crate::model::chat::ChatRef;

/// Calls that are on their way. Who has more waits.
const CALLS: usize = 64;
/// What was taken, and is to be said. Nobody waits for that: a program that writes much before it reads would wait for us, and
/// we for it. What comes beyond is not said; such a program is ended soon, since it does not read.
const TAKEN: usize = 64 * 1024;
/// The longest pause that a program is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// A line for the program.
pub(super) enum Out {
    /// This one; with its end.
    Line(String),
    /// The last one: its stdin is closed after it.
    Stop,
}

/// What is to be written to a program.
pub(super) struct Outgoing {
    calls: mpsc::Receiver<Out>,
    taken: mpsc::Receiver<String>,
}

impl Outgoing {
    /// The next line; none when nobody can ask any more.
    pub(super) async fn next(&mut self) -> Option<Out> {
        tokio::select! {
            biased;
            Some(line) = self.taken.recv() => Some(Out::Line(line)),
            out = self.calls.recv() => out,
        }
    }
}

/// What a program said to a call.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The platform's id.
    pub(super) id: Option<String>,
    /// In words.
    pub(super) text: Option<String>,
}

/// The way to one running program.
pub(super) struct Wire {
    out: mpsc::Sender<Out>,
    taken: mpsc::Sender<String>,
    calls: Mutex<Calls>,
    /// Nothing is read from it, so it cannot answer.
    held_up: AtomicBool,
}

#[derive(Default)]
struct Calls {
    last: u64,
    open: HashMap<u64, Open>,
    over: bool,
}

struct Open {
    answer: oneshot::Sender<Result<Done, SendError>>,
    chat: Option<ChatRef>,
}

impl Wire {
    /// A way, and what is to be written to the program.
    pub(super) fn new() -> (Arc<Self>, Outgoing) {
        let (out, calls) = mpsc::channel(CALLS);
        let (said, taken) = mpsc::channel(TAKEN);
        let wire = Self { out, taken: said, calls: Mutex::default(), held_up: AtomicBool::new(false) };
        (Arc::new(wire), Outgoing { calls, taken })
    }

    /// Tells the program that something is taken; waits for nothing.
    pub(super) fn taken(&self, line: String) {
        if self.taken.try_send(line).is_err() {
            tracing::debug!("a channel's program was not told that its message is taken");
        }
    }

    /// Tells the program something. One that ended is told nothing.
    pub(super) async fn tell(&self, line: Out) {
        let _ = self.out.send(line).await;
    }

    /// Asks the program, and waits so long for its answer. `chat`: whom it is about.
    pub(super) async fn ask(
        &self,
        chat: Option<&ChatRef>,
        patience: Duration,
        line: impl FnOnce(u64) -> String,
    ) -> Result<Done, SendError> {
        let Some(mut call) = self.open(chat) else { return Err(SendError::Absent) };
        if self.out.send(Out::Line(line(call.number))).await.is_err() {
            return Err(SendError::Absent);
        }
        let doubt = |why: String| Err(SendError::Doubt { why });
        let number = call.number;
        tokio::select! {
            answer = &mut call.answer => match answer {
                Ok(answer) => answer,
                Err(_) => doubt("the program ended before it answered".to_owned()),
            },
            () = self.patience(patience) => {
                tracing::debug!(call = number, "a call of a channel's program has no answer");
                doubt(format!("the program did not answer within {} s", patience.as_secs()))
            }
        }
    }

    /// So long, not counting the time in which nothing is read.
    pub(super) async fn patience(&self, mut left: Duration) {
        const STEP: Duration = Duration::from_secs(1);
        while !left.is_zero() {
            let step = left.min(STEP);
            sleep(step).await;
            if !self.held_up.load(Ordering::Relaxed) {
                left -= step;
            }
        }
    }

    /// Notes whether the program is read.
    pub(super) fn hold_up(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::Relaxed);
    }

    fn open(&self, chat: Option<&ChatRef>) -> Option<Call<'_>> {
        let mut calls = self.calls();
        if calls.over {
            return None;
        }
        calls.last += 1;
        let number = calls.last;
        let (sender, answer) = oneshot::channel();
        calls.open.insert(number, Open { answer: sender, chat: chat.cloned() });
        Some(Call { number, answer, wire: self })
    }

    /// Whom an open call is about.
    pub(super) fn chat(&self, call: u64) -> Option<ChatRef> {
        self.calls().open.get(&call)?.chat.clone()
    }

    /// Ends a call. An answer that nobody waits for ends nothing.
    pub(super) fn answer(&self, call: u64, answer: Result<Done, SendError>) {
        let open = self.calls().open.remove(&call);
        match open {
            // Its caller may have left this moment.
            Some(open) => drop(open.answer.send(answer)),
            None => tracing::debug!(call, "an answer to no open call of a channel's program"),
        }
    }

    /// The program ended: it answers nothing any more.
    pub(super) fn over(&self) {
        let mut calls = self.calls();
        calls.over = true;
        calls.open.clear();
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open call. It is closed when its caller leaves.
struct Call<'a> {
    number: u64,
    answer: oneshot::Receiver<Result<Done, SendError>>,
    wire: &'a Wire,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.wire.calls().open.remove(&self.number);
    }
}

/// An answer that all is well. An id that cannot be one is none.
pub(super) fn done(words: &Words, done: wire::Done) -> Done {
    Done {
        id: done.id.and_then(|id| arrivals::id(id, "id").ok()),
        text: done.text.map(|text| words.line(&text, REASON)),
    }
}

/// An answer that it is not.
pub(super) fn failed(words: &Words, failed: &wire::Failed) -> SendError {
    let mut why = words.line(&failed.why, REASON);
    if why.is_empty() {
        why = "its program does not say why".to_owned();
    }
    match failed.sort {
        Sort::Absent => SendError::Absent,
        Sort::Refused => SendError::Refused { why },
        Sort::Doubt => SendError::Doubt { why },
        Sort::Later => SendError::Later {
            why,
            after: failed.after_ms.map(|ms| Duration::from_millis(ms).min(LONGEST_PAUSE)),
            whole_channel: failed.whole_channel,
        },
    }
}

/// A question whether all is well.
pub(super) fn test(call: u64) -> String {
    ToProgram::Test { call }.line()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn each_call_gets_its_own_answer_and_nobody_elses() {
        let (wire, mut lines) = Wire::new();
        let program = async {
            let mut asked = Vec::new();
            for _ in 0..2 {
                let Some(Out::Line(line)) = lines.next().await else { panic!("no line") };
                asked.push(line);
            }
            wire.answer(99, Ok(Done::default()));
            for call in [2, 1] {
                wire.answer(call, Ok(Done { id: Some(call.to_string()), text: None }));
                wire.answer(call, Err(SendError::Absent));
            }
            asked
        };
        let ask = || wire.ask(None, LONG, |call| call.to_string());
        let (one, two, asked) = tokio::join!(ask(), ask(), program);
        assert_eq!((one.unwrap().id.as_deref(), two.unwrap().id.as_deref()), (Some("1"), Some("2")));
        assert_eq!(asked, ["1", "2"]);
        assert!(wire.calls().open.is_empty());
    }

    #[tokio::test]
    async fn a_program_that_ends_leaves_a_doubt_and_later_calls_find_nobody() {
        let (wire, mut lines) = Wire::new();
        let ends = async {
            lines.next().await;
            wire.over();
        };
        let (asked, ()) = tokio::join!(wire.ask(None, LONG, |_| String::new()), ends);
        assert!(matches!(asked, Err(SendError::Doubt { .. })), "{asked:?}");
        assert_eq!(wire.ask(None, LONG, |_| String::new()).await.unwrap_err(), SendError::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_doubt_but_not_while_nothing_is_read() {
        let (wire, _lines) = Wire::new();
        wire.hold_up(true);
        let start = tokio::time::Instant::now();
        let reads_again = async {
            sleep(LONG * 10).await;
            wire.hold_up(false);
        };
        let (asked, ()) = tokio::join!(wire.ask(None, LONG, |_| String::new()), reads_again);
        assert!(matches!(asked, Err(SendError::Doubt { .. })), "{asked:?}");
        assert!(start.elapsed() >= LONG * 11 - Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(wire.calls().open.is_empty(), "nobody waits for it any more");
    }
}
