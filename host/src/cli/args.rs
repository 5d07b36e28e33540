//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};
use cofferdam_protocol::admin::UsageBy;
use cofferdam_protocol::ids::Folder;
use jiff::civil::Date;

use super::account::args::AccountVerb;
use super::chats::args::{
    ApprovalVerb, ChannelVerb, HookVerb, KeyVerb, PairArgs, RoleVerb, TermsArgs, UserVerb, WireArgs,
};
use super::words::{ChatWord, LetterWord, LettersOf, SessionWord, usage_by};

const EXIT_CODES: &str = "\
Exit codes:
  0    it worked; for `chat`, the turn ended in a reply
  1    something in Cofferdam itself
  2    the command line is wrong
  3    a configuration file is wrong
  4    the named thing does not exist
  5    it exists already, was decided before, or another daemon has the home
  6    the Docker engine cannot be reached or refused
  7    the image is missing and could not be built
  8    the daemon cannot be reached, went away, ends, or has too much to do
  9    the disk refused: full, read-only or no rights
  10   the turn ended in an error notice
  11   the turn was interrupted
  12   a check of `doctor` failed
  13   a database is damaged, or of a newer Cofferdam
  14   a backup or a restore is done, but for files that are named
  15   an account cannot be used: refused, in need of a login, or without an answer
  130, 143  Ctrl-C, or SIGTERM, while waiting; an accepted message stays accepted

The home: --home, or COFFERDAM_HOME, or ~/.cofferdam. First steps: `cofferdam init`, `cofferdam doctor`,
`cofferdam chat demo`.";

/// Coding agents you can talk to from a chat, each in a sealed container.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// The home directory [default: COFFERDAM_HOME, or ~/.cofferdam]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a home with a group to try; changes nothing that is there
    Init,
    /// Run the daemon in the foreground
    Up,
    /// Groups: agents with a folder, settings and instructions
    #[command(subcommand)]
    Group(GroupVerb),
    /// Talk to a group: one message, or a line editor without one
    Chat(ChatArgs),
    /// Accounts: credentials of model providers, which never leave the host
    #[command(subcommand)]
    Account(AccountVerb),
    /// What model calls cost
    Usage(UsageArgs),
    /// What runs, what waits, and why
    Status,
    /// Sessions: conversations and their containers
    #[command(subcommand)]
    Session(SessionVerb),
    /// Dead letters: messages and replies that were tried for the last time
    #[command(subcommand)]
    DeadLetter(DeadLetterVerb),
    /// Channels: the chat platforms where people write
    #[command(subcommand)]
    Channel(ChannelVerb),
    /// Webhooks: programs that write to a group, over a channel of the kind http
    #[command(subcommand)]
    Hook(HookVerb),
    /// Keys of the API that OpenAI's clients speak, over a channel of the kind http
    #[command(subcommand)]
    Key(KeyVerb),
    /// Wire a chat to a group: what is written there reaches it
    Wire(WireArgs),
    /// End a wiring
    Unwire {
        /// The chat, as `wiring list` shows it: CHANNEL:CHAT
        chat: ChatWord,
        /// The group [default: all groups of the chat]
        group: Option<Folder>,
    },
    /// Wirings: which chats reach which groups
    #[command(subcommand)]
    Wiring(WiringVerb),
    /// Make a code by which somebody on a channel shows who they are: they send `/pair CODE`
    Pair(PairArgs),
    /// People whom channels know, and what they may do
    #[command(subcommand)]
    User(UserVerb),
    /// Give a person a role, or take one
    #[command(subcommand)]
    Role(RoleVerb),
    /// Approvals: what waits for a person's decision
    #[command(subcommand)]
    Approval(ApprovalVerb),
    /// Messages that were dropped: where, whose, why, how many
    Dropped,
    /// The image of the containers
    #[command(subcommand)]
    Image(ImageVerb),
    /// Copy everything that must survive into a new directory, while the daemon runs
    Backup(BackupArgs),
    /// Take groups back from a backup, or save what can be read of a damaged group
    Restore(RestoreArgs),
    /// Check everything that Cofferdam needs; each failing line says the mend
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupVerb {
    /// Register a group; makes its folder, container.json and AGENTS.md where they are missing
    Add {
        /// Its name, which is its folder under groups/
        group: Folder,
    },
    /// List the groups
    List,
    /// Show a group and its settings
    Show {
        /// The group
        group: Folder,
    },
    /// Set one key of a group's container.json, such as `limits.memory_mb 4096`
    Set {
        /// The group
        group: Folder,
        /// The key, with dots: model, limits.cpus, environment.LANG
        key: String,
        /// The value, as JSON or as plain text
        #[arg(required_unless_present = "unset", conflicts_with = "unset", allow_hyphen_values = true)]
        value: Option<String>,
        /// Remove the key, so that its default holds
        #[arg(long)]
        unset: bool,
    },
    /// Stop a group's sessions and forget its state; its folder stays
    Remove {
        /// The group
        group: Folder,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct ChatArgs {
    /// The group to talk to
    pub group: Folder,
    /// The message; `-` reads it from standard input. Without one: a line editor, or one message per line of a pipe
    pub message: Option<String>,
    /// A file to send with the message; more than once for several. A message is not needed then
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// A named conversation of its own
    #[arg(long, value_name = "NAME")]
    pub thread: Option<String>,
    /// Who writes [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub sender: Option<String>,
    /// A file with a JSON Schema that the answer must follow; the reply is printed as the agent wrote it
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// Of this group only
    pub group: Option<Folder>,
    /// Of so many days, today with them [default: all]
    #[arg(long, value_name = "N", conflicts_with = "since", value_parser = value_parser!(u32).range(1..))]
    pub days: Option<u32>,
    /// From this day on, such as 2026-11-21
    #[arg(long, value_name = "DATE")]
    pub since: Option<Date>,
    /// What to add up by: group, session, account, model or day [default: group; of one group: day]
    #[arg(long, value_name = "WHAT", value_parser = usage_by)]
    pub by: Option<UsageBy>,
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The directory to make; it must not exist or be empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Only this group; more than once for several [default: all]
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<Folder>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The groups [default: all of the backup]
    #[arg(value_name = "GROUP")]
    pub groups: Vec<Folder>,
    /// A directory that `cofferdam backup` made. Without it: what can be read of the group's own damaged database
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Take the groups' folders from the backup also where there are some; those are moved aside
    #[arg(long, requires = "from")]
    pub folder: bool,
    /// End the groups' running turns
    #[arg(long)]
    pub stop: bool,
    /// Begin with an empty database when nothing can be read of a damaged one
    #[arg(long, conflicts_with = "from")]
    pub empty: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionVerb {
    /// List the sessions
    List {
        /// Of this group only
        group: Option<Folder>,
    },
    /// Show a session: model, context, compactions, MCP servers, tool calls, questions, failures
    Show {
        /// Its id, or the beginning of it
        session: SessionWord,
    },
    /// Print what a turn changed in files, as a unified diff
    Diff {
        /// The session's id, or the beginning of it
        session: SessionWord,
        /// The turn [default: the newest that changed files]
        #[arg(long, value_name = "N")]
        turn: Option<i64>,
    },
    /// Stop a session's container and its turn; messages that wait, or the next one, start it again
    Stop {
        /// Its id, or the beginning of it
        session: SessionWord,
    },
    /// Print a container's log, also of one that is gone
    Logs {
        /// The session's id, or the beginning of it
        session: SessionWord,
        /// The attempt [default: the newest]
        #[arg(long, value_name = "N")]
        attempt: Option<i64>,
        /// Go on with what is written and what the agent does, over restarts, until Ctrl-C
        #[arg(long, short, conflicts_with = "attempt")]
        follow: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterVerb {
    /// List those that wait for a decision
    List {
        /// Of this group only; @own are Cofferdam's own words
        group: Option<LettersOf>,
        /// Also those that were retried or dropped
        #[arg(long)]
        all: bool,
    },
    /// Show one: its text, what failed, and how often
    Show {
        /// The letter, as `dead-letter list` shows it: GROUP/NUMBER
        letter: LetterWord,
    },
    /// Have them tried again, from their first try
    Retry(SettleArgs),
    /// Let them go: they are not tried again
    Drop(SettleArgs),
}

#[derive(Debug, Args)]
pub(super) struct SettleArgs {
    /// The letters, as `dead-letter list` shows them: GROUP/NUMBER
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "LETTER")]
    pub letters: Vec<LetterWord>,
    /// All that wait in this group, or in @own
    #[arg(long, value_name = "GROUP")]
    pub all: Option<LettersOf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum WiringVerb {
    /// List the wirings
    List,
    /// Change a wiring
    Set {
        /// The chat, as `wiring list` shows it: CHANNEL:CHAT
        chat: ChatWord,
        /// The group, where several listen
        #[arg(long)]
        group: Option<Folder>,
        #[command(flatten)]
        terms: TermsArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageVerb {
    /// Build the image, unless it is there
    Build,
    /// List the images
    List,
}

#[cfg(test)]
mod tests;
