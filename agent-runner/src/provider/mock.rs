//! A provider that answers by itself, at once: for tests and measurements of everything else.
//!
//! Its continuation is `mock:N` after N turns, and a resumed one goes on counting. The reply is
//! `mock reply to: TEXT` and, on a second line, `(turn N)`; TEXT is the messages' texts, a line each.
//! Lines of a message that start with `!` are directives and no part of TEXT:
//!
//! | line | what happens |
//! |---|---|
//! | `!wait SECONDS` | the turn takes so long (fractions too) |
//! | `!fail [KIND [TURN]]` | the turn fails: kind `other` or KIND, message `mock failure`; from turn TURN on it does not |
//! | `!take` | the turn waits for a message that steers it, and takes it; its text belongs to TEXT. Not when it is retried |
//! | `!options` | adds the turn's model and effort to TEXT, or `-` where none is named |
//! | `!early WORDS` | replies with these words at once |
//! | `!tool NAME JSON` | calls this tool of the host with these arguments; its answer belongs to TEXT |
//! | `!silent` | no answer until the turn is interrupted |
//! | `!eat` | the runner takes memory until its container's limit ends it |
//! | `!exit CODE` | the whole runner ends at once with this code, as if it had crashed |
//!
//! It knows the models `mock-large` (its default) and `mock-small`. A turn that compacts does nothing and says nothing.
//! Directives are obeyed in the order in which they stand; another word after `!` is ordinary text.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use cofferdam_protocol::runner::{Batch, Failure, FailureKind, Finish, Model, Outcome, Thread, Work};
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

    /// Goes through the messages; answers the text of the reply, and how the turn ends.
    async fn obey(&self, batch: &Batch, scope: &mut Scope) -> (Vec<String>, Outcome) {
        let mut text = Vec::new();
        let lines = batch.messages.iter().flat_map(|message| message.text.lines());
        for (at, line) in lines.enumerate() {
            match directive(line) {
                None => text.push(line.to_owned()),
                Some(Directive::Wait(time)) => tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    () = scope.interrupt.cancelled() => return (text, Outcome::Interrupted),
                },
                Some(Directive::Silent) => {
                    scope.interrupt.cancelled().await;
                    return (text, Outcome::Interrupted);
                }
                Some(Directive::Take) if batch.retried => {}
                Some(Directive::Take) => tokio::select! {
                    Some(offered) = scope.steering.recv() => {
                        scope.events.steered(offered.iter().map(|message| message.id).collect());
                        text.extend(offered.into_iter().map(|message| message.text));
                    }
                    () = scope.interrupt.cancelled() => return (text, Outcome::Interrupted),
                },
                Some(Directive::Options) => {
                    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
                    let options = &batch.options;
                    text.push(format!("model {} effort {}", word(&options.model), word(&options.effort)));
                }
                Some(Directive::Early(words)) => scope.events.reply(words),
                // The same call of the same turn has the same id, also in another runner.
                Some(Directive::Tool(name, arguments)) => {
                    let id = format!("mock-{at}");
                    tokio::select! {
                        answer = scope.host.tool(batch.turn, &id, &name, arguments) => {
                            text.push(answer.map_or_else(|error| error.to_string(), |(_, text)| text));
                        }
                        () = scope.interrupt.cancelled() => return (text, Outcome::Interrupted),
                    }
                }
                Some(Directive::Eat) => eat(),
                Some(Directive::Exit(code)) => std::process::exit(code),
                Some(Directive::Fail(kind, until)) if self.turns < until => {
                    return (text, Outcome::Failed(Failure::new(kind, "mock failure")));
                }
                Some(Directive::Fail(..)) => {}
            }
        }
        (text, Outcome::Completed)
    }
}

/// Takes memory, and writes to it, for ever.
fn eat() -> ! {
    const PIECE: usize = 1 << 20;
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1u8; PIECE]);
        std::hint::black_box(&eaten);
    }
}

fn models() -> Vec<Model> {
    let model = |name: &str, efforts: &[&str], default| Model {
        name: name.to_owned(),
        efforts: efforts.iter().map(|&effort| effort.to_owned()).collect(),
        default_effort: Some("low".to_owned()),
        default,
    };
    vec![model("mock-large", &["low", "high"], true), model("mock-small", &["low"], false)]
}

#[derive(Debug, PartialEq)]
enum Directive {
    Wait(Duration),
    /// With this kind, in turns before that one.
    Fail(FailureKind, u64),
    Take,
    Options,
    Early(String),
    Tool(String, serde_json::Value),
    Silent,
    Eat,
    Exit(i32),
}

fn directive(line: &str) -> Option<Directive> {
    let mut words = line.trim().strip_prefix('!')?.split_whitespace();
    match (words.next()?, words.next()) {
        ("wait", Some(seconds)) => Duration::try_from_secs_f64(seconds.parse().ok()?).ok().map(Directive::Wait),
        ("fail", kind) => {
            let kind = kind.map_or(Some(FailureKind::Other), |kind| serde_json::from_value(kind.into()).ok())?;
            let turn = words.next().map_or(Some(u64::MAX), |turn| turn.parse().ok())?;
            Some(Directive::Fail(kind, turn))
        }
        ("take", None) => Some(Directive::Take),
        ("options", None) => Some(Directive::Options),
        ("early", Some(first)) => {
            Some(Directive::Early(std::iter::once(first).chain(words).collect::<Vec<_>>().join(" ")))
        }
        ("tool", Some(name)) => {
            let (_, arguments) = line.split_once(name)?;
            Some(Directive::Tool(name.to_owned(), serde_json::from_str(arguments).ok()?))
        }
        ("silent", None) => Some(Directive::Silent),
        ("eat", None) => Some(Directive::Eat),
        ("exit", Some(code)) => code.parse().ok().map(Directive::Exit),
        _ => None,
    }
}

#[async_trait]
impl Provider for Mock {
    async fn start(&mut self) -> Result<Started, Failure> {
        let (generation, continuation) = (self.generation, self.continuation());
        Ok(Started { generation, continuation, models: models() })
    }

    async fn turn(&mut self, batch: &Batch, scope: &mut Scope) -> Finish {
        let begun = Instant::now();
        if batch.generation > self.generation {
            (self.generation, self.turns) = (batch.generation, 0);
        }
        self.turns += 1;
        let (text, outcome) = match batch.work {
            Work::Compact => (Vec::new(), Outcome::Completed),
            Work::Answer => self.obey(batch, scope).await,
        };
        let mut replies = Vec::new();
        if outcome == Outcome::Completed && batch.work == Work::Answer {
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
        assert_eq!(directive("!fail upstream 3"), Some(Directive::Fail(FailureKind::Upstream, 3)));
        assert_eq!(directive("!early so far"), Some(Directive::Early("so far".into())));
        let arguments = serde_json::json!({"text": "a b"});
        assert_eq!(directive("!tool x {\"text\": \"a b\"}"), Some(Directive::Tool("x".into(), arguments)));
        for text in [
            "!tool x",
            "!tool x {",
            "!fail soon",
            "!early",
            "!wait",
            "!wait -1",
            "!wait soon",
            "!hello",
            "fail",
            "! fail now",
        ] {
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
