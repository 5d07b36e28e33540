//! `cofferdam account …`: credentials of model providers, which the daemon holds.

mod activity;
pub(super) mod args;
mod chatgpt;
mod key;
mod login;
pub(super) mod prompt;
mod show;

pub(super) use key::{place as key_place, state as key_state};
pub(super) use show::limits;

use std::io::IsTerminal;

use cofferdam_protocol::admin::{Account, AccountChanged, AccountPool, AccountRemoved, AccountTested};
use cofferdam_protocol::ids::AccountName;
use jiff::Timestamp;

use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::{Context, terminal};
use args::{AccountVerb, KeyVerb, PoolVerb};

const PATH: &str = "/v1/accounts";

pub(super) async fn run(context: &Context, verb: AccountVerb) -> Result<u8, CliError> {
    match verb {
        AccountVerb::Login(args) => return login::login(context, args).await,
        AccountVerb::Import(args) => login::import(context, args).await?,
        AccountVerb::List => list(context).await?,
        AccountVerb::Show { account } => show_one(context, &account).await?,
        AccountVerb::Test { account } => test(context, &account).await?,
        AccountVerb::Use { account } => choose(context, &account).await?,
        AccountVerb::Pool(verb) => pool(context, verb).await?,
        AccountVerb::Logout { account } => logout(context, &account).await?,
        AccountVerb::Remove { account, yes } => remove(context, &account, yes).await?,
        AccountVerb::Activity { group, limit } => activity::run(context, &group, limit).await?,
        AccountVerb::Key(KeyVerb::Rotate) => key::rotate(context).await?,
        AccountVerb::Key(KeyVerb::Move { to }) => key::move_to(context, to).await?,
    }
    Ok(0)
}

/// The accounts in one line, for `doctor`.
pub(super) async fn all(client: &Client) -> Result<Vec<Account>, CliError> {
    Ok(client.get(PATH).await?)
}

async fn list(context: &Context) -> Result<(), CliError> {
    let both = async |client: &Client| Ok((all(client).await?, key::state(client).await?));
    let (accounts, key) = connect::with(&context.home, Mode::Query, both).await?;
    if context.json {
        return terminal::out_json(&accounts);
    }
    if let Some(note) = key::note(&key) {
        terminal::err(&format!("note: {note}"));
    }
    terminal::out(&show::table(&accounts, Timestamp::now()))
}

async fn show_one(context: &Context, name: &AccountName) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<Account>(&format!("{PATH}/{name}")).await?);
    let account = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&account);
    }
    terminal::out(&show::facts(&account, Timestamp::now()))
}

async fn test(context: &Context, name: &AccountName) -> Result<(), CliError> {
    let post = async |client: &Client| Ok(client.post_for::<AccountTested>(&format!("{PATH}/{name}/test")).await?);
    let tested = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        return terminal::out_json(&tested);
    }
    terminal::out(&show::tested(&tested))
}

async fn choose(context: &Context, name: &AccountName) -> Result<(), CliError> {
    let path = format!("{PATH}/{name}/use");
    let post = async |client: &Client| Ok(client.post_for::<AccountChanged>(&path).await?);
    let changed = connect::with(&context.home, Mode::Query, post).await?;
    tell(
        context,
        &changed,
        &format!("{name} serves the groups that name no account, from the next model call on"),
    )?;
    if let (false, Some(trouble)) = (context.json, &changed.account.trouble) {
        terminal::err(&format!("note: it cannot be used as it is: {}", terminal::clean_line(trouble, 400)));
    }
    Ok(())
}

async fn pool(context: &Context, verb: PoolVerb) -> Result<(), CliError> {
    let (owner, wanted) = match verb {
        PoolVerb::Set { owner, members, strategy } => (owner, Some(AccountPool { strategy, members })),
        PoolVerb::Clear { owner } => (owner, None),
    };
    let path = format!("{PATH}/{owner}/pool");
    let change = async |client: &Client| match &wanted {
        Some(pool) => Ok(client.put_with::<AccountChanged>(&path, pool).await?),
        None => Ok(client.delete_for::<AccountChanged>(&path).await?),
    };
    let changed = connect::with(&context.home, Mode::Query, change).await?;
    let done = changed.account.pool.as_ref().map_or_else(
        || format!("nobody stands in for {owner} any more"),
        |pool| format!("{owner}: {}", show::pool(pool)),
    );
    tell(context, &changed, &format!("{done}, from the next model call on"))
}

async fn logout(context: &Context, name: &AccountName) -> Result<(), CliError> {
    let path = format!("{PATH}/{name}/logout");
    let post = async |client: &Client| Ok(client.post_for::<AccountChanged>(&path).await?);
    let changed = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        return terminal::out_json(&changed);
    }
    if let Some(note) = &changed.note {
        terminal::err(&format!("note: {}", terminal::clean_line(note, 400)));
    }
    terminal::out(&format!("{name} is logged out: its credential is wiped, its settings stay"))
}

async fn remove(context: &Context, name: &AccountName, yes: bool) -> Result<(), CliError> {
    if !yes && !confirmed(name)? {
        return context.tell("removed", None::<&AccountName>, "nothing was removed");
    }
    let path = format!("{PATH}/{name}");
    let delete = async |client: &Client| Ok(client.delete_for::<AccountRemoved>(&path).await?);
    let removed = connect::with(&context.home, Mode::Query, delete).await?;
    if context.json {
        return terminal::out_json(&removed);
    }
    terminal::out(&show::removed(&removed))
}

/// What became of an account. A note that it is otherwise than asked for takes the place of the good news.
fn tell(context: &Context, changed: &AccountChanged, done: &str) -> Result<(), CliError> {
    if context.json {
        return terminal::out_json(changed);
    }
    match &changed.note {
        Some(note) => terminal::out(&format!("note: {}", terminal::clean_line(note, 400))),
        None => terminal::out(done),
    }
}

/// Asks on the terminal; without one, only `--yes` will do.
fn confirmed(name: &AccountName) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        let message = format!("removing {name} forgets its credential, and nobody is there to ask");
        return Err(CliError::usage(message).with_hint("add --yes"));
    }
    terminal::ask(&format!("Forget the account {name} and its credential? [y/N] "))
}
