//! A provider that answers by itself, at once: for tests and measurements of everything else.
//!
//! Its continuation is `mock:N` after N turns, and a resumed one goes on counting. The reply is
//! `mock reply to: TEXT` and, on a second line, `(turn N)`; TEXT is the messages' texts, a line each.
//! Lines of a message that start with `!` are directives and no part of TEXT:
//!
//! | line | what happens |
//! |---|---|
//! | `!wait SECONDS` | the turn takes so long (fractions too) |
//! | `!fail` | the turn fails: kind `other`, message `mock failure` |
//! | `!silent` | no answer until the turn is interrupted |
//! | `!exit CODE` | the whole runner ends at once with this code, as if it had crashed |
//!
//! They are obeyed in the order in which they stand; another word after `!` is ordinary text.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, Failure, FailureKind, Finish, Outcome, Thread};
use tokio_util::sync::CancellationToken;

use super::{Provider, Scope, Started};
use crate::outbox::Outbox;

/// The mock provider.
#[derive(Debug)]
pub struct Mock {
    generation: u64,
    turns: u64,
}

impl Mock {
    /// Goes on from `mock:N`, or begins with the first turn.
    pub fn resume(thread: &Thread) -> Self {
        let counted = thread.continuation.as_deref().and_then(|text| text.strip_prefix("mock:"));
        Self { generation: thread.generation, turns: counted.and_then(|count| count.parse().ok()).unwrap_or(0) }
    }

    fn continuation(&self) -> String {
        format!("mock:{}", self.turns)
    }
}

#[derive(Debug, PartialEq)]
enum Directive {
    Wait(Duration),
    Fail,
    Silent,
    Exit(i32),
}

fn directive(line: &str) -> Option<Directive> {
    let mut words = line.trim().strip_prefix('!')?.split_whitespace();
    match (words.next()?, words.next()) {
        ("wait", Some(seconds)) => Duration::try_from_secs_f64(seconds.parse().ok()?).ok().map(Directive::Wait),
        ("fail", None) => Some(Directive::Fail),
        ("silent", None) => Some(Directive::Silent),
        ("exit", Some(code)) => code.parse().ok().map(Directive::Exit),
        _ => None,
    }
}

#[async_trait]
impl Provider for Mock {
    async fn start(&mut self) -> Result<Started, Failure> {
        let (generation, continuation) = (self.generation, self.continuation());
        Ok(Started { generation, continuation, models: Vec::new() })
    }

    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish {
        let (begun, interrupt) = (Instant::now(), &scope.interrupt);
        if batch.generation > self.generation {
            (self.generation, self.turns) = (batch.generation, 0);
        }
        self.turns += 1;
        let mut text = Vec::new();
        let mut outcome = Outcome::Completed;
        for line in batch.messages.iter().flat_map(|message| message.text.lines()) {
            match directive(line) {
                None => text.push(line),
                Some(Directive::Wait(time)) => tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    () = interrupt.cancelled() => outcome = Outcome::Interrupted,
                },
                Some(Directive::Silent) => {
                    interrupt.cancelled().await;
                    outcome = Outcome::Interrupted;
                }
                Some(Directive::Exit(code)) => std::process::exit(code),
                Some(Directive::Fail) => {
                    outcome = Outcome::Failed(Failure::new(FailureKind::Other, "mock failure"));
                }
            }
            if outcome != Outcome::Completed {
                break;
            }
        }
        let mut replies = Vec::new();
        if outcome == Outcome::Completed {
            let reply = format!("mock reply to: {}\n(turn {})", text.join("\n"), self.turns);
            scope.events.delta(reply.clone());
            replies.push(reply);
        }
        let continuation = Some(self.continuation());
        let thread = Thread { generation: self.generation, continuation, ..Thread::default() };
        let provider_millis = begun.elapsed().as_secs_f64() * 1e3;
        Finish { replies, thread: Some(thread), provider_millis, ..Finish::new(outcome) }
    }

    async fn settle(&mut self, _: &Outbox, _: &CancellationToken) {}

    async fn stop(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_directives_are_obeyed() {
        assert_eq!(directive("!wait 0.5"), Some(Directive::Wait(Duration::from_millis(500))));
        assert_eq!(directive("!exit 7"), Some(Directive::Exit(7)));
        assert_eq!(directive("!silent"), Some(Directive::Silent));
        for text in ["!wait", "!wait -1", "!wait soon", "!hello", "fail", "! fail now"] {
            assert_eq!(directive(text), None, "{text}");
        }
    }

    #[test]
    fn counting_goes_on_from_the_continuation() {
        let on = |text: &str| Thread { continuation: Some(text.into()), ..Thread::default() };
        assert_eq!(Mock::resume(&on("mock:5")).turns, 5);
        assert_eq!(Mock::resume(&on("other")).turns, 0);
        assert_eq!(Mock::resume(&Thread::default()).turns, 0);
    }
}
