//! `account login` and `account import`: credentials into the vault.

use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::{
    Account, AccountChanged, AccountKind, AccountLogin, Credential, ErrorKind, Hidden,
};
use cofferdam_protocol::ids::AccountName;
use secrecy::{ExposeSecret, SecretString};

use super::args::{ImportArgs, LoginArgs};
use super::prompt::{self, Asked};
use super::{PATH, chatgpt};
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
    let name = name_of(args.account.clone(), args.kind)?;
    let known = known(context, &name).await?;
    let kind = match (args.kind, &known) {
        (Some(kind), _) => kind,
        (None, Some(known)) => known.kind,
        (None, None) => {
            let message = format!("there is no account '{name}' yet, and nothing says of what kind it is");
            return Err(CliError::usage(message)
                .with_hint("add --kind chatgpt, --kind openai, or --kind compatible --base-url URL"));
        }
    };
    if kind != AccountKind::ChatGpt && (args.device || args.paste) {
        return Err(CliError::usage(format!("--device and --paste are for kind chatgpt, and this is {kind}")));
    }
    if kind == AccountKind::Compatible && args.base_url.is_none() && known.is_none() {
        return Err(CliError::usage("an account of kind compatible needs the endpoint's address")
            .with_hint("name it with --base-url, such as http://127.0.0.1:8000/v1"));
    }
    let credential = match kind {
        AccountKind::ChatGpt => chatgpt::credential(&context.home, &args).await?,
        _ => key(&name, kind, args.key_file.as_deref()).await?,
    };
    let Some(credential) = credential else { return Ok(INTERRUPTED) };
    let login = AccountLogin { kind, credential, base_url: args.base_url, model: args.model };
    put(context, &name, &login, known.is_some()).await?;
    Ok(0)
}

/// The API key that a person has; none after Ctrl-C.
async fn key(name: &AccountName, kind: AccountKind, file: Option<&Path>) -> Result<Option<Credential>, CliError> {
    let what = match kind {
        AccountKind::Compatible => format!("API key of {name}, empty for none"),
        _ => format!("API key of {name}"),
    };
    Ok(match prompt::secret(file, &what, "--key-file").await? {
        Asked::Secret(key) => Some(Credential::Key(hidden(&key))),
        Asked::Nothing => None,
    })
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
    let (kind, credential) = match Secret::from_auth_json(text.expose_secret()).map_err(unfit)? {
        Secret::Key(key) => (AccountKind::OpenAi, Credential::Key(hidden(&key))),
        Secret::Tokens(_) if args.shared => (AccountKind::ChatGpt, Credential::Shared(full(&path)?)),
        Secret::Tokens(_) if args.take_over => (AccountKind::ChatGpt, Credential::AuthJson(hidden(&text))),
        Secret::Tokens(_) => {
            let message =
                format!("{} is a ChatGPT login, which two programs cannot use by themselves", path.display());
            return Err(CliError::usage(message).with_hint(
                "--shared goes on with it together with the host's own Codex, --take-over logs that out",
            ));
        }
    };
    let name = name_of(args.name, Some(kind))?;
    let again = known(context, &name).await?.is_some();
    put(context, &name, &AccountLogin { kind, credential, base_url: None, model: None }, again).await?;
    if kind == AccountKind::ChatGpt && args.take_over {
        // Each refresh token is good for one use: a file that is left would end the login.
        std::fs::remove_file(&path).map_err(|error| {
            CliError::io(format!("{} has the login too and must go, but cannot be removed", path.display()), &error)
        })?;
        terminal::err(&format!("{} is removed: the host's own Codex is logged out", path.display()));
    }
    Ok(())
}

/// A path as the daemon understands it, which has another working directory.
fn full(path: &Path) -> Result<String, CliError> {
    let full = std::path::absolute(path)
        .map_err(|error| CliError::io(format!("{} has no full path", path.display()), &error))?;
    full.to_str().map(str::to_owned).ok_or_else(|| CliError::usage("the file's name is not UTF-8"))
}

/// Where the person's own Codex keeps its login.
fn auth_json() -> Result<PathBuf, CliError> {
    let given = |name| process_env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = given("CODEX_HOME").or_else(|| given("HOME").map(|home| home.join(".codex")));
    let home =
        home.ok_or_else(|| CliError::usage("neither CODEX_HOME nor HOME is set").with_hint("name the file"))?;
    Ok(home.join("auth.json"))
}
