//! Cofferdam's host: the daemon that owns all state, and the CLI that talks to it.
//!
//! ARCHITECTURE.md has the codemap, the data path and who may import whom.

pub mod admin;
pub mod backup;
pub mod channels;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod desk;
pub mod door;
pub mod fair;
pub mod files;
pub mod gateway;
pub mod hooks;
mod listening;
pub mod live;
pub mod model;
pub mod pace;
pub mod progress;
pub mod router;
pub mod sandbox;
pub mod store;
pub mod supervisor;
pub mod switchboard;
pub mod tools;
pub mod trust;
pub mod unix_socket;
mod untaken;
pub mod vault;

/// An error and its causes on one line, for logs and for people.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
