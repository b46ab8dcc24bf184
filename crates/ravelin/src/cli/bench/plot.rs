//! Plots as files of SVG: lines over two axes, beside the report that shows them.

use std::path::{Path, PathBuf};

use ravelin_assess::report::chart::{Chart, Direction, Series};
pub(super) use ravelin_assess::report::scale::Scale;

use crate::exit::Result;
use crate::files::disk::{self, Privacy};

/// One line of a plot.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// Ascending in the first of the two.
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) across: (&'a str, Scale),
    /// From zero upwards.
    pub(super) up: &'a str,
    pub(super) lines: Vec<Line<'a>>,
}

/// Where a plot lies that is called `name`, beside its report.
pub(super) fn beside(report: &Path, name: &str) -> PathBuf {
    report.with_file_name(file_name(report, name))
}

fn file_name(report: &Path, name: &str) -> String {
    let stem = report.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    format!("{}-{name}.svg", stem.unwrap_or_default())
}

impl Plot<'_> {
    /// Writes the plot beside a report, with `name` at the end of its stem. The file's name, for the
    /// report to show.
    pub(super) fn write_beside(&self, report: &Path, name: &str) -> Result<String> {
        disk::replace(&beside(report, name), &self.svg(), Privacy::Public)?;
        Ok(file_name(report, name))
    }

    fn svg(&self) -> String {
        let (across, scale) = self.across;
        let lines = self.lines.iter().map(|line| Series::line(line.name, line.points.clone()));
        let chart = Chart {
            title: self.title.to_owned(),
            description: format!("{} over {across}", self.up),
            across: Direction { label: across.to_owned(), scale },
            up: Direction { label: format!("{}, {}", self.title, self.up), scale: Scale::FromZero },
            series: lines.collect(),
            markers: Vec::new(),
            levels: Vec::new(),
        };
        chart.draw().alone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_lines_and_escapes_their_names() {
        let line = Line { name: "a < b", points: vec![(4.0, 10.0), (13.0, 25.0)] };
        let across = ("servers", Scale::FromZero);
        let plot = Plot { title: "Growth", across, up: "us", lines: vec![line] };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("<polyline") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
