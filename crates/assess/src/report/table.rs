//! Tables, as text for a terminal and as HTML for the page.

use std::fmt;

use super::svg::escaped;

/// Letters of a cell that a terminal shows; the page shows all.
const CELL_LETTERS: usize = 72;

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a name.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is called; may be empty.
    pub caption: String,
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(caption: impl Into<String>, columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect();
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, and cells beyond the columns are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().take(self.columns.len()).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What its numbers are called: the columns that hold them.
    #[cfg(test)]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &str> {
        let numbers = self.columns.iter().filter(|(_, align)| *align == Align::Right);
        numbers.map(|(name, _)| name.as_str())
    }

    /// What its rows are called: their first cells.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(|row| row.first()).map(String::as_str)
    }

    /// The table as an element of a page.
    pub fn html(&self) -> String {
        let class = |align: &Align| if *align == Align::Right { " class=\"n\"" } else { "" };
        let head: String = self
            .columns
            .iter()
            .map(|(name, align)| {
                format!("<th scope=\"col\"{}>{}</th>", class(align), escaped(name))
            })
            .collect();
        let rows: String = self
            .rows
            .iter()
            .map(|row| {
                let cells = row.iter().zip(&self.columns);
                let cells: String = cells
                    .map(|(cell, (_, align))| format!("<td{}>{}</td>", class(align), escaped(cell)))
                    .collect();
                format!("<tr>{cells}</tr>\n")
            })
            .collect();
        let caption = if self.caption.is_empty() {
            String::new()
        } else {
            format!("<caption>{}</caption>", escaped(&self.caption))
        };
        format!(
            "<div class=\"wide\"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}\
             </tbody></table></div>\n"
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |text: &str| plain(text);
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
        let width = |column: usize, name: &str| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|text| text.chars().count());
            widths.chain([name.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(at, (name, _))| width(at, name)).collect();
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        if !self.caption.is_empty() {
            writeln!(out, "{}", self.caption.chars().map(safe).collect::<String>())?;
        }
        let lines = std::iter::once(&names).chain(&rows);
        let mut texts = Vec::new();
        for line in lines {
            let mut text = String::from(" ");
            for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(&self.columns) {
                text.push(' ');
                match align {
                    Align::Left => text.push_str(&format!("{cell:<width$} ")),
                    Align::Right => text.push_str(&format!("{cell:>width$} ")),
                }
            }
            texts.push(text.trim_end().to_owned());
        }
        write!(out, "{}", texts.join("\n"))
    }
}

/// `text` in one line, cut where it is too long, without anything that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    let mut short: String = text.chars().take(CELL_LETTERS).map(safe).collect();
    if text.chars().count() > CELL_LETTERS {
        short.pop();
        short.push('\u{2026}');
    }
    short
}

/// The letter, unless a terminal would obey it.
fn safe(letter: char) -> char {
    let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if letter.is_control() || turns { '\u{fffd}' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let mut table = Table::new("Servers", &[("name", Align::Left), ("rate", Align::Right)]);
        table.row(["alpha".into(), "0.1".into(), "dropped".into()]);
        table.row(["b".into()]);
        table.row(["<b>\u{1b}[2J".into(), "12".into()]);
        assert_eq!(
            table.to_string(),
            "Servers\n  name     rate\n  alpha     0.1\n  b\n  <b>\u{fffd}[2J    12"
        );
        let html = table.html();
        assert!(html.contains("<caption>Servers</caption>") && html.contains("&lt;b&gt;"));
        assert!(html.contains("<td class=\"n\">0.1</td>") && !html.contains('\u{1b}'));
        assert!(!table.is_empty());
    }
}
