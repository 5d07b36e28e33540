//! `cofferdam group set`: one key of a group's `container.json`.

use cofferdam_protocol::admin::{Account, Group};
use cofferdam_protocol::ids::{AccountName, Folder};
use serde_json::json;

use super::path;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::{Context, client, terminal};
use crate::config::credentials::CredentialMode;
use crate::config::edit;
use crate::config::group::{GroupConfig, LoadedGroup};
use crate::config::network::Network;

pub(super) async fn run(
    context: &Context,
    folder: &Folder,
    key: &str,
    value: Option<&str>,
) -> Result<(), CliError> {
    // Sessions go on with what they started with, also when the file cannot be read any more.
    let before = GroupConfig::load(&context.home, folder).ok();
    let changed = edit::set_in_file(&context.home, folder, key, value)?;
    let after = GroupConfig::load(&context.home, folder)?;
    // Also when the file says so already: what was to be wiped then may not have been.
    let may_have_had = key.starts_with("credentials") || before.as_ref().is_none_or(has_copies);
    let wiped = may_have_had && !has_copies(&after) && take_copies_away(context, folder).await?;
    let closed = before.is_some_and(|before| before.config.network == Network::Open)
        && after.config.network == Network::None;
    let unknown = unknown_accounts(context, &after.config, key).await;
    for name in &unknown {
        terminal::err(&format!(
            "note: there is no account {name}, and calls of this group fail for want of it: `cofferdam account login {name}` \
             makes it"
        ));
    }
    let file = context.home.container_json(folder);
    if context.json {
        return terminal::out_json(
            &json!({ "group": folder, "key": key, "file": file, "changed": changed, "unknown_accounts": unknown }),
        );
    }
    let file = file.display();
    if closed {
        terminal::err(
            "note: a container that runs now keeps its network until it ends: `cofferdam session stop ID` ends it",
        );
    }
    terminal::out(&match (changed, wiped) {
        (false, _) => format!("{file} says so already"),
        (true, false) => format!("{file} is changed; it takes effect at the next start of the group's sessions"),
        (true, true) => {
            format!("{file} is changed; no session of the group has a copy of a login any more")
        }
    })
}

fn has_copies(group: &LoadedGroup) -> bool {
    group.config.credentials.mode == CredentialMode::Copy
}

/// A copy does not wait for the next start: registering a sealed group ends what has one, and wipes it. False when the group
/// is not registered.
async fn take_copies_away(context: &Context, folder: &Folder) -> Result<bool, CliError> {
    let put = async |client: &client::Client| {
        let groups = client.get::<Vec<Group>>("/v1/groups").await?;
        let is_registered = groups.iter().any(|group| group.folder == *folder);
        if is_registered {
            client.put::<Group>(&path(folder)).await?;
        }
        Ok(is_registered)
    };
    connect::with(&context.home, Mode::InProcess, put).await
}

/// The accounts that the group names now and that nobody has made. Not being able to look is no reason to say anything.
async fn unknown_accounts(context: &Context, config: &GroupConfig, key: &str) -> Vec<AccountName> {
    let named: Vec<&AccountName> = match key.split('.').next() {
        Some("account") => config.account.iter().collect(),
        Some("pool") => config.pool.members.iter().collect(),
        _ => return Vec::new(),
    };
    if named.is_empty() {
        return Vec::new();
    }
    let get = async |client: &client::Client| Ok(client.get::<Vec<Account>>("/v1/accounts").await?);
    let Ok(known) = connect::with(&context.home, Mode::Query, get).await else { return Vec::new() };
    let is_unknown = |name: &&AccountName| known.iter().all(|account| account.name != **name);
    named.into_iter().filter(is_unknown).cloned().collect()
}
