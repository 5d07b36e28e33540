//! `cofferdam approval …` and `dropped`: what waits for a person, and who got nowhere.

use cofferdam_protocol::admin::{Approval, Drops, Verdict};
use cofferdam_protocol::ids::{Folder, WaitingId};

use super::args::ApprovalVerb;
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{Context, terminal};

const PATH: &str = "/v1/approvals";

pub(in crate::cli) async fn run(context: &Context, verb: ApprovalVerb) -> Result<u8, CliError> {
    match verb {
        ApprovalVerb::List { all } => list(context, all).await?,
        ApprovalVerb::Approve { id, answer } => {
            decide(context, &id, (!answer.is_empty()).then(|| answer.join(" "))).await?;
        }
        ApprovalVerb::Deny { id } => decide(context, &id, Some("deny".to_owned())).await?,
    }
    Ok(0)
}

async fn list(context: &Context, all: bool) -> Result<(), CliError> {
    let path = format!("{PATH}?all={all}");
    let get = async |client: &Client| Ok(client.get::<Vec<Approval>>(&path).await?);
    let approvals = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&approvals);
    }
    if approvals.is_empty() {
        return terminal::out("nothing waits for an approval");
    }
    approvals.iter().try_for_each(|approval| terminal::out(&shown(approval)))
}

fn shown(approval: &Approval) -> String {
    let how = match (&approval.choice, &approval.decided_by) {
        (Some(choice), Some(by)) => {
            let (by, choice) = (terminal::clean_line(by, 80), terminal::clean_line(choice, 200));
            format!("{} by {by} ({choice})", approval.state)
        }
        _ if approval.state == "open" => format!("takes: {} · until {}", takes(approval), approval.expires_at),
        _ => approval.state.clone(),
    };
    let words: Vec<_> =
        approval.words.lines().map(|line| format!("   {}", terminal::clean_line(line, 400))).collect();
    format!(
        "{} {} {}\n{}\n   {how}",
        approval.id,
        approval.kind,
        terminal::clean_line(&approval.chat, 160),
        words.join("\n")
    )
}

/// The answers that it takes; those of a question are an agent's words.
fn takes(approval: &Approval) -> String {
    let mut takes: Vec<String> = approval.choices.iter().map(|choice| terminal::clean_line(choice, 200)).collect();
    if matches!(approval.id, WaitingId::Question(..)) {
        for (at, choice) in takes.iter_mut().enumerate() {
            *choice = format!("{}. {choice}", at + 1);
        }
        takes.push("your own words".to_owned());
    }
    if !approval.others.is_empty() {
        let others: Vec<_> = approval.others.iter().map(Folder::as_str).collect();
        takes.push(terminal::clean_line(&format!("others: {}", others.join(", ")), 400));
    }
    takes.join(", ")
}

async fn decide(context: &Context, id: &WaitingId, word: Option<String>) -> Result<(), CliError> {
    let path = format!("{PATH}/{id}");
    let post = async |client: &Client| Ok(client.post::<Approval>(&path, &Verdict { word: word.clone() }).await?);
    let approval = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        return terminal::out_json(&approval);
    }
    terminal::out(&shown(&approval))
}

pub(in crate::cli) async fn dropped(context: &Context) -> Result<u8, CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<Drops>>("/v1/drops").await?);
    let drops = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        terminal::out_json(&drops)?;
        return Ok(0);
    }
    if drops.is_empty() {
        terminal::out("nothing was dropped")?;
        return Ok(0);
    }
    let mut table = Table::new(["CHAT", "SENDER", "WHY", "COUNT", "LAST"]);
    for drop in &drops {
        let sender = if drop.sender.is_empty() { "-".to_owned() } else { drop.sender.clone() };
        let chat = format!("{}:{}", drop.channel, drop.chat_id);
        table.row([chat, sender, drop.reason.clone(), drop.count.to_string(), drop.last_at.clone()]);
    }
    terminal::out(&table.render())?;
    Ok(0)
}
