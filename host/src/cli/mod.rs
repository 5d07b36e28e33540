//! The command line: a client of the admin socket, one file per verb.
//!
//! Commands speak HTTP to the daemon; when none runs, [`connect`] hosts it in this process and then speaks to it the
//! same way. [`error`] is the one place that turns errors into what a person reads and into an exit code.

mod account;
mod args;
mod backup;
mod chat;
mod chats;
mod client;
mod completions;
mod connect;
mod dead_letter;
mod doctor;
mod engine;
mod error;
mod group;
mod image;
mod init;
mod logging;
mod scaffold;
mod session;
mod signals;
mod status;
mod table;
mod terminal;
mod up;
mod usage;
mod words;

use std::process::ExitCode;

use clap::Parser;

pub use args::Cli;
use args::Verb;
use error::CliError;

use crate::config::home::Home;
use crate::config::process_env;

/// What every verb needs to know.
struct Context {
    home: Home,
    json: bool,
}

impl Context {
    /// Whether a command without `--home` works on the same home.
    fn is_default_home(&self) -> bool {
        Home::resolve(None, &process_env).is_ok_and(|home| home == self.home)
    }

    /// Says what was done, where nothing is left of it to show: in words, or as the JSON object `{"DONE": WHAT}`.
    fn tell(&self, done: &str, what: impl serde::Serialize, words: &str) -> Result<(), CliError> {
        if self.json {
            return terminal::out_json(&serde_json::json!({ done: what }));
        }
        terminal::out(&terminal::clean_line(words, 1000))
    }
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error::report(&CliError::internal(format!("no runtime: {error}")), json),
    };
    let result = runtime.block_on(run(cli));
    // A blocked read of the terminal must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => error::report(&error, json),
    }
}

async fn run(cli: Cli) -> Result<u8, CliError> {
    if let Verb::Completions { shell } = cli.verb {
        return completions::run(shell);
    }
    let home = Home::resolve(cli.home.as_deref(), &process_env)
        .map_err(|error| CliError::usage(format!("no home: {error}")).with_hint("name one with --home DIR"))?;
    let context = Context { home, json: cli.json };
    match cli.verb {
        Verb::Init => init::run(&context).await,
        Verb::Up => up::run(&context).await,
        Verb::Group(verb) => group::run(&context, verb).await,
        Verb::Chat(chat) => chat::run(&context, chat).await,
        Verb::Account(verb) => account::run(&context, verb).await,
        Verb::Usage(args) => usage::run(&context, args).await,
        Verb::Status => status::run(&context).await,
        Verb::Session(verb) => session::run(&context, verb).await,
        Verb::DeadLetter(verb) => dead_letter::run(&context, verb).await,
        Verb::Channel(verb) => chats::channel::run(&context, verb).await,
        Verb::Hook(verb) => chats::hook::run(&context, verb).await,
        Verb::Key(verb) => chats::key::run(&context, verb).await,
        Verb::Wire(args) => chats::wiring::wire(&context, args).await,
        Verb::Unwire { chat, group } => chats::wiring::unwire(&context, chat, group).await,
        Verb::Wiring(verb) => chats::wiring::run(&context, verb).await,
        Verb::Pair(args) => chats::user::pair(&context, args).await,
        Verb::User(verb) => chats::user::run(&context, verb).await,
        Verb::Role(verb) => chats::user::role(&context, verb).await,
        Verb::Approval(verb) => chats::approval::run(&context, verb).await,
        Verb::Dropped => chats::approval::dropped(&context).await,
        Verb::Image(verb) => image::run(&context, verb).await,
        Verb::Backup(args) => backup::backup(&context, args).await,
        Verb::Restore(args) => backup::restore(&context, args).await,
        Verb::Doctor => doctor::run(&context).await,
        Verb::Completions { shell } => completions::run(shell),
    }
}
