//! Sets against what is in them: which servers fall with each label.

use super::svg::{Anchor, Drawing, Picture, width_of};

const STEP: f64 = 26.0;
const ABOVE: f64 = 92.0;
const NAMES: f64 = 430.0;
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
        let width = (NAMES + STEP * columns as f64 + 90.0).max(480.0);
        let bottom = ABOVE + STEP * rows as f64;
        let mut drawing = Drawing::new(width, bottom + 34.0);
        for (number, name) in self.columns.iter().take(COLUMNS_DRAWN).enumerate() {
            let x = NAMES + STEP * (number as f64 + 0.5);
            let y = ABOVE - 8.0;
            drawing.put(format_args!("<g transform=\"rotate(-45 {x:.1} {y:.1})\">"));
            drawing.clipped((x, y), Anchor::Start, "", (name, 105.0));
            drawing.put(format_args!("</g>"));
        }
        for (number, row) in self.rows.iter().take(ROWS_DRAWN).enumerate() {
            self.draw_row(&mut drawing, row, ABOVE + STEP * number as f64);
        }
        let left_out = (self.rows.len() - rows, self.columns.len() - columns);
        if left_out != (0, 0) {
            let text = format!("and {} more sets, {} more columns", left_out.0, left_out.1);
            drawing.text((12.0, bottom + 22.0), Anchor::Start, "dim", &text);
        }
        drawing.finish(&self.title, &self.description)
    }

    fn draw_row(&self, drawing: &mut Drawing, row: &Row, y: f64) {
        let class = if row.breaks { "bad strong" } else { "" };
        let place = (NAMES - 10.0, y + 18.0);
        drawing.clipped(place, Anchor::End, class, (&row.name, NAMES - 20.0));
        let columns = self.columns.len().min(COLUMNS_DRAWN);
        let members = row.members.iter().chain(std::iter::repeat(&false)).take(columns);
        for (number, is_member) in members.enumerate() {
            let (x, y) = (NAMES + STEP * number as f64 + 2.0, y + 2.0);
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
            let x = NAMES + STEP * columns as f64 + 8.0;
            let text = "alone";
            debug_assert!(width_of(text) < 82.0);
            drawing.text((x, y + 18.0), Anchor::Start, "bad", text);
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
        matrix.rows = vec![row("x", &[true; 500], false); 500];
        matrix.columns = vec!["c".into(); 500];
        let svg = matrix.draw().inline();
        assert!(svg.len() < 800_000 && svg.contains("and 460 more sets, 460 more columns"));
    }
}
