//! A cluster that steps are played on: its servers behind relays, and clients that never stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ravelin_model::wire::StatusReport;
use ravelin_model::{FaultModel, ReplicaId};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::record::{ALL_KILLED, Played, Promises, milliseconds};
use super::relay::{Fronts, Gate, Relays};
use super::schedule::{Drill, Step};
use crate::cluster_dir::{LocalCluster, LocalServer};
use crate::connection::Connection;
use crate::drill::judgement::{Judgement, judge};
use crate::drill::workload::{Observer, Receipts};
use crate::drill::{
    Comeback, Outcome, SERVERS, Staff, servers_of, start_all, wait_ready, wait_until,
};
use crate::exit::Result;
use crate::machine::network::Segment;
use crate::machine::soak::Samples;
use crate::machine::{Grip, Trouble};
use crate::processes::{Hands, Processes};

/// How long a server may take to be back by itself, beside as long as it was away.
pub(super) const BACK_MAX: Duration = Duration::from_secs(30);
/// How long clients work undisturbed before a step's attack.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long an intruder's server may take to take part, before its time counts in any case.
const TAKE_PART_MAX: Duration = Duration::from_secs(5);
/// How long all servers stay dead, and how long clients work on after they are back.
const ALL_DEAD: Duration = Duration::from_secs(1);
/// How long servers whose wormholes all began anew are watched before they are opened.
const UNOPENED: Duration = Duration::from_secs(3);
/// How long one direction of a flapping server's connections is cut, and how long it is let be.
const FLAP: Duration = Duration::from_millis(400);
/// Checkpoints that pass before an old copy of a server's data is all that is left of it.
const CHECKPOINTS_OLD: u64 = 3;
/// How long they may take before a younger copy must do.
const CHECKPOINTS_MAX: Duration = Duration::from_secs(90);
/// Time between two looks at the servers, and how long one may take.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_millis(900);

/// A cluster at work.
pub(super) struct Site {
    cluster: Arc<LocalCluster>,
    relays: Relays,
    observer: Observer,
    workers: JoinSet<()>,
    clients: Vec<Connection>,
    monitor: Connection,
    /// Everything acknowledged since the cluster was made.
    receipts: Receipts,
    /// Servers that intruders once had: what they signed may come out later.
    once_owned: BTreeSet<ReplicaId>,
}

/// How a server came back, or did not.
struct Return {
    outcome: Outcome,
    took: Option<Duration>,
    why: Option<String>,
    /// Whether others still hold against it what an intruder did.
    is_suspected: bool,
}

impl Site {
    /// Makes a cluster in `dir` and sets clients to work.
    pub(super) async fn open(dir: &Path, model: FaultModel) -> Result<Self> {
        Self::open_prepared(dir, model, Observer::new(), |_| Ok(())).await
    }

    /// The same, with something done to the cluster before its servers start; `observer` says what
    /// its clients do.
    pub(super) async fn open_prepared(
        dir: &Path,
        model: FaultModel,
        observer: Observer,
        prepare: impl FnOnce(&LocalCluster) -> Result<()>,
    ) -> Result<Self> {
        let servers = servers_of(model);
        let fronts = Fronts::listen(servers)?;
        let made = LocalCluster::create_behind(&fronts.addresses()?, dir, servers, model)?;
        prepare(&made)?;
        let cluster = Arc::new(LocalCluster::open(&made.dir)?); // as it was prepared
        let relays = Relays::start(fronts, &cluster)?;
        Self::staffed(cluster, relays, observer).await
    }

    /// Makes a cluster in `dir` whose servers are in `network`, and sets clients to work.
    pub(super) async fn open_in(dir: &Path, network: &Segment) -> Result<Self> {
        let fronts = network.fronts();
        let made = LocalCluster::create_behind(&fronts, dir, SERVERS, FaultModel::Arbitrary)?;
        let cluster = Arc::new(network.settle(&made)?);
        Self::staffed(cluster, Relays::none(), Observer::new()).await
    }

    async fn staffed(
        cluster: Arc<LocalCluster>,
        relays: Relays,
        observer: Observer,
    ) -> Result<Self> {
        start_all(&cluster, &Processes::of(&cluster)?).await?;
        let Staff { workers, clients, monitor } = Staff::hire(&cluster, &observer).await?;
        let (receipts, once_owned) = (Receipts::new(), BTreeSet::new());
        Ok(Self { cluster, relays, observer, workers, clients, monitor, receipts, once_owned })
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.cluster.dir
    }

    /// Lets the clients stop, and says which directory is left.
    pub(super) async fn close(mut self) -> PathBuf {
        self.observer.end();
        self.workers.shutdown().await;
        self.cluster.dir.clone()
    }

    /// Does to one server what `step` says, then lets it come back.
    pub(super) async fn play(&mut self, step: &Step, promises: Promises) -> Result<Played> {
        let processes = Processes::of(&self.cluster)?;
        self.observer.resume();
        tokio::time::sleep(WARM_UP).await;
        let lies_before = self.lies_of(step.server);
        let from_us = self.observer.now_us();
        let grip = self.strike(step, &processes).await?;
        let detail = self.hold(step).await;
        let is_owned = matches!(step.drill, Drill::Takeover(_));
        let escaped = is_owned && processes.running(step.server)?.is_none();
        let mut broken = self.relent(step, &processes, grip)?;
        let back = self.come_back(step, &processes).await;
        if step.drill.may_expose() {
            self.once_owned.insert(step.server);
        }
        let until_us = self.observer.now_us();
        let lies = self.lies_of(step.server) - lies_before;
        let longest_gap_ms = self.observer.longest_gap_us(from_us, until_us) / 1000;
        if escaped {
            broken.push("the intruder's process ended by itself".to_owned());
        }
        if promises.gap_max.is_some_and(|most| longest_gap_ms > milliseconds(most)) {
            broken.push(format!("no client had any answer for {longest_gap_ms} ms"));
        }
        broken.extend(self.wrongly_accused(step).await);
        let (exposed_by, failed_by) = match back.outcome {
            Outcome::Exposed => (back.why, None),
            _ => (None, back.why),
        };
        broken.extend(failed_by);
        let played = Played {
            server: Some(step.server.0),
            outcome: match back.outcome {
                Outcome::Recovered if lies > 0 => Outcome::Refused,
                Outcome::Recovered if is_owned => Outcome::Masked,
                other => other,
            },
            exposed_by,
            longest_gap_ms,
            back_ms: back.took.map(milliseconds),
            is_suspected: back.is_suspected,
            lies,
            ..Played::new(step.drill.name(), format!("{step}{detail}"))
        };
        Ok(self.judged(played, broken).await)
    }

    /// Kills all servers at once, starts them again, and looks whether everything is there.
    pub(super) async fn kill_all(&mut self, what: &str) -> Result<Played> {
        let played = Played::new(ALL_KILLED, what.to_owned());
        let nothing = || Ok(Vec::new());
        self.strike_all(played, WARM_UP, nothing, nothing).await
    }

    /// The same after `before` (the power goes, say), with `between` done while all are dead; both say
    /// which promises were broken. Clients work for `first` until then.
    pub(super) async fn strike_all(
        &mut self,
        played: Played,
        first: Duration,
        before: impl FnOnce() -> Result<Vec<String>>,
        between: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<Played> {
        let cluster = Arc::clone(&self.cluster);
        let processes = Processes::of(&cluster)?;
        self.observer.resume();
        tokio::time::sleep(first).await;
        let from_us = self.observer.now_us();
        let mut broken = before()?;
        for server in &cluster.servers {
            processes.signal_wormhole(server.id, Signal::KILL)?; // or it would stop in good order
            processes.signal(server.id, Signal::KILL)?; // all, before the end of any is waited for
        }
        for server in &cluster.servers {
            processes.kill(server.id)?;
        }
        broken.extend(between()?);
        tokio::time::sleep(ALL_DEAD).await;
        let has_wormholes = cluster.group.model() == FaultModel::Hybrid;
        let are_lasting = has_wormholes && cluster.servers.iter().all(keeps_its_instance);
        if has_wormholes && !are_lasting {
            broken.extend(self.serve_unopened(&processes).await?);
        }
        let restarted = Instant::now();
        let started = match are_lasting {
            true => start_unopened(&cluster, &processes).await,
            false => start_all(&cluster, &processes).await.map(drop),
        };
        if let Err(error) = started {
            broken.push(error.message());
        }
        let took = restarted.elapsed();
        tokio::time::sleep(ALL_DEAD).await;
        let until_us = self.observer.now_us();
        let played = Played {
            longest_gap_ms: self.observer.longest_gap_us(from_us, until_us) / 1000,
            back_ms: Some(milliseconds(took)),
            ..played
        };
        Ok(self.judged(played, broken).await)
    }

    /// Starts all servers whose wormholes began anew at once: until administrators open the cluster, none may
    /// serve. Says which did.
    async fn serve_unopened(&self, processes: &Processes<'_>) -> Result<Vec<String>> {
        for server in &self.cluster.servers {
            processes.start(server.id, Hands::Own)?;
        }
        tokio::time::sleep(UNOPENED).await;
        let mut broken = Vec::new();
        for server in &self.cluster.servers {
            if processes.is_ready(server.id)? {
                broken
                    .push(format!("server {} serves before anybody opened the cluster", server.id));
            }
        }
        for server in &self.cluster.servers {
            processes.kill(server.id)?;
        }
        Ok(broken)
    }

    /// Lets clients work and nothing happen, with so many samples at such distances.
    pub(super) async fn work(
        &mut self,
        (count, every): (u32, Duration),
        samples: &mut Samples,
    ) -> Result<Played> {
        self.observer.resume();
        let from_us = self.observer.now_us();
        for _ in 0..count {
            tokio::time::sleep(every).await;
            samples.take(&self.cluster)?;
        }
        let until_us = self.observer.now_us();
        let played = Played {
            longest_gap_ms: self.observer.longest_gap_us(from_us, until_us) / 1000,
            outcome: Outcome::Masked,
            ..Played::new("soak", "nothing befalls anybody".to_owned())
        };
        Ok(self.judged(played, Vec::new()).await)
    }

    /// Lets clients work while the network is bad for `span`, then well; every server must catch up.
    pub(super) async fn bear(&mut self, span: Duration, network: &Segment) -> Result<Played> {
        let cluster = Arc::clone(&self.cluster);
        let processes = Processes::of(&cluster)?;
        self.observer.resume();
        let from_us = self.observer.now_us();
        network.begin();
        tokio::time::sleep(span).await;
        let until_us = self.observer.now_us();
        let healed = Instant::now();
        let mut broken = Vec::new();
        for server in cluster.group.members() {
            let mut comeback = Comeback::new(&processes, server);
            let mut is_back = false;
            while !is_back && healed.elapsed() < BACK_MAX {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(reports) = self.look().await else { continue };
                is_back = comeback.is_over(&reports) && !self.words_about(server, &reports).proven;
            }
            if !is_back {
                broken.push(format!("server {server} is not back after {BACK_MAX:?}"));
            }
        }
        let played = Played {
            longest_gap_ms: self.observer.longest_gap_us(from_us, until_us) / 1000,
            back_ms: Some(milliseconds(healed.elapsed())),
            ..Played::new("network", network.in_words())
        };
        Ok(self.judged(played, broken).await)
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &LocalCluster {
        &self.cluster
    }

    async fn strike(&self, step: &Step, processes: &Processes<'_>) -> Result<Option<Grip>> {
        let server = step.server;
        match step.drill {
            Drill::Kill => processes.kill(server)?,
            Drill::Wipe => {
                processes.kill(server)?;
                self.cluster.wipe(server)?;
            }
            Drill::Pause => drop(processes.signal(server, Signal::STOP)?),
            Drill::Cut(gate) => self.relays.set(server, gate),
            Drill::Takeover(name) => {
                processes.kill(server)?;
                processes.start(server, Hands::Intruder(name))?;
                let is_ready = || processes.is_ready(server).unwrap_or(false);
                wait_until(TAKE_PART_MAX, is_ready).await;
            }
            Drill::Flap => {}
            Drill::Wormhole(harm) => harm.begin(&self.cluster, server)?,
            Drill::Machine(trouble) => {
                let seed = milliseconds(step.hold);
                return Grip::take(trouble, &self.cluster, server, seed).map(Some);
            }
        }
        Ok(None)
    }

    /// Lets the trouble last; says what shows only then.
    async fn hold(&self, step: &Step) -> String {
        match step.drill {
            Drill::Flap => {
                let begun = Instant::now();
                let mut gates =
                    [Gate::OutOnly, Gate::Open, Gate::InOnly, Gate::Open].iter().cycle();
                while begun.elapsed() < step.hold {
                    self.relays.set(step.server, *gates.next().expect("they come again and again"));
                    tokio::time::sleep(FLAP).await;
                }
            }
            Drill::Machine(Trouble::Rollback) => {
                let passed = self.checkpoints(CHECKPOINTS_OLD).await;
                tokio::time::sleep(step.hold).await;
                return format!(", {passed} checkpoints old");
            }
            _ => tokio::time::sleep(step.hold).await,
        }
        String::new()
    }

    /// Waits until so many checkpoints more were due; says how many were.
    async fn checkpoints(&self, wanted: u64) -> u64 {
        let every = self.cluster.plan.plan.checkpoint_every.max(1);
        let begun = Instant::now();
        let (mut first, mut passed) = (None, 0);
        while passed < wanted && begun.elapsed() < CHECKPOINTS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(reports) = self.look().await else { continue };
            let Some(now) = reports.values().map(|report| report.commit.0 / every).max() else {
                continue;
            };
            passed = now - *first.get_or_insert(now);
        }
        passed
    }

    fn relent(
        &self,
        step: &Step,
        processes: &Processes<'_>,
        grip: Option<Grip>,
    ) -> Result<Vec<String>> {
        let server = step.server;
        if let Some(grip) = grip {
            return grip.release(&self.cluster);
        }
        match step.drill {
            Drill::Kill | Drill::Wipe => drop(processes.start(server, Hands::Own)?),
            Drill::Pause => drop(processes.signal(server, Signal::CONT)?),
            Drill::Cut(_) | Drill::Flap => self.relays.set(server, Gate::Open),
            Drill::Takeover(_) => {
                processes.kill(server)?;
                processes.start(server, Hands::Own)?;
            }
            Drill::Wormhole(harm) => return harm.end(&self.cluster, server),
            Drill::Machine(_) => {} // its grip was released
        }
        Ok(Vec::new())
    }

    /// Waits until the server serves, has caught up and is called correct; or until it is clear that
    /// this one never will.
    async fn come_back(&self, step: &Step, processes: &Processes<'_>) -> Return {
        let begun = Instant::now();
        let mut comeback = Comeback::new(processes, step.server);
        let mut last = "nobody answers".to_owned();
        let may_expose = step.drill.may_expose();
        // Others remember misbehaviour that they cannot prove, and are right to.
        let may_be_suspected =
            step.drill.excuses_suspicion() || self.once_owned.contains(&step.server);
        let most = BACK_MAX + step.hold;
        while begun.elapsed() < most {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(reports) = self.look().await else { continue };
            let told = self.words_about(step.server, &reports);
            let own = reports.get(&step.server).map_or("silent", |report| report.state.as_str());
            let is_over = comeback.is_over(&reports);
            if let Some(why) = told.spent() {
                let outcome = if may_expose { Outcome::Exposed } else { Outcome::Failed };
                return Return { outcome, took: None, why: Some(why), is_suspected: false };
            }
            let is_fine = told.correct || (may_be_suspected && told.suspected);
            if is_over && is_fine && own == "correct" {
                let (outcome, took) = (Outcome::Recovered, Some(begun.elapsed()));
                return Return { outcome, took, why: None, is_suspected: !told.correct };
            }
            last = format!("it says {own}; caught up: {is_over}; called correct: {is_fine}");
        }
        let why = format!("server {} is not back after {most:?}: {last}", step.server);
        Return { outcome: Outcome::Failed, took: None, why: Some(why), is_suspected: false }
    }

    async fn look(&self) -> Option<BTreeMap<ReplicaId, StatusReport>> {
        tokio::time::timeout(LOOK_MAX, self.monitor.status()).await.ok()?.ok()
    }

    /// What the others say about `server`.
    fn words_about(&self, server: ReplicaId, reports: &BTreeMap<ReplicaId, StatusReport>) -> Words {
        let others = reports.iter().filter(|(id, _)| **id != server);
        let members: Vec<_> =
            others.filter_map(|(_, report)| report.members.get(server.index())).collect();
        let count = |word: &str| members.iter().filter(|member| member.state == word).count();
        let kinds =
            members.iter().flat_map(|member| &member.evidence).map(|(kind, _)| kind.clone());
        Words {
            // With one that may lie among them, at least one correct server says so.
            proven: count("faulty") >= self.cluster.group.one_correct(),
            correct: count("correct") >= self.cluster.group.one_correct(),
            // Some may remember what others never saw.
            suspected: count("suspected") + count("correct") >= self.cluster.group.one_correct(),
            evidence: kinds.collect::<BTreeSet<_>>().into_iter().collect(),
        }
    }

    /// Complaints about servers that no intruder ever had, and servers that halted.
    async fn wrongly_accused(&self, step: &Step) -> Vec<String> {
        let Some(mut reports) = self.look().await else { return Vec::new() };
        reports.remove(&step.server);
        let halted = reports.iter().filter(|(_, report)| report.state == "fail_safe");
        let mut complaints: Vec<String> =
            halted.map(|(id, _)| format!("server {id} has halted")).collect();
        let innocent = self.cluster.group.members().filter(|id| !self.once_owned.contains(id));
        for id in innocent {
            if self.words_about(id, &reports).proven {
                complaints.push(format!("server {id} is called faulty, and never was"));
            }
        }
        complaints
    }

    fn lies_of(&self, server: ReplicaId) -> usize {
        self.clients.iter().map(|client| client.refused_of(server)).sum()
    }

    /// Lets the clients rest, judges what they saw, and completes `played`, of which `broken` is
    /// known already.
    async fn judged(&mut self, played: Played, mut broken: Vec<String>) -> Played {
        self.observer.rest().await;
        let Judgement { wrong, lost, observed } =
            judge(&self.observer, &self.monitor, &mut self.receipts).await;
        broken.extend(wrong.iter().cloned());
        if lost > 0 {
            broken.push(format!("{lost} acknowledged writes are lost"));
        }
        if observed.unanswered > 0 {
            broken.push(format!("{} questions went unanswered", observed.unanswered));
        }
        let slowest_us = observed.latencies.iter().map(|(_, took)| *took).max();
        let outcome = if broken.is_empty() { played.outcome } else { Outcome::Failed };
        Played {
            outcome,
            why: (!broken.is_empty()).then(|| broken.join("; ")),
            slowest_ms: slowest_us.unwrap_or(0) / 1000,
            operations: observed.history.answered_count(),
            unanswered: observed.unanswered,
            wrong: wrong.len(),
            lost,
            ..played
        }
    }
}

/// Whether a server's wormhole is the same after any stop.
fn keeps_its_instance(server: &LocalServer) -> bool {
    let store = server.config.wormhole.as_ref().and_then(|wormhole| wormhole.store.as_ref());
    store.is_some_and(|(_, keeping)| keeping.lease().keeps_each())
}

/// Starts all servers, which must serve without any administrator.
async fn start_unopened(cluster: &LocalCluster, processes: &Processes<'_>) -> Result<()> {
    for server in &cluster.servers {
        processes.start(server.id, Hands::Own)?;
    }
    for server in &cluster.servers {
        wait_ready(server, processes).await?;
    }
    Ok(())
}

/// What others say of one server.
struct Words {
    proven: bool,
    correct: bool,
    suspected: bool,
    evidence: Vec<String>,
}

impl Words {
    /// Why the server's key is spent, if it is.
    fn spent(&self) -> Option<String> {
        self.proven.then(|| format!("proof against it is out: {}", self.evidence.join(", ")))
    }
}
