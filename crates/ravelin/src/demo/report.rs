//! The demonstration's report: one HTML file that needs nothing else.
//!
//! Top: every answer as a dot, latency over time, attacks shaded. Below: one lane a server, coloured
//! by how it looked to the others. No script, no fonts, no network.

use std::fmt::Write as _;

use ravelin_assess::report::svg::escaped as escape;

use super::beyond::Beyond;
use super::timeline::{Attack, Timeline};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 70.0;
const PLOT_TOP: f64 = 30.0;
const PLOT_HEIGHT: f64 = 260.0;
const LANE_HEIGHT: f64 = 26.0;
/// Dots drawn at most; every so many answers stand for all.
const DOTS_MAX: usize = 6000;
/// The latency axis is logarithmic from 0.1 ms to 10 s.
const DECADES: [(f64, &str); 6] = [
    (0.1, "0.1 ms"),
    (1.0, "1 ms"),
    (10.0, "10 ms"),
    (100.0, "100 ms"),
    (1e3, "1 s"),
    (1e4, "10 s"),
];

/// What the report says in words.
pub(super) struct Facts<'a> {
    pub(super) servers: u16,
    pub(super) operations: usize,
    pub(super) wrong: &'a [String],
    pub(super) lost: usize,
    pub(super) longest_gap_ms: u64,
    pub(super) beyond: &'a Beyond,
}

/// Draws the report. `latencies`: when each answer came and how long it took, in microseconds.
pub(super) fn html(latencies: &[(u64, u64)], timeline: &Timeline, facts: &Facts<'_>) -> String {
    let last_answer = latencies.iter().map(|(at, _)| *at).max().unwrap_or(0);
    let last_attack = timeline.attacks.iter().map(|attack| attack.until_us).max().unwrap_or(0);
    let scale = Scale { end_us: last_answer.max(last_attack).max(1) };
    let lanes_top = PLOT_TOP + PLOT_HEIGHT + 40.0;
    let height = lanes_top + f64::from(facts.servers) * LANE_HEIGHT + 40.0;
    let mut svg = String::new();
    draw_attacks(&mut svg, &scale, &timeline.attacks, height);
    draw_axes(&mut svg, &scale);
    draw_answers(&mut svg, &scale, latencies);
    draw_lanes(&mut svg, &scale, timeline, (facts.servers, lanes_top));
    let kept = facts.wrong.is_empty() && facts.lost == 0;
    let verdict = if kept { "The promise was kept." } else { "A promise was broken." };
    let wrong: String =
        facts.wrong.iter().map(|what| format!("<li>{}</li>", escape(what))).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ravelin demo</title>\
         <style>{STYLE}</style><h1>Ravelin: {verdict}</h1>\
         <p class=\"figures\"><b>{}</b> operations checked &middot; <b>{}</b> wrong answers &middot; \
         <b>{}</b> lost writes &middot; longest gap <b>{} ms</b></p><ul>{wrong}</ul>\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"latency of every answer over time, attacks shaded, one lane a server\">{svg}\
         </svg>{}{}<p class=\"small\">Each dot is one answer that a client accepted after a vote. \
         Lanes show each server as the others saw it. The servers share one build, one machine and \
         one user: diversity is not shown here. Checked: linearizability of all answers, and that \
         every acknowledged receipt was there at the end.</p></html>\n",
        facts.operations,
        facts.wrong.len(),
        facts.lost,
        facts.longest_gap_ms,
        table(&timeline.attacks),
        beyond(facts.servers, facts.beyond),
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:1160px;margin:2rem auto;\
    padding:0 1rem;color:#1c2430;background:#fff}h1{font-size:1.6rem}svg{width:100%;height:auto}\
    table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{text-align:left;padding:.35rem \
    .6rem;border-bottom:1px solid #d9dee5}.small{color:#5a6675;font-size:.9rem}.figures{font-size:\
    1.1rem}text{font:12px system-ui,sans-serif;fill:#5a6675}.name{font-weight:600;fill:#8a2c1d}";

struct Scale {
    end_us: u64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a picture needs no more than 53 bits")]
    fn x(&self, at_us: u64) -> f64 {
        LEFT + at_us as f64 / self.end_us as f64 * (WIDTH - LEFT - 20.0)
    }

    #[expect(clippy::unused_self, reason = "both axes belong to one scale")]
    fn y(&self, latency_ms: f64) -> f64 {
        let decades = (latency_ms.max(0.1) / 0.1).log10() / 5.0;
        PLOT_TOP + PLOT_HEIGHT * (1.0 - decades.min(1.0))
    }
}

fn draw_attacks(svg: &mut String, scale: &Scale, attacks: &[Attack], height: f64) {
    for (turn, attack) in attacks.iter().enumerate() {
        let (x, end) = (scale.x(attack.from_us), scale.x(attack.until_us));
        let line = if turn % 2 == 0 { 12.0 } else { 25.0 };
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{PLOT_TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f6d9d3\" \
             opacity=\"0.7\"/><text class=\"name\" x=\"{x:.1}\" y=\"{line}\">{} on {}</text>",
            end - x,
            height - PLOT_TOP - 30.0,
            escape(&attack.name),
            attack.server
        );
    }
}

fn draw_axes(svg: &mut String, scale: &Scale) {
    for (latency_ms, label) in DECADES {
        let y = scale.y(latency_ms);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e8ee\"/>\
             <text x=\"4\" y=\"{:.1}\">{label}</text>",
            y + 4.0
        );
    }
    let seconds = scale.end_us / 1_000_000;
    for second in (0..=seconds).step_by(5) {
        let x = scale.x(second * 1_000_000);
        let y = PLOT_TOP + PLOT_HEIGHT;
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y}\" y2=\"{:.1}\" stroke=\"#5a6675\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            y + 5.0,
            y + 20.0
        );
    }
}

fn draw_answers(svg: &mut String, scale: &Scale, latencies: &[(u64, u64)]) {
    let step = latencies.len().div_ceil(DOTS_MAX).max(1);
    let mut path = String::new();
    for (at, took) in latencies.iter().step_by(step) {
        let took_ms = std::time::Duration::from_micros(*took).as_secs_f64() * 1e3;
        let _ = write!(path, "M{:.1} {:.1}h0", scale.x(*at), scale.y(took_ms));
    }
    let _ = write!(
        svg,
        "<path d=\"{path}\" stroke=\"#1f5fa8\" stroke-width=\"2.5\" stroke-linecap=\"round\" \
         opacity=\"0.5\"/>"
    );
}

fn draw_lanes(svg: &mut String, scale: &Scale, timeline: &Timeline, (servers, top): (u16, f64)) {
    for server in 0..servers {
        let y = top + f64::from(server) * LANE_HEIGHT;
        let _ = write!(svg, "<text x=\"4\" y=\"{:.1}\">server {server}</text>", y + 15.0);
        let mut looks = timeline.looks.iter().filter(|look| look.server == server).peekable();
        while let Some(look) = looks.next() {
            let until = looks.peek().map_or(scale.end_us, |next| next.at_us);
            let (x, end) = (scale.x(look.at_us), scale.x(until));
            let _ = write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"18\" fill=\"{}\"><title>\
                 {}</title></rect>",
                (end - x).max(0.0) + 0.3,
                colour(&look.state),
                escape(&look.state)
            );
        }
    }
    let y = top + f64::from(servers) * LANE_HEIGHT + 14.0;
    for (turn, state) in
        ["correct", "catching_up", "suspected", "faulty", "down"].iter().enumerate()
    {
        let x = LEFT + 130.0 * f64::from(u32::try_from(turn).unwrap_or(0));
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"14\" height=\"14\" fill=\"{}\"/><text x=\"{}\" \
             y=\"{y:.1}\">{}</text>",
            y - 11.0,
            colour(state),
            x + 20.0,
            state.replace('_', " ")
        );
    }
}

fn colour(state: &str) -> &'static str {
    match state {
        "correct" => "#4b9b69",
        "catching_up" | "learner" => "#d9a93a",
        "suspected" => "#e08a45",
        "faulty" | "fail_safe" => "#b8392b",
        _ => "#a9b1bc",
    }
}

fn table(attacks: &[Attack]) -> String {
    let rows: String = attacks
        .iter()
        .map(|attack| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ms</td><td>{}</td></tr>",
                escape(&attack.name),
                attack.server,
                escape(&attack.what),
                attack.answers,
                attack.longest_gap_ms,
                attack.outcome.word()
            )
        })
        .collect();
    format!(
        "<table><tr><th>attack</th><th>server</th><th>what it does</th><th>answers meanwhile</th>\
         <th>longest gap</th><th>outcome</th></tr>{rows}</table>"
    )
}

fn beyond(servers: u16, beyond: &Beyond) -> String {
    format!(
        "<h2>One step beyond the promise</h2><p>Two of {servers} servers owned, both lying alike. {}. \
         This is outside what is promised, and not part of the verdict.</p>",
        escape(&beyond.in_words())
    )
}
