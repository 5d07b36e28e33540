//! `cofferdam completions SHELL`.

use clap::CommandFactory;

use super::args::Cli;
use super::error::CliError;
use super::terminal;

pub(super) fn run(shell: clap_complete::Shell) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
    terminal::out(String::from_utf8_lossy(&script).trim_end())?;
    Ok(0)
}
