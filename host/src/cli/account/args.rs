//! The words of `account`.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use cofferdam_protocol::admin::{AccountKind, KeyPlace, MAX_ACTIVITY, PoolStrategy};
use cofferdam_protocol::ids::{AccountName, Folder};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AccountVerb {
    /// Make an account, or give one that is there another credential
    Login(LoginArgs),
    /// Make an account of what Codex's auth.json has
    Import(ImportArgs),
    /// List the accounts
    List,
    /// Show an account; never its credential
    Show {
        /// The account
        account: AccountName,
    },
    /// Ask an account's endpoint whether it takes the credential
    Test {
        /// The account
        account: AccountName,
    },
    /// Have an account serve the groups that name none
    Use {
        /// The account; `offline` is the scripted model inside the host
        account: AccountName,
    },
    /// Accounts that stand in for another one
    #[command(subcommand)]
    Pool(PoolVerb),
    /// Wipe an account's credential; its settings stay
    Logout {
        /// The account
        account: AccountName,
    },
    /// Forget an account
    Remove {
        /// The account
        account: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show the newest model calls of a group: who served them, and what became of them
    Activity {
        /// The group
        group: Folder,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=i64::from(MAX_ACTIVITY)))]
        limit: u32,
    },
    /// The key that the accounts are sealed with
    #[command(subcommand)]
    Key(KeyVerb),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LoginArgs {
    /// Its name [default: the kind]
    #[arg(required_unless_present = "kind", value_parser = new_account)]
    pub account: Option<AccountName>,
    /// What it is with: a ChatGPT plan, OpenAI's API, or an endpoint of its own [default: that of the account]
    #[arg(long, value_name = "chatgpt|openai|compatible", value_parser = kind)]
    pub kind: Option<AccountKind>,
    /// A file with the key; `-` is standard input [default: it is asked for]
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
    /// Log in with a code that is typed on any device
    #[arg(long, conflicts_with_all = ["paste", "key_file"])]
    pub device: bool,
    /// Log in by pasting the address at which the browser ended
    #[arg(long, conflicts_with = "key_file")]
    pub paste: bool,
    /// The endpoint, without /responses
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// The model of groups that name none
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The file [default: auth.json in CODEX_HOME or ~/.codex]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Go on sharing a ChatGPT login with the host's own Codex: whoever renews it does so for both
    #[arg(long, conflicts_with = "take_over")]
    pub shared: bool,
    /// Take a ChatGPT login over: the file is removed, and the host's own Codex is logged out
    #[arg(long)]
    pub take_over: bool,
    /// The account's name [default: its kind]
    #[arg(long, value_name = "ACCOUNT", value_parser = new_account)]
    pub name: Option<AccountName>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PoolVerb {
    /// Have accounts stand in for one when it is at its limit or fails
    Set {
        /// The account that owns the pool: groups go on naming it
        owner: AccountName,
        /// Who stands in, by preference
        #[arg(required = true, value_name = "MEMBER")]
        members: Vec<AccountName>,
        /// In what order they are asked
        #[arg(long, default_value = "primary_first", value_parser = strategy,
              value_name = "primary_first|round_robin|priority_order|quota_aware")]
        strategy: PoolStrategy,
    },
    /// Have nobody stand in for an account
    Clear {
        /// The account
        owner: AccountName,
    },
}

fn strategy(word: &str) -> Result<PoolStrategy, &'static str> {
    PoolStrategy::parse(word).ok_or("say `primary_first`, `round_robin`, `priority_order` or `quota_aware`")
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyVerb {
    /// Seal all accounts with a new key and give up the old one
    Rotate,
    /// Bring the key into the operating system's keyring, or back into its file
    Move {
        /// Where to
        #[arg(long, value_name = "keyring|file", value_parser = key_place)]
        to: KeyPlace,
    },
}

fn key_place(word: &str) -> Result<KeyPlace, &'static str> {
    KeyPlace::parse(word).ok_or("say `keyring` or `file`")
}

/// A name for an account. A key is lower-case letters too, and has no place on a command line.
fn new_account(text: &str) -> Result<AccountName, String> {
    if text.starts_with("sk-") {
        return Err("it looks like a key: keys are asked for, or come from --key-file".to_owned());
    }
    text.parse().map_err(|error| format!("{error}"))
}

fn kind(word: &str) -> Result<AccountKind, &'static str> {
    AccountKind::parse(word)
        .filter(|kind| *kind != AccountKind::Offline)
        .ok_or("say `chatgpt`, `openai` or `compatible`")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::args::Cli;

    #[test]
    fn a_login_names_its_account_or_its_kind_and_takes_no_key() {
        let login =
            |words: &[&str]| Cli::try_parse_from(["cofferdam", "account", "login"].iter().chain(words)).is_ok();
        assert!(login(&["work"]) && login(&["--kind", "openai"]) && login(&["work", "--kind", "compatible"]));
        assert!(login(&["work", "--key-file", "-", "--base-url", "http://x/v1", "--model", "m"]));
        assert!(!login(&[]) && !login(&["--kind", "offline"]) && !login(&["work", "--key", "x"]));
        assert!(login(&["--kind", "chatgpt", "--device"]) && login(&["--kind", "chatgpt", "--paste"]));
        assert!(!login(&["--kind", "chatgpt", "--device", "--paste"]));
        assert!(!login(&["sk-proj-123"]), "a key in the name's place");
    }
}
