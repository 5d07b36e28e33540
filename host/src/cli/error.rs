//! The one place that turns errors into what a person reads, and into an exit code.

use std::process::ExitCode;

use cofferdam_protocol::admin::{ErrorBody, ErrorKind};
use serde_json::json;

use super::client::ClientError;
use super::terminal;
use crate::config::ConfigError;

/// An error at the end of a command.
#[derive(Debug)]
pub(super) struct CliError {
    body: ErrorBody,
    /// Nobody is there to read it: the reader of our output went away.
    silent: bool,
}

impl CliError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { body: ErrorBody { kind, message: message.into(), hint: None }, silent: false }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A refusal of the operating system on `what`.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, hint) = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => (ErrorKind::Disk, Some("make room on the disk")),
            Io::ReadOnlyFilesystem => (ErrorKind::Disk, Some("choose a home on a disk that can be written")),
            Io::PermissionDenied => {
                (ErrorKind::Disk, Some("run as the owner of the home, or choose another with --home"))
            }
            Io::NotFound => (ErrorKind::NotFound, None),
            _ => (ErrorKind::Internal, None),
        };
        let mut this = Self::new(kind, format!("{what}: {error}"));
        this.body.hint = hint.map(str::to_owned);
        this
    }

    /// Standard output cannot be written.
    pub fn output(error: &std::io::Error) -> Self {
        let silent = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { silent, ..Self::internal(format!("standard output cannot be written: {error}")) }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    pub fn message(&self) -> &str {
        &self.body.message
    }

    pub fn hint(&self) -> Option<&str> {
        self.body.hint.as_deref()
    }

    pub fn kind(&self) -> ErrorKind {
        self.body.kind
    }
}

impl From<ErrorBody> for CliError {
    fn from(body: ErrorBody) -> Self {
        Self { body, silent: false }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        error.body().into()
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(body) => body.into(),
            ClientError::Unreachable { .. } => {
                Self::new(ErrorKind::Daemon, error.chain()).with_hint("`cofferdam up` starts the daemon")
            }
            ClientError::Broken(_) => Self::new(ErrorKind::Daemon, error.chain())
                .with_hint("`cofferdam status` shows whether it still runs"),
        }
    }
}

/// What is printed for an error.
fn text(body: &ErrorBody) -> String {
    let mut text = format!("error: {}", terminal::clean(&body.message));
    if let Some(hint) = &body.hint {
        text += &format!("\nhint: {}", terminal::clean(hint));
    }
    text
}

/// Prints an error: for people on standard error; with `--json` as the one object on standard output.
pub(super) fn report(error: &CliError, json: bool) -> ExitCode {
    if !error.silent {
        let printed = if json { terminal::out(&json!({ "error": error.body }).to_string()).is_ok() } else { false };
        if !printed {
            terminal::err(&text(&error.body));
        }
    }
    ExitCode::from(error.kind().exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_and_what_to_do() {
        let error = CliError::new(ErrorKind::Engine, "no engine\u{1b}[2J").with_hint("start it");
        insta::assert_snapshot!(text(&error.body), @r"
        error: no engine
        hint: start it
        ");
        insta::assert_snapshot!(json!({ "error": error.body }), @r#"{"error":{"kind":"engine","message":"no engine\u001b[2J","hint":"start it"}}"#);
    }

    #[test]
    fn a_missing_file_is_not_found_and_a_wrong_one_is_configuration() {
        let wrong = ConfigError::new("f".as_ref(), "bad");
        let missing = ConfigError { missing: true, ..wrong.clone() };
        assert_eq!(CliError::from(wrong).kind(), ErrorKind::Config);
        assert_eq!(CliError::from(missing).kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_full_or_read_only_disk_is_told_apart_from_our_own_faults() {
        let kind = |io: std::io::ErrorKind| CliError::io("x", &io.into()).kind();
        assert_eq!(kind(std::io::ErrorKind::StorageFull), ErrorKind::Disk);
        assert_eq!(kind(std::io::ErrorKind::ReadOnlyFilesystem), ErrorKind::Disk);
        assert_eq!(kind(std::io::ErrorKind::InvalidData), ErrorKind::Internal);
    }
}
