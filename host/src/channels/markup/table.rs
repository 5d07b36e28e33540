//! Tables, for platforms that have none.

use pulldown_cmark::Alignment;

use super::doc::{Rich, Style};

/// The widest table (characters) that is shown as one: what a wide telephone shows without breaking lines.
const MAX_WIDTH: usize = 60;
/// The most rows of a table that is filled up with spaces, and the most characters of headers that are repeated, all rows
/// together. A text must not become many times as long.
const MAX_ROWS: usize = 500;
const MAX_LABELS: usize = 8000;
const BETWEEN: &str = " | ";
const BOLD: Style = Style { bold: true, italic: false, strike: false, code: false, link: None };

/// A table that is being read. Its first row has the headers.
pub struct Table {
    columns: Vec<Alignment>,
    rows: Vec<Vec<Rich>>,
}

impl Table {
    pub fn new(columns: Vec<Alignment>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn start_row(&mut self) {
        self.rows.push(Vec::new());
    }

    /// Adds a cell to the row.
    pub fn push(&mut self, text: &Rich) {
        let mut cell = Rich::default();
        cell.append(text);
        cell.trim_end();
        if let Some(row) = self.rows.last_mut() {
            row.push(cell);
        }
    }

    /// The table with columns of equal width, for a font of equal width. None when it is too large, or has links, which
    /// could not be followed there.
    pub fn aligned(&self) -> Option<Rich> {
        if self.rows.len() > MAX_ROWS || self.rows.iter().flatten().any(Rich::has_links) {
            return None;
        }
        let widths = self.widths();
        let between = BETWEEN.len() * widths.len().saturating_sub(1);
        if widths.iter().sum::<usize>() + between > MAX_WIDTH {
            return None;
        }
        let mut lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        if lines.len() > 1 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            lines.insert(1, rule.join("-+-"));
        }
        let text = lines.join("\n");
        (!text.trim().is_empty()).then(|| Rich::new(text.trim_end()))
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }

    fn line(&self, row: &[Rich], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).zip(&self.columns).map(|((cell, width), alignment)| {
            let text = &cell.text;
            match alignment {
                Alignment::Right => format!("{text:>width$}"),
                Alignment::Center => format!("{text:^width$}"),
                Alignment::Left | Alignment::None => format!("{text:<width$}"),
            }
        });
        cells.collect::<Vec<_>>().join(BETWEEN).trim_end().to_owned()
    }

    /// One text for each row: `header: value` in lines, or all in one line when the headers are too much to repeat.
    pub fn rows(&self) -> Vec<Rich> {
        let Some((headers, rows)) = self.rows.split_first() else { return Vec::new() };
        let labels: usize = headers.iter().map(|header| header.text.chars().count()).sum();
        let mut texts: Vec<Rich> = Vec::new();
        if rows.is_empty() || labels * rows.len() > MAX_LABELS {
            texts.push(joined(headers));
            texts.extend(rows.iter().map(|row| joined(row)));
        } else {
            texts.extend(rows.iter().map(|row| labelled(headers, row)));
        }
        texts.retain(|text| !text.text.trim().is_empty());
        texts
    }
}

fn joined(cells: &[Rich]) -> Rich {
    let mut text = Rich::default();
    for cell in cells.iter().filter(|cell| !cell.text.trim().is_empty()) {
        if !text.text.is_empty() {
            text.push(BETWEEN, Style::default());
        }
        text.append(cell);
    }
    text
}

fn labelled(headers: &[Rich], row: &[Rich]) -> Rich {
    let mut text = Rich::default();
    for (header, cell) in headers.iter().zip(row).filter(|(_, cell)| !cell.text.trim().is_empty()) {
        if !text.text.is_empty() {
            text.push("\n", Style::default());
        }
        if !header.text.trim().is_empty() {
            text.push(&header.text, BOLD);
            text.push(": ", Style::default());
        }
        text.append(cell);
    }
    text
}
