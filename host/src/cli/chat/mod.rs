//! `cofferdam chat GROUP [MESSAGE]`: one message, one message per line of a pipe, or a line editor.

mod acts;
mod editor;
mod follow;
mod live;
mod once;
mod schema;
mod status_line;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cofferdam_protocol::admin::{
    ChatOutcome, ChatRequest, ErrorKind, MAX_FILE_BYTES, MAX_FILES, MAX_MESSAGE_BYTES,
};
use cofferdam_protocol::ids::FileId;
use cofferdam_protocol::runner::ActivityKind;
use uuid::Uuid;

use super::args::ChatArgs;
use super::connect::{self, Connection, Mode};
use super::error::CliError;
use super::{Context, terminal};
use crate::config::process_env;
pub(super) use once::LOST;

pub(super) async fn run(context: &Context, args: ChatArgs) -> Result<u8, CliError> {
    let message = match args.message.as_deref() {
        Some("-") => Some(read_message()?),
        Some(text) => Some(text.to_owned()),
        // Files speak for themselves.
        None => (!args.files.is_empty()).then(String::new),
    };
    if let Some(message) = message.as_deref().filter(|message| args.files.is_empty() || !message.trim().is_empty())
    {
        check(message)?;
    }
    let schema = args.schema.as_deref().map(schema::read).transpose()?;
    let files = read_files(&args.files)?;
    let connection = connect::connect_or_host(&context.home, Mode::InProcess).await?;
    let talk = Talk { schema, ..Talk::new(context, &connection, &args) };
    let result = match message {
        Some(message) => match talk.hand_in(files).await {
            Ok(files) => once::run(&talk, message, files).await,
            Err(error) => Err(error),
        },
        None if std::io::stdin().is_terminal() && !context.json => editor::run(&talk).await,
        None => once::lines(&talk).await,
    };
    connection.close().await;
    result
}

/// What the messages of one command have in common.
struct Talk<'c> {
    context: &'c Context,
    connection: &'c Connection,
    args: &'c ChatArgs,
    sender: String,
    schema: Option<serde_json::Value>,
}

impl<'c> Talk<'c> {
    fn new(context: &'c Context, connection: &'c Connection, args: &'c ChatArgs) -> Self {
        let user = || process_env("USER").filter(|name| !name.trim().is_empty());
        let sender = args.sender.clone().or_else(user).unwrap_or_else(|| "terminal".to_owned());
        Self { context, connection, args, sender, schema: None }
    }

    /// A fresh message: its id is new, and sending it again attaches to the same message.
    fn request(&self, text: String) -> ChatRequest {
        ChatRequest {
            group: self.args.group.clone(),
            thread: self.args.thread.clone(),
            message_id: Uuid::new_v4().to_string(),
            sender: self.sender.clone(),
            text,
            schema: self.schema.clone(),
            files: Vec::new(),
        }
    }

    /// Gives the daemon the files that go with a message.
    async fn hand_in(&self, files: Vec<(String, Bytes)>) -> Result<Vec<FileId>, CliError> {
        let mut ids = Vec::new();
        for (name, content) in files {
            ids.push(self.connection.client().upload(&self.args.group, &name, content).await?.id);
        }
        Ok(ids)
    }

    /// What Ctrl-C leaves behind, in words.
    fn left_behind(&self) -> &'static str {
        if self.connection.is_remote() {
            "stopped waiting: the message stays accepted, and its turn goes on in the daemon"
        } else {
            "stopped waiting: the message stays accepted; its turn may still end now (Ctrl-C again leaves at once), or with \
             `cofferdam up` or the next `chat`"
        }
    }
}

/// Reads the files that go with a message, before anything starts.
fn read_files(paths: &[PathBuf]) -> Result<Vec<(String, Bytes)>, CliError> {
    if paths.len() > MAX_FILES {
        return Err(CliError::usage(format!("{} files; at most {MAX_FILES} go with one message", paths.len())));
    }
    paths.iter().map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Result<(String, Bytes), CliError> {
    let cannot = |error: &std::io::Error| CliError::usage(format!("{} cannot be read: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| cannot(&error))?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let message = format!("{} has over {MAX_FILE_BYTES} bytes", path.display());
        return Err(CliError::usage(message).with_hint("copy it into the group's workspace and name it there"));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, content.into()))
}

/// Whether the text can be a message.
fn check(text: &str) -> Result<(), CliError> {
    if text.trim().is_empty() {
        return Err(CliError::usage("the message is empty"));
    }
    if text.len() > MAX_MESSAGE_BYTES {
        let message = format!("the message has {} bytes; at most {MAX_MESSAGE_BYTES} are taken", text.len());
        return Err(
            CliError::usage(message).with_hint("put it into a file in the group's workspace and name the file")
        );
    }
    Ok(())
}

fn read_message() -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let most = MAX_MESSAGE_BYTES as u64 + 1;
    let read = std::io::stdin().lock().take(most).read_to_end(&mut bytes);
    read.map_err(|error| CliError::io("standard input cannot be read", &error))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(CliError::usage(format!("the message has more than {MAX_MESSAGE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| CliError::usage("the message is not UTF-8"))
}

/// The exit code of a turn's end.
fn exit_code(outcome: &ChatOutcome) -> u8 {
    match outcome {
        ChatOutcome::Replied => 0,
        ChatOutcome::Failed { .. } => ErrorKind::TurnFailed.exit_code(),
        ChatOutcome::Interrupted => ErrorKind::TurnInterrupted.exit_code(),
    }
}

/// An activity in one line, if it is one to show.
pub(super) fn activity(kind: ActivityKind, text: &str) -> Option<String> {
    let text = terminal::clean_line(text, 160);
    Some(match kind {
        ActivityKind::CommandStarted => format!("$ {text}"),
        ActivityKind::CommandFinished => format!("  {text}"),
        ActivityKind::FileChange => format!("changes {text}"),
        ActivityKind::Reasoning if text.is_empty() => "thinks".to_owned(),
        ActivityKind::Reasoning => format!("thinks: {text}"),
        ActivityKind::Tool => format!("tool {text}"),
        ActivityKind::Retrying => format!("tries again: {text}"),
        ActivityKind::Commentary => text,
        ActivityKind::Plan => format!("plan: {text}"),
        ActivityKind::Tokens => format!("tokens: {text}"),
        ActivityKind::Compacting => "compacts the conversation".to_owned(),
        ActivityKind::Alive => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_taken_is_refused_before_anything_starts() {
        assert_eq!(check(" \n").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(check(&"x".repeat(MAX_MESSAGE_BYTES + 1)).unwrap_err().kind(), ErrorKind::Usage);
        check(&"x".repeat(MAX_MESSAGE_BYTES)).unwrap();
    }

    #[test]
    fn files_that_cannot_go_with_a_message_are_refused_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        assert_eq!(read_files(std::slice::from_ref(&path)).unwrap_err().kind(), ErrorKind::Usage);
        std::fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert_eq!(read_files(std::slice::from_ref(&path)).unwrap_err().kind(), ErrorKind::Usage);
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(read_files(std::slice::from_ref(&path)).unwrap(), [("a.txt".to_owned(), "hello".into())]);
        assert!(read_files(&vec![path; MAX_FILES + 1]).is_err());
    }

    #[test]
    fn what_an_agent_runs_is_shown_in_one_clean_line() {
        let line = activity(ActivityKind::CommandStarted, "ls\n-la \u{1b}[2J").unwrap();
        assert_eq!(line, "$ ls -la");
        assert_eq!(activity(ActivityKind::Alive, "x"), None);
    }
}
