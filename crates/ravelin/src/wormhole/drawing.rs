//! The servers of a cluster as a drawing: the paper's figure 8, with what is really there.
//!
//! Above, what may be intruded, on the payload network; below, the wormholes, with the control channel
//! if they have one; at the bottom of each host the kernel, which both rest on.

use std::fmt::Write as _;

use ravelin_assess::report::svg::escaped;

use super::standing::Standing;

const HOST_WIDTH: f64 = 290.0;
const GAP: f64 = 30.0;
const LEFT: f64 = 30.0;
const PAYLOAD_TOP: f64 = 80.0;
const PAYLOAD_HEIGHT: f64 = 70.0;
const WORMHOLE_TOP: f64 = 200.0;
const LINE: f64 = 18.0;
const KERNEL_HEIGHT: f64 = 34.0;
const PAYLOAD: &str = "#d9d4cc";
const TRUSTED: &str = "#e6f0f4";
const EDGE: &str = "#0b6e99";
const MISSING: &str = "#b3261e";

/// A server: its name, where its host can be asked, and its wormhole if that answers.
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    pub(crate) wormhole: Option<&'a Standing>,
}

/// Draws the hosts side by side.
pub(crate) fn svg(hosts: &[Host<'_>]) -> String {
    let of_one = |host: &Host<'_>| host.wormhole.map_or(0, |it| it.protections.len());
    let lines = hosts.iter().map(of_one).max().unwrap_or(0);
    let wormhole_height = 56.0 + LINE * lines as f64;
    let kernel_top = WORMHOLE_TOP + wormhole_height + 10.0;
    let (width, height) = (
        2.0 * LEFT + hosts.len() as f64 * (HOST_WIDTH + GAP) - GAP,
        kernel_top + KERNEL_HEIGHT + 80.0,
    );
    let mut drawing = Drawing { width, svg: String::new() };
    drawing.put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>Servers and their wormholes</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>"
    ));
    drawing.network(PAYLOAD_TOP - 30.0, "payload network", true);
    let is_together =
        hosts.iter().filter_map(|host| host.wormhole).any(|it| it.mode == "distributed");
    let below = if is_together { "control channel" } else { "no control channel" };
    drawing.network(kernel_top + KERNEL_HEIGHT + 36.0, below, is_together);
    for (number, host) in hosts.iter().enumerate() {
        let left = LEFT + number as f64 * (HOST_WIDTH + GAP);
        drawing.payload(left, host.name);
        drawing.wormhole(left, wormhole_height, host.wormhole);
        drawing.kernel(left, kernel_top, is_together);
    }
    drawing.svg + "</svg>\n"
}

struct Drawing {
    width: f64,
    svg: String,
}

impl Drawing {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("writing to memory cannot fail");
        self.svg.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), style: &str, text: &str) {
        let text = escaped(text);
        self.put(format_args!("<text x=\"{x}\" y=\"{y}\" {style}>{text}</text>"));
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        self.put(format_args!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {style}/>"));
    }

    fn network(&mut self, y: f64, name: &str, is_there: bool) {
        let style = if is_there {
            "stroke=\"#555\" stroke-width=\"3\""
        } else {
            "stroke=\"#bbb\" stroke-dasharray=\"4 6\""
        };
        self.line((LEFT / 2.0, y), (self.width - LEFT / 2.0, y), style);
        self.text((LEFT / 2.0, y - 8.0), "fill=\"#555\"", name);
    }

    fn payload(&mut self, left: f64, name: &str) {
        let middle = left + HOST_WIDTH / 2.0;
        self.line((middle, PAYLOAD_TOP - 30.0), (middle, PAYLOAD_TOP), "stroke=\"#555\"");
        self.put(format_args!(
            "<rect x=\"{left}\" y=\"{PAYLOAD_TOP}\" width=\"{HOST_WIDTH}\" \
             height=\"{PAYLOAD_HEIGHT}\" fill=\"{PAYLOAD}\" stroke=\"#777\"/>"
        ));
        self.text((left + 12.0, PAYLOAD_TOP + 24.0), "font-weight=\"bold\"", name);
        let what = "replica, services, disk: may be intruded";
        self.text((left + 12.0, PAYLOAD_TOP + 46.0), "fill=\"#444\"", what);
        let (from, to) = (PAYLOAD_TOP + PAYLOAD_HEIGHT, WORMHOLE_TOP);
        self.line((middle, from), (middle, to), "stroke=\"#555\" stroke-dasharray=\"3 3\"");
        let at = (middle + 8.0, (from + to) / 2.0 + 4.0);
        self.text(at, "fill=\"#555\"", "calls, with a MAC each");
    }

    fn wormhole(&mut self, left: f64, height: f64, standing: Option<&Standing>) {
        self.put(format_args!(
            "<rect x=\"{left}\" y=\"{WORMHOLE_TOP}\" width=\"{HOST_WIDTH}\" height=\"{height}\" \
             rx=\"10\" fill=\"{TRUSTED}\" stroke=\"{EDGE}\" stroke-width=\"2\"/>"
        ));
        let x = left + 12.0;
        let Some(standing) = standing else {
            let style = format!("fill=\"{MISSING}\" font-weight=\"bold\"");
            return self.text((x, WORMHOLE_TOP + 24.0), &style, "no wormhole answers");
        };
        let name = format!("wormhole, {}", standing.mode);
        self.text((x, WORMHOLE_TOP + 24.0), "font-weight=\"bold\"", &name);
        self.text((x, WORMHOLE_TOP + 43.0), "fill=\"#444\" font-size=\"11\"", &standing.restart);
        for (number, protection) in standing.protections.iter().enumerate() {
            let at = (x, WORMHOLE_TOP + 64.0 + LINE * number as f64);
            let stops = escaped(&protection.stops);
            let (mark, colour) =
                if protection.in_force { ("\u{2713}", EDGE) } else { ("\u{2717} no", MISSING) };
            self.put(format_args!(
                "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{mark} {}<title>{stops}</title></text>",
                at.0,
                at.1,
                escaped(&protection.name)
            ));
        }
    }

    fn kernel(&mut self, left: f64, top: f64, is_together: bool) {
        self.put(format_args!(
            "<rect x=\"{left}\" y=\"{top}\" width=\"{HOST_WIDTH}\" height=\"{KERNEL_HEIGHT}\" \
             fill=\"#777\"/>"
        ));
        let what = "kernel and hardware: trusted";
        self.text((left + 12.0, top + 22.0), "fill=\"white\"", what);
        if is_together {
            let (x, bottom) = (left + HOST_WIDTH / 2.0, top + KERNEL_HEIGHT);
            self.line((x, bottom), (x, bottom + 36.0), "stroke=\"#555\"");
        }
    }
}
