//! Lines over two axes: risk over time, and sweeps with their knee.

use super::scale::{Axis, Scale, short};
use super::svg::{Anchor, Drawing, KINDS, LINE, Picture, lines, width_of};

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 340.0;
/// Room for what stands beside the axes.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 250.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 52.0;
/// Points of a line that are drawn at most; every so many stand for all.
const POINTS_DRAWN: usize = 1500;
/// Lines with no more points than these show each of them.
const DOTS_DRAWN: usize = 24;
/// Lines drawn at most; the legend says how many are left out.
const SERIES_DRAWN: usize = 12;
/// Room for the names in the legend, and the lines that one takes at most.
const NAME: f64 = RIGHT - 52.0;
const NAME_LINES: usize = 3;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Ascending in the first of the two.
    pub points: Vec<(f64, f64)>,
    /// Its confidence band: place across, lower and upper bound. May be empty.
    pub band: Vec<(f64, f64, f64)>,
}

impl Series {
    /// A line without a band.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, band: Vec::new() }
    }
}

/// A place on an axis that is worth a line across the chart.
#[derive(Clone, Debug)]
pub struct Marker {
    /// Its value on the axis.
    pub at: f64,
    /// What is there.
    pub label: String,
}

/// An axis of a chart.
#[derive(Clone, Debug)]
pub struct Direction {
    /// What it measures, with its unit.
    pub label: String,
    /// How values become places.
    pub scale: Scale,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it is called.
    pub title: String,
    /// What it shows, in words.
    pub description: String,
    /// From left to right.
    pub across: Direction,
    /// From below upwards.
    pub up: Direction,
    /// The lines.
    pub series: Vec<Series>,
    /// Upright lines: a knee, the end of the mission.
    pub markers: Vec<Marker>,
    /// Level lines: an acceptable risk.
    pub levels: Vec<Marker>,
}

impl Chart {
    /// Draws it.
    ///
    /// Cost: linear in the points.
    pub fn draw(&self) -> Picture {
        let shown = || self.series.iter().take(SERIES_DRAWN);
        let bounds = || shown().flat_map(|line| &line.band);
        let xs = shown().flat_map(|line| &line.points).map(|point| point.0);
        let xs = xs.chain(bounds().map(|band| band.0));
        let xs = xs.chain(self.markers.iter().map(|marker| marker.at));
        let ys = shown().flat_map(|line| &line.points).map(|point| point.1);
        let ys = ys.chain(bounds().flat_map(|band| [band.1, band.2]));
        let ys = ys.chain(self.levels.iter().map(|level| level.at));
        let x = Axis::over(xs, self.across.scale, (LEFT, WIDTH - RIGHT));
        let y = Axis::over(ys, self.up.scale, (HEIGHT - BELOW, ABOVE)).rounded();
        let mut drawing = Drawing::new(WIDTH, HEIGHT.max(self.legend_bottom() + 12.0));
        self.draw_axes(&mut drawing, &x, &y);
        for (number, line) in shown().enumerate() {
            draw_line(&mut drawing, (&x, &y), line, number % KINDS);
        }
        self.draw_markers(&mut drawing, &x, &y);
        self.draw_legend(&mut drawing);
        drawing.finish(&self.title, &self.description)
    }

    fn draw_axes(&self, drawing: &mut Drawing, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BELOW, WIDTH - RIGHT);
        for mark in y.marks() {
            let at = y.place(mark);
            drawing.put(format_args!("<path class=\"rule\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
            drawing.text((LEFT - 7.0, at + 4.0), Anchor::End, "dim", &short(mark));
        }
        for mark in x.marks() {
            let at = x.place(mark);
            drawing.put(format_args!("<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/>"));
            drawing.text((at, bottom + 19.0), Anchor::Middle, "dim", &short(mark));
        }
        drawing.put(format_args!("<path class=\"axis\" d=\"M{LEFT} {ABOVE}V{bottom}H{right}\"/>"));
        let middle = LEFT.midpoint(right);
        let width = right - LEFT;
        drawing.clipped((middle, bottom + 40.0), Anchor::Middle, "", (&self.across.label, width));
        drawing.clipped((12.0, 20.0), Anchor::Start, "", (&self.up.label, WIDTH - RIGHT));
    }

    fn draw_markers(&self, drawing: &mut Drawing, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BELOW, WIDTH - RIGHT);
        for (number, marker) in self.markers.iter().enumerate() {
            let at = x.place(marker.at);
            drawing.put(format_args!("<path class=\"mark\" d=\"M{at:.1} {ABOVE}V{bottom}\"/>"));
            let line = ABOVE + 12.0 + 16.0 * (number % 4) as f64;
            // To the side with room.
            let has_room = at + 6.0 + width_of(&marker.label) < right;
            let (shift, anchor) = if has_room { (6.0, Anchor::Start) } else { (-6.0, Anchor::End) };
            let room = if has_room { right - at } else { at - LEFT };
            drawing.clipped((at + shift, line), anchor, "halo", (&marker.label, room));
        }
        for level in &self.levels {
            let at = y.place(level.at);
            drawing.put(format_args!("<path class=\"limit\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
            let width = (right - LEFT - 12.0).min(width_of(&level.label));
            // At the end where lines are farther away.
            let (from, to) = (LEFT + 6.0, right - 6.0);
            let free = |across| self.free(x, y, across, at - 9.0);
            let is_left = free((from, from + width)) >= free((to - width, to));
            let (place, anchor) = if is_left { (from, Anchor::Start) } else { (to, Anchor::End) };
            drawing.clipped((place, at - 5.0), anchor, "bad halo", (&level.label, right - LEFT));
        }
    }

    /// How far lines keep from a height between two places across.
    fn free(&self, x: &Axis, y: &Axis, (from, to): (f64, f64), height: f64) -> f64 {
        let mut nearest = f64::INFINITY;
        for line in self.series.iter().take(SERIES_DRAWN) {
            let places = || line.points.iter().map(|point| (x.place(point.0), y.place(point.1)));
            for ((x0, y0), (x1, y1)) in places().zip(places().skip(1)) {
                if x1 < from || x0 > to || x0 >= x1 {
                    continue;
                }
                let at = |x: f64| y0 + (y1 - y0) * (x.clamp(x0, x1) - x0) / (x1 - x0);
                let (a, b) = (at(from) - height, at(to) - height);
                let crosses = (a < 0.0) != (b < 0.0);
                nearest = nearest.min(if crosses { 0.0 } else { a.abs().min(b.abs()) });
            }
        }
        nearest
    }

    fn draw_legend(&self, drawing: &mut Drawing) {
        let x = WIDTH - RIGHT + 14.0;
        let mut y = ABOVE + 8.0;
        for (number, line) in self.series.iter().take(SERIES_DRAWN).enumerate() {
            let kind = number % KINDS;
            drawing.put(format_args!("<path class=\"s{kind}\" d=\"M{x} {y}h26\"/>"));
            let name = (line.name.as_str(), NAME, NAME_LINES);
            drawing.wrapped((x + 32.0, y + 4.0), Anchor::Start, "", name);
            y += entry(line);
        }
        let left_out = self.series.len().saturating_sub(SERIES_DRAWN);
        if left_out > 0 {
            drawing.text((x, y + 4.0), Anchor::Start, "dim", &format!("and {left_out} more"));
        }
    }

    /// Where the legend ends.
    fn legend_bottom(&self) -> f64 {
        let left_out = if self.series.len() > SERIES_DRAWN { 20.0 } else { 0.0 };
        ABOVE + 8.0 + self.series.iter().take(SERIES_DRAWN).map(entry).sum::<f64>() + left_out
    }
}

/// The height of a line's entry in the legend.
fn entry(line: &Series) -> f64 {
    6.0 + LINE * lines(&line.name, NAME, NAME_LINES).len() as f64
}

fn draw_line(drawing: &mut Drawing, (x, y): (&Axis, &Axis), line: &Series, kind: usize) {
    let band = thinned(&line.band);
    if band.len() > 1 {
        let upper = band.iter().map(|(at, _, high)| (x.place(*at), y.place(*high)));
        let lower = band.iter().rev().map(|(at, low, _)| (x.place(*at), y.place(*low)));
        let edge: Vec<(f64, f64)> = upper.chain(lower).collect();
        drawing.put(format_args!("<polygon class=\"f{kind} band\" points=\"{}\"/>", path(&edge)));
    }
    let points = thinned(&line.points);
    let is_shown = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let places: Vec<(f64, f64)> =
        points.iter().filter(is_shown).map(|point| (x.place(point.0), y.place(point.1))).collect();
    drawing.put(format_args!("<polyline class=\"s{kind}\" points=\"{}\"/>", path(&places)));
    if line.points.len() <= DOTS_DRAWN {
        for (point, (x, y)) in points.iter().filter(is_shown).zip(&places) {
            drawing.put(format_args!(
                "<circle class=\"f{kind}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}: \
                 {}</title></circle>",
                short(point.0),
                short(point.1)
            ));
        }
    }
}

/// Every so many of `values`, the last one among them.
fn thinned<T: Copy>(values: &[T]) -> Vec<T> {
    let step = values.len().div_ceil(POINTS_DRAWN).max(1);
    let mut kept: Vec<T> = values.iter().copied().step_by(step).collect();
    if step > 1 {
        kept.extend(values.last());
    }
    kept
}

fn path(places: &[(f64, f64)]) -> String {
    let places: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    places.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        let direction = |label: &str, scale| Direction { label: label.into(), scale };
        Chart {
            title: "Risk".into(),
            description: "risk over time".into(),
            across: direction("time, days", Scale::Linear),
            up: direction("probability", Scale::Logarithmic),
            series,
            markers: vec![Marker { at: 30.0, label: "knee".into() }],
            levels: vec![Marker { at: 1e-3, label: "acceptable <b>".into() }],
        }
    }

    #[test]
    fn a_chart_shows_lines_band_knee_and_limit() {
        let mut line = Series::line("a < b", vec![(0.0, 0.0), (10.0, 1e-4), (60.0, 0.01)]);
        line.band = vec![(10.0, 5e-5, 2e-4), (60.0, 0.008, 0.012)];
        let svg =
            chart(vec![line, Series::line("c", vec![(0.0, 1e-5), (60.0, 1e-3)])]).draw().inline();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<polygon").count(), 1);
        assert!(svg.contains("class=\"mark\"") && svg.contains("class=\"limit\""));
        assert!(
            svg.contains("a &lt; b")
                && svg.contains("acceptable &lt;b&gt;")
                && svg.contains("knee")
        );
        assert!(svg.contains("<desc>risk over time</desc>") && svg.contains("role=\"img\""));
    }

    #[test]
    fn the_name_of_a_level_stands_where_no_line_crosses_it() {
        for (ys, anchor) in [([1.01e-3, 1e-1], "end"), ([1e-1, 1.01e-3], "start")] {
            let points = [0.0, 60.0].into_iter().zip(ys).collect();
            let svg = chart(vec![Series::line("risk", points)]).draw().inline();
            let place = svg.find("acceptable").unwrap();
            let text = &svg[svg[..place].rfind("<text").unwrap()..place];
            assert!(text.contains(&format!("text-anchor=\"{anchor}\"")), "{ys:?}: {text}");
        }
    }

    #[test]
    fn a_long_name_stands_whole_in_the_legend() {
        let name = "different values of each label with a common-mode share";
        let mut all = vec![Series::line(name, vec![(0.0, 0.5), (1.0, 0.4)])];
        let svg = chart(all.clone()).draw().inline();
        assert!(!svg.contains('\u{2026}'), "{svg}");
        assert!(name.split(' ').all(|word| svg.contains(word)), "{svg}");
        // A legend that is longer than the chart makes the picture taller.
        all.extend(vec![Series::line(name.repeat(9), vec![(0.0, 0.5)]); SERIES_DRAWN]);
        let picture = chart(all).draw().inline();
        let height = chart(Vec::new()).draw().inline();
        let of = |svg: &str| svg.split_once("viewBox=\"0 0 820 ").map(|it| it.1[..3].to_owned());
        assert!(of(&picture) > of(&height), "{picture}");
    }

    #[test]
    fn the_size_of_a_chart_is_bounded_and_odd_values_do_not_show() {
        let many = (0..200_000).map(|at| (f64::from(at), f64::NAN)).collect();
        let series = (0..40).map(|_| Series::line("x".repeat(10_000), Vec::new()));
        let mut all: Vec<Series> = series.collect();
        all.insert(0, Series::line("many", many));
        all.insert(
            0,
            Series::line("finite", (0..200_000).map(|at| (f64::from(at), 0.5)).collect()),
        );
        let svg = chart(all).draw().inline();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.len() < 300_000, "{}", svg.len());
        assert!(svg.contains("and 30 more"));
    }
}
