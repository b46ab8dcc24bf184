//! Plots as files of SVG: lines over two axes, each with as many marks as it needs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::exit::Result;
use crate::files::disk::{self, Privacy};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Room for what stands beside the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 44.0;
/// Told apart in print and by who sees few colours.
const COLOURS: [&str; 4] = ["#0b6e99", "#c2571a", "#3f7d3a", "#7a4d9c"];

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// In powers of ten.
    Logarithmic,
}

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
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (across, scale) = self.across;
        let x = Axis::over(points().map(|point| point.0), scale, (LEFT, WIDTH - RIGHT));
        let y = Axis::over(points().map(|point| point.1), Scale::Linear, (HEIGHT - BELOW, ABOVE));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
            escaped(self.title)
        );
        let mut put = |text: std::fmt::Arguments<'_>| {
            svg.write_fmt(text).expect("writing to memory cannot fail");
        };
        let (bottom, right) = (HEIGHT - BELOW, WIDTH - RIGHT);
        for mark in y.marks() {
            let at = y.place(mark);
            put(format_args!(
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 6.0,
                at + 4.0,
                short(mark)
            ));
        }
        for mark in x.marks() {
            put(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                x.place(mark),
                bottom + 16.0,
                short(mark)
            ));
        }
        put(format_args!(
            "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{right}\" y=\"18\" text-anchor=\"end\">{}</text>\n",
            bottom + 34.0,
            escaped(across),
            escaped(self.up)
        ));
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or_default();
            let path: Vec<String> = line
                .points
                .iter()
                .map(|(over, up)| format!("{:.1},{:.1}", x.place(*over), y.place(*up)))
                .collect();
            put(format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                path.join(" ")
            ));
            if line.points.len() <= 20 {
                for place in &path {
                    let (over, up) = place.split_once(',').unwrap_or_default();
                    put(format_args!(
                        "<circle cx=\"{over}\" cy=\"{up}\" r=\"3\" fill=\"{colour}\"/>\n"
                    ));
                }
            }
            put(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>\n",
                right + 10.0,
                ABOVE + 14.0 + 18.0 * number as f64,
                escaped(line.name)
            ));
        }
        svg + "</svg>\n"
    }
}

/// From values to places.
struct Axis {
    scale: Scale,
    least: f64,
    most: f64,
    /// Where the least and the most lie.
    places: (f64, f64),
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, scale: Scale, places: (f64, f64)) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let least = match scale {
            Scale::Linear => 0.0,
            Scale::Logarithmic => values.iter().copied().fold(most, f64::min).max(1e-9),
        };
        Self { scale, least, most, places }
    }

    fn place(&self, value: f64) -> f64 {
        let along = match self.scale {
            Scale::Linear => (value - self.least) / (self.most - self.least),
            Scale::Logarithmic if self.most > self.least => {
                (value / self.least).log10() / (self.most / self.least).log10()
            }
            Scale::Logarithmic => 0.0,
        };
        self.places.0 + along * (self.places.1 - self.places.0)
    }

    /// Round values that are worth a mark, some three to eight.
    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = (self.most - self.least) / 4.0;
                let power = 10_f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
                let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
                let count = (self.most / step).floor() as u32;
                (0..=count).map(|mark| f64::from(mark) * step).collect()
            }
            Scale::Logarithmic => {
                let powers = self.least.log10().ceil() as i32..=self.most.log10().floor() as i32;
                powers.map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// A number as short as it is told apart.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{}", (value * 1e3).round() / 1e3),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_most_lie_at_the_ends_of_their_axes() {
        let linear = Axis::over([30.0, 80.0].into_iter(), Scale::Linear, (256.0, 34.0));
        assert_eq!((linear.place(0.0), linear.place(80.0)), (256.0, 34.0));
        assert_eq!(linear.marks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let powers = Axis::over([1e4, 1e7].into_iter(), Scale::Logarithmic, (70.0, 570.0));
        assert_eq!((powers.place(1e4), powers.place(1e7)), (70.0, 570.0));
        assert_eq!(powers.marks().len(), 4);
        let one = Axis::over([5.0].into_iter(), Scale::Logarithmic, (70.0, 570.0));
        assert_eq!(one.place(5.0), 70.0);
    }

    #[test]
    fn a_plot_shows_its_lines_and_escapes_their_names() {
        let line = Line { name: "a < b", points: vec![(4.0, 10.0), (13.0, 25.0)] };
        let across = ("servers", Scale::Linear);
        let plot = Plot { title: "Growth", across, up: "us", lines: vec![line] };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("<polyline") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
