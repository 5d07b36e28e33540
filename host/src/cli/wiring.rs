//! `cofferdam wiring …`: which chats reach which groups, and what they are shown.

use cofferdam_protocol::admin::{Wiring, WiringChange};

use super::args::WiringVerb;
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::table::Table;
use super::words::ChatWord;
use super::{Context, terminal};

const PATH: &str = "/v1/wirings";

pub(super) async fn run(context: &Context, verb: WiringVerb) -> Result<u8, CliError> {
    match verb {
        WiringVerb::List => list(context).await?,
        WiringVerb::Set { chat, progress } => set(context, chat, progress).await?,
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
    let mut table = Table::new(["CHAT", "GROUP", "SESSIONS", "PROGRESS"]);
    for wiring in wirings {
        table.row([
            format!("{}:{}", wiring.channel, wiring.chat_id),
            wiring.group.to_string(),
            wiring.session_mode.clone(),
            on_off(wiring.progress).to_owned(),
        ]);
    }
    table.render()
}

fn on_off(progress: bool) -> &'static str {
    if progress { "on" } else { "off" }
}

async fn set(context: &Context, chat: ChatWord, progress: bool) -> Result<(), CliError> {
    let change = WiringChange {
        channel: chat.channel,
        chat_id: chat.chat_id,
        progress: Some(progress),
        ..WiringChange::default()
    };
    let patch = async |client: &Client| Ok(client.patch::<Wiring>(PATH, &change).await?);
    let wiring = connect::with(&context.home, Mode::Query, patch).await?;
    if context.json {
        return terminal::out_json(&wiring);
    }
    let chat = terminal::clean_line(&format!("{}:{}", wiring.channel, wiring.chat_id), 160);
    terminal::out(&format!("{chat}: progress is {} from the next turn", on_off(wiring.progress)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wirings_are_listed_as_set_takes_them() {
        let wiring = |chat: &str, progress| Wiring {
            channel: "terminal".into(),
            chat_id: chat.into(),
            group: chat.parse().unwrap(),
            session_mode: "per-thread".into(),
            progress,
        };
        insta::assert_snapshot!(table(&[wiring("demo", true), wiring("quiet", false)]), @r"
        CHAT            GROUP  SESSIONS    PROGRESS
        terminal:demo   demo   per-thread  on
        terminal:quiet  quiet  per-thread  off
        ");
    }
}
