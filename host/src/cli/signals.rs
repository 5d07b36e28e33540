//! Signals to a command that waits.

use tokio::signal::unix::{SignalKind, signal};

/// What is added to a signal's number for the exit code, as shells do.
pub(super) const BY_SIGNAL: u8 = 128;

/// Waits until somebody wants this command to end: with Ctrl-C, or with the signal of `kill` and `timeout`. Answers the exit
/// code to end with. From the first call on neither ends the process by itself, so that it can end what it hosts.
pub(super) async fn told_to_end() -> u8 {
    const INTERRUPT: u8 = BY_SIGNAL + 2;
    const TERMINATE: u8 = BY_SIGNAL + 15;
    let caught =
        || -> std::io::Result<_> { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) };
    // One that cannot be caught ends the process, as it does everywhere else.
    let Ok((mut interrupt, mut terminate)) = caught() else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => INTERRUPT,
        _ = terminate.recv() => TERMINATE,
    }
}
