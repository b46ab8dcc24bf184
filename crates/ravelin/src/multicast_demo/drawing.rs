//! A run as a drawing: the paper's figure 10, with what really happened.
//!
//! Time goes to the right. A thin line is a process, the thick one below all wormholes together.

use std::fmt::Write as _;

use super::party::{Note, What};
use super::plan::Fate;
use super::timeline::process;

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 40.0;
const ABOVE: f64 = 60.0;
/// Between two lines.
const STEP: f64 = 80.0;
/// How far a copy gets that is lost.
const LOST_AFTER: f64 = 0.4;
/// Times that stand below.
const MARKS: u32 = 5;
const WELL: &str = "#0b6e99";
const FORWARDED: &str = "#8aa4b0";
const WRONG: &str = "#c2571a";
const DELIVERED: &str = "#3f7d3a";

/// A drawing under way.
struct Drawing {
    /// Of the whole, in seconds.
    span: f64,
    count: usize,
    svg: String,
}

/// Draws what happened to each process.
pub(super) fn svg(notes: &[Vec<Note>]) -> String {
    let last = notes.iter().flatten().map(|note| note.at.as_secs_f64()).fold(0.0, f64::max);
    let mut drawing = Drawing { span: last.max(1e-3), count: notes.len(), svg: String::new() };
    drawing.frame();
    for (own, notes_of_it) in notes.iter().enumerate() {
        for note in notes_of_it {
            drawing.calls(own, note);
            drawing.copy(own, note, notes);
        }
    }
    // Above everything else.
    for (own, notes) in notes.iter().enumerate() {
        for note in notes.iter().filter(|note| matches!(note.what, What::Delivers(_))) {
            let (x, y) = (drawing.x(note.at.as_secs_f64()), drawing.y(own));
            drawing.put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"7\" fill=\"{DELIVERED}\">\
                 <title>{} delivers</title></circle>",
                process(own)
            ));
        }
    }
    drawing.svg + "</svg>\n"
}

impl Drawing {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.span
    }

    fn y(&self, number: usize) -> f64 {
        ABOVE + STEP * number as f64
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("writing to memory cannot fail");
        self.svg.push('\n');
    }

    /// What is there before anything happens.
    fn frame(&mut self) {
        let below = self.y(self.count);
        let height = below + 60.0;
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"14\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"context-stroke\"/>\
             </marker></defs>\n\
             <text x=\"{LEFT}\" y=\"24\">BRM-T with Od = {}, as it happened: blue is sent by P1, \
             grey handed on, red corrupted or lost; a green dot delivers</text>",
            super::OD
        ));
        let right = WIDTH - RIGHT;
        for number in 0..=self.count {
            let is_wormholes = number == self.count;
            let (y, width) = (self.y(number), if is_wormholes { 6 } else { 1 });
            let name = if is_wormholes { "TTCB".to_owned() } else { process(number) };
            let (name_y, name_x) = (y + 5.0, LEFT - 48.0);
            self.put(format_args!(
                "<text x=\"{name_x}\" y=\"{name_y}\">{name}</text>\
                 <line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"black\" \
                 stroke-width=\"{width}\"/>"
            ));
        }
        for mark in 0..=MARKS {
            let seconds = self.span * f64::from(mark) / f64::from(MARKS);
            let (x, y, ms) = (self.x(seconds), below + 30.0, seconds * 1e3);
            self.put(format_args!(
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"11\">{ms:.0} ms</text>"
            ));
        }
    }

    fn arrow(&mut self, from: (f64, f64), to: (f64, f64), style: &str, title: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style} \
             marker-end=\"url(#tip)\"><title>{title}</title></line>"
        ));
    }

    /// What passes between a process and its wormhole.
    fn calls(&mut self, own: usize, note: &Note) {
        let x = self.x(note.at.as_secs_f64());
        let (line, wormholes) = ((x, self.y(own)), (x, self.y(self.count)));
        let style = "stroke=\"black\" stroke-dasharray=\"2 3\"";
        match &note.what {
            What::Proposes { .. } => {
                self.arrow(line, wormholes, style, &format!("{} proposes", process(own)));
            }
            What::Learns(_) => {
                self.arrow(wormholes, line, style, &format!("{} learns the hash", process(own)));
            }
            _ => {}
        }
    }

    /// A copy on its way to where it arrived, if it did.
    fn copy(&mut self, own: usize, note: &Note, notes: &[Vec<Note>]) {
        let What::Sends { to, copy, fate, .. } = &note.what else { return };
        let is_it = |it: &&Note| matches!(&it.what, What::Receives { from, copy: other, .. } if (*from, other) == (own, copy));
        let arrived = notes.get(*to).and_then(|notes| notes.iter().find(is_it));
        let sent_at = note.at.as_secs_f64();
        let from = (self.x(sent_at), self.y(own));
        let title = format!("copy {} of {} to {}", copy + 1, process(own), process(*to));
        let Some(arrived) = arrived.filter(|_| *fate != Fate::Lost) else {
            let (far, x) = (self.y(*to), from.0 + 12.0);
            let end = (x, from.1 + (far - from.1) * LOST_AFTER);
            let style = format!("stroke=\"{WRONG}\" stroke-dasharray=\"5 3\"");
            self.arrow(from, end, &style, &(title + ", lost"));
            let (x, y) = (end.0 - 5.0, end.1 + 14.0);
            return self
                .put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{WRONG}\">×</text>"));
        };
        let to = (self.x(arrived.at.as_secs_f64()), self.y(*to));
        let (colour, title) = match fate {
            Fate::Corrupted => (WRONG, title + ", corrupted"),
            _ if own == 0 => (WELL, title),
            _ => (FORWARDED, title),
        };
        self.arrow(from, to, &format!("stroke=\"{colour}\" stroke-width=\"1.5\""), &title);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ravelin_model::ttcb::TrustedTime;
    use ravelin_multicast::brm::{Header, Message};

    use super::*;

    #[test]
    fn every_copy_and_every_delivery_is_drawn() {
        let header = Header { elist: vec![], tstart: TrustedTime(1) };
        let message = || Arc::new(Message { header: header.clone(), data: vec![] });
        let note = |ms, what| Note { at: Duration::from_millis(ms), what };
        let send = |to, fate| What::Sends { to, copy: 0, fate, message: message() };
        let sender = vec![
            note(0, What::Proposes { value: Some([1; 32]), error: None }),
            note(1, send(1, Fate::Well)),
            note(1, send(2, Fate::Lost)),
        ];
        let received = What::Receives { from: 0, copy: 0, is_sound: true, message: message() };
        let recipient = vec![note(2, received), note(3, What::Delivers(message()))];
        let svg = svg(&[sender, recipient, vec![]]);
        assert_eq!(svg.matches("marker-end").count(), 3, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("copy 1 of P1 to P3, lost") && svg.contains(">TTCB<"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
