//! Sets against what is in them: which servers fall with each label.

use super::svg::{Anchor, Drawing, LINE, Picture, lines, width_of};

const STEP: f64 = 26.0;
/// Room for the names of rows, and the lines that one takes at most.
const NAMES_MAX: f64 = 430.0;
const NAME_LINES: usize = 3;
/// Room for the names of columns, which stand aslant.
const HEADS_MAX: f64 = 105.0;
/// Rows and columns drawn at most; the picture says how many are left out.
const ROWS_DRAWN: usize = 40;
const COLUMNS_DRAWN: usize = 40;

/// One set.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// For each column, whether it is in the set.
    pub members: Vec<bool>,
    /// Whether the set alone breaks the system: drawn in red, and said.
    pub breaks: bool,
}

impl Row {
    /// The height of the row.
    fn height(&self) -> f64 {
        STEP + LINE * (lines(&self.name, NAMES_MAX, NAME_LINES).len() as f64 - 1.0)
    }
}

/// A matrix of sets.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What it is called.
    pub title: String,
    /// What it shows, in words.
    pub description: String,
    /// What may be in a set.
    pub columns: Vec<String>,
    /// The sets.
    pub rows: Vec<Row>,
}

impl Matrix {
    /// Draws it.
    pub fn draw(&self) -> Picture {
        let columns = self.columns.len().min(COLUMNS_DRAWN);
        let rows = self.rows.len().min(ROWS_DRAWN);
        let shown = || self.rows.iter().take(ROWS_DRAWN);
        // Bold names are wider.
        let names = shown().map(|row| width_of(&row.name) * 1.1).fold(0.0, f64::max);
        let left = names.min(NAMES_MAX) + 24.0;
        let heads = self.columns.iter().take(COLUMNS_DRAWN).map(|name| width_of(name));
        // Aslant they take the same to the right as upwards.
        let above =
            heads.fold(0.0, f64::max).min(HEADS_MAX) * std::f64::consts::FRAC_1_SQRT_2 + 24.0;
        let width = (left + STEP * columns as f64 + 90.0).max(480.0);
        let bottom = above + shown().map(Row::height).sum::<f64>();
        let mut drawing = Drawing::new(width, bottom + 34.0);
        for (number, name) in self.columns.iter().take(COLUMNS_DRAWN).enumerate() {
            let x = left + STEP * (number as f64 + 0.5);
            let y = above - 8.0;
            drawing.put(format_args!("<g transform=\"rotate(-45 {x:.1} {y:.1})\">"));
            drawing.clipped((x, y), Anchor::Start, "", (name, HEADS_MAX));
            drawing.put(format_args!("</g>"));
        }
        let mut top = above;
        for row in shown() {
            self.draw_row(&mut drawing, row, (left, top));
            top += row.height();
        }
        let left_out = (self.rows.len() - rows, self.columns.len() - columns);
        if left_out != (0, 0) {
            let text = format!("and {} more sets, {} more columns", left_out.0, left_out.1);
            drawing.text((12.0, bottom + 22.0), Anchor::Start, "dim", &text);
        }
        drawing.finish(&self.title, &self.description)
    }

    fn draw_row(&self, drawing: &mut Drawing, row: &Row, (left, y): (f64, f64)) {
        let class = if row.breaks { "bad strong" } else { "" };
        let name = (row.name.as_str(), NAMES_MAX, NAME_LINES);
        drawing.wrapped((left - 10.0, y + 18.0), Anchor::End, class, name);
        let y = y + (row.height() - STEP) / 2.0;
        let columns = self.columns.len().min(COLUMNS_DRAWN);
        let members = row.members.iter().chain(std::iter::repeat(&false)).take(columns);
        for (number, is_member) in members.enumerate() {
            let (x, y) = (left + STEP * number as f64 + 2.0, y + 2.0);
            let class = match (is_member, row.breaks) {
                (true, true) => "bad",
                (true, false) => "f0",
                _ => "paper",
            };
            drawing.put(format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"22\" height=\"22\" rx=\"3\"/>\
                 <rect class=\"rule\" x=\"{x}\" y=\"{y}\" width=\"22\" height=\"22\" rx=\"3\"/>"
            ));
            if *is_member {
                // Seen without colours too.
                let path = format!("M{} {}l10 10m0 -10l-10 10", x + 6.0, y + 6.0);
                drawing
                    .put(format_args!("<path d=\"{path}\" stroke=\"#fff\" stroke-width=\"2\"/>"));
            }
        }
        if row.breaks {
            let x = left + STEP * columns as f64 + 8.0;
            drawing.text((x, y + 18.0), Anchor::Start, "bad", "alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_crossed_and_the_size_is_bounded() {
        let row = |name: &str, members: &[bool], breaks| Row {
            name: name.into(),
            members: members.to_vec(),
            breaks,
        };
        let mut matrix = Matrix {
            title: "Cut sets".into(),
            description: "labels".into(),
            columns: vec!["s1".into(), "s2".into(), "s3".into()],
            rows: vec![row("os <debian>", &[true, true], true), row("site", &[true], false)],
        };
        let svg = matrix.draw().inline();
        assert_eq!(svg.matches("stroke=\"#fff\"").count(), 3);
        assert_eq!(svg.matches(">alone<").count(), 1);
        assert!(svg.contains("os &lt;debian&gt;"));
        let name = "operating_system = debian 13 + operating_system = freebsd 14 + site = cloud a";
        matrix.rows.push(row(name, &[true], false));
        let svg = matrix.draw().inline();
        assert!(!svg.contains('\u{2026}') && svg.contains("cloud a"), "{svg}");
        matrix.rows = vec![row("x", &[true; 500], false); 500];
        matrix.columns = vec!["c".into(); 500];
        let svg = matrix.draw().inline();
        assert!(svg.len() < 800_000 && svg.contains("and 460 more sets, 460 more columns"));
    }
}
