//! `cofferdam wire`, `unwire` and `wiring …`: which chats reach which groups, and how.

use cofferdam_protocol::admin::{Wiring, WiringChange};
use cofferdam_protocol::ids::Folder;
use serde_json::json;

use super::args::{TermsArgs, WireArgs};
use super::segment;
use crate::cli::args::WiringVerb;
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::words::ChatWord;
use crate::cli::{Context, terminal};

const PATH: &str = "/v1/wirings";

pub(in crate::cli) async fn run(context: &Context, verb: WiringVerb) -> Result<u8, CliError> {
    match verb {
        WiringVerb::List => list(context).await?,
        WiringVerb::Set { chat, group, terms } => set(context, chat, group, terms).await?,
    }
    Ok(0)
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<Wiring>>(PATH).await?);
    let wirings = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&wirings);
    }
    if wirings.is_empty() {
        return terminal::out("no wirings yet: `cofferdam group add NAME` makes a group with its terminal chat");
    }
    terminal::out(&table(&wirings))
}

fn table(wirings: &[Wiring]) -> String {
    let mut table = Table::new(["CHAT", "GROUP", "WOKEN BY", "SESSIONS", "OTHERS", "STRANGERS", "PROGRESS"]);
    for wiring in wirings {
        let title = wiring.title.as_ref().map(|title| format!(" ({title})")).unwrap_or_default();
        let pattern = wiring.pattern.as_ref().map(|pattern| format!(" {pattern}")).unwrap_or_default();
        let sticky = if wiring.sticky { ", sticky" } else { "" };
        table.row([
            format!("{}:{}{title}", wiring.channel, wiring.chat_id),
            wiring.group.to_string(),
            format!("{}{pattern}{sticky}", wiring.engage),
            wiring.session_mode.clone(),
            wiring.others.clone(),
            if wiring.owners_only { "-".to_owned() } else { wiring.unknown.clone() },
            on_off(wiring.progress).to_owned(),
        ]);
    }
    table.render()
}

fn on_off(progress: bool) -> &'static str {
    if progress { "on" } else { "off" }
}

fn change(chat: ChatWord, group: Option<Folder>, kind: Option<String>, terms: TermsArgs) -> WiringChange {
    WiringChange {
        channel: chat.channel,
        chat_id: chat.chat_id,
        group,
        kind,
        session_mode: terms.sessions,
        engage: terms.engage,
        pattern: terms.pattern,
        sticky: terms.sticky,
        others: terms.others,
        unknown: terms.unknown,
        progress: terms.progress,
    }
}

async fn set(context: &Context, chat: ChatWord, group: Option<Folder>, terms: TermsArgs) -> Result<(), CliError> {
    let change = change(chat, group, None, terms);
    let bare = WiringChange {
        channel: change.channel.clone(),
        chat_id: change.chat_id.clone(),
        group: change.group.clone(),
        ..WiringChange::default()
    };
    if change == bare {
        return Err(
            CliError::usage("nothing is to be set").with_hint("`cofferdam wiring set --help` says what can be")
        );
    }
    let patch = async |client: &Client| Ok(client.patch::<Wiring>(PATH, &change).await?);
    let wiring = connect::with(&context.home, Mode::Query, patch).await?;
    if context.json {
        return terminal::out_json(&wiring);
    }
    terminal::out(&format!("set:\n{}", table(&[wiring])))
}

pub(in crate::cli) async fn wire(context: &Context, args: WireArgs) -> Result<u8, CliError> {
    let change = change(args.chat, Some(args.group), args.kind, args.terms);
    let put = async |client: &Client| Ok(client.put_with::<Wiring>(PATH, &change).await?);
    let wiring = connect::with(&context.home, Mode::Query, put).await?;
    if context.json {
        terminal::out_json(&wiring)?;
    } else {
        terminal::out(&format!("wired:\n{}", table(&[wiring])))?;
    }
    Ok(0)
}

pub(in crate::cli) async fn unwire(
    context: &Context,
    chat: ChatWord,
    group: Option<Folder>,
) -> Result<u8, CliError> {
    let of = group.as_ref().map(|group| format!("&group={group}")).unwrap_or_default();
    let path = format!("{PATH}?channel={}&chat_id={}{of}", segment(&chat.channel), segment(&chat.chat_id));
    let delete = async |client: &Client| Ok(client.delete(&path).await?);
    connect::with(&context.home, Mode::Query, delete).await?;
    let what = json!({ "channel": chat.channel, "chat_id": chat.chat_id, "group": group });
    context.tell("unwired", what, &format!("{}:{} is not wired any more", chat.channel, chat.chat_id))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wirings_are_listed_as_set_takes_them() {
        let wiring = |chat: &str, progress| Wiring {
            channel: "terminal".into(),
            chat_id: chat.into(),
            title: None,
            group: chat.parse().unwrap(),
            session_mode: "per-thread".into(),
            engage: "always".into(),
            pattern: None,
            sticky: false,
            others: "drop".into(),
            unknown: "drop".into(),
            owners_only: true,
            progress,
        };
        let team = Wiring {
            channel: "tg".into(),
            chat_id: "-100".into(),
            title: Some("Team".into()),
            engage: "pattern".into(),
            pattern: Some("deploy".into()),
            sticky: true,
            others: "context".into(),
            owners_only: false,
            ..wiring("demo", true)
        };
        insta::assert_snapshot!(table(&[wiring("demo", true), wiring("quiet", false), team]), @r"
        CHAT            GROUP  WOKEN BY                SESSIONS    OTHERS   STRANGERS  PROGRESS
        terminal:demo   demo   always                  per-thread  drop     -          on
        terminal:quiet  quiet  always                  per-thread  drop     -          off
        tg:-100 (Team)  demo   pattern deploy, sticky  per-thread  context  drop       on
        ");
    }
}
