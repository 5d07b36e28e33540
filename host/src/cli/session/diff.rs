//! `cofferdam session diff`: what a turn changed in files.

use std::io::IsTerminal;

use cofferdam_protocol::admin::TurnDiff;

use crate::cli::Context;
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::terminal::{self, Style};
use crate::cli::words::SessionWord;

pub(super) async fn run(context: &Context, id: &SessionWord, turn: Option<i64>) -> Result<(), CliError> {
    let query = turn.map_or_else(String::new, |turn| format!("?turn={turn}"));
    let path = format!("/v1/sessions/{id}/diff{query}");
    let get = async |client: &Client| Ok(client.get::<TurnDiff>(&path).await?);
    let answer = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&answer);
    }
    let Some(diff) = &answer.diff else {
        // Not on standard output: whoever reads a diff there gets an empty one.
        terminal::err(&match answer.turn {
            Some(turn) => format!("turn {turn} changed no files"),
            None => "no turn of this session changed files".to_owned(),
        });
        return Ok(());
    };
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return terminal::out(&coloured(diff, Style::of(&stdout)));
    }
    // As it is, so that it can be applied.
    terminal::out(diff.strip_suffix('\n').unwrap_or(diff))
}

/// The diff for a terminal: harmless, and with marks where it shows them.
fn coloured(diff: &str, style: Style) -> String {
    let diff = terminal::clean(diff);
    diff.trim_end().lines().map(|line| mark(line, style)).collect::<Vec<_>>().join("\n")
}

fn mark(line: &str, style: Style) -> String {
    let is_header = ["+++", "---", "diff ", "index ", "new file", "deleted file", "rename ", "similarity "];
    if is_header.iter().any(|header| line.starts_with(header)) {
        style.dim(line)
    } else if line.starts_with("@@") {
        style.yellow(line)
    } else if line.starts_with('+') {
        style.green(line)
    } else if line.starts_with('-') {
        style.red(line)
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+n\u{1b}[2Jew\n same\n";

    #[test]
    fn a_diff_for_a_terminal_is_clean_and_marked_only_where_marks_are_shown() {
        assert_eq!(
            coloured(DIFF, Style::PLAIN),
            "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n same"
        );
        let marked = coloured(DIFF, Style::MARKS);
        assert!(
            marked.contains("\u{1b}[31m-old\u{1b}[0m") && marked.contains("\u{1b}[32m+new\u{1b}[0m"),
            "{marked:?}"
        );
        assert!(marked.contains("\u{1b}[2m+++ b/f\u{1b}[0m") && marked.ends_with("\n same"), "{marked:?}");
    }
}
