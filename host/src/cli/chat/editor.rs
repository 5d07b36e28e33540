//! A line editor with history, for talking to a group from a terminal.

use std::path::PathBuf;

use cofferdam_protocol::admin::{ChatEvent, ChatRequest, Finished};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::follow::follow;
use super::live::Live;
use super::{Talk, check};
use crate::cli::error::{self, CliError};
use crate::cli::terminal::{self, Style};

const HELP: &str = "\
/quit or Ctrl-D   leave
/help             this text
Ctrl-C            stop waiting for an answer, or clear the line
/stop             end the running turn
/clear            begin a new conversation
/compact          shorten the conversation to a summary
/model, /effort   show or choose the model and how much it thinks
/account          show or choose the account that serves it
/status           how the conversations stand
/approve, /deny   decide on what waits, and answer a question of the agent
At `answer>` the agent waits for you: an option's number, or your own words.
Everything else goes to the agent.";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Quit,
    Help,
    Message(&'a str),
}

fn parse(line: &str) -> Line<'_> {
    match line.trim() {
        "" => Line::Nothing,
        "/quit" => Line::Quit,
        "/help" => Line::Help,
        message => Line::Message(message),
    }
}

/// The lines that a person writes. One reading goes on until its line is there, whoever waits for it.
struct Lines {
    editor: Option<DefaultEditor>,
    reading: Option<JoinHandle<(DefaultEditor, Result<String, ReadlineError>)>>,
    history: PathBuf,
}

impl Lines {
    async fn open(history: PathBuf) -> Result<Self, CliError> {
        Ok(Self { editor: Some(open(history.clone()).await?), reading: None, history })
    }

    /// The next line; none at Ctrl-C. Cancelling keeps what is being written for the next call.
    async fn next(&mut self, prompt: &str) -> Result<Option<String>, CliError> {
        if let Some(mut editor) = self.editor.take() {
            let prompt = prompt.to_owned();
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let line = editor.readline(&prompt);
                (editor, line)
            }));
        }
        let Some(reading) = &mut self.reading else { return Err(CliError::internal("no line can be read")) };
        let read = reading.await;
        self.reading = None;
        let (editor, line) = read.map_err(|error| CliError::internal(error.to_string()))?;
        self.editor = Some(editor);
        match line {
            Ok(line) => Ok(Some(line)),
            Err(ReadlineError::Interrupted) => Ok(None),
            Err(ReadlineError::Eof) => Ok(Some("/quit".to_owned())),
            Err(error) => Err(CliError::internal(format!("the terminal cannot be read: {error}"))),
        }
    }

    fn remember(&mut self, line: &str) {
        if let Some(editor) = &mut self.editor {
            // A history that cannot be kept is no reason to stop talking.
            let _ = editor.add_history_entry(line);
            let _ = editor.append_history(&self.history);
        }
    }
}

/// Talks until the person leaves.
pub(super) async fn run(talk: &Talk<'_>) -> Result<u8, CliError> {
    let mut lines = Lines::open(talk.context.home.data().join("history")).await?;
    let group = &talk.args.group;
    let prompt = match &talk.args.thread {
        Some(thread) => format!("{group}#{}> ", terminal::clean_line(thread, 40)),
        None => format!("{group}> "),
    };
    terminal::out(&format!("Talking to {group}. /help shows the commands, Ctrl-D leaves."))?;
    loop {
        let Some(line) = lines.next(&prompt).await? else { continue };
        match parse(&line) {
            Line::Nothing => {}
            Line::Quit => return Ok(0),
            Line::Help => terminal::out(HELP)?,
            Line::Message(message) => {
                lines.remember(message);
                if send(talk, message, &mut lines).await? == Then::Leave {
                    return Ok(0);
                }
            }
        }
    }
}

async fn open(history: PathBuf) -> Result<DefaultEditor, CliError> {
    let opened = tokio::task::spawn_blocking(move || {
        let mut editor = DefaultEditor::new()?;
        // None yet, or an unreadable one: start afresh.
        let _ = editor.load_history(&history);
        Ok::<_, ReadlineError>(editor)
    });
    let editor = opened.await.map_err(|error| CliError::internal(error.to_string()))?;
    editor.map_err(|error| CliError::internal(format!("the terminal cannot be used: {error}")))
}

/// What comes after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Leave,
}

/// One message and its turn, with the answers to what the agent asks; what goes wrong with it is told and does not end
/// the talk.
async fn send(talk: &Talk<'_>, message: &str, lines: &mut Lines) -> Result<Then, CliError> {
    if let Err(wrong) = check(message) {
        error::report(&wrong, false);
        return Ok(Then::GoOn);
    }
    let request = talk.request(message.to_owned());
    let stdout = std::io::stdout();
    let (asked, mut questions) = mpsc::unbounded_channel();
    let mut live = Live::new(&stdout, Style::of(&stdout)).telling(asked);
    let ended = {
        let followed = follow(talk.connection.client(), &request, &mut live);
        tokio::pin!(followed);
        let mut open = 0_usize;
        loop {
            tokio::select! {
                finished = &mut followed => break Ended::Turn(finished),
                Some(()) = questions.recv() => open += 1,
                line = lines.next("answer> "), if open > 0 => match line?.as_deref().map(parse) {
                    None => break Ended::Stopped(Then::GoOn),
                    Some(Line::Quit) => break Ended::Stopped(Then::Leave),
                    Some(Line::Nothing) => {}
                    Some(Line::Help) => terminal::out(HELP)?,
                    Some(Line::Message(text)) => {
                        lines.remember(text);
                        open -= usize::from(answer(talk, text).await);
                    }
                },
                _ = tokio::signal::ctrl_c() => break Ended::Stopped(Then::GoOn),
            }
        }
    };
    match ended {
        Ended::Turn(Ok(finished)) => live.finish(&finished)?,
        Ended::Turn(Err(wrong)) => {
            live.close()?;
            error::report(&wrong, false);
        }
        Ended::Stopped(then) => {
            live.close()?;
            live.aside("stopped waiting: the turn goes on, and its reply comes with the next message")?;
            return Ok(then);
        }
    }
    if lines.reading.is_some() {
        live.aside("(the question is over: what you write now is a new message)")?;
    }
    Ok(Then::GoOn)
}

/// Why a turn is not followed any more.
enum Ended {
    Turn(Result<Finished, CliError>),
    Stopped(Then),
}

/// Sends the answer to a question; its turn is followed already. Answers whether the daemon has it.
async fn answer(talk: &Talk<'_>, text: &str) -> bool {
    let sent = async {
        check(text)?;
        // What the turn's last answer must look like is no matter of this one.
        let request = ChatRequest { schema: None, ..talk.request(text.to_owned()) };
        let mut events = talk.connection.client().chat(&request).await?;
        while !matches!(events.next().await?, ChatEvent::Accepted { .. }) {}
        Ok::<_, CliError>(())
    };
    match sent.await {
        Ok(()) => true,
        Err(wrong) => {
            error::report(&wrong, false);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_local_commands_are_kept_from_the_agent() {
        assert_eq!(parse(" \t"), Line::Nothing);
        assert_eq!(parse("/quit "), Line::Quit);
        assert_eq!(parse("/help"), Line::Help);
        assert_eq!(parse("/review this"), Line::Message("/review this"));
        assert_eq!(parse("!run ls"), Line::Message("!run ls"));
    }
}
