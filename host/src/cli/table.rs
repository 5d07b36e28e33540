//! Aligned columns and times for people.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use super::terminal::clean_line;

/// The widest cell but in the last column, in characters.
const MAX_CELL: usize = 48;
/// The widest cell of the last column.
const MAX_LAST: usize = 160;

/// Rows under headings; every cell is cleaned for the terminal.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row; as many cells as there are headings.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        let last = N.saturating_sub(1);
        let clean = |(i, cell): (usize, &String)| clean_line(cell, if i == last { MAX_LAST } else { MAX_CELL });
        self.rows.push(cells.iter().enumerate().map(clean).collect());
    }

    /// The table as text, without a line feed at its end.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| self.rows.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            text += line.trim_end();
            text.push('\n');
        }
        text.trim_end_matches('\n').to_owned()
    }
}

/// `key: value` lines with aligned values; lines without a value are left out.
pub(super) fn pairs(pairs: &[(&str, Option<String>)]) -> String {
    let width = pairs.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.len()).max().unwrap_or(0) + 1;
    let line = |(key, value): &(&str, Option<String>)| {
        let value = clean_line(value.as_ref()?, 400);
        Some(format!("{:<width$} {value}", format!("{key}:")))
    };
    pairs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// An RFC 3339 time as seen from `now`: "12 s ago".
pub(super) fn ago(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return time.to_owned() };
    let since = now.duration_since(time);
    if since < SignedDuration::from_secs(1) { "now".to_owned() } else { format!("{} ago", span(since.as_secs())) }
}

/// An RFC 3339 time that is to come, as seen from `now`: "in 12 s".
pub(super) fn until(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return time.to_owned() };
    let left = time.duration_since(now);
    if left < SignedDuration::from_secs(1) { "now".to_owned() } else { format!("in {}", span(left.as_secs())) }
}

/// Seconds in the largest unit that fits.
pub(super) fn span(secs: i64) -> String {
    match secs {
        ..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_cannot_break_them() {
        let mut table = Table::new(["A", "LONGER", "C"]);
        table.row(["first one".into(), "1".into(), "x\ny\u{1b}[2J".into()]);
        table.row(["z".into(), String::new(), String::new()]);
        insta::assert_snapshot!(table.render(), @r#"
        A          LONGER  C
        first one  1       x y
        z
        "#);
    }

    #[test]
    fn pairs_without_a_value_are_left_out() {
        insta::assert_snapshot!(pairs(&[("a", Some("1".into())), ("longer", Some("2".into())), ("longest", None)]), @r#"
        a:      1
        longer: 2
        "#);
    }

    #[test]
    fn times_are_told_in_the_largest_unit() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-01-02T00:00:00Z", now), "now");
        assert_eq!(ago("2026-01-01T23:59:48Z", now), "12 s ago");
        assert_eq!(ago("2026-01-01T23:10:00Z", now), "50 min ago");
        assert_eq!(ago("2026-01-01T00:00:00Z", now), "24 h ago");
        assert_eq!(ago("2025-12-01T00:00:00Z", now), "32 days ago");
        assert_eq!(ago("never", now), "never");
        assert_eq!(until("2026-01-02T00:00:15.5Z", now), "in 15 s");
        assert_eq!(until("2026-01-01T00:00:00Z", now), "now");
    }

    #[test]
    fn large_numbers_are_grouped() {
        let of = |number| grouped(number);
        assert_eq!([of(0), of(999), of(1000), of(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
    }
}
