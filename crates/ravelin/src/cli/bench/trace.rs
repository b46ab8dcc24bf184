//! `ravelin bench --trace`: the hops of one request on an idle cluster, and where its time goes.

use std::fmt;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_runtime::clock::Clock;
use serde::{Deserialize, Serialize};

use super::door;
use super::testbed::{Layout, TestBed};
use crate::connection::Connection;
use crate::drill;
use crate::exit::{Error, Exit, Result};
use crate::processes::Logging;

/// How long the cluster is left alone before the request that is traced: so that the heartbeats that
/// follow the last activity are not near, which would show timers that have nothing to do with it.
const QUIET: Duration = Duration::from_millis(5_500);
/// Requests of which the times are taken, one at a time.
const REQUESTS: usize = 200;
/// How long servers may take to write down what they did.
const WRITTEN: Duration = Duration::from_millis(500);
/// Bytes of the values written.
const VALUE_BYTES: usize = 128;

/// What scripts read.
#[derive(Debug, Serialize)]
pub(super) struct Trace {
    servers: usize,
    /// Deadlines of any server that came between sending and answer of the traced request.
    timers: usize,
    took_ms: f64,
    hops: Vec<Hop>,
    /// Medians of many requests, one in flight.
    requests: usize,
    p50_ms: f64,
    /// Rounds from the block that carries a request to the newest that its execution needed.
    rounds: u64,
    phases: Vec<Phase>,
}

#[derive(Debug, Serialize)]
struct Hop {
    at_ms: f64,
    /// `None`: the client.
    server: Option<u16>,
    what: String,
}

/// One part of the way.
#[derive(Debug, Serialize)]
struct Phase {
    what: &'static str,
    p50_ms: f64,
}

/// A line of a server's log that names a hop.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    at_us: u64,
    hop: String,
    #[serde(default)]
    server: u16,
    first: Option<u64>,
    author: Option<u16>,
    round: Option<u64>,
    envelopes: Option<usize>,
    commit: Option<u64>,
    took_us: Option<u64>,
}

/// A request as its client saw it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sent_us: u64,
    accepted_us: u64,
    first: u64,
}

/// Traces one request on an idle cluster, and measures many.
pub(super) async fn measure(layout: Layout) -> Result<Trace> {
    let bed = TestBed::start(layout, None, Logging::Hops).await?;
    let client = drill::connect(&bed.cluster).await?;
    client.connected(bed.cluster.servers.len()).await;
    let clock = Clock::start();
    tokio::time::sleep(QUIET).await;
    let traced = ask(&client, &clock, 0).await?;
    let mut asked = Vec::new();
    for key in 1..=REQUESTS {
        asked.push(ask(&client, &clock, key).await?);
    }
    tokio::time::sleep(WRITTEN).await;
    let mut lines = Vec::new();
    for server in bed.cluster.group.members() {
        lines.extend(lines_of(server, &bed.log(server)?));
    }
    lines.sort_by_key(|line| line.at_us);
    let during = |asked: &Asked| {
        let (from, until) = (asked.sent_us, asked.accepted_us);
        lines.iter().filter(move |line| (from..=until).contains(&line.at_us))
    };
    let quorum = bed.cluster.group.quorum();
    let parts: Vec<[u64; PHASES.len()]> = asked
        .iter()
        .filter_map(|asked| parts(asked, &during(asked).collect::<Vec<_>>(), quorum))
        .collect();
    let rounds = asked.iter().filter_map(|asked| {
        rounds_of(&during(asked).filter(|line| line.at_us > asked.sent_us).collect::<Vec<_>>())
    });
    let rounds = median(&mut rounds.collect::<Vec<_>>());
    let mut took: Vec<u64> = asked.iter().map(|asked| asked.accepted_us - asked.sent_us).collect();
    Ok(Trace {
        servers: bed.cluster.servers.len(),
        timers: during(&traced).filter(|line| line.hop == "deadline").count(),
        took_ms: ms(traced.accepted_us - traced.sent_us),
        hops: hops(&traced, during(&traced)),
        requests: REQUESTS,
        p50_ms: ms(median(&mut took)),
        rounds,
        phases: (0..PHASES.len())
            .zip(PHASES)
            .map(|(index, what)| {
                let of_phase = parts.iter().filter_map(|parts| parts.get(index).copied());
                Phase { what, p50_ms: ms(median(&mut of_phase.collect::<Vec<_>>())) }
            })
            .collect(),
    })
}

async fn ask(client: &Connection, clock: &Clock, key: usize) -> Result<Asked> {
    let sent_us = clock.now().0;
    let voted = client.submit(vec![door::put(key, &[b'v'; VALUE_BYTES])]).await;
    let accepted_us = clock.now().0;
    let first = voted.ok().and_then(|voted| voted.first().map(|voted| voted.sequence.0));
    let first = first.ok_or_else(|| {
        Error::new(Exit::Failed, "a request was not answered", "the machine is too busy: try again")
    })?;
    Ok(Asked { sent_us, accepted_us, first })
}

/// What a server's log tells of hops.
fn lines_of(server: ReplicaId, log: &str) -> Vec<Line> {
    #[derive(Deserialize)]
    struct Logged {
        fields: Line,
    }
    let logged = log.lines().filter_map(|line| serde_json::from_str::<Logged>(line).ok());
    logged.map(|logged| Line { server: server.0, ..logged.fields }).collect()
}

/// The parts of a request's way.
const PHASES: [&str; 6] = [
    "to the home server and into its core",
    "until its next block is made",
    "until that block is durable and sent",
    "until the order is decided and the request executed",
    "until a quorum's answers are durable and sent",
    "until the client accepts",
];

/// How long each of [`PHASES`] took, in microseconds.
fn parts(asked: &Asked, lines: &[&Line], quorum: usize) -> Option<[u64; PHASES.len()]> {
    let is_first = |line: &Line| line.first == Some(asked.first);
    let received = lines.iter().find(|line| line.hop == "received" && is_first(line))?;
    let after = |earlier: &Line, wanted: &dyn Fn(&Line) -> bool| {
        let of_server = lines.iter().filter(|line| line.server == earlier.server);
        of_server.filter(|line| line.at_us >= earlier.at_us).find(|line| wanted(line)).copied()
    };
    let made = after(received, &|line| line.hop == "made" && line.envelopes > Some(0))?;
    let durable = after(made, &|line| line.hop == "durable")?;
    let executed = after(durable, &|line| line.hop == "executed" && is_first(line))?;
    let executed_all = lines.iter().filter(|line| line.hop == "executed" && is_first(line));
    let answered = executed_all.filter_map(|line| after(line, &|line| line.hop == "durable"));
    let answered = answered.map(|line| line.at_us).nth(quorum - 1)?;
    let times = [
        asked.sent_us,
        received.at_us,
        made.at_us,
        durable.at_us,
        executed.at_us,
        answered.max(executed.at_us),
        asked.accepted_us,
    ];
    let mut parts = [0; PHASES.len()];
    for (part, pair) in parts.iter_mut().zip(times.windows(2)) {
        *part = pair.last()?.saturating_sub(*pair.first()?);
    }
    Some(parts)
}

/// The traced request's way, from the client's sending on.
fn hops<'a>(asked: &Asked, lines: impl Iterator<Item = &'a Line>) -> Vec<Hop> {
    let at_ms = |at_us: u64| ms(at_us - asked.sent_us);
    let client = |at_us, what: &str| Hop { at_ms: at_ms(at_us), server: None, what: what.into() };
    let mut hops = vec![client(asked.sent_us, "sent the request")];
    hops.extend(lines.map(|line| Hop {
        at_ms: at_ms(line.at_us),
        server: Some(line.server),
        what: line.in_words(),
    }));
    hops.push(client(asked.accepted_us, "accepted a quorum's equal answers"));
    hops
}

impl Line {
    fn in_words(&self) -> String {
        let round = self.round.unwrap_or_default();
        let carries = if self.envelopes > Some(0) { ", with the request" } else { "" };
        match self.hop.as_str() {
            "received" => "received the request".into(),
            "made" => format!("made its block of round {round}{carries}"),
            "heard" if self.author == Some(self.server) => {
                format!("took its own block of round {round} back from its log")
            }
            "heard" => {
                let author = self.author.unwrap_or_default();
                format!("heard server {author}'s block of round {round}{carries}")
            }
            "durable" => {
                let took = ms(self.took_us.unwrap_or_default());
                format!("synced its log in {took:.2} ms, and sent what waited for that")
            }
            "executed" => {
                format!("executed the request with commit {}", self.commit.unwrap_or_default())
            }
            "deadline" => "had a deadline: A TIMER RAN".into(),
            other => other.to_owned(),
        }
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// How many rounds a request took: those of its block and of the newest block that the first server
/// to execute it had heard of.
fn rounds_of(lines: &[&Line]) -> Option<u64> {
    let carrying = lines.iter().find(|line| line.hop == "made" && line.envelopes > Some(0))?;
    let executed = lines.iter().find(|line| line.hop == "executed")?;
    let heard = lines.iter().take_while(|line| line.at_us <= executed.at_us);
    let heard = heard.filter(|line| line.server == executed.server && line.hop == "heard");
    let newest = heard.filter_map(|line| line.round).max()?;
    Some(newest.saturating_sub(carrying.round?) + 1)
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "One request on an idle cluster of {} servers:", self.servers)?;
        for hop in &self.hops {
            let who = hop.server.map_or_else(|| "client".to_owned(), |id| format!("server {id}"));
            writeln!(out, "{:>9.2} ms  {who:<8}  {}", hop.at_ms, hop.what)?;
        }
        match self.timers {
            0 => writeln!(out, "No deadline of any server came meanwhile.")?,
            timers => writeln!(out, "{timers} deadlines of servers came meanwhile.")?,
        }
        writeln!(out, "\nWhere the time of one request goes, medians of {}:", self.requests)?;
        for phase in &self.phases {
            writeln!(out, "{:>9.2} ms  {}", phase.p50_ms, phase.what)?;
        }
        writeln!(out, "{:>9.2} ms  in all", self.p50_ms)?;
        write!(out, "{:>9} rounds, from the block that carried it on", self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_way_add_up_to_it() {
        let line = |server, at_us, hop: &str| Line {
            at_us,
            hop: hop.into(),
            server,
            first: Some(7),
            author: None,
            round: None,
            envelopes: Some(usize::from(hop == "made")),
            commit: None,
            took_us: None,
        };
        let lines = [
            line(1, 110, "received"),
            line(1, 130, "made"),
            line(0, 140, "durable"), // another server's: says nothing of this one's
            line(1, 170, "durable"),
            line(1, 300, "executed"),
            line(0, 310, "executed"),
            line(2, 320, "executed"),
            line(1, 350, "durable"),
            line(0, 360, "durable"),
            line(2, 400, "durable"),
        ];
        let asked = Asked { sent_us: 100, accepted_us: 430, first: 7 };
        let lines: Vec<&Line> = lines.iter().collect();
        assert_eq!(parts(&asked, &lines, 3), Some([10, 20, 40, 130, 100, 30]));
        assert_eq!(parts(&Asked { first: 8, ..asked }, &lines, 3), None, "another request");
    }

    #[test]
    fn hops_are_read_from_the_lines_that_servers_write() {
        let log = "not json\n\
            {\"level\":\"INFO\",\"fields\":{\"message\":\"starting\"}}\n\
            {\"level\":\"TRACE\",\"fields\":{\"message\":\"block\",\"at_us\":5,\"hop\":\"heard\",\
            \"author\":2,\"round\":9,\"envelopes\":1}}\n";
        let lines = lines_of(ReplicaId(3), log);
        assert_eq!(lines.len(), 1);
        let words: Vec<String> = lines.iter().map(Line::in_words).collect();
        assert_eq!(words, ["heard server 2's block of round 9, with the request"]);
        assert_eq!(lines.first().map(|line| line.server), Some(3));
    }
}
