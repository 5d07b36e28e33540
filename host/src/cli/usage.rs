//! `cofferdam usage`: what model calls cost.

use cofferdam_protocol::admin::{UsageBy, UsageReport, UsageRow, UsageSum};

use super::args::UsageArgs;
use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::group::{set_aside_of_all, tell_missing};
use super::table::{Table, grouped};
use super::{Context, terminal};

pub(super) async fn run(context: &Context, args: UsageArgs) -> Result<u8, CliError> {
    let path = path(&args);
    let get = async |client: &Client| {
        let report = client.get::<UsageReport>(&path).await?;
        Ok((report, set_aside_of_all(client, args.group.as_ref()).await?))
    };
    let (report, aside) = connect::with(&context.home, Mode::Query, get).await?;
    tell_missing("usage", &aside);
    if context.json {
        terminal::out_json(&report)?;
    } else {
        terminal::out(&words(&report))?;
    }
    Ok(0)
}

fn path(args: &UsageArgs) -> String {
    let queries = [
        args.group.as_ref().map(|group| format!("group={group}")),
        args.by.map(|by| format!("by={by}")),
        args.days.map(|days| format!("days={days}")),
        args.since.map(|day| format!("since={day}")),
    ];
    format!("/v1/usage?{}", queries.into_iter().flatten().collect::<Vec<_>>().join("&"))
}

fn words(report: &UsageReport) -> String {
    if report.rows.is_empty() {
        return match &report.since {
            Some(day) => format!("no model calls since {day}"),
            None => "no model calls".to_owned(),
        };
    }
    let heading = match report.by {
        UsageBy::Group => "GROUP",
        UsageBy::Session => "SESSION",
        UsageBy::Account => "ACCOUNT",
        UsageBy::Model => "MODEL",
        UsageBy::Day => "DAY",
    };
    let mut table = Table::new([heading, "CALLS", "INPUT", "CACHED", "OUTPUT", "REASONING"]);
    for row in &report.rows {
        table.row(cells(name(row), &row.sum));
    }
    if report.rows.len() > 1 {
        table.row(cells("total".to_owned(), &report.total));
    }
    table.render()
}

fn name(row: &UsageRow) -> String {
    match (&row.group, &row.session) {
        (Some(group), Some(session)) => format!("{session} ({group})"),
        (Some(group), None) => group.to_string(),
        _ => {
            let account = row.account.as_ref().map(ToString::to_string);
            account.or_else(|| row.model.clone()).or_else(|| row.day.clone()).unwrap_or_default()
        }
    }
}

fn cells(name: String, sum: &UsageSum) -> [String; 6] {
    let tokens = &sum.tokens;
    [
        name,
        grouped(sum.calls),
        grouped(tokens.input_tokens),
        grouped(tokens.cached_input_tokens),
        grouped(tokens.output_tokens),
        grouped(tokens.reasoning_tokens),
    ]
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::Tokens;

    use super::*;

    fn row(model: &str, input_tokens: u64) -> UsageRow {
        let tokens = Tokens { input_tokens, cached_input_tokens: 40, output_tokens: 10, reasoning_tokens: 3 };
        UsageRow { model: Some(model.into()), sum: UsageSum { calls: 2, tokens }, ..UsageRow::default() }
    }

    fn report(rows: Vec<UsageRow>) -> UsageReport {
        let mut total = UsageSum::default();
        rows.iter().for_each(|row| total.add(&row.sum));
        UsageReport { by: UsageBy::Model, since: None, rows, total }
    }

    #[test]
    fn lines_have_their_total_beneath_when_there_are_several() {
        insta::assert_snapshot!(words(&report(vec![row("luna", 1_234_567), row("sol", 100)])), @r"
        MODEL  CALLS  INPUT      CACHED  OUTPUT  REASONING
        luna   2      1,234,567  40      10      3
        sol    2      100        40      10      3
        total  4      1,234,667  80      20      6
        ");
        assert!(!words(&report(vec![row("luna", 1)])).contains("total"));
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(words(&report(Vec::new())), "no model calls");
        let since = UsageReport { since: Some("2026-11-21".into()), ..report(Vec::new()) };
        assert_eq!(words(&since), "no model calls since 2026-11-21");
    }

    #[test]
    fn a_sessions_line_has_its_whole_id() {
        let session = "0123456789abcdef0123456789abcdef";
        let (group, id) = (Some("demo".parse().unwrap()), Some(session.parse().unwrap()));
        assert_eq!(name(&UsageRow { group, session: id, ..UsageRow::default() }), format!("{session} (demo)"));
    }
}
