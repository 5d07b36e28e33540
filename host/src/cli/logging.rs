//! Where log lines go: to standard error, so that standard output stays a command's answer.

use tracing_subscriber::EnvFilter;

/// Who logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// `up`, whose log is what there is to see.
    Daemon,
    /// A command, whose own answer tells what went wrong; it stays quiet unless it was asked to talk.
    Command,
}

/// Starts logging by `filter`; the first start of a process holds.
pub(super) fn start(filter: &str, log: Use) {
    let quiet = log == Use::Command && filter == "info";
    let filter = EnvFilter::new(match filter {
        _ if quiet => "error",
        // A library's word on each database that is opened is no news.
        "info" => "info,rusqlite_migration=warn",
        filter => filter,
    });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // What cannot be written, such as to a file on a disk that is full or fails, is lost. Complaining of that on the same standard
    // error would panic, and end whoever had something to say.
    let subscriber = subscriber.log_internal_errors(false);
    // Log lines carry words from containers, so they get no escape sequences of ours to hide among.
    let _ = subscriber.with_ansi(false).try_init();
}
