//! `cofferdam doctor`: checks everything that Cofferdam needs; each failing line says the mend.
//!
//! Works without a daemon, beside one, and without an engine: a check that cannot be made says why.

mod accounts;
mod chats;
mod checks;
mod engine;
mod vault;

use cofferdam_protocol::admin::ErrorKind;
use serde::Serialize;

use super::error::CliError;
use super::terminal::{Style, clean_line};
use super::{Context, terminal};
use crate::config::host::HostConfig;
use crate::config::process_env;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but should be known.
    Warning,
    /// Has to be mended.
    Failed,
    /// Cannot be checked until another one is mended.
    Skipped,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, detail: detail.into(), mend: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning, detail: detail.into(), mend: Some(mend.into()) }
    }

    fn failed(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, detail: detail.into(), mend: Some(mend.into()) }
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: detail.into(), mend: None }
    }

    fn from_error(name: &'static str, error: &CliError, mend: &str) -> Self {
        Self::failed(name, error.message(), error.hint().unwrap_or(mend))
    }
}

pub(super) async fn run(context: &Context) -> Result<u8, CliError> {
    let home = &context.home;
    let mut report = Vec::new();
    report.extend(checks::home(home));
    let loaded = HostConfig::load(home, &process_env);
    let configuration = checks::configuration(&loaded);
    // Nothing can be started with a file of it that cannot be used: said once.
    let is_usable = configuration.iter().all(|check| check.outcome != Outcome::Failed);
    report.extend(configuration);
    // Without a valid configuration the rest is still checked where only the engine's usual place matters.
    let config = loaded.ok();
    report.extend(engine::checks(home, config.as_ref()).await);
    report.extend(checks::disks(home));
    report.push(checks::socket(home));
    report.push(checks::clock(home));
    report.push(checks::daemon(home).await);
    report.push(checks::databases(home, is_usable).await);
    let groups = checks::settings(home);
    report.extend(accounts::accounts(home, config.as_ref().filter(|_| is_usable), &groups).await);
    report.push(vault::key(home, is_usable).await);
    report.extend(chats::chats(home, is_usable).await);
    report.extend(checks::groups(home));
    report.extend(checks::network(&groups));
    let failed = report.iter().filter(|check| check.outcome == Outcome::Failed).count();
    if context.json {
        terminal::out_json(&serde_json::json!({ "healthy": failed == 0, "checks": report }))?;
    } else {
        terminal::out(&render(&report, Style::of(&std::io::stdout())))?;
    }
    Ok(if failed == 0 { 0 } else { ErrorKind::Unhealthy.exit_code() })
}

fn render(report: &[Check], style: Style) -> String {
    let width = report.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in report {
        let word = match check.outcome {
            Outcome::Ok => style.green("ok  "),
            Outcome::Warning => style.yellow("warn"),
            Outcome::Failed => style.red("FAIL"),
            Outcome::Skipped => style.dim("skip"),
        };
        lines.push(format!("{word}  {:<width$}  {}", check.name, clean_line(&check.detail, 400)));
        if let Some(mend) = &check.mend {
            lines.push(format!("      {:<width$}  -> {}", "", clean_line(mend, 400)));
        }
    }
    let failed = report.iter().filter(|check| check.outcome == Outcome::Failed).count();
    lines.push(match failed {
        0 => "everything that Cofferdam needs is there".to_owned(),
        1 => "1 check failed".to_owned(),
        n => format!("{n} checks failed"),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_line_says_the_mend() {
        let report = [
            Check::ok("home", "/h"),
            Check::warning("account", "the key can be read by all", "chmod 600 /h/.env"),
            Check::failed("engine", "no answer", "start it"),
            Check::skipped("image", "needs the engine"),
        ];
        insta::assert_snapshot!(render(&report, Style::PLAIN), @r#"
        ok    home     /h
        warn  account  the key can be read by all
                       -> chmod 600 /h/.env
        FAIL  engine   no answer
                       -> start it
        skip  image    needs the engine
        1 check failed
        "#);
    }
}
