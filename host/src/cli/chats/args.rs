//! The words of what concerns channels, wirings and people.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};
use cofferdam_protocol::ids::{Folder, WaitingId};

use crate::cli::connect;
use crate::cli::words::{ChatWord, on_or_off};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ChannelVerb {
    /// Add a channel, or change one; it is tried first. Asks for its secret
    Add(AddArgs),
    /// List the channels and how they stand
    List,
    /// Show a channel
    Show {
        /// Its name
        name: String,
    },
    /// Ask a channel's platform whether all is well
    Test {
        /// Its name
        name: String,
    },
    /// Remove a channel with its secret, its wirings and its users
    Remove {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddArgs {
    /// Its name in wirings: lower-case letters, digits and '-'
    pub name: String,
    #[arg(help = format!("Its platform: {}", kinds()))]
    pub kind: String,
    /// A file with its secret, such as a bot's token; `-` is standard input [default: asks]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// It has no secret, or keeps the one that it has
    #[arg(long, conflicts_with = "secret_file")]
    pub no_secret: bool,
    /// A JSON file with its settings: all of them
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// A setting, as JSON or as plain text; more than once for several. A channel that is there keeps its others, and its secret
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HookVerb {
    /// Add a webhook, or change one, and wire it to a group. Its secret is made, and shown once
    Add(HookArgs),
    /// List the webhooks
    List,
    /// Remove a webhook with its secret
    Remove {
        /// Its name
        name: String,
        /// Its channel [default: the one of the kind http]
        #[arg(long)]
        channel: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HookArgs {
    /// Its name: it is called at /hooks/NAME
    pub name: String,
    /// The group that its calls reach
    pub group: Folder,
    /// Its channel [default: the one of the kind http]
    #[arg(long)]
    pub channel: Option<String>,
    /// GitHub calls it
    #[arg(long)]
    pub github: bool,
    /// Programs call it in Cofferdam's own form [default: that, or what it has]
    #[arg(long, conflicts_with = "github")]
    pub plain: bool,
    /// An event of GitHub's to take, such as `issues`, or `all`; more than once for several [default: all, or what it has]
    #[arg(long = "event", value_name = "EVENT")]
    pub events: Vec<String>,
    /// A file with the address that its replies are posted to; `-` is standard input: it may have a token in it
    #[arg(long, value_name = "FILE")]
    pub callback_file: Option<PathBuf>,
    /// The address that its replies are posted to, when it is no secret
    #[arg(long, value_name = "URL", conflicts_with = "callback_file")]
    pub callback: Option<String>,
    /// Its replies are posted nowhere any more
    #[arg(long, conflicts_with_all = ["callback", "callback_file"])]
    pub no_callback: bool,
    /// A file with the secret that its calls are signed with; `-` is standard input [default: one is made]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Make a fresh secret in the place of the one that it has
    #[arg(long, conflicts_with = "secret_file")]
    pub new_secret: bool,
}

impl HookArgs {
    /// The name of the form that is said.
    pub fn form(&self) -> Option<&'static str> {
        match (self.github, self.plain) {
            (true, _) => Some("github"),
            (false, true) => Some("plain"),
            (false, false) => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyVerb {
    /// Make a key and wire it to a group. It is shown once
    Add(KeyArgs),
    /// List the keys
    List,
    /// Take a key back: it opens nothing any more
    Revoke {
        /// Its name
        name: String,
        /// Its channel [default: the one of the kind http]
        #[arg(long)]
        channel: Option<String>,
    },
    /// Forget a key with its conversations' places
    Remove {
        /// Its name
        name: String,
        /// Its channel [default: the one of the kind http]
        #[arg(long)]
        channel: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    /// Its name, such as that of the program that has it
    pub name: String,
    /// The group that its calls reach
    pub group: Folder,
    /// Its channel [default: the one of the kind http]
    #[arg(long)]
    pub channel: Option<String>,
    /// What the API calls its agent [default: the group's name]
    #[arg(long)]
    pub model: Option<String>,
    /// For how many days it is good
    #[arg(long, value_name = "N", default_value_t = 90)]
    pub days: u32,
    /// It is good until it is revoked
    #[arg(long, conflicts_with = "days")]
    pub no_expiry: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WireArgs {
    /// The chat: CHANNEL:CHAT
    pub chat: ChatWord,
    /// The group
    pub group: Folder,
    /// What sort of chat it is [default: what its platform said, else group]
    #[arg(long, value_name = "direct|group")]
    pub kind: Option<String>,
    #[command(flatten)]
    pub terms: TermsArgs,
}

/// How a chat reaches a group.
#[derive(Debug, Default, Args)]
#[group(required = false, multiple = true)]
pub(in crate::cli) struct TermsArgs {
    /// Which messages wake the agent
    #[arg(long, value_name = "always|mention|pattern")]
    pub engage: Option<String>,
    /// A regular expression; messages that it fits wake the agent
    #[arg(long, value_name = "REGEX")]
    pub pattern: Option<String>,
    /// Whether a thread in which one did goes on without a mention
    #[arg(long, value_name = "on|off", action = ArgAction::Set, value_parser = on_or_off)]
    pub sticky: Option<bool>,
    /// Which messages share a session
    #[arg(long, value_name = "shared|per-thread|group")]
    pub sessions: Option<String>,
    /// What becomes of messages that do not wake the agent: dropped, or shown to it with the next one that does
    #[arg(long, value_name = "drop|context")]
    pub others: Option<String>,
    /// What becomes of people whom nobody knows, in the whole chat
    #[arg(long, value_name = "drop|ask|public")]
    pub unknown: Option<String>,
    /// Whether the chat is shown what the agent does while it works
    #[arg(long, value_name = "on|off", action = ArgAction::Set, value_parser = on_or_off)]
    pub progress: Option<bool>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PairArgs {
    /// What the code makes of its user, unless they are more already: owner, admin, member or guest [default: owner, while
    /// there is none; with --person no other role]
    #[arg(long)]
    pub role: Option<String>,
    /// The chat in which it is used is wired to this group; a role but the owner's is of this group only
    #[arg(long)]
    pub group: Option<Folder>,
    /// The person that is meant, as `user list` shows them: their other platforms stay theirs [default: a new one]
    #[arg(long, value_name = "N")]
    pub person: Option<i64>,
    /// How long it is good for [default: 10]
    #[arg(long, value_name = "N")]
    pub minutes: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UserVerb {
    /// List the people
    List,
    /// Make somebody known by the platform's id of them
    Add {
        /// The user: CHANNEL:USER
        user: ChatWord,
        /// How they are called
        #[arg(long)]
        name: Option<String>,
        /// What they may do
        #[arg(long, default_value = "member")]
        role: String,
        /// In this group only
        #[arg(long)]
        group: Option<Folder>,
    },
    /// Make two people one: the first has the users of both, and the higher roles
    Link {
        /// The person who stays, by their number in `user list`
        #[arg(value_parser = number)]
        person: i64,
        /// The other
        #[arg(value_parser = number)]
        other: i64,
    },
    /// Forget a person: nobody knows them any more
    Remove {
        /// Who
        #[arg(value_parser = number)]
        person: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RoleVerb {
    /// Give a role
    Set {
        /// The person, as `user list` shows them
        #[arg(value_parser = number)]
        person: i64,
        /// owner, admin, member or guest
        role: String,
        /// In this group only
        #[arg(long)]
        group: Option<Folder>,
    },
    /// Take a role away
    Remove {
        /// The person, as `user list` shows them
        #[arg(value_parser = number)]
        person: i64,
        /// The role of this group only
        #[arg(long)]
        group: Option<Folder>,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApprovalVerb {
    /// List what waits
    List {
        /// Also what was decided, newest first
        #[arg(long)]
        all: bool,
    },
    /// Allow it, or answer an agent's question
    Approve {
        /// Its number, or of a question GROUP/NUMBER
        id: WaitingId,
        /// One of its words, of a wiring any group [default: the first]; of a question an option, its number, or your own words [default: the option
        /// that says yes]
        #[arg(value_name = "ANSWER")]
        answer: Vec<String>,
    },
    /// Refuse it; of a question the option that says no
    Deny {
        /// Its number, or of a question GROUP/NUMBER
        id: WaitingId,
    },
}

/// The kinds of channels in words.
fn kinds() -> String {
    let mut all: Vec<_> = connect::channel_kinds().collect();
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last.to_owned() } else { format!("{} or {last}", all.join(", ")) }
}

/// A person's number.
fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a person is named by their number in `cofferdam user list`".to_owned())
}
