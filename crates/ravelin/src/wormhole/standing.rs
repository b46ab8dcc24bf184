//! How a wormhole stands: what a server tells its host of it, and `ravelin wormhole` shows.
//!
//! **Guarantee:** looking takes nothing from the server's own calls, for it goes over another connection,
//! and happens once a second at most, however many ask.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use ravelin_runtime::wormhole::{Monitor, View};
use ravelin_wormhole::attestation::{Counter, RollbackProof, Statement};
use ravelin_wormhole::core::{Engine, Lock};
use ravelin_wormhole::frame::{Mode, Nanos};
use ravelin_wormhole::sandbox::{Attacker, Protection, Protections, Restart, Verdict};
use serde::{Deserialize, Serialize};

use crate::files::hex;

/// For how long what was seen is told again.
const FRESH: Duration = Duration::from_secs(1);

/// The verdict on an attacker who gets what the wormhole keeps.
pub(crate) const NOT_WITHSTOOD: &str = "not withstood";

/// What this program writes, or what another one wrote.
type Words = Cow<'static, str>;

/// The wormhole of a running server, for whoever may look.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Watched>);

struct Watched {
    restart: Restart,
    seen: Mutex<Seen>,
}

struct Seen {
    monitor: Monitor,
    /// What was seen last; `None`: it did not answer.
    last: Option<(Instant, Option<Standing>)>,
}

impl Watch {
    pub(super) fn new(monitor: Monitor, restart: Restart) -> Self {
        Self(Arc::new(Watched { restart, seen: Mutex::new(Seen { monitor, last: None }) }))
    }

    /// How it stands now. Blocks: for some 25 ms, or until it is plain that it does not answer.
    pub(crate) fn look(&self) -> Result<Standing, Silence> {
        let mut seen = match self.0.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(seen)) => seen.into_inner(),
            // Whoever asks often must not fill the runtime with waiting threads.
            Err(TryLockError::WouldBlock) => return Err(Silence::Asked),
        };
        if let Some((when, last)) = &seen.last
            && when.elapsed() < FRESH
        {
            return last.clone().ok_or(Silence::Late);
        }
        let view = seen.monitor.look().ok();
        let standing = view.map(|view| Standing::new(&view, self.0.restart));
        seen.last = Some((Instant::now(), standing.clone()));
        standing.ok_or(Silence::Late)
    }
}

/// Why nothing is known of a wormhole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Silence {
    /// It does not answer, or not in time.
    Late,
    /// Another look is under way.
    Asked,
}

impl Silence {
    /// In words.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Late => "the wormhole does not answer",
            Self::Asked => "the wormhole is being asked already, and has not answered yet",
        }
    }
}

/// How a wormhole stands. A stable shape: scripts rely on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// `local` or `distributed`.
    pub(crate) mode: Words,
    /// How it agrees with others; `None`: an earlier release says nothing of it.
    #[serde(default)]
    pub(crate) agreement: Option<Agreement>,
    /// The instance that answers: its key.
    pub(crate) instance: String,
    /// Whether the instance may outlive its process.
    pub(crate) rollback_proof: bool,
    /// What a stop does to it.
    pub(crate) restart: Words,
    /// Whether it attests.
    pub(crate) attests: bool,
    /// What its counters were bound to last.
    pub(crate) counters: Vec<Bound>,
    /// What time it is to it.
    pub(crate) clock: Clock,
    /// From a question to the answer.
    pub(crate) answer_us: f64,
    /// How late it woke; `None` if it had no room to be tried.
    pub(crate) wakeup: Option<Wakeup>,
    /// Calls since its start.
    pub(crate) calls: u64,
    /// Those that it refused.
    pub(crate) refused: u64,
    /// What closes its process.
    pub(crate) protections: Vec<InForce>,
    /// Whom it withstands.
    pub(crate) attackers: Vec<Against>,
}

/// How a wormhole agrees with others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// `quorum`, `real_time` or `none`.
    pub(crate) engine: Words,
    /// The bound of real time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) bound_us: Option<f64>,
    /// Why it is that, and no other.
    pub(crate) because: Words,
}

/// A counter's last value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) counter: Words,
    pub(crate) epoch: u64,
    pub(crate) old: u64,
    pub(crate) value: u64,
    pub(crate) digest: String,
}

/// An interval that contains now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub(crate) earliest_ns: u64,
    pub(crate) latest_ns: u64,
    /// Whether it is the wormholes' common time.
    pub(crate) synchronised: bool,
}

/// Delays of planned actions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wakeup {
    pub(crate) samples: usize,
    pub(crate) p50_us: f64,
    pub(crate) longest_us: f64,
}

/// A protection, and whether it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InForce {
    pub(crate) name: Words,
    pub(crate) in_force: bool,
    pub(crate) stops: Words,
}

/// What an attacker comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Against {
    pub(crate) attacker: Words,
    pub(crate) verdict: Words,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<Words>,
}

impl Standing {
    fn new(view: &View, restart: Restart) -> Self {
        let status = &view.status;
        let protections = Protections::from_bits(status.protections);
        Self {
            mode: match status.mode {
                Mode::Local => "local".into(),
                Mode::Distributed(_) => "distributed".into(),
            },
            agreement: Some(Agreement::new(status.mode)),
            instance: hex::encode(&view.certificate.identity.instance.0),
            rollback_proof: status.rollback_proof == RollbackProof::Present,
            restart: in_words(restart).into(),
            attests: status.lock == Lock::Open,
            counters: view.counters.iter().map(Bound::new).collect(),
            clock: Clock {
                earliest_ns: view.clock.earliest.0,
                latest_ns: view.clock.latest.0,
                synchronised: view.clock.synchronised,
            },
            answer_us: micros(view.answered_in),
            wakeup: Wakeup::new(&view.woken_late),
            calls: status.calls.iter().sum(),
            refused: status.refused,
            protections: in_force(protections),
            attackers: against(protections, restart),
        }
    }

    /// The width of the clock's interval, in microseconds.
    pub(crate) fn clock_width_us(&self) -> f64 {
        let width = Nanos(self.clock.latest_ns).since(Nanos(self.clock.earliest_ns));
        micros(Duration::from_nanos(width.0))
    }
}

fn in_words(restart: Restart) -> &'static str {
    match restart {
        Restart::NewInstance => "every start is a new instance",
        Restart::CleanStop => "a clean stop resumes, a crash closes the instance",
        Restart::Exact => "any stop resumes",
    }
}

/// The protections, and which of them are there.
pub(crate) fn in_force(protections: Protections) -> Vec<InForce> {
    let one = |one: Protection| InForce {
        name: one.name().into(),
        in_force: protections.has(one),
        stops: one.stops().into(),
    };
    Protection::ALL.into_iter().map(one).collect()
}

/// What each attacker comes to.
pub(crate) fn against(protections: Protections, restart: Restart) -> Vec<Against> {
    let one = |attacker: Attacker| {
        let (verdict, because) = match protections.against(attacker, restart) {
            Verdict::Withstood => ("withstood", None),
            Verdict::Partly(what) => ("partly", Some(what)),
            Verdict::Lost(how) => (NOT_WITHSTOOD, Some(how)),
        };
        Against {
            attacker: attacker.name().into(),
            verdict: verdict.into(),
            because: because.map(Words::from),
        }
    };
    Attacker::ALL.into_iter().map(one).collect()
}

impl Agreement {
    fn new(mode: Mode) -> Self {
        let (engine, bound, because) = match mode {
            Mode::Local => ("none", None, "it has no control channel to other wormholes"),
            Mode::Distributed(Engine::Quorum) => {
                ("quorum", None, "no bound of real time was asked for at its start")
            }
            // One whose host wakes it later refuses to serve, and answers nobody.
            Mode::Distributed(Engine::RealTime { bound }) => {
                ("real_time", Some(bound), "its host kept the bound when it started")
            }
        };
        let bound_us = bound.map(|bound| micros(Duration::from_nanos(bound.0)));
        Self { engine: engine.into(), bound_us, because: because.into() }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.engine.as_ref(), self.bound_us) {
            ("real_time", Some(bound)) => write!(f, "in real time, with a bound of {bound:.1} us")?,
            ("quorum", _) => write!(f, "by a majority of the wormholes")?,
            (engine, _) => write!(f, "{engine}")?,
        }
        write!(f, ": {}", self.because)
    }
}

impl Bound {
    fn new(stated: &Statement) -> Self {
        let counter = match stated.counter {
            Counter::Ordering => "ordering",
            Counter::Checkpoint => "checkpoint",
            Counter::Recovery => "recovery",
            Counter::Spare => "spare",
        };
        Self {
            counter: counter.into(),
            epoch: stated.epoch.0,
            old: stated.old.0,
            value: stated.new.0,
            digest: hex::encode(&stated.digest.0),
        }
    }
}

impl Wakeup {
    /// Of delays in ascending order.
    fn new(late: &[Duration]) -> Option<Self> {
        let longest = late.last()?;
        let half = late.get(late.len() / 2)?;
        Some(Self { samples: late.len(), p50_us: micros(*half), longest_us: micros(*longest) })
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
