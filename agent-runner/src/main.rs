//! The binary `cofferdam-runner`; see the library for what it does, its exit codes and its environment.

use std::process::ExitCode;

use cofferdam_agent_runner::config::Config;
use cofferdam_agent_runner::{RunError, run};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    // First of all: the token in this memory must not be readable by the agent's own commands.
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--version" | "version") => {
            println!("cofferdam-runner {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("cofferdam-runner: unknown argument '{other}'; it takes none but --version");
            return ExitCode::from(2);
        }
    }
    log_to_stderr();
    if let Err(error) = hidden {
        tracing::error!(%error, "cannot hide this process's memory from the agent; not going on");
        return ExitCode::from(1);
    }
    let config = match Config::read(|name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    match block_on_run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn block_on_run(config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(run(config))
}

fn log_to_stderr() {
    let wanted = std::env::var("COFFERDAM_LOG").unwrap_or_default();
    let targets: Targets = wanted.parse().ok().filter(|_| !wanted.is_empty()).unwrap_or_else(info);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(layer).with(targets).init();
}

fn info() -> Targets {
    Targets::new().with_default(tracing::Level::INFO)
}

/// An error with all that led to it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
