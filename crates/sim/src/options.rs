//! What one run is made of: drawn from its seed, or read from a file under `regressions/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ravelin_model::limits::CHECKPOINT_EVERY_DEFAULT;
use ravelin_model::{FaultModel, ReplicaId};

use crate::intruder;

mod drawing;

/// Commits below which a run proves too little to be counted.
pub const COMMITS_MIN: u64 = 200;
/// What is demanded of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Faults without end; nothing wrong may ever happen.
    Safety,
    /// Faults within the budget, all healed at a time; everything asked must then be answered.
    Liveness,
}

/// One kind of trouble that befalls correct servers, clients and their network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Messages between servers are lost.
    Loss,
    /// They arrive twice.
    Duplication,
    /// They overtake each other by far.
    Reordering,
    /// Some links are much slower than others.
    SlowLinks,
    /// All links are slow, as around the world.
    Wan,
    /// One server does not hear another, which hears it.
    OneWayCut,
    /// The group falls into two parts.
    Partition,
    /// Whoever owns the network reads headers and holds leaders' blocks back from some.
    Adversary,
    /// Servers lose power and come back.
    Crash,
    /// All do at once, those of intruders too; where wormholes do not outlive that, administrators open
    /// the cluster again.
    Blackout,
    /// They stop between two actions of one input.
    CrashPoint,
    /// One server restarts again and again.
    RestartStorm,
    /// Servers stand still for a while.
    Pause,
    /// Syncs take long.
    SlowDisk,
    /// A crash keeps part of what was not synced.
    TornDisk,
    /// A server comes back without its log and state; counts against `f`.
    Wipe,
    /// A server is told to change its key, which begins an epoch.
    KeyChange,
    /// In `hybrid`, administrators end an epoch while a server is told to change its key, whether or not they
    /// have to, and are patient with whoever says nothing; at times all lose power in the midst of it.
    Reopening,
    /// Clocks differ.
    Skew,
    /// Clocks run at different speeds.
    Drift,
    /// Clocks jump ahead.
    ClockJump,
    /// Clients lose connections.
    Disconnect,
    /// Checking signatures takes long.
    SlowVerify,
    /// Who falls behind a little fetches the others' state, for they keep short logs.
    ShortLogs,
}

impl FaultClass {
    /// All classes.
    pub const ALL: [Self; 24] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::SlowLinks,
        Self::Wan,
        Self::OneWayCut,
        Self::Partition,
        Self::Adversary,
        Self::Crash,
        Self::Blackout,
        Self::CrashPoint,
        Self::RestartStorm,
        Self::Pause,
        Self::SlowDisk,
        Self::TornDisk,
        Self::Wipe,
        Self::KeyChange,
        Self::Reopening,
        Self::Skew,
        Self::Drift,
        Self::ClockJump,
        Self::Disconnect,
        Self::SlowVerify,
        Self::ShortLogs,
    ];

    /// The class's name in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplication => "duplication",
            Self::Reordering => "reordering",
            Self::SlowLinks => "slow-links",
            Self::Wan => "wan",
            Self::OneWayCut => "one-way-cut",
            Self::Partition => "partition",
            Self::Adversary => "adversary",
            Self::Crash => "crash",
            Self::Blackout => "blackout",
            Self::CrashPoint => "crash-point",
            Self::RestartStorm => "restart-storm",
            Self::Pause => "pause",
            Self::SlowDisk => "slow-disk",
            Self::TornDisk => "torn-disk",
            Self::Wipe => "wipe",
            Self::KeyChange => "key-change",
            Self::Reopening => "reopening",
            Self::Skew => "skew",
            Self::Drift => "drift",
            Self::ClockJump => "clock-jump",
            Self::Disconnect => "disconnect",
            Self::SlowVerify => "slow-verify",
            Self::ShortLogs => "short-logs",
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether it is the network's fault: what intruders are paired with in the counts.
    #[must_use]
    pub fn is_of_network(self) -> bool {
        self <= Self::Adversary
    }
}

/// How messages travel between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// As values already verified, for speed; what intruders make travels as bytes all the same.
    Verified,
    /// As bytes, decoded and verified on arrival.
    Bytes,
}

/// How messages are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// By keyed hashes that only the simulation can check.
    Simulated,
    /// By Ed25519, as in the product.
    Ed25519,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// All chance comes from it.
    pub seed: u64,
    /// What is demanded.
    pub mode: Mode,
    /// Servers.
    pub n: u16,
    /// Intrusions to tolerate.
    pub f: u16,
    /// What is assumed of intruded servers.
    pub model: FaultModel,
    /// In `hybrid`: whether wormholes outlive their servers' crashes, because no host can bring back an old
    /// state of them. Otherwise each start is a new instance, let in by an epoch.
    pub are_rollback_proof: bool,
    /// In `hybrid`: whose wormhole attests whatever it is asked to. One is enough to break all promises.
    pub broken_wormhole: Option<ReplicaId>,
    /// Leader slots of a round.
    pub leaders: u16,
    /// Clients.
    pub clients: u16,
    /// Kinds of trouble.
    pub classes: BTreeSet<FaultClass>,
    /// Who is intruded by whom.
    pub intruders: BTreeMap<ReplicaId, Vec<&'static str>>,
    /// Who loses its disk, if anyone does.
    pub wiped: Option<ReplicaId>,
    /// In `hybrid`, where crashes end instances of wormholes: who alone crashes, if anyone does. It is one
    /// of the `f`, for until an epoch lets its new instance in it has no voice.
    pub restarting: Option<ReplicaId>,
    /// How messages travel.
    pub travel: Travel,
    /// How they are signed.
    pub signatures: Signatures,
    /// Commits that the run is to reach.
    pub commits: u64,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
    /// Rounds behind at which a replica fetches the others' state.
    pub transfer_lag: u64,
}

/// What is settled before a seed is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// Servers and intrusions tolerated, instead of drawn ones.
    pub group: Option<(u16, u16)>,
    /// What is assumed of intruded servers; `arbitrary` unless said.
    pub model: Option<FaultModel>,
    /// In `hybrid`, whether wormholes outlive crashes, instead of drawn.
    pub are_rollback_proof: Option<bool>,
    /// The only intruder, on one server.
    pub intruder: Option<&'static str>,
}

impl Options {
    /// A run without any trouble, to which some is added by hand.
    #[must_use]
    pub fn calm(seed: u64, mode: Mode, (n, f): (u16, u16)) -> Self {
        Self {
            seed,
            mode,
            n,
            f,
            model: FaultModel::Arbitrary,
            are_rollback_proof: false,
            broken_wormhole: None,
            leaders: ravelin_model::limits::LEADERS_PER_ROUND_DEFAULT,
            clients: 2,
            classes: BTreeSet::new(),
            intruders: BTreeMap::new(),
            wiped: None,
            restarting: None,
            travel: Travel::Verified,
            signatures: Signatures::Simulated,
            commits: COMMITS_MIN,
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
            transfer_lag: u64::MAX,
        }
    }

    /// The same with one more kind of trouble.
    #[must_use]
    pub fn with(mut self, class: FaultClass) -> Self {
        self.classes.insert(class);
        self
    }

    /// The same with `who` intruded by those of these names, joined by `+`.
    ///
    /// # Panics
    /// If a name is unknown.
    #[must_use]
    pub fn intruded(mut self, who: u16, names: &str) -> Self {
        self.set("intruder", &format!("{who} {names}")).expect("the names are known");
        self
    }

    /// Whether this kind of trouble is on.
    #[must_use]
    pub fn has(&self, class: FaultClass) -> bool {
        self.classes.contains(&class)
    }

    /// Reads what [`Options`]' `Display` wrote.
    ///
    /// # Errors
    /// [`OptionsError`] names the line; correct it.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::calm(0, Mode::Safety, (4, 1));
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || OptionsError { line: line.into() };
            let (key, value) = line.split_once('=').ok_or_else(bad)?;
            options.set(key.trim(), value.trim()).ok_or_else(bad)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match (key, value) {
            ("seed", _) => self.seed = value.parse().ok()?,
            ("mode", "safety") => self.mode = Mode::Safety,
            ("mode", "liveness") => self.mode = Mode::Liveness,
            ("n", _) => self.n = value.parse().ok()?,
            ("f", _) => self.f = value.parse().ok()?,
            ("model", _) => {
                let mut all = [FaultModel::Arbitrary, FaultModel::Hybrid].into_iter();
                self.model = all.find(|model| model.name() == value)?;
            }
            ("rollback-proof", _) => self.are_rollback_proof = value.parse().ok()?,
            ("broken-wormhole", _) => {
                self.broken_wormhole = Some(ReplicaId(value.parse().ok()?));
            }
            ("leaders", _) => self.leaders = value.parse().ok()?,
            ("clients", _) => self.clients = value.parse().ok()?,
            ("commits", _) => self.commits = value.parse().ok()?,
            ("checkpoint-every", _) => self.checkpoint_every = value.parse().ok()?,
            ("transfer-lag", _) => self.transfer_lag = value.parse().ok()?,
            ("travel", "bytes") => self.travel = Travel::Bytes,
            ("travel", "verified") => self.travel = Travel::Verified,
            ("signatures", "ed25519") => self.signatures = Signatures::Ed25519,
            ("signatures", "simulated") => self.signatures = Signatures::Simulated,
            ("wiped", _) => self.wiped = Some(ReplicaId(value.parse().ok()?)),
            ("restarting", _) => self.restarting = Some(ReplicaId(value.parse().ok()?)),
            ("fault", _) => {
                self.classes.insert(FaultClass::by_name(value)?);
            }
            ("intruder", _) => {
                let (who, names) = value.split_once(' ')?;
                let known = |name: &str| {
                    intruder::all().iter().find(|known| known.name == name).map(|known| known.name)
                };
                let names = names.split('+').map(known).collect::<Option<_>>()?;
                self.intruders.insert(ReplicaId(who.parse().ok()?), names);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Trouble that ends an instance of a wormhole which is not rollback-proof: with more than `n - q` servers
/// without one the cluster stops.
pub(crate) const ENDS_INSTANCES: [FaultClass; 3] =
    [FaultClass::Crash, FaultClass::CrashPoint, FaultClass::RestartStorm];
impl fmt::Display for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed = {}", self.seed)?;
        writeln!(out, "mode = {}", self.mode.name())?;
        writeln!(out, "n = {}\nf = {}\nleaders = {}", self.n, self.f, self.leaders)?;
        if self.model == FaultModel::Hybrid {
            writeln!(out, "model = {}", self.model.name())?;
            writeln!(out, "rollback-proof = {}", self.are_rollback_proof)?;
        }
        if let Some(broken) = self.broken_wormhole {
            writeln!(out, "broken-wormhole = {broken}")?;
        }
        writeln!(out, "clients = {}", self.clients)?;
        writeln!(out, "commits = {}", self.commits)?;
        writeln!(out, "checkpoint-every = {}", self.checkpoint_every)?;
        writeln!(out, "transfer-lag = {}", self.transfer_lag)?;
        let travel = if self.travel == Travel::Bytes { "bytes" } else { "verified" };
        let is_real = self.signatures == Signatures::Ed25519;
        writeln!(out, "travel = {travel}")?;
        writeln!(out, "signatures = {}", if is_real { "ed25519" } else { "simulated" })?;
        for class in &self.classes {
            writeln!(out, "fault = {}", class.name())?;
        }
        if let Some(wiped) = self.wiped {
            writeln!(out, "wiped = {wiped}")?;
        }
        if let Some(restarting) = self.restarting {
            writeln!(out, "restarting = {restarting}")?;
        }
        for (who, names) in &self.intruders {
            writeln!(out, "intruder = {who} {}", names.join("+"))?;
        }
        Ok(())
    }
}

impl Mode {
    /// The mode's name in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
        }
    }
}

/// A line of a run's file that says nothing known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError {
    /// The line.
    pub line: String,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` says nothing about a run", self.line)
    }
}

impl std::error::Error for OptionsError {}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [FaultModel; 2] = [FaultModel::Arbitrary, FaultModel::Hybrid];

    #[test]
    fn what_is_written_is_read_back() {
        for seed in 0..200 {
            let mode = if seed % 2 == 0 { Mode::Safety } else { Mode::Liveness };
            let options = Options::draw(seed, mode, Settings::default());
            assert_eq!(Options::parse(&options.to_string()), Ok(options), "seed {seed}");
        }
    }

    #[test]
    fn a_hybrid_run_is_read_back() {
        let settings = Settings { model: Some(FaultModel::Hybrid), ..Settings::default() };
        for seed in 0..200 {
            let drawn = Options::draw(seed, Mode::Liveness, settings);
            let options = Options { broken_wormhole: Some(ReplicaId(1)), ..drawn };
            assert_eq!(Options::parse(&options.to_string()), Ok(options), "seed {seed}");
        }
    }

    #[test]
    fn at_most_f_are_at_fault() {
        for (seed, model) in (0..500).flat_map(|seed| MODELS.map(|model| (seed, model))) {
            let settings = Settings { model: Some(model), ..Settings::default() };
            let options = Options::draw(seed, Mode::Liveness, settings);
            let troubled = BTreeSet::from([options.wiped, options.restarting]);
            let troubled = troubled.iter().flatten().count();
            assert!(options.intruders.len() + troubled <= usize::from(options.f), "seed {seed}");
            let crashes = ENDS_INSTANCES.iter().any(|class| options.has(*class));
            let is_volatile = model == FaultModel::Hybrid && !options.are_rollback_proof;
            assert_eq!(options.restarting.is_some(), is_volatile && crashes, "seed {seed}");
        }
    }

    #[test]
    fn every_class_and_every_intruder_is_drawn() {
        for model in MODELS {
            let settings = Settings { model: Some(model), ..Settings::default() };
            let draw = |seed| Options::draw(seed, Mode::Safety, settings);
            let runs: Vec<Options> = (0..2000).map(draw).collect();
            let is_for =
                |class: &FaultClass| model == FaultModel::Hybrid || *class != FaultClass::Reopening;
            for class in FaultClass::ALL.into_iter().filter(is_for) {
                assert!(runs.iter().any(|run| run.has(class)), "{}", class.name());
            }
            for known in intruder::all() {
                let is_drawn =
                    |run: &Options| run.intruders.values().flatten().any(|n| *n == known.name);
                // It has nothing to do where `2f` others go on without it.
                let is_busy = model == FaultModel::Hybrid || known.name != "falls-silent";
                let is_wanted = known.acts_in(model) && is_busy;
                assert_eq!(runs.iter().any(is_drawn), is_wanted, "{}", known.name);
            }
        }
    }

    #[test]
    fn a_line_that_says_nothing_is_named() {
        let error = Options::parse("seed = 3\nfault = boredom").unwrap_err();
        assert_eq!(error.line, "fault = boredom");
    }
}
