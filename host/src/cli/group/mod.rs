//! `cofferdam group …`: agents with a folder, settings and instructions.

mod set;

use std::io::IsTerminal;

use cofferdam_protocol::admin::Group;
use cofferdam_protocol::ids::Folder;
use jiff::Timestamp;

use super::args::GroupVerb;
use super::connect::{self, Mode};
use super::error::CliError;
use super::table::{Table, ago, pairs};
use super::{Context, scaffold, terminal};
use crate::config::group::{self, GroupConfig};

pub(super) async fn run(context: &Context, verb: GroupVerb) -> Result<u8, CliError> {
    match verb {
        GroupVerb::Add { group } => add(context, &group).await?,
        GroupVerb::List => list(context).await?,
        GroupVerb::Show { group } => show(context, &group).await?,
        GroupVerb::Set { group, key, value, unset: _ } => set::run(context, &group, &key, value.as_deref()).await?,
        GroupVerb::Remove { group, yes } => remove(context, &group, yes).await?,
    }
    Ok(0)
}

fn path(group: &Folder) -> String {
    format!("/v1/groups/{group}")
}

async fn add(context: &Context, folder: &Folder) -> Result<(), CliError> {
    connect::require(&context.home)?;
    group::check_folder(&context.home, folder)?;
    let made = scaffold::group(&context.home, folder)?;
    GroupConfig::load(&context.home, folder)?;
    let put = async |client: &super::client::Client| Ok(client.put::<Group>(&path(folder)).await?);
    let group = connect::with(&context.home, Mode::Query, put).await?;
    if context.json {
        return terminal::out_json(&group);
    }
    for path in &made {
        terminal::out(&format!("made {}", path.display()))?;
    }
    terminal::out(&format!(
        "group {folder} is registered; its instructions are in {}\ntalk to it: cofferdam chat {folder}",
        context.home.agents_md(folder).display()
    ))
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &super::client::Client| Ok(client.get::<Vec<Group>>("/v1/groups").await?);
    let groups = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&groups);
    }
    if groups.is_empty() {
        return terminal::out("no groups yet: `cofferdam group add NAME` makes one");
    }
    terminal::out(&table(&groups, Timestamp::now()))
}

fn table(groups: &[Group], now: Timestamp) -> String {
    let mut table = Table::new(["GROUP", "PROVIDER", "MODEL", "REGISTERED", "NOTE"]);
    for group in groups {
        let word = |key: &str, default: &str| group.config[key].as_str().unwrap_or(default).to_owned();
        table.row([
            group.folder.to_string(),
            word("provider", "codex"),
            word("model", "-"),
            ago(&group.registered_at, now),
            group
                .set_aside
                .as_ref()
                .map(|_| set_aside(&group.folder))
                .or(group.config_error.clone())
                .unwrap_or_default(),
        ]);
    }
    table.render()
}

fn set_aside(folder: &Folder) -> String {
    format!("its database is damaged: `cofferdam restore {folder}`")
}

/// Groups that are set aside, when all groups were asked for something, and so for theirs too.
pub(super) async fn set_aside_of_all(
    client: &super::client::Client,
    one: Option<&Folder>,
) -> Result<Vec<Folder>, CliError> {
    if one.is_some() {
        return Ok(Vec::new());
    }
    let groups = client.get::<Vec<Group>>("/v1/groups").await?;
    Ok(groups.into_iter().filter(|group| group.set_aside.is_some()).map(|group| group.folder).collect())
}

/// Says on standard error what a list does not have.
pub(super) fn tell_missing(what: &str, aside: &[Folder]) {
    for folder in aside {
        terminal::err(&missing(what, folder));
    }
}

fn missing(what: &str, folder: &Folder) -> String {
    format!("note: without the {what} of group {folder}, which is set aside: {}", set_aside(folder))
}

async fn show(context: &Context, folder: &Folder) -> Result<(), CliError> {
    let get = async |client: &super::client::Client| Ok(client.get::<Group>(&path(folder)).await?);
    let group = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&group);
    }
    let facts = pairs(&[
        ("group", Some(folder.to_string())),
        ("folder", Some(group.path.clone())),
        ("registered", Some(ago(&group.registered_at, Timestamp::now()))),
        ("error", group.config_error.clone()),
        (
            "set aside",
            group.set_aside.as_ref().map(|why| format!("{why}; `cofferdam restore {}` mends it", group.folder)),
        ),
    ]);
    terminal::out(&format!("{facts}\ncontainer.json:\n{}", terminal::clean(&format!("{:#}", group.config))))
}

async fn remove(context: &Context, folder: &Folder, yes: bool) -> Result<(), CliError> {
    if !yes && !confirmed(folder)? {
        return context.tell("removed", None::<&Folder>, "nothing was removed");
    }
    let delete = async |client: &super::client::Client| Ok(client.delete(&path(folder)).await?);
    connect::with(&context.home, Mode::InProcess, delete).await?;
    let kept = context.home.group(folder);
    context.tell("removed", folder, &format!("group {folder} is forgotten; its folder is still {}", kept.display()))
}

/// Asks on the terminal; without one, only `--yes` will do.
fn confirmed(folder: &Folder) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        let message = format!("removing {folder} forgets its conversations, and nobody is there to ask");
        return Err(CliError::usage(message).with_hint("add --yes"));
    }
    terminal::ask(&format!("Stop the sessions of {folder} and forget its conversations? [y/N] "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_without_a_group_that_is_set_aside_says_so() {
        insta::assert_snapshot!(
            missing("sessions", &"demo".parse().unwrap()),
            @"note: without the sessions of group demo, which is set aside: its database is damaged: `cofferdam restore demo`"
        );
    }

    #[test]
    fn groups_are_listed_with_what_is_wrong_with_them() {
        let group = |folder: &str, config, error: Option<&str>| Group {
            folder: folder.parse().unwrap(),
            path: format!("/h/groups/{folder}"),
            registered_at: "2026-01-01T00:00:00Z".into(),
            config,
            config_error: error.map(str::to_owned),
            set_aside: None,
        };
        let groups = [
            group("demo", json!({}), None),
            group("other", json!({"provider": "mock", "model": "m"}), Some("container.json:1:2: bad")),
        ];
        insta::assert_snapshot!(table(&groups, "2026-01-01T01:00:00Z".parse().unwrap()), @r#"
        GROUP  PROVIDER  MODEL  REGISTERED  NOTE
        demo   codex     -      1 h ago
        other  mock      m      1 h ago     container.json:1:2: bad
        "#);
    }
}
