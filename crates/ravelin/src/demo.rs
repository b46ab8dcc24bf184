//! `ravelin demo`: four real servers, or three with wormholes, a checked workload, real attacks, a computed verdict.
//!
//! The verdict comes from a checker over what the clients asked and were told: linearizability of
//! everything answered, and every acknowledged receipt still there at the end. The last step, beyond
//! `f`, is shown apart and never added to it.
//!
//! # Source
//! The paper, section 3: attack, vulnerability, intrusion, error, failure. Here the intrusions are
//! real, and the failure must not come.

mod beyond;
mod report;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ravelin_model::{FaultModel, ReplicaId};
use rustix::process::Signal;
use serde::Serialize;

use crate::cluster_dir::LocalCluster;
use crate::connection::Connection;
use crate::drill::judgement::{Judgement, judge};
use crate::drill::workload::{Observed, Observer, Receipts};
use crate::drill::{
    self, Comeback, GAP_MAX, Outcome, READY_MAX, Staff, Workplace, servers_of, start_all,
};
use crate::exit::{Error, Exit, Result};
use crate::output::{Format, Output};
use crate::processes::{Hands, Processes};

use beyond::Beyond;
use timeline::{Attack, Timeline};

/// Servers that have wormholes, of which one may be owned.
/// Operations that a verdict needs to mean anything.
const OPERATIONS_MIN: usize = 500;
/// How long each attack lasts.
const ATTACK: Duration = Duration::from_millis(3500);
/// How long an intruder's server may take to be let in with its new wormhole: some are slow on purpose.
const LET_IN_MAX: Duration = Duration::from_secs(4);
/// How long the clients work undisturbed before the first attack.
const WARM_UP: Duration = Duration::from_secs(2);
/// Time between two looks at the servers, and how long one may take.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_MAX: Duration = Duration::from_millis(900);

/// What the demonstration does to server 2, in this order. The equivocator comes last: it is found
/// out for good, and nothing that its server says later would count.
const INTRUDERS: [(&str, &str); 4] = [
    ("never-votes-first", "is always first and never votes for another's block"),
    ("liar", "signs wrong answers for clients"),
    ("delayer", "holds every message back"),
    ("equivocator", "tells the two halves of the cluster different things"),
];

/// How the demonstration is run.
pub(crate) struct DemoOptions {
    /// Where the report and the history go.
    pub(crate) report_dir: Option<PathBuf>,
    /// Keep the servers' directories.
    pub(crate) keep: bool,
    /// Draw nothing on the terminal.
    pub(crate) is_headless: bool,
    /// What is assumed of intruded servers.
    pub(crate) fault_model: FaultModel,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started { servers: u16, pids: Vec<u32>, dir: String },
    AttackBegun { at_ms: u64, name: &'a str, server: u16, what: &'a str },
    AttackOver { at_ms: u64, name: &'a str, server: u16, outcome: Outcome, longest_gap_ms: u64 },
    BeyondBegun { servers: [u16; 2], what: &'a str },
    Written { report: String, history: String },
    Verdict(Verdict<'a>),
}

#[derive(Serialize)]
struct Verdict<'a> {
    fault_model: &'static str,
    servers: u16,
    operations: usize,
    unanswered: u64,
    wrong: usize,
    lost: usize,
    /// Nothing: there are no secrets yet.
    disclosed: Option<u64>,
    longest_gap_ms: u64,
    attacks: &'a [Attack],
    beyond: &'a Beyond,
}

/// Runs the demonstration.
pub(crate) fn run(output: Output, options: &DemoOptions) -> Result<()> {
    let workplace = Workplace::new("demo", options.keep)?;
    let report_dir = options.report_dir.clone().unwrap_or_else(|| workplace.root.join("report"));
    std::fs::create_dir_all(&report_dir)
        .map_err(|error| Error::system("create", &report_dir, &error))?;
    let demo = Demo { output, options, workplace: &workplace, report_dir };
    drill::run(demo.run())
}

struct Demo<'a> {
    output: Output,
    options: &'a DemoOptions,
    workplace: &'a Workplace,
    report_dir: PathBuf,
}

impl Demo<'_> {
    async fn run(&self) -> Result<()> {
        let fault_model = self.options.fault_model;
        let servers = servers_of(fault_model);
        self.say(match fault_model {
            FaultModel::Hybrid => {
                "Three servers, one of which may be owned, each with a wormhole that may not. Watch it \
                 happen."
            }
            _ => "Four servers, one of which may be owned. Watch it happen.",
        });
        let root = self.workplace.root.join("cluster");
        let cluster = LocalCluster::create(&root, servers, fault_model)?;
        let processes = Processes::of(&cluster)?;
        let pids = start_all(&cluster, &processes).await?;
        self.line(&Line::Started {
            servers,
            pids: pids.clone(),
            dir: cluster.dir.display().to_string(),
        })?;
        self.say(&format!(
            "  servers 0 to {} run as processes {pids:?}: `kill -9` them from another terminal if you like",
            pids.len().saturating_sub(1)
        ));
        let observer = Observer::new();
        let Staff { mut workers, clients, monitor } = Staff::hire(&cluster, &observer).await?;
        let mut timeline = Timeline::default();
        let stage =
            Stage { processes: &processes, observer: &observer, monitor: &monitor, clients };
        self.attack_all(&stage, &mut timeline).await?;
        let verdict_at = observer.now_us();
        observer.end();
        while workers.join_next().await.is_some() {}
        let Judgement { wrong, lost, observed } =
            judge(&observer, &monitor, &mut Receipts::new()).await;
        for server in &cluster.servers {
            processes.kill(server.id)?;
        }
        let liars = beyond::liars(servers);
        self.line(&Line::BeyondBegun { servers: liars.map(|liar| liar.0), what: beyond::WHAT })?;
        self.say(&format!("Beyond the promise: two of {servers} servers owned, both lying."));
        let root = self.workplace.root.join("beyond");
        let beyond = beyond::run(&root, servers, fault_model).await?;
        self.say(&format!("  {}", beyond.in_words()));
        let longest_gap_ms = longest_gap_ms(&observed.latencies, verdict_at);
        let verdict = Verdict {
            fault_model: fault_model.name(),
            servers,
            operations: observed.history.answered_count(),
            unanswered: observed.unanswered,
            wrong: wrong.len(),
            lost,
            disclosed: None,
            longest_gap_ms,
            attacks: &timeline.attacks,
            beyond: &beyond,
        };
        self.write_report(&observed, &timeline, &verdict, &wrong)?;
        self.finish(&verdict, &wrong)
    }

    async fn attack_all(&self, stage: &Stage<'_>, timeline: &mut Timeline) -> Result<()> {
        stage.watch_for(WARM_UP, timeline).await;
        let killed = ReplicaId(1);
        let what = "kill -9: it says and writes nothing more";
        let begun = self.begin(stage.observer, "kill", killed, what)?;
        stage.processes.kill(killed)?;
        stage.watch_for(ATTACK, timeline).await;
        stage.processes.start(killed, Hands::Own)?;
        let is_back = stage.wait_back(killed, READY_MAX, timeline).await;
        let outcome = if is_back { Outcome::Recovered } else { Outcome::Failed };
        self.end(stage.observer, timeline, begun, outcome)?;
        if self.options.fault_model == FaultModel::Hybrid {
            self.kill_wormhole(stage, timeline, killed).await?;
        }
        let owned = ReplicaId(2);
        for (name, what) in INTRUDERS {
            let begun = self.begin(stage.observer, name, owned, what)?;
            stage.processes.kill(owned)?;
            stage.processes.start(owned, Hands::Intruder(name))?;
            if self.options.fault_model == FaultModel::Hybrid {
                // Before its new wormhole is let in, nothing that it orders counts anyhow.
                stage.wait_back(owned, LET_IN_MAX, timeline).await;
            }
            let before = stage.refused_of(owned);
            stage.watch_for(ATTACK, timeline).await;
            let was_refused = stage.refused_of(owned) > before;
            let outcome = if was_refused { Outcome::Refused } else { Outcome::Masked };
            self.end(stage.observer, timeline, begun, outcome)?;
        }
        stage.processes.kill(owned)
    }

    /// A server without its wormhole says nothing more, ends, and comes back with another one.
    async fn kill_wormhole(
        &self,
        stage: &Stage<'_>,
        timeline: &mut Timeline,
        server: ReplicaId,
    ) -> Result<()> {
        let what = "kill -9 of its wormhole: it ends, and comes back with another one";
        let begun = self.begin(stage.observer, "kill-wormhole", server, what)?;
        let was_there = stage.processes.signal_wormhole(server, Signal::KILL)?;
        stage.watch_for(ATTACK, timeline).await;
        let has_ended = stage.processes.running(server)?.is_none();
        stage.processes.start(server, Hands::Own)?;
        let is_back = stage.wait_back(server, READY_MAX, timeline).await;
        let is_right = was_there && has_ended && is_back;
        let outcome = if is_right { Outcome::Recovered } else { Outcome::Failed };
        self.end(stage.observer, timeline, begun, outcome)
    }

    fn begin(
        &self,
        observer: &Observer,
        name: &str,
        server: ReplicaId,
        what: &str,
    ) -> Result<Attack> {
        let from_us = observer.now_us();
        let line = Line::AttackBegun { at_ms: from_us / 1000, name, server: server.0, what };
        self.line(&line)?;
        self.say(&format!("  {:>5.1} s  {name:<18} server {server}: {what}", seconds(from_us)));
        Ok(Attack {
            name: name.to_owned(),
            server: server.0,
            outcome: Outcome::Failed,
            longest_gap_ms: 0,
            answers: observer.answered(),
            from_us,
            until_us: from_us,
            what: what.to_owned(),
        })
    }

    fn end(
        &self,
        observer: &Observer,
        timeline: &mut Timeline,
        begun: Attack,
        outcome: Outcome,
    ) -> Result<()> {
        let until_us = observer.now_us();
        let longest_gap_ms = observer.longest_gap_us(begun.from_us, until_us) / 1000;
        let is_alive = u128::from(longest_gap_ms) <= GAP_MAX.as_millis();
        let outcome = if is_alive { outcome } else { Outcome::Failed };
        let answers = observer.answered() - begun.answers;
        let attack = Attack { outcome, longest_gap_ms, answers, until_us, ..begun };
        self.line(&Line::AttackOver {
            at_ms: until_us / 1000,
            name: &attack.name,
            server: attack.server,
            outcome,
            longest_gap_ms,
        })?;
        self.say(&format!(
            "           -> {}: {answers} answers meanwhile, longest gap {longest_gap_ms} ms",
            outcome.word()
        ));
        timeline.attacks.push(attack);
        Ok(())
    }

    fn write_report(
        &self,
        observed: &Observed,
        timeline: &Timeline,
        verdict: &Verdict<'_>,
        wrong: &[String],
    ) -> Result<()> {
        let history = self.report_dir.join("history.jsonl");
        let report = self.report_dir.join("report.html");
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).map_err(|error| Error::system("write", path, &error))
        };
        write(&history, observed.history.to_json_lines())?;
        let facts = report::Facts {
            servers: verdict.servers,
            operations: verdict.operations,
            wrong,
            lost: verdict.lost,
            longest_gap_ms: verdict.longest_gap_ms,
            beyond: verdict.beyond,
        };
        write(&report, report::html(&observed.latencies, timeline, &facts))?;
        self.say(&format!("Report: {}\nHistory: {}", report.display(), history.display()));
        self.line(&Line::Written {
            report: report.display().to_string(),
            history: history.display().to_string(),
        })
    }

    fn finish(&self, verdict: &Verdict<'_>, wrong: &[String]) -> Result<()> {
        if self.output.format() == Format::Text {
            self.output.write(&format!(
                "Verdict: {} operations checked, {} wrong answers, {} lost writes, longest gap {} ms.\n",
                verdict.operations, verdict.wrong, verdict.lost, verdict.longest_gap_ms
            ))?;
        }
        self.say(
            "Not shown: the servers share one build, one machine and one user; real diversity and \
             real hosts are up to you. There are no secrets yet, so nothing could be disclosed.",
        );
        if self.output.format() == Format::Json {
            self.output.write(&format!("{}\n", to_json(&Line::Verdict(copy(verdict)))))?;
        }
        let failed = verdict.attacks.iter().any(|attack| attack.outcome == Outcome::Failed);
        let is_kept = verdict.wrong == 0
            && verdict.lost == 0
            && !failed
            && verdict.operations >= OPERATIONS_MIN
            && u128::from(verdict.longest_gap_ms) <= GAP_MAX.as_millis();
        if is_kept {
            return Ok(());
        }
        let cause = wrong
            .first()
            .cloned()
            .unwrap_or_else(|| "a promise was broken: see the verdict above".to_owned());
        Err(Error::new(
            Exit::VerificationFailed,
            cause,
            "keep the report and history: this is a bug",
        ))
    }

    fn say(&self, what: &str) {
        if self.output.format() == Format::Text && !self.options.is_headless {
            let _ = self.output.write(&format!("{what}\n")); // a closed pipe must not stop the run
        }
    }

    fn line(&self, line: &Line<'_>) -> Result<()> {
        match self.output.format() {
            Format::Json => self.output.write(&format!("{}\n", to_json(line))),
            Format::Text => Ok(()),
        }
    }
}

fn copy<'a>(verdict: &Verdict<'a>) -> Verdict<'a> {
    Verdict { ..*verdict }
}

fn to_json(line: &Line<'_>) -> String {
    serde_json::to_string(line).expect("lines have plain fields")
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

/// What the attacks play on, and who watches.
struct Stage<'a> {
    processes: &'a Processes<'a>,
    observer: &'a Observer,
    monitor: &'a Connection,
    clients: Vec<Connection>,
}

impl Stage<'_> {
    /// How often clients caught `server` telling something else than what was agreed.
    fn refused_of(&self, server: ReplicaId) -> usize {
        self.clients.iter().map(|client| client.refused_of(server)).sum()
    }

    /// Waits until a restarted server serves and has executed what the others had by then.
    async fn wait_back(&self, server: ReplicaId, most: Duration, timeline: &mut Timeline) -> bool {
        let begun = Instant::now();
        let mut comeback = Comeback::new(self.processes, server);
        while begun.elapsed() < most {
            self.watch_for(Duration::from_millis(200), timeline).await;
            let Ok(reports) = self.monitor.status().await else { continue };
            if comeback.is_over(&reports) {
                return true;
            }
        }
        false
    }

    /// Lets time pass, looking at the servers now and then.
    async fn watch_for(&self, span: Duration, timeline: &mut Timeline) {
        let begun = Instant::now();
        while begun.elapsed() < span {
            let asked = tokio::time::timeout(LOOK_MAX, self.monitor.status());
            if let Ok(Ok(reports)) = asked.await {
                timeline.looks.extend(timeline::looks(self.observer.now_us(), &reports));
            }
            let rest = span.saturating_sub(begun.elapsed()).min(LOOK_EVERY);
            tokio::time::sleep(rest).await;
        }
    }
}

/// The longest time between two answers, from the first one on.
fn longest_gap_ms(latencies: &[(u64, u64)], until_us: u64) -> u64 {
    let mut answered: Vec<u64> =
        latencies.iter().map(|(at, _)| *at).filter(|at| *at <= until_us).collect();
    answered.push(until_us);
    answered.sort_unstable();
    let gaps = answered.windows(2).map(|pair| match pair {
        [before, after] => after - before,
        _ => 0,
    });
    gaps.max().unwrap_or(until_us) / 1000
}
