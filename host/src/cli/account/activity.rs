//! `cofferdam account activity`: the newest model calls of a group.

use cofferdam_protocol::admin::{CallOutcome, ModelCall, Tokens};
use cofferdam_protocol::ids::Folder;
use jiff::Timestamp;

use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::{Table, ago, grouped};
use crate::cli::{Context, terminal};

/// What of a session's id is shown: enough for `session show`.
const ID: usize = 8;

pub(super) async fn run(context: &Context, group: &Folder, limit: u32) -> Result<(), CliError> {
    let path = format!("/v1/groups/{group}/activity?limit={limit}");
    let get = async |client: &Client| Ok(client.get::<Vec<ModelCall>>(&path).await?);
    let calls = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&calls);
    }
    if calls.is_empty() {
        return terminal::out(&format!("no model calls of {group}"));
    }
    terminal::out(&table(&calls, Timestamp::now()))
}

fn table(calls: &[ModelCall], now: Timestamp) -> String {
    let mut table =
        Table::new(["WHEN", "SESSION", "ACCOUNT", "MODEL", "OUTCOME", "MS", "INPUT", "CACHED", "OUTPUT", "WHY"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for call in calls {
        let tokens =
            |figure: fn(&Tokens) -> u64| or_none(call.tokens.as_ref().map(|tokens| grouped(figure(tokens))));
        table.row([
            ago(&call.at, now),
            call.session.as_str().chars().take(ID).collect(),
            or_none(call.account.as_ref().map(ToString::to_string)),
            or_none(call.model.clone()),
            outcome(call.outcome).to_owned(),
            grouped(call.millis),
            tokens(|tokens| tokens.input_tokens),
            tokens(|tokens| tokens.cached_input_tokens),
            tokens(|tokens| tokens.output_tokens),
            why(call),
        ]);
    }
    table.render()
}

fn outcome(outcome: CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Completed => "completed",
        CallOutcome::Failed => "failed",
        CallOutcome::Cut => "cut off",
        CallOutcome::GivenUp => "given up",
    }
}

/// What went otherwise: of the call, and of the accounts that were asked before the one that served it.
fn why(call: &ModelCall) -> String {
    let missed = call.missed.iter().map(|missed| format!("not {}: {}", missed.account, missed.why));
    call.why.clone().into_iter().chain(missed).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::Missed;

    use super::*;

    #[test]
    fn calls_say_who_served_them_and_who_did_not() {
        let tokens =
            Tokens { input_tokens: 12_345, cached_input_tokens: 40, output_tokens: 10, reasoning_tokens: 3 };
        let served = ModelCall {
            at: "2026-01-01T00:00:00Z".into(),
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            account: Some("home".parse().unwrap()),
            missed: vec![Missed { account: "work".parse().unwrap(), why: "its limit is reached (429)".into() }],
            model: Some("sol".into()),
            route: "responses".into(),
            outcome: CallOutcome::Completed,
            why: None,
            millis: 1_250,
            tokens: Some(tokens),
        };
        let failed = ModelCall {
            account: None,
            missed: Vec::new(),
            outcome: CallOutcome::Failed,
            why: Some("401 account_unavailable".into()),
            tokens: None,
            ..served.clone()
        };
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&[served, failed], now), @r"
        WHEN       SESSION   ACCOUNT  MODEL  OUTCOME    MS     INPUT   CACHED  OUTPUT  WHY
        2 min ago  01234567  home     sol    completed  1,250  12,345  40      10      not work: its limit is reached (429)
        2 min ago  01234567  -        sol    failed     1,250  -       -       -       401 account_unavailable
        ");
    }
}
