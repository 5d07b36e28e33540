//! Rows of the table, and the file with all of them.

use std::io::{self, IsTerminal};
use std::path::Path;

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Summary;

/// What a row must reach.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// As in the table.
    pub text: String,
    /// Whether it is reached.
    pub pass: bool,
}

impl Goal {
    /// `value` must not be over `limit`.
    pub fn at_most(value: f64, limit: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), pass: value <= limit }
    }

    /// `value` must not be under `limit`.
    pub fn at_least(value: f64, limit: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), pass: value >= limit }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The figure, as `--only` names it.
    pub figure: &'static str,
    /// What was measured.
    pub name: String,
    /// Of the values.
    pub unit: &'static str,
    /// The values.
    #[serde(flatten)]
    pub summary: Summary,
    /// None for floors and what is there to explain.
    pub goal: Option<Goal>,
    /// Parts and circumstances.
    pub note: String,
}

impl Row {
    pub fn new(figure: &'static str, name: impl Into<String>, unit: &'static str, summary: Summary) -> Self {
        Self { figure, name: name.into(), unit, summary, goal: None, note: String::new() }
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Everything of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Seconds since 1970.
    pub at: u64,
    /// Fewer samples than the goals ask for.
    pub quick: bool,
    /// Where it ran.
    pub machine: Machine,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    pub fn all_pass(&self) -> bool {
        self.rows.iter().filter_map(|row| row.goal.as_ref()).all(|goal| goal.pass)
    }

    /// The table as text.
    pub fn table(&self) -> String {
        let head = ["figure", "what", "n", "p50", "p95", "p99", "max", "unit", "goal", ""].map(str::to_owned);
        let mut lines = vec![head];
        for row in &self.rows {
            let Summary { n, p50, p95, p99, max } = row.summary;
            let (goal, result) = match &row.goal {
                Some(goal) => (goal.text.clone(), if goal.pass { "pass" } else { "MISS" }),
                None => (String::new(), ""),
            };
            lines.push([
                row.figure.to_owned(),
                row.name.clone(),
                n.to_string(),
                number(p50),
                number(p95),
                number(p99),
                number(max),
                row.unit.to_owned(),
                goal,
                result.to_owned(),
            ]);
        }
        let mut widths = [0; 10];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let numeric = 2..=6;
        let mut text = String::new();
        for line in &lines {
            let cells: Vec<String> = line
                .iter()
                .zip(widths)
                .enumerate()
                .map(
                    |(i, (cell, width))| {
                        if numeric.contains(&i) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                    },
                )
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        for row in self.rows.iter().filter(|row| !row.note.is_empty()) {
            text.push_str(&format!("  {}, {}: {}\n", row.figure, row.name, row.note));
        }
        text
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        a if a >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Says on a terminal what goes on; nothing in a pipe.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprintln!("  … {text}");
    }
}
