//! Drawings in SVG: their text escaped, their colours given by classes, so that a page can darken.

use std::fmt::{self, Write as _};

/// Mean width of a letter at the size that [`STYLE`] sets, in pixels, in a wide font. Drawings keep room by it.
const LETTER: f64 = 6.7;
/// From one line of a text to the next, in pixels.
pub(crate) const LINE: f64 = 14.0;

/// Styles of all drawings: for the page that holds them, or for a drawing alone.
///
/// Series differ in their dashes too: for print, and for who sees few colours.
pub const STYLE: &str = "\
svg{--ink:#1c2430;--dim:#5a6675;--rule:#d9dee5;--paper:#fff;--good:#2e7d4f;--bad:#b3261e;\
--c0:#0b6e99;--c1:#c2571a;--c2:#3f7d3a;--c3:#7a4d9c;--c4:#a02c5a;--c5:#6a6a12}\
@media(prefers-color-scheme:dark){svg{--ink:#e4e8ee;--dim:#a4aebb;--rule:#38414d;--paper:#14181e;\
--good:#6fc391;--bad:#ff8a80;--c0:#5cb8e0;--c1:#f09a5f;--c2:#86c77f;--c3:#bd95dc;--c4:#e87fa9;\
--c5:#c9c958}}\
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .dim{fill:var(--dim)}\
svg .strong{font-weight:600}svg .paper{fill:var(--paper)}\
svg .rule{stroke:var(--rule);fill:none}svg .axis{stroke:var(--dim);fill:none}\
svg .s0,svg .s1,svg .s2,svg .s3,svg .s4,svg .s5{fill:none;stroke-width:2}\
svg .s0{stroke:var(--c0)}svg .s1{stroke:var(--c1);stroke-dasharray:7 3}\
svg .s2{stroke:var(--c2);stroke-dasharray:2 3}svg .s3{stroke:var(--c3);stroke-dasharray:9 3 2 3}\
svg .s4{stroke:var(--c4);stroke-dasharray:12 4}svg .s5{stroke:var(--c5);stroke-dasharray:4 4}\
svg .f0{fill:var(--c0)}svg .f1{fill:var(--c1)}svg .f2{fill:var(--c2)}svg .f3{fill:var(--c3)}\
svg .f4{fill:var(--c4)}svg .f5{fill:var(--c5)}svg .band{opacity:.18}\
svg .mark{stroke:var(--ink);stroke-dasharray:3 3;fill:none}\
svg .limit{stroke:var(--bad);stroke-dasharray:6 3;fill:none;stroke-width:1.5}\
svg .bad{fill:var(--bad)}svg .good{fill:var(--good)}\
svg .box{fill:var(--paper);stroke:var(--dim);stroke-width:1.2}\
svg .box-bad{fill:var(--paper);stroke:var(--bad);stroke-width:2.5}\
svg .box-good{fill:var(--paper);stroke:var(--good);stroke-width:2}\
svg .edge{stroke:var(--dim);fill:none;stroke-width:1.3}\
svg .edge-bad{stroke:var(--bad);fill:none;stroke-width:2.6}\
svg .edge-good{stroke:var(--good);fill:none;stroke-width:1.6;stroke-dasharray:5 3}\
svg .tip{fill:var(--dim)}svg .tip-bad{fill:var(--bad)}svg .tip-good{fill:var(--good)}\
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}";

/// How many kinds of series [`STYLE`] tells apart.
pub(crate) const KINDS: usize = 6;

/// Where a text stands beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A drawing under way, in pixels.
pub(crate) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Adds SVG whose text is escaped already.
    pub(crate) fn put(&mut self, svg: fmt::Arguments<'_>) {
        self.body.write_fmt(svg).expect("writing to memory cannot fail");
    }

    /// Writes `text`, whoever it comes from.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (anchor, text) = (anchor.word(), escaped(text));
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{class}>{text}</text>"
        ));
    }

    /// Writes as much of `text` as has room in `width` pixels; all of it shows when pointed at.
    pub(crate) fn clipped(
        &mut self,
        place: (f64, f64),
        anchor: Anchor,
        class: &str,
        (text, width): (&str, f64),
    ) {
        self.wrapped(place, anchor, class, (text, width, 1));
    }

    /// Writes `text` in as many lines as [`lines`] makes of it, from `place` down; all of it shows when
    /// pointed at.
    pub(crate) fn wrapped(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        class: &str,
        (text, width, most): (&str, f64, usize),
    ) {
        let lines = lines(text, width, most);
        let is_cut = lines.last().is_some_and(|last| last.ends_with(CUT) && !text.ends_with(CUT));
        if is_cut {
            self.put(format_args!("<g><title>{}</title>", escaped(text)));
        }
        for (number, line) in lines.iter().enumerate() {
            self.text((x, y + LINE * number as f64), anchor, class, line);
        }
        if is_cut {
            self.put(format_args!("</g>"));
        }
    }

    /// Ends the drawing. `title` names it; `description` says what it shows, for those who do not see.
    pub(crate) fn finish(self, title: &str, description: &str) -> Picture {
        let Self { width, height, body } = self;
        Picture {
            title: title.to_owned(),
            description: description.to_owned(),
            width,
            height,
            body,
        }
    }
}

/// A finished drawing.
#[derive(Clone, Debug)]
pub struct Picture {
    title: String,
    description: String,
    width: f64,
    height: f64,
    body: String,
}

impl Picture {
    /// What it is called.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it shows, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The drawing as an element of a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        self.element("", "")
    }

    /// The drawing as a file of its own.
    pub fn alone(&self) -> String {
        let style = format!(
            "<style>{STYLE}</style><rect class=\"paper\" width=\"{}\" height=\"{}\"/>",
            self.width, self.height
        );
        self.element(" xmlns=\"http://www.w3.org/2000/svg\"", &style) + "\n"
    }

    fn element(&self, attributes: &str, before: &str) -> String {
        format!(
            "<svg{attributes} viewBox=\"0 0 {:.0} {:.0}\" width=\"{:.0}\" role=\"img\" \
             aria-label=\"{title}\"><title>{title}</title><desc>{}</desc>{before}{}</svg>",
            self.width,
            self.height,
            self.width,
            escaped(&self.description),
            self.body,
            title = escaped(&self.title),
        )
    }
}

/// The pixels that `text` takes, about.
pub(crate) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// What stands where a text was cut.
const CUT: char = '\u{2026}';

/// `text` in at most `most` lines that have room in `width` pixels: broken where it breaks lines itself, else between
/// words as far as that goes, else behind dots and the like. Further lines are cut.
pub(crate) fn lines(text: &str, width: f64, most: usize) -> Vec<String> {
    let room = (width / LETTER).max(2.0) as usize;
    let mut lines: Vec<String> = Vec::new();
    for part in text.split('\n') {
        let mut rest: Vec<char> = part.chars().collect();
        while rest.len() > room && lines.len() <= most {
            let next = rest.split_off(break_of(&rest, room));
            lines.push(rest.iter().collect::<String>().trim_end().to_owned());
            rest = next;
        }
        lines.push(rest.into_iter().collect());
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = last.chars().take(room - 1).chain([CUT]).collect();
        }
    }
    lines
}

/// Where a line of at most `room` letters ends: behind the last space, else behind the last mark, else where the
/// room ends.
fn break_of(text: &[char], room: usize) -> usize {
    // A space that ends a line takes no room.
    let space = text.iter().take(room + 1).rposition(|letter| *letter == ' ');
    let mark = || text.iter().take(room).rposition(|letter| ".,:;-_/=+".contains(*letter));
    space.filter(|at| *at > 0).or_else(mark).map_or(room, |at| at + 1)
}

/// `text` as HTML and SVG show it: nothing in it is markup, ends an attribute, or is no character.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            // What turns the reading direction around could show another text than is there.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            letter if letter.is_control() => out.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_file_never_becomes_markup() {
        let hostile = "</text><script>x('\"&')</script>\u{1b}[2J\u{202e}\u{0}";
        let mut drawing = Drawing::new(10.0, 10.0);
        drawing.text((1.0, 2.0), Anchor::Start, "", hostile);
        drawing.clipped((1.0, 2.0), Anchor::End, "dim", (hostile, 30.0));
        let picture = drawing.finish(hostile, hostile);
        for svg in [picture.inline(), picture.alone()] {
            assert!(!svg.contains("<script") && !svg.contains("</text><script"), "{svg}");
            assert!(!svg.chars().any(|letter| letter.is_control() && letter != '\n'), "{svg}");
            assert!(!svg.contains("x('") && !svg.contains('\u{202e}'), "{svg}");
            assert_eq!(svg.matches("<title>").count(), 2, "{svg}");
        }
    }

    #[test]
    fn a_long_text_is_broken_between_words_and_its_end_is_cut() {
        let of = |text: &str, letters: f64, most| lines(text, LETTER * (letters + 0.5), most);
        assert_eq!(of("server", 10.0, 1), ["server"]);
        assert_eq!(of("administrator", 6.0, 1), ["admin\u{2026}"]);
        assert_eq!(lines("abc", 0.0, 1), ["a\u{2026}"]);
        assert_eq!(
            of("masking, detection and recovery", 18.0, 3),
            ["masking, detection", "and recovery"]
        );
        assert_eq!(of("attacks.exploit.rate", 9.0, 3), ["attacks.", "exploit.", "rate"]);
        assert_eq!(of("abcdefghij", 4.0, 3), ["abcd", "efgh", "ij"]);
        assert_eq!(of("one two three four", 5.0, 2), ["one", "two\u{2026}"]);
        assert_eq!(of("prevention\nto 1/y", 10.0, 3), ["prevention", "to 1/y"]);
        for room in 2..30 {
            for line in
                of("a word, administrators.of the_machine and more of them", f64::from(room), 9)
            {
                assert!(line.chars().count() <= room as usize, "{room}: {line}");
            }
        }
    }

    #[test]
    fn all_of_a_cut_text_shows_when_pointed_at() {
        let mut drawing = Drawing::new(10.0, 10.0);
        drawing.wrapped((1.0, 2.0), Anchor::Start, "", ("one two three", LETTER * 5.0, 2));
        let svg = drawing.finish("t", "d").inline();
        assert!(svg.contains("<title>one two three</title>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), 2, "{svg}");
    }
}
