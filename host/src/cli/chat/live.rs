//! Shows a turn on a terminal as it happens: the answer as it streams, activity between its lines, and no reply twice.

use std::io::Write;

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, Finished, SessionState};
use tokio::sync::mpsc::UnboundedSender;

use super::follow::Listener;
use super::once::{LOST, state_line};
use super::status_line::StatusLine;
use super::{activity, acts};
use crate::cli::error::CliError;
use crate::cli::terminal::{Cleaner, Style, clean, clean_line};

/// One turn on a terminal.
pub(super) struct Live<W> {
    out: W,
    style: Style,
    cleaner: Cleaner,
    /// What was streamed and not yet confirmed by a reply, as the agent wrote it.
    streamed: String,
    /// Whether the cursor is in the middle of a line.
    open: bool,
    /// Whether anything of an answer was shown.
    answered: bool,
    /// The state that was shown last.
    state: Option<String>,
    status: StatusLine,
    /// Told of each question.
    asked: Option<UnboundedSender<()>>,
    /// A question waits for its answer: the line is the person's.
    asks: bool,
}

impl<W: Write> Live<W> {
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            cleaner: Cleaner::default(),
            streamed: String::new(),
            open: false,
            answered: false,
            state: None,
            status: StatusLine::new(style),
            asked: None,
            asks: false,
        }
    }

    /// Tells `asked` of each question that is shown.
    pub fn telling(self, asked: UnboundedSender<()>) -> Self {
        Self { asked: Some(asked), ..self }
    }

    /// The end of the turn.
    pub fn finish(&mut self, finished: &Finished) -> Result<(), CliError> {
        self.status.set(None);
        match finished.outcome {
            ChatOutcome::Interrupted => self.aside("(the turn was interrupted)"),
            ChatOutcome::Replied if !self.answered => self.aside("(the agent has nothing to say)"),
            _ => self.close(),
        }
    }

    /// A dim line of our own.
    pub fn aside(&mut self, line: &str) -> Result<(), CliError> {
        let line = self.style.dim(line);
        self.line(&line)
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        if let Some(last) = text.chars().last() {
            self.open = last != '\n';
        }
        let erase = self.status.erase();
        let draw = if self.open { String::new() } else { self.status.draw() };
        let written = self.out.write_all(format!("{erase}{text}{draw}").as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| CliError::output(&error))
    }

    /// Ends a line that was begun, and what was shown of the turn.
    pub fn close(&mut self) -> Result<(), CliError> {
        self.status.set(None);
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), CliError> {
        self.write(if self.open { "\n" } else { "" })
    }

    fn line(&mut self, line: &str) -> Result<(), CliError> {
        let end = if self.open { "\n" } else { "" };
        self.write(&format!("{end}{line}\n"))
    }

    fn delta(&mut self, text: &str) -> Result<(), CliError> {
        self.streamed.push_str(text);
        let shown = self.cleaner.feed(text);
        self.answered |= !shown.trim().is_empty();
        // An answer does not begin with empty lines.
        let shown = if self.open { shown.as_str() } else { shown.trim_start_matches('\n') };
        self.write(shown)
    }

    fn reply(&mut self, text: &str) -> Result<(), CliError> {
        self.answered = true;
        let reply = text.trim();
        let streamed = self.streamed.trim();
        let rest = if let Some(rest) = streamed.strip_prefix(reply) {
            Some(rest.to_owned())
        } else {
            streamed.strip_suffix(reply).map(|_| String::new())
        };
        match rest {
            Some(rest) if !reply.is_empty() => {
                self.streamed = rest;
                if self.streamed.is_empty() { self.end_line() } else { Ok(()) }
            }
            _ => self.line(clean(text).trim()),
        }
    }
}

impl<W: Write> Listener for Live<W> {
    fn event(&mut self, event: &ChatEvent) -> Result<(), CliError> {
        match event {
            ChatEvent::Delta { text } => {
                self.asks = false;
                self.delta(text)
            }
            ChatEvent::Reply { text, .. } => {
                self.asks = false;
                self.reply(text)
            }
            ChatEvent::Notice { text, .. } => {
                let text = self.style.yellow(clean(text).trim());
                self.answered = true;
                self.line(&text)
            }
            ChatEvent::Activity { kind, .. } if self.status.covers(*kind) => Ok(()),
            ChatEvent::Activity { kind, text } => match activity(*kind, text) {
                Some(line) => self.aside(&line),
                None => Ok(()),
            },
            ChatEvent::State { state: state @ (SessionState::Queued | SessionState::Starting), note } => {
                let line = state_line(*state, note.as_deref());
                if self.state.as_ref() == Some(&line) {
                    return Ok(());
                }
                self.state = Some(line.clone());
                self.aside(&line)
            }
            ChatEvent::Blocked { message, hint, .. } => {
                let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
                let line = clean_line(&format!("waits: {message}{hint}"), 400);
                let line = self.style.yellow(&line);
                self.line(&line)
            }
            ChatEvent::Retrying { .. } => {
                self.streamed.clear();
                self.cleaner = Cleaner::default();
                self.close()
            }
            ChatEvent::Progress { .. } if self.asks => Ok(()),
            ChatEvent::Progress { text } => {
                self.status.set(text.as_deref());
                // An answer that is being written says enough.
                if self.open { Ok(()) } else { self.write("") }
            }
            ChatEvent::File { .. }
            | ChatEvent::Edited { .. }
            | ChatEvent::Reacted { .. }
            | ChatEvent::Question { .. } => {
                self.answered = true;
                if let ChatEvent::Question { .. } = event {
                    self.asks = true;
                    self.status.set(None);
                }
                if let (ChatEvent::Question { .. }, Some(asked)) = (event, &self.asked) {
                    // Nobody listens any more when the person stopped waiting.
                    let _ = asked.send(());
                }
                match acts::words(event) {
                    Some(words) => self.line(&words),
                    None => Ok(()),
                }
            }
            ChatEvent::State { .. }
            | ChatEvent::Accepted { .. }
            | ChatEvent::Started { .. }
            | ChatEvent::Restored
            | ChatEvent::Finished(_) => Ok(()),
        }
    }

    fn lost(&mut self) {
        self.streamed.clear();
        self.cleaner = Cleaner::default();
        self.status.set(None);
        // A terminal that is gone is noticed at the next event.
        let _ = self.aside(LOST);
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::{Attempt, ReplyId};
    use cofferdam_protocol::runner::ActivityKind;

    use super::*;

    fn delta(text: &str) -> ChatEvent {
        ChatEvent::Delta { text: text.into() }
    }

    fn reply(text: &str) -> ChatEvent {
        ChatEvent::Reply { turn: None, reply: ReplyId(1), text: text.into() }
    }

    fn shown(events: &[ChatEvent]) -> String {
        let mut out = Vec::new();
        let mut live = Live::new(&mut out, Style::PLAIN);
        for event in events {
            live.event(event).unwrap();
        }
        live.finish(&Finished {
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            turn: None,
            attempt: Attempt(1),
            container: None,
            outcome: ChatOutcome::Replied,
            usage: None,
            timings_ms: cofferdam_protocol::admin::Timings::default(),
        })
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_streamed_reply_is_not_printed_again() {
        assert_eq!(shown(&[delta("hel"), delta("lo"), reply("hello")]), "hello\n");
        assert_eq!(shown(&[delta("hello\n"), reply("hello\n")]), "hello\n");
    }

    #[test]
    fn several_streamed_replies_are_all_recognised() {
        let events = [delta("one "), delta("two"), reply("one"), reply("two")];
        assert_eq!(shown(&events), "one two\n");
    }

    #[test]
    fn a_reply_that_was_not_streamed_is_printed() {
        assert_eq!(shown(&[reply("hello")]), "hello\n");
        assert_eq!(shown(&[delta("hal"), reply("hello")]), "hal\nhello\n");
    }

    #[test]
    fn the_last_of_several_messages_is_recognised_when_it_alone_is_the_reply() {
        assert_eq!(shown(&[delta("I look. "), delta("Done."), reply("Done.")]), "I look. Done.\n");
    }

    #[test]
    fn activity_stands_on_its_own_line_and_states_are_told_once() {
        let state = ChatEvent::State { state: SessionState::Queued, note: Some("8 of 8".into()) };
        let command = ChatEvent::Activity { kind: ActivityKind::CommandStarted, text: "ls".into() };
        let events = [state.clone(), state, delta("I look"), command, delta("done"), reply("done")];
        assert_eq!(shown(&events), "queued: 8 of 8\nI look\n$ ls\ndone\n");
    }

    #[test]
    fn what_a_turn_does_now_is_one_line_that_goes_away() {
        let mut out = Vec::new();
        let mut live = Live::new(&mut out, Style::REDRAWS);
        let progress = |text: &str| ChatEvent::Progress { text: Some(text.into()) };
        let activity = |kind, text: &str| ChatEvent::Activity { kind, text: text.into() };
        live.event(&activity(ActivityKind::CommandStarted, "make")).unwrap();
        live.event(&progress("$ make")).unwrap();
        live.event(&activity(ActivityKind::CommandFinished, "exit code 0: make")).unwrap();
        live.event(&delta("done")).unwrap();
        live.event(&progress("works")).unwrap();
        live.event(&reply("done")).unwrap();
        live.close().unwrap();
        let shown = String::from_utf8(out).unwrap();
        let (make, works) = ("\u{1b}[?7l$ make\u{1b}[?7h", "\u{1b}[?7lworks\u{1b}[?7h");
        let erase = "\r\u{1b}[2K";
        assert_eq!(shown, format!("{make}{erase}  exit code 0: make\ndone\n{works}{erase}"));
    }

    #[test]
    fn an_agent_cannot_drive_the_terminal_even_in_pieces() {
        assert_eq!(shown(&[delta("a\u{1b}"), delta("[2"), delta("Jb"), reply("a\u{1b}[2Jb")]), "ab\n");
        assert_eq!(shown(&[reply("a\u{1b}]0;x\u{7}b")]), "ab\n");
    }

    #[test]
    fn trouble_is_told_with_the_mend_and_the_answer_still_comes() {
        let blocked = ChatEvent::Blocked {
            kind: cofferdam_protocol::admin::ErrorKind::Engine,
            message: "the engine does not answer".into(),
            hint: Some("start it".into()),
            outlook: cofferdam_protocol::admin::Outlook::Waits,
        };
        assert_eq!(shown(&[blocked, reply("hello")]), "waits: the engine does not answer; start it\nhello\n");
    }

    #[test]
    fn a_question_is_shown_and_told_of() {
        let (asked, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (mut out, options) = (Vec::new(), vec!["red".to_owned()]);
        let (turn, reply, question) = (None, ReplyId(2), "Which?".to_owned());
        let mut live = Live::new(&mut out, Style::PLAIN).telling(asked);
        live.event(&delta("I ask.")).unwrap();
        live.event(&ChatEvent::Question { turn, reply, question, options, expires_at: 0 }).unwrap();
        assert!(told.try_recv().is_ok());
        assert_eq!(String::from_utf8(out).unwrap(), "I ask.\n[question] Which?\n  1. red\n");
    }

    #[test]
    fn nothing_to_say_is_said() {
        assert_eq!(shown(&[]), "(the agent has nothing to say)\n");
    }

    #[test]
    fn what_was_streamed_before_the_daemon_went_away_does_not_hide_the_reply() {
        let mut out = Vec::new();
        let mut live = Live::new(&mut out, Style::PLAIN);
        live.event(&delta("hello")).unwrap();
        live.lost();
        live.event(&reply("hello")).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("hello\n{LOST}\nhello\n"));
    }
}
