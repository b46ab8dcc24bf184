//! What a result depends on most: a bar for each input, the widest above.

use super::scale::{Axis, Scale, short};
use super::svg::{Anchor, Drawing, LINE, Picture, lines};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 360.0;
const RIGHT: f64 = 80.0;
const ABOVE: f64 = 46.0;
const BELOW: f64 = 44.0;
/// The height of a bar with a name of one line.
const STEP: f64 = 26.0;
/// Room for names, and the lines that one takes at most.
const NAME: f64 = LEFT - 24.0;
const NAME_LINES: usize = 3;
/// Inputs drawn at most; the picture says how many are left out.
const BARS_DRAWN: usize = 20;

/// One input, and what becomes of the result when it alone is another.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The input.
    pub name: String,
    /// The result when the input is low.
    pub low: f64,
    /// The result when the input is high.
    pub high: f64,
}

impl Bar {
    fn reach(&self, scale: Scale) -> f64 {
        let reach = match scale {
            Scale::Linear | Scale::FromZero | Scale::Whole => (self.high - self.low).abs(),
            Scale::Logarithmic => {
                let tiny = f64::MIN_POSITIVE;
                (self.high.max(tiny) / self.low.max(tiny)).log10().abs()
            }
        };
        if reach.is_finite() { reach } else { 0.0 }
    }

    /// The height of its row.
    fn height(&self) -> f64 {
        STEP + LINE * (lines(&self.name, NAME, NAME_LINES).len() as f64 - 1.0)
    }
}

/// A tornado diagram.
#[derive(Clone, Debug)]
pub struct Tornado {
    /// What it is called.
    pub title: String,
    /// What it shows, in words.
    pub description: String,
    /// The result, with its unit.
    pub label: String,
    /// How results become places.
    pub scale: Scale,
    /// The result as it is.
    pub base: f64,
    /// What a low and a high input are, for the legend: "halved" and "doubled".
    pub low_and_high: (String, String),
    /// The inputs, in any order.
    pub bars: Vec<Bar>,
}

impl Tornado {
    /// Draws it.
    ///
    /// Cost: O(b log b) for b bars.
    pub fn draw(&self) -> Picture {
        let mut bars: Vec<&Bar> = self.bars.iter().collect();
        bars.sort_by(|a, b| b.reach(self.scale).total_cmp(&a.reach(self.scale)));
        let left_out = bars.len().saturating_sub(BARS_DRAWN);
        bars.truncate(BARS_DRAWN);
        let bottom = ABOVE + bars.iter().map(|bar| bar.height()).sum::<f64>() + 6.0;
        let values = bars.iter().flat_map(|bar| [bar.low, bar.high]).chain([self.base]);
        let x = Axis::over(values, self.scale, (LEFT, WIDTH - RIGHT)).rounded();
        let mut drawing = Drawing::new(WIDTH, bottom + BELOW);
        self.draw_frame(&mut drawing, &x, bottom);
        let mut top = ABOVE;
        for bar in bars {
            draw_bar(&mut drawing, &x, bar, (top, self.base));
            top += bar.height();
        }
        let base = x.place(self.base);
        drawing.put(format_args!("<path class=\"mark\" d=\"M{base:.1} {ABOVE}V{bottom}\"/>"));
        if left_out > 0 {
            let text = format!("and {left_out} more with less effect");
            drawing.text((12.0, bottom + 36.0), Anchor::Start, "dim", &text);
        }
        drawing.finish(&self.title, &self.description)
    }

    fn draw_frame(&self, drawing: &mut Drawing, x: &Axis, bottom: f64) {
        for mark in x.marks() {
            let at = x.place(mark);
            drawing.put(format_args!("<path class=\"rule\" d=\"M{at:.1} {ABOVE}V{bottom}\"/>"));
            drawing.text((at, bottom + 16.0), Anchor::Middle, "dim", &short(mark));
        }
        drawing.text((LEFT, bottom + 36.0), Anchor::Start, "", &self.label);
        let (low, high) = &self.low_and_high;
        for (x, class, text) in [(LEFT, "f0", low), (LEFT + 170.0, "f1", high)] {
            drawing.put(format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"12\" width=\"14\" height=\"14\"/>"
            ));
            drawing.clipped((x + 20.0, 23.0), Anchor::Start, "", (text, 145.0));
        }
        let now = format!("now {}", short(self.base));
        drawing.text((WIDTH - 12.0, 23.0), Anchor::End, "dim", &now);
    }
}

fn draw_bar(drawing: &mut Drawing, x: &Axis, bar: &Bar, (y, base): (f64, f64)) {
    let name = (bar.name.as_str(), NAME, NAME_LINES);
    drawing.wrapped((LEFT - 10.0, y + 17.0), Anchor::End, "", name);
    let top = y + (bar.height() - STEP) / 2.0 + 5.0;
    for (value, class) in [(bar.low, "f0"), (bar.high, "f1")] {
        if !value.is_finite() {
            continue;
        }
        let (from, to) = (x.place(base), x.place(value));
        drawing.put(format_args!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\"><title>{}\
             </title></rect>",
            from.min(to),
            top,
            (from - to).abs().max(0.5),
            short(value)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_bar_is_above_and_nothing_odd_is_drawn() {
        let bar = |name: &str, low, high| Bar { name: name.into(), low, high };
        let mut tornado = Tornado {
            title: "Sensitivity".into(),
            description: "what the risk depends on".into(),
            label: "probability".into(),
            scale: Scale::Logarithmic,
            base: 0.01,
            low_and_high: ("halved".into(), "doubled".into()),
            bars: vec![
                bar("narrow", 0.009, 0.011),
                bar("wide <", 0.001, 0.1),
                bar("odd", f64::NAN, 0.01),
            ],
        };
        let svg = tornado.draw().inline();
        assert!(svg.find("wide &lt;") < svg.find("narrow"), "{svg}");
        assert!(!svg.contains("NaN"));
        let path = "attacks.exploit of the exposed service.exploits.operating system.success";
        tornado.bars = vec![bar(path, 0.001, 0.1)];
        let svg = tornado.draw().inline();
        assert!(!svg.contains('\u{2026}') && svg.contains("system.success"), "{svg}");
        tornado.bars = (0..500).map(|_| bar("same", 0.0, 1.0)).collect();
        assert!(tornado.draw().inline().contains("and 480 more"));
        tornado.bars.clear();
        assert!(tornado.draw().inline().contains("now 0.01"));
    }
}
