//! What a program writes, line by line.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::ChildStdout;

use super::arrivals;
use super::calls::{done, failed};
use super::hello::Hello;
use super::inlet::Waiting;
use super::life::{Life, Why};
use super::lines::Lines;
use super::wire::{self, FromProgram, StateName};
use super::words::{Level, REASON};
use crate::channels::{Arrival, SendError, State};

/// Lines that are none of ours which are left out in one run: libraries like to print.
const STRAY: u32 = 100;
/// Where that was of whose chat nothing can be read.
const NOWHERE: &str = "lines";
/// The longest time that a program may name until it tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

impl Life {
    /// Reads until the program closes its stdout, or does what it may not.
    pub(super) async fn read(self: Arc<Self>, mut lines: Lines<ChildStdout>) -> Why {
        let mut stray = 0;
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) => return Why::Closed,
            };
            if line.cut {
                return Why::Broke("wrote a line of over 1 MiB".to_owned());
            }
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            let said = match FromProgram::parse(&line.bytes) {
                Ok(said) => said,
                Err(wrong) => {
                    stray += 1;
                    if stray > STRAY {
                        return Why::Broke(format!("wrote {STRAY} lines that are wrong; the last: {wrong}"));
                    }
                    self.about.words.log(Level::Warn, &format!("left out: {wrong}"));
                    if wrong.is_arrival {
                        self.refused(None).await;
                    }
                    continue;
                }
            };
            if let Err(broke) = self.heard(said).await {
                return Why::Broke(broke);
            }
        }
    }

    async fn heard(self: &Arc<Self>, said: FromProgram) -> Result<(), String> {
        let words = &self.about.words;
        let met = self.hello.borrow().is_some();
        match said {
            FromProgram::Log(log) => words.log(Level::parse(&log.level), &log.text),
            FromProgram::Unknown(kind) => words.log(Level::Debug, &format!("left out: a `{kind}` line")),
            FromProgram::Hello(hello) if !met => self.met(Hello::parse(words, hello)?),
            FromProgram::Hello(_) => words.log(Level::Warn, "left out: a second `hello`"),
            _ if !met => return Err("said something else before its hello".to_owned()),
            FromProgram::State(line) => self.stands(&line),
            FromProgram::Message(line) => {
                let chat = line.chat.clone();
                self.arrived("message", chat, arrivals::message(words, &self.about.name, line)).await;
            }
            FromProgram::Press(line) => {
                let chat = line.chat.clone();
                self.arrived("press", chat, arrivals::press(words, &self.about.name, line)).await;
            }
            FromProgram::Done(answer) => self.wire.answer(answer.call, Ok(done(words, answer))),
            FromProgram::Failed(answer) => self.failed(&answer),
            FromProgram::Present(line) => self.present(line),
        }
        Ok(())
    }

    fn met(&self, hello: Hello) {
        if let Some((inlet, link)) = &self.served {
            self.about.standing.set(&self.about.name, State::Connected);
            inlet.present(link.up(self.wire.clone(), hello.clone()));
        }
        self.hello.send_replace(Some(hello));
    }

    fn stands(&self, line: &wire::StateLine) {
        let Some((inlet, link)) = &self.served else { return };
        let mut why = self.about.words.line(&line.why, REASON);
        if why.is_empty() {
            why = "its program does not say why".to_owned();
        }
        let state = match line.state {
            StateName::Connecting => State::Connecting,
            StateName::Connected => State::Connected,
            StateName::Stopped => State::Stopped { why },
            StateName::Waiting => {
                let pause = Duration::from_millis(line.again_ms).min(LONGEST_PAUSE);
                let pause = i64::try_from(pause.as_millis()).unwrap_or_default();
                State::Waiting { why, again_at: crate::clock::now_ms() + pause }
            }
        };
        if state == State::Connected {
            inlet.present(link.all_present());
        }
        self.about.standing.set(&self.about.name, state);
    }

    async fn arrived(&self, what: &str, chat: String, arrival: Result<(Arrival, Option<String>), &'static str>) {
        let Some((inlet, _)) = &self.served else { return };
        match arrival {
            Ok((arrival, cursor)) => {
                let place = self.marks.came(cursor);
                let (marks, wire) = (self.marks.clone(), self.wire.clone());
                inlet.put(Waiting { arrival, place, marks, wire }).await;
            }
            Err(field) => {
                let text = format!("left out: a `{what}` line is wrong at `{field}` (missing, empty or too long)");
                self.about.words.log(Level::Warn, &text);
                self.refused(arrivals::id(chat, "chat").ok()).await;
            }
        }
    }

    /// Counts what was to be handed in and is left out; in this chat, if it can be one.
    async fn refused(&self, chat: Option<String>) {
        if let Some((inlet, _)) = &self.served {
            inlet.refused(chat.as_deref().unwrap_or(NOWHERE)).await;
        }
    }

    fn failed(&self, answer: &wire::Failed) {
        let error = failed(&self.about.words, answer);
        // Before its caller knows: a `present` may be the next line.
        if error == SendError::Absent
            && let (Some((_, link)), Some(chat)) = (&self.served, self.wire.chat(answer.call))
        {
            link.waits(&chat, &self.wire);
        }
        self.wire.answer(answer.call, Err(error));
    }

    fn present(&self, line: wire::Present) {
        let Some((inlet, link)) = &self.served else { return };
        match arrivals::chat(&self.about.name, line.chat, line.thread) {
            Ok(chat) if link.present(&chat) => inlet.present(vec![chat]),
            Ok(_) => {}
            Err(field) => {
                self.about.words.log(Level::Warn, &format!("left out: a `present` line is wrong at `{field}`"));
            }
        }
    }
}
