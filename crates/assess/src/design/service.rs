//! Services: what is promised, by which hosts, under which assumption, and how they recover.

use serde::Serialize;

pub use crate::engines::Property;

use super::estimate::{Estimate, Hours, Money, PerHour, Probability};

/// What the hosts do together. `n` is the number of its hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// A name for people.
    pub name: String,
    /// Line in the model file, for messages; 0 if it does not stand in one.
    pub line: usize,
    /// Its servers, as positions in [`super::Design::hosts`].
    pub hosts: Vec<usize>,
    /// Intrusions tolerated.
    pub f: u16,
    /// What is assumed of an intruded server.
    pub fault_model: FaultModel,
    /// How it goes on under attack.
    pub strategy: Strategy,
    /// In which form each server holds what is confidential.
    pub state: State,
    /// What protects shares on a disk.
    pub at_rest: AtRest,
    /// What is promised, with the loss when the promise is broken.
    pub promises: Vec<(Property, Estimate<Money>)>,
    /// Time between two refreshes of the shares; `None`: never.
    pub share_epoch: Option<Estimate<Hours>>,
    /// Probability that an intruded server is found out before it is rejuvenated.
    pub detection: Estimate<Probability>,
    /// Time from the intrusion to its detection, if it is detected.
    pub latency: Estimate<Hours>,
    /// Time from detection until the server is clean again.
    pub recovery: Estimate<Hours>,
    /// How many servers are recovered at a time.
    pub repairers: Repairers,
    /// The schedule of rejuvenation; `None`: only detected intrusions end.
    pub rejuvenation: Option<Rejuvenation>,
    /// Outages without an intruder.
    pub outages: Option<Outages>,
    /// Times of the recoverable strategy.
    pub recoverable: Option<Recoverable>,
}

impl Service {
    /// Number of servers.
    #[must_use]
    pub fn n(&self) -> usize {
        self.hosts.len()
    }

    /// The loss when a promise is broken; `None` if it is not made.
    #[must_use]
    pub fn loss(&self, property: Property) -> Option<f64> {
        self.promises.iter().find(|(made, _)| *made == property).map(|(_, loss)| loss.value.0)
    }
}

/// What is assumed of an intruded server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultModel {
    /// Nothing: `n >= 3f+1`.
    Arbitrary,
    /// Nothing, not even about time: `n >= 3f+1`.
    Asynchronous,
    /// Its wormhole is intact: `n >= 2f+1`.
    Hybrid,
    /// It only stops: `n >= 2f+1`, and one intruder breaks integrity.
    Crash,
    /// There is one server, and nothing is tolerated: `n = 1`, `f = 0`.
    Single,
}

impl FaultModel {
    /// All fault models.
    pub const ALL: [Self; 5] =
        [Self::Arbitrary, Self::Asynchronous, Self::Hybrid, Self::Crash, Self::Single];

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arbitrary => "arbitrary",
            Self::Asynchronous => "asynchronous",
            Self::Hybrid => "hybrid",
            Self::Crash => "crash",
            Self::Single => "single",
        }
    }

    /// The fewest servers that tolerate `f` intrusions, with `k` of them rejuvenated at a time:
    /// `3f+2k+1`, or `2f+2k+1` with wormholes, so that no rejuvenation spends one of `f`.
    #[must_use]
    pub fn servers_min(self, f: u16, k: u16) -> usize {
        let (f, k) = (usize::from(f), usize::from(k));
        match self {
            Self::Arbitrary | Self::Asynchronous => 3 * f + 2 * k + 1,
            Self::Hybrid | Self::Crash => 2 * f + 2 * k + 1,
            Self::Single => 1,
        }
    }
}

/// How a service goes on under attack (section 5 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// State sealed, opened by a threshold, refreshed.
    Confidential,
    /// Masking only, no pause.
    NonStop,
    /// Changes servers, `f` or fault model when evidence asks for it.
    Reconfigurable,
    /// Falls and comes back.
    Recoverable,
    /// Stops rather than lies.
    FailSafe,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 5] = [
        Self::Confidential,
        Self::NonStop,
        Self::Reconfigurable,
        Self::Recoverable,
        Self::FailSafe,
    ];

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confidential => "confidential",
            Self::NonStop => "non-stop",
            Self::Reconfigurable => "reconfigurable",
            Self::Recoverable => "recoverable",
            Self::FailSafe => "fail-safe",
        }
    }
}

/// In which form each server holds what is confidential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Sealed under a key of which every server has a share: `f+1` shares open it.
    Sealed,
    /// In clear on every server: one intruder reads it.
    Clear,
}

/// What protects shares on a server's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRest {
    /// A file, overwritten at each refresh: logical erasure only.
    File,
    /// Encrypted under a key of the TPM that each refresh rewrites.
    Tpm,
    /// Encrypted under a key held in memory only: a restart needs operators.
    Unseal,
}

/// Who recovers detected servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Repairers {
    /// All at the same time.
    Parallel,
    /// One after another.
    Single,
}

/// Restarting servers in turn from a clean image.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejuvenation {
    /// Time between two rejuvenations of the same server.
    pub period: Estimate<Hours>,
    /// For how long a server is absent.
    pub downtime: Estimate<Hours>,
    /// Servers absent at a time.
    pub at_once: u16,
    /// What gives the clean server an identity that the intruder does not have.
    pub root: Root,
}

/// What gives a rejuvenated server its new identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// The plan's administrators sign it in.
    Administrators,
    /// A recovery key in the wormhole that the payload cannot use: a rejuvenation expels an intruder with the
    /// probability that the wormhole holds, the least among the servers.
    Wormhole,
    /// A recovery key in the TPM.
    Tpm,
    /// None: who copied the old identity keeps it. This is restart, not recovery, and counts for
    /// nothing here.
    None,
}

/// Outages that no intruder causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outages {
    /// How often one server has one.
    pub rate: Estimate<PerHour>,
    /// How long it lasts.
    pub duration: Estimate<Hours>,
}

/// Times of the recoverable strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Recoverable {
    /// From the beginning of an attack until the service falls: Tc.
    pub time_to_fall: Estimate<Hours>,
    /// From then until it is back: Tr.
    pub time_to_recover: Estimate<Hours>,
    /// How long an attack lasts: Ta.
    pub attack: Estimate<Hours>,
}
