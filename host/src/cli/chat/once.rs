//! Messages without an editor: replies on standard output, everything else on standard error.

use std::io::IsTerminal;

use cofferdam_protocol::admin::{
    ChatEvent, ChatOutcome, ChatRequest, ErrorBody, Finished, Outlook, SessionState, Timings,
};
use cofferdam_protocol::ids::{Attempt, FileId, Folder, SessionId, TurnId};
use cofferdam_protocol::runner::Usage;
use serde::Serialize;

use super::follow::{Listener, follow};
use super::status_line::StatusLine;
use super::{Talk, activity, acts, check, exit_code};
use crate::cli::error::CliError;
use crate::cli::signals;
use crate::cli::terminal::{self, Style};

/// Sends one message and waits for its turn.
pub(super) async fn run(talk: &Talk<'_>, message: String, files: Vec<FileId>) -> Result<u8, CliError> {
    let request = ChatRequest { files, ..talk.request(message) };
    let mut heard = Heard::new(talk.context.json);
    heard.raw = talk.schema.is_some() && !std::io::stdout().is_terminal();
    let finished = tokio::select! {
        finished = follow(talk.connection.client(), &request, &mut heard) => {
            heard.clear();
            finished?
        }
        code = signals::told_to_end() => {
            heard.clear();
            terminal::err(talk.left_behind());
            return Ok(code);
        }
    };
    let code = exit_code(&finished.outcome);
    if talk.context.json {
        terminal::out_json(&heard.answer(&talk.args.group, finished))?;
    } else if heard.is_empty() && finished.outcome == ChatOutcome::Replied {
        terminal::err("(the agent has nothing to say)");
    } else if heard.notices.is_empty() && finished.outcome == ChatOutcome::Interrupted {
        terminal::err("(the turn was interrupted)");
    }
    Ok(code)
}

/// Sends every line of standard input as a message; the code is the first one that is not 0.
pub(super) async fn lines(talk: &Talk<'_>) -> Result<u8, CliError> {
    let mut code = 0;
    loop {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line))
        });
        let line = read.await.map_err(|error| CliError::internal(error.to_string()))?;
        let Some(line) = line.map_err(|error| CliError::io("standard input cannot be read", &error))? else {
            return Ok(code);
        };
        if line.trim().is_empty() {
            continue;
        }
        check(&line)?;
        let this = run(talk, line.trim_end_matches(['\r', '\n']).to_owned(), Vec::new()).await?;
        if this > signals::BY_SIGNAL {
            return Ok(this);
        }
        code = if code == 0 { this } else { code };
    }
}

/// What was heard about one message.
struct Heard {
    replies: Vec<(Option<TurnId>, String)>,
    notices: Vec<(Option<TurnId>, String)>,
    actions: Vec<ChatEvent>,
    json: bool,
    /// How activity is shown on standard error; not at all when nobody looks.
    activity: Option<Style>,
    status: StatusLine,
    /// Replies are for a program: printed as the agent wrote them.
    raw: bool,
}

/// The object of `chat --json`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    replies: Vec<String>,
    notices: Vec<String>,
    /// What still waited from earlier turns of the chat, replies and notices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<String>,
    /// Files, questions, edits and reactions, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<ChatEvent>,
    group: &'a Folder,
    session: SessionId,
    turn: Option<TurnId>,
    attempt: Attempt,
    container: Option<String>,
    #[serde(flatten)]
    outcome: ChatOutcome,
    usage: Option<Usage>,
    timings_ms: Timings,
}

impl Heard {
    /// Whether the agent and Cofferdam said nothing.
    fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.notices.is_empty() && self.actions.is_empty()
    }

    fn new(json: bool) -> Self {
        let stderr = std::io::stderr();
        let activity = (stderr.is_terminal() && !json).then(|| Style::of(&stderr));
        let status = StatusLine::new(activity.unwrap_or(Style::PLAIN));
        Self { replies: vec![], notices: vec![], actions: vec![], json, activity, status, raw: false }
    }

    /// Writes something while the status line is away.
    fn aside(&mut self, write: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
        terminal::err_piece(self.status.erase());
        write()?;
        terminal::err_piece(&self.status.draw());
        Ok(())
    }

    /// Takes the status line away for good.
    fn clear(&mut self) {
        self.status.set(None);
        terminal::err_piece(self.status.erase());
    }

    fn answer(self, group: &Folder, finished: Finished) -> Answer<'_> {
        let mut earlier = Vec::new();
        let mut ours = |said: Vec<(Option<TurnId>, String)>| -> Vec<String> {
            let (ours, others): (Vec<_>, Vec<_>) = said.into_iter().partition(|(turn, _)| *turn == finished.turn);
            earlier.extend(others.into_iter().map(|(_, text)| text));
            ours.into_iter().map(|(_, text)| text).collect()
        };
        let (replies, notices) = (ours(self.replies), ours(self.notices));
        Answer {
            replies,
            notices,
            earlier,
            actions: self.actions,
            group,
            session: finished.session,
            turn: finished.turn,
            attempt: finished.attempt,
            container: finished.container,
            outcome: finished.outcome,
            usage: finished.usage,
            timings_ms: finished.timings_ms,
        }
    }
}

impl Listener for Heard {
    fn event(&mut self, event: &ChatEvent) -> Result<(), CliError> {
        match event {
            ChatEvent::Reply { turn, text, .. } => {
                if self.raw && !self.json {
                    self.aside(|| terminal::out(text))?;
                } else if !self.json {
                    self.aside(|| terminal::out(terminal::clean(text).trim_end()))?;
                }
                self.replies.push((*turn, text.clone()));
            }
            ChatEvent::Notice { turn, text, .. } => {
                if !self.json {
                    self.aside(|| terminal::say(terminal::clean(text).trim_end()))?;
                }
                self.notices.push((*turn, text.clone()));
            }
            ChatEvent::File { .. }
            | ChatEvent::Edited { .. }
            | ChatEvent::Reacted { .. }
            | ChatEvent::Question { .. } => {
                if let (false, Some(words)) = (self.json, acts::words(event)) {
                    self.aside(|| terminal::out(&words))?;
                }
                if let (true, ChatEvent::Question { .. }) = (self.activity.is_some(), event) {
                    self.aside(|| terminal::say("it waits for the answer: send it with another `cofferdam chat`"))?;
                }
                self.actions.push(event.clone());
            }
            ChatEvent::Blocked { kind, message, hint, outlook } => {
                let message = format!("{message}; {}", becomes_of_it(*outlook));
                return Err(ErrorBody { kind: *kind, message, hint: hint.clone() }.into());
            }
            ChatEvent::Progress { text } => {
                self.status.set(text.as_deref());
                self.aside(|| Ok(()))?;
            }
            ChatEvent::Activity { kind, .. } if self.status.covers(*kind) => {}
            ChatEvent::Activity { kind, text } => {
                if let (Some(style), Some(line)) = (self.activity, activity(*kind, text)) {
                    self.aside(|| terminal::say(&style.dim(&line)))?;
                }
            }
            ChatEvent::State { state: state @ (SessionState::Queued | SessionState::Starting), note } => {
                if let Some(style) = self.activity {
                    self.aside(|| terminal::say(&style.dim(&state_line(*state, note.as_deref()))))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.clear();
        if !self.json {
            terminal::err(LOST);
        }
    }
}

/// What becomes of a message that is not answered now.
fn becomes_of_it(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Waits => "the message stays accepted and is answered when that is mended",
        Outlook::Counted => {
            "the message stays accepted and is tried again; after the last try it becomes a dead letter \
             (`cofferdam dead-letter list`)"
        }
        Outlook::GivenUp => "that was the last try: the message is a dead letter (`cofferdam dead-letter list`)",
    }
}

/// What people are told while the daemon is away.
pub(in crate::cli) const LOST: &str = "the daemon went away; waiting for it to come back";

/// A session's state in one line.
pub(super) fn state_line(state: SessionState, note: Option<&str>) -> String {
    let word = crate::cli::session::state(state);
    match note {
        Some(note) => format!("{word}: {}", terminal::clean_line(note, 160)),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::ReplyId;
    use cofferdam_protocol::runner::FailureKind;

    use super::*;

    #[test]
    fn a_message_whose_tries_are_counted_is_not_promised_an_answer() {
        let said = |outlook| {
            let (message, hint) = ("it died; start 1 of 3 failed".to_owned(), None);
            let kind = cofferdam_protocol::admin::ErrorKind::Image;
            let blocked = ChatEvent::Blocked { kind, message, hint, outlook };
            Heard::new(false).event(&blocked).unwrap_err().message().to_owned()
        };
        assert!(said(Outlook::Waits).ends_with("is answered when that is mended"));
        let counted = said(Outlook::Counted);
        assert!(counted.contains("start 1 of 3 failed; ") && counted.contains("tried again"), "{counted}");
        for outlook in [Outlook::Counted, Outlook::GivenUp] {
            let said = said(outlook);
            assert!(said.contains("`cofferdam dead-letter list`") && !said.contains("is answered"), "{said}");
        }
    }

    #[test]
    fn the_json_answer_has_the_documented_keys() {
        let heard = Heard {
            replies: vec![(Some(TurnId(3)), "of before".into()), (Some(TurnId(4)), "hi".into())],
            notices: vec![(Some(TurnId(4)), "failed".into())],
            actions: vec![ChatEvent::Edited {
                turn: None,
                edit: ReplyId(9),
                reply: ReplyId(8),
                text: "better".into(),
            }],
            json: true,
            activity: None,
            status: StatusLine::new(Style::PLAIN),
            raw: false,
        };
        let finished = Finished {
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            turn: Some(TurnId(4)),
            attempt: Attempt(2),
            container: None,
            outcome: ChatOutcome::Failed { kind: FailureKind::Silence },
            usage: Some(Usage { input: 5, ..Usage::default() }),
            timings_ms: Timings { total: 1.5, ..Timings::default() },
        };
        let folder = "demo".parse().unwrap();
        insta::assert_json_snapshot!(heard.answer(&folder, finished), @r#"
        {
          "replies": [
            "hi"
          ],
          "notices": [
            "failed"
          ],
          "earlier": [
            "of before"
          ],
          "actions": [
            {
              "event": "edited",
              "turn": null,
              "edit": 9,
              "reply": 8,
              "text": "better"
            }
          ],
          "group": "demo",
          "session": "0123456789abcdef0123456789abcdef",
          "turn": 4,
          "attempt": 2,
          "container": null,
          "outcome": "failed",
          "kind": "silence",
          "usage": {
            "input": 5,
            "cached_input": 0,
            "output": 0,
            "reasoning": 0
          },
          "timings_ms": {
            "queued": null,
            "container_start": null,
            "provider_ready": null,
            "provider": null,
            "total": 1.5
          }
        }
        "#);
    }
}
