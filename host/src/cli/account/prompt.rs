//! Secrets from people: at a prompt that shows nothing, from standard input, or from a file. Never from an argument, which
//! every process of the machine can read.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;

use crate::cli::error::CliError;
use crate::cli::terminal;

/// The longest secret, in bytes; a ChatGPT login has some ten thousand.
const MAX_BYTES: u64 = 256 * 1024;

/// A secret that was asked for.
pub(in crate::cli) enum Asked {
    /// It.
    Secret(SecretString),
    /// Ctrl-C.
    Nothing,
}

/// The secret in `file`, `-` being standard input; without one, a person is asked for `what`. `option` is what names the file.
pub(in crate::cli) async fn secret(file: Option<&Path>, what: &str, option: &str) -> Result<Asked, CliError> {
    match file {
        Some(file) if file == Path::new("-") => from_stdin().map(Asked::Secret),
        Some(file) => from_file(file).map(Asked::Secret),
        None if std::io::stdin().is_terminal() => ask(what).await,
        None => Err(CliError::usage(format!("there is no {what}, and nobody is there to ask"))
            .with_hint(format!("`{option} -` reads it from standard input, `{option} PATH` from a file"))),
    }
}

/// A file's text.
pub(super) fn from_file(path: &Path) -> Result<SecretString, CliError> {
    let unreadable = |error: std::io::Error| CliError::io(format!("{} cannot be read", path.display()), &error);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    bounded(file).map_err(unreadable)
}

fn from_stdin() -> Result<SecretString, CliError> {
    bounded(std::io::stdin().lock()).map_err(|error| CliError::io("standard input cannot be read", &error))
}

fn bounded(from: impl Read) -> std::io::Result<SecretString> {
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is longer than any credential"));
    }
    Ok(text.trim().to_owned().into())
}

/// The terminal without its echo, until this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        now.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &now)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

async fn ask(what: &str) -> Result<Asked, CliError> {
    let refused = |error: std::io::Error| CliError::io("the terminal cannot be used", &error);
    let unseen = Unseen::begin().map_err(refused)?;
    terminal::err_piece(&format!("{what} (not shown): "));
    let reading = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| SecretString::from(line.trim()))
    });
    let read = tokio::select! {
        read = reading => read.map_err(|error| CliError::internal(error.to_string()))?.map(Asked::Secret),
        _ = tokio::signal::ctrl_c() => Ok(Asked::Nothing),
    };
    drop(unseen);
    read.map_err(refused)
}
