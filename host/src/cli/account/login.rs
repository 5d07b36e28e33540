//! `account login` and `account import`: credentials into the vault.

use std::path::PathBuf;

use cofferdam_protocol::admin::{Account, AccountChanged, AccountKind, AccountLogin, ErrorKind, Hidden};
use cofferdam_protocol::ids::AccountName;
use secrecy::{ExposeSecret, SecretString};

use super::PATH;
use super::args::{ImportArgs, LoginArgs};
use super::prompt::{self, Asked};
use crate::cli::client::{Client, ClientError};
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::{Context, terminal};
use crate::config::process_env;
use crate::vault::{BadSecret, Secret};

/// Ctrl-C at a prompt.
const INTERRUPTED: u8 = 130;

pub(super) async fn login(context: &Context, args: LoginArgs) -> Result<u8, CliError> {
    connect::require(&context.home)?;
    let name = name_of(args.account, args.kind)?;
    let known = known(context, &name).await?;
    let kind = match (args.kind, &known) {
        (Some(kind), _) => kind,
        (None, Some(known)) => known.kind,
        (None, None) => {
            let message = format!("there is no account '{name}' yet, and nothing says of what kind it is");
            return Err(
                CliError::usage(message).with_hint("add --kind openai, or --kind compatible --base-url URL")
            );
        }
    };
    if kind == AccountKind::Compatible && args.base_url.is_none() && known.is_none() {
        return Err(CliError::usage("an account of kind compatible needs the endpoint's address")
            .with_hint("name it with --base-url, such as http://127.0.0.1:8000/v1"));
    }
    let what = match kind {
        AccountKind::Compatible => format!("API key of {name}, empty for none"),
        _ => format!("API key of {name}"),
    };
    let key = match prompt::secret(args.key_file.as_deref(), &what).await? {
        Asked::Secret(key) => key,
        Asked::Nothing => return Ok(INTERRUPTED),
    };
    let login = AccountLogin { kind, key: hidden(&key), base_url: args.base_url, model: args.model };
    put(context, &name, &login, known.is_some()).await?;
    Ok(0)
}

/// The account of that name, if there is one.
async fn known(context: &Context, name: &AccountName) -> Result<Option<Account>, CliError> {
    let get = async |client: &Client| match client.get::<Account>(&format!("{PATH}/{name}")).await {
        Ok(account) => Ok(Some(account)),
        Err(ClientError::Refused(body)) if body.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    };
    // Not held while a person looks for the key.
    connect::with(&context.home, Mode::Query, get).await
}

/// The name that was given, or else the kind's word.
fn name_of(given: Option<AccountName>, kind: Option<AccountKind>) -> Result<AccountName, CliError> {
    let name = given.or_else(|| kind.and_then(|kind| kind.as_str().parse().ok()));
    let name = name.ok_or_else(|| CliError::usage("name the account, or its --kind"))?;
    if name.is_built_in() {
        return Err(CliError::usage(format!("the account '{name}' is built in")).with_hint("choose another name"));
    }
    Ok(name)
}

fn hidden(secret: &SecretString) -> Hidden {
    Hidden(secret.expose_secret().to_owned())
}

async fn put(context: &Context, name: &AccountName, login: &AccountLogin, again: bool) -> Result<(), CliError> {
    let path = format!("{PATH}/{name}");
    let put = async |client: &Client| Ok(client.put_with::<AccountChanged>(&path, login).await?);
    let changed = connect::with(&context.home, Mode::Query, put).await?;
    if context.json {
        return terminal::out_json(&changed);
    }
    if let Some(note) = &changed.note {
        terminal::err(&format!("note: {}", terminal::clean_line(note, 400)));
    }
    let done = if again { "has its new credential" } else { "is made" };
    let serves = if changed.account.default {
        "it serves the groups that name no account".to_owned()
    } else {
        format!(
            "`cofferdam account use {name}` makes it the default, `account` in a container.json names it for a group"
        )
    };
    terminal::out(&format!("{name} {done}; {serves}\ntry it: cofferdam account test {name}"))
}

pub(super) async fn import(context: &Context, args: ImportArgs) -> Result<(), CliError> {
    connect::require(&context.home)?;
    let path = args.path.map_or_else(auth_json, Ok)?;
    let text = prompt::from_file(&path)?;
    let unfit = |error: BadSecret| {
        CliError::new(ErrorKind::Config, format!("{} is no login of Codex: {error}", path.display()))
            .with_hint("name Codex's auth.json, or log in with `cofferdam account login`")
    };
    let key = match Secret::from_auth_json(text.expose_secret()).map_err(unfit)? {
        Secret::Key(key) => key,
        Secret::Tokens(_) => return Err(unfit(BadSecret::NoLogin)),
    };
    let name = name_of(args.name, Some(AccountKind::OpenAi))?;
    let again = known(context, &name).await?.is_some();
    let login = AccountLogin { kind: AccountKind::OpenAi, key: hidden(&key), base_url: None, model: None };
    put(context, &name, &login, again).await
}

/// Where the person's own Codex keeps its login.
fn auth_json() -> Result<PathBuf, CliError> {
    let given = |name| process_env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = given("CODEX_HOME").or_else(|| given("HOME").map(|home| home.join(".codex")));
    let home =
        home.ok_or_else(|| CliError::usage("neither CODEX_HOME nor HOME is set").with_hint("name the file"))?;
    Ok(home.join("auth.json"))
}
