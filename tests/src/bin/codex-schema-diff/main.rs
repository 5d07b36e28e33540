//! `codex-schema-diff OLD NEW`: what changed, between two versions of Codex, in the parts of the app-server's protocol
//! that the provider uses. `OLD` and `NEW` are directories that `codex app-server generate-json-schema --experimental`
//! wrote. `make codex-update` runs it.
//!
//! Used is what `provider::codex::method` lists, and of the messages' fields those whose names the provider's code
//! speaks; below a part that it does not name nothing is compared. A line that starts with `!` may break the provider:
//! its tests say whether it does. The other lines start with `~`.

mod compare;
mod schema;
mod survey;
#[cfg(test)]
mod tests;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use schema::Schemas;
use survey::{Methods, survey};
use words::Words;

/// Where the provider's code lies.
const PROVIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent-runner/src/provider/codex");

/// Prints what changed in the parts of Codex's protocol that Cofferdam uses.
#[derive(Parser)]
struct Args {
    /// The schema of the version in use.
    old: PathBuf,
    /// The schema of the version to compare.
    new: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codex-schema-diff: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), schema::Unreadable> {
    let words = Words::of_sources(Path::new(PROVIDER))?;
    let changes = survey(&Schemas::open(&args.old)?, &Schemas::open(&args.new)?, &Methods::OURS, &words);
    for change in &changes {
        println!("{change}");
    }
    let breaking = changes.iter().filter(|change| change.breaks).count();
    match (changes.len(), breaking) {
        (0, _) => println!("Nothing that the provider uses has changed."),
        (all, 0) => println!("{all} change(s) in what the provider uses; none should break it."),
        (all, some) => {
            println!("{all} change(s) in what the provider uses; {some} of them, marked '!', may break it.")
        }
    }
    Ok(())
}
