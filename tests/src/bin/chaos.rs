//! `chaos`: messages over several groups while everything dies; then the books are checked. docs/chaos.md has more.
//! `make chaos` sets what it needs.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use cofferdam_tests::chaos;
use cofferdam_tests::chaos::plan::{Agent, Settings};

/// Sends messages while the daemon, containers and the engine are killed, and checks that none is lost or doubled.
#[derive(Parser)]
struct Args {
    /// Decides which messages are sent and what is hurt in which order; any number without it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many messages are sent.
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// How many processes and containers are killed; other faults come on top.
    #[arg(long, default_value_t = 60)]
    kills: usize,
    /// Groups.
    #[arg(long, default_value_t = 4)]
    groups: usize,
    /// Chats of each group.
    #[arg(long, default_value_t = 3)]
    chats: usize,
    /// Who answers.
    #[arg(long, value_enum, default_value_t = Who::Mock)]
    agent: Who,
    /// Milliseconds between two kills, on average.
    #[arg(long, default_value_t = 2200)]
    pace: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Who {
    /// The mock provider.
    Mock,
    /// The real Codex over the offline model.
    Codex,
}

impl From<Args> for Settings {
    fn from(args: Args) -> Self {
        Self {
            seed: args.seed.unwrap_or_else(|| u64::from(fastrand::u32(..))),
            messages: args.messages,
            kills: args.kills,
            groups: args.groups,
            chats: args.chats,
            agent: match args.agent {
                Who::Mock => Agent::Mock,
                Who::Codex => Agent::Codex,
            },
            pace: Duration::from_millis(args.pace),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::from(Args::parse());
    println!("chaos: seed {}, {} messages, {} kills", settings.seed, settings.messages, settings.kills);
    let report = tokio::select! {
        report = chaos::run(settings, progress) => report,
        // What was started ends with us.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    progress("");
    println!(
        "The slowest recoveries and messages, in seconds from the fault or the message on:\n\n{}",
        report.timelines()
    );
    print!("{}", report.text());
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line that changes, on a terminal only.
fn progress(line: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{line}");
        let _ = out.flush();
    }
}
