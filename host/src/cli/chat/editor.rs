//! A line editor with history, for talking to a group from a terminal.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::follow::follow;
use super::live::Live;
use super::{Talk, check};
use crate::cli::error::{self, CliError};
use crate::cli::terminal::{self, Style};

const HELP: &str = "\
/quit or Ctrl-D   leave
/help             this text
Ctrl-C            stop waiting for an answer, or clear the line
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

/// Talks until the person leaves.
pub(super) async fn run(talk: &Talk<'_>) -> Result<u8, CliError> {
    let history = talk.context.home.data().join("history");
    let mut editor = open(history.clone()).await?;
    let group = &talk.args.group;
    let prompt = match &talk.args.thread {
        Some(thread) => format!("{group}#{}> ", terminal::clean_line(thread, 40)),
        None => format!("{group}> "),
    };
    terminal::out(&format!("Talking to {group}. /help shows the commands, Ctrl-D leaves."))?;
    loop {
        let asked = prompt.clone();
        let read = tokio::task::spawn_blocking(move || {
            let line = editor.readline(&asked);
            (editor, line)
        });
        let (back, line) = read.await.map_err(|error| CliError::internal(error.to_string()))?;
        editor = back;
        let line = match line {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(0),
            Err(error) => return Err(CliError::internal(format!("the terminal cannot be read: {error}"))),
        };
        match parse(&line) {
            Line::Nothing => {}
            Line::Quit => return Ok(0),
            Line::Help => terminal::out(HELP)?,
            Line::Message(message) => {
                // A history that cannot be kept is no reason to stop talking.
                let _ = editor.add_history_entry(message);
                let _ = editor.append_history(&history);
                send(talk, message).await?;
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

/// One message; what goes wrong with it is told and does not end the talk.
async fn send(talk: &Talk<'_>, message: &str) -> Result<(), CliError> {
    if let Err(wrong) = check(message) {
        error::report(&wrong, false);
        return Ok(());
    }
    let request = talk.request(message.to_owned());
    let stdout = std::io::stdout();
    let mut live = Live::new(&stdout, Style::of(&stdout));
    let followed = tokio::select! {
        finished = follow(talk.connection.client(), &request, &mut live) => finished,
        _ = tokio::signal::ctrl_c() => {
            live.close()?;
            return live.aside("stopped waiting: the turn goes on, and its reply comes with the next message");
        }
    };
    match followed {
        Ok(finished) => live.finish(&finished),
        Err(wrong) => {
            live.close()?;
            error::report(&wrong, false);
            Ok(())
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
