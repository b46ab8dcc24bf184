//! One server's machine: process, disk, clock, connections, and what waits for a sync.

use std::collections::{BTreeMap, VecDeque};

use ravelin_model::reading::Readings;
use ravelin_model::{
    BlockHeader, CommitIndex, Epoch, InstanceCertificate, LogPart, LogRecord, Place, ReplicaId,
    Round, Signature, Time,
};
use ravelin_multicast::parking::{PARKED_BLOCKS_MAX, PARKED_BYTES_MAX};
use ravelin_replication::{ConnectionId, Replica, Setup, Status};
use ravelin_services::Services;

use crate::checker::Violation;
use crate::checker::order::Progress;
use crate::clock::Clock;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::intruder::{self, Deed, Intruded, Means, Server, Window};
use crate::network::Micros;
use crate::options::Options;
use crate::watched::{Watched, Witness};
use crate::world::World;
use crate::wormhole::Shared;

/// Records in one page of a log: few beside what a run writes, so that runs meet with pages that end
/// too early.
const PAGE_RECORDS: usize = 64;

/// Blocks that a replica's DAG may hold, in multiples of what a horizon of rounds holds.
const DAG_FACTOR: usize = 6;
/// Keys for blocks that a server has: so many epochs of its own it can begin.
const KEYS_MAX: u16 = 8;
/// Intruders whose time comes by itself, or need not come within a window.
const ALWAYS_INTRUDED: [&str; 8] = [
    "deserter",
    "falls-silent",
    "false-closings",
    "false-state",
    "late-heaps",
    "old-orders",
    "twin",
    "whisperer",
];
/// Turns in a row after which a deadline that stays in the past is a fault of the replica.
const SPINS_MAX: u32 = 50;

/// A server's machine.
pub(crate) struct Host {
    pub(crate) id: ReplicaId,
    /// The process; none while it is down.
    pub(crate) server: Option<Server>,
    /// The epoch in which it last said something.
    pub(crate) epoch: Epoch,
    /// How often it was started: what concerns an earlier life is void.
    pub(crate) life: u64,
    pub(crate) disk: Disk,
    /// Its wormhole, in `hybrid`.
    wormhole: Option<Shared>,
    /// How many of them there were before.
    wormholes_before: u64,
    pub(crate) clock: Clock,
    pub(crate) connections: BTreeMap<ConnectionId, u16>,
    /// When its timer rings.
    pub(crate) timer: Option<Micros>,
    /// Records of its log below this place may be gone.
    pub(crate) pruned: Place,
    /// How far the others have read its log; the index of a record is its position.
    pub(crate) readings: Readings<usize>,
    /// Until when it stands still.
    pub(crate) paused_until: Micros,
    /// Whether its disk was lost.
    pub(crate) is_wiped: bool,
    /// Whether it may misbehave, or lost its promises with its disk.
    pub(crate) is_faulty: bool,
    /// What shows once so many records are durable.
    held: VecDeque<(usize, Deed)>,
    /// What was executed, and what must be durable before anyone can hear of it.
    unheard: VecDeque<(usize, Executed)>,
    witness: Witness,
    shown: CommitIndex,
    spins: u32,
    /// Inputs under way, one within the other.
    inputs: u32,
    /// Records that must be durable before anything of them shows, if that is more than each needs.
    urgent: Option<usize>,
}

/// What a replica executed at one input.
pub(crate) struct Executed {
    pub(crate) operations: Vec<crate::watched::Execution>,
    /// Where it stood then, if that was news.
    pub(crate) progress: Option<Progress>,
    /// The most that a correct clock showed.
    pub(crate) latest: Time,
}

/// The most that any correct replica ever held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maxima {
    /// Blocks in the DAG.
    pub dag_blocks: usize,
    /// Their bytes.
    pub dag_bytes: usize,
    /// Blocks that waited for parents.
    pub parked_blocks: usize,
    /// Envelopes that waited for a block.
    pub waiting_envelopes: usize,
}

impl Host {
    pub(crate) fn new(options: &Options, id: ReplicaId) -> Self {
        Self {
            id,
            server: None,
            epoch: Epoch::FIRST,
            life: 0,
            disk: Disk::default(),
            wormhole: None,
            wormholes_before: 0,
            clock: Clock::new(options, &format!("server {id}")),
            connections: BTreeMap::new(),
            timer: None,
            pruned: Place { epoch: Epoch::FIRST, round: Round(0) },
            readings: Readings::default(),
            paused_until: 0,
            is_wiped: false,
            is_faulty: options.intruders.contains_key(&id) || options.wiped == Some(id),
            held: VecDeque::new(),
            unheard: VecDeque::new(),
            witness: Witness::default(),
            shown: CommitIndex(0),
            spins: 0,
            inputs: 0,
            urgent: None,
        }
    }

    /// Builds the replica from what the disk holds; [`Server::resume`] follows.
    pub(crate) fn start(&mut self, options: &Options, world: &World) {
        self.life += 1;
        self.readings = Readings::default();
        self.witness.take();
        if self.wormhole.is_none() {
            self.wormhole = world.wormhole(self.id, self.wormholes_before, options);
            self.wormholes_before += 1;
        }
        let services = Services::new(world.keyring.scheme().clone());
        let setup = Setup {
            plan: world.plan.clone(),
            keyring: world.keyring.clone(),
            keys: (0..KEYS_MAX).map(|turn| world.block_key(self.id, turn)).collect(),
            identity: world.identity_key(self.id),
            wormhole: self.wormhole.as_ref().map(Shared::as_own),
            own: self.id,
            application: Box::new(Watched { services, witness: self.witness.clone() }),
            backend: Box::new(self.disk.backend()),
            nonce: self.life << 16 | u64::from(self.id.0),
            transfer_lag: options.transfer_lag,
        };
        let replica = Replica::new(setup, self.disk.records().iter().cloned());
        self.epoch = replica.keyring().epoch();
        self.server = Some(match options.intruders.get(&self.id) {
            None => Server::Correct(Box::new(replica)),
            Some(names) => {
                let seat = (self.id, replica, self.wormhole.as_ref());
                let intruded = intruded(options, world, seat, names);
                Server::Intruded(Box::new(intruded))
            }
        });
    }

    /// What answers `to`, who asks for `part` of the log: of a replay the next page, of a chain the
    /// newest blocks, as real servers do.
    pub(crate) fn page(&mut self, to: ReplicaId, part: LogPart, are_short: bool) -> Vec<LogRecord> {
        let pruned = self.pruned;
        let is_kept = |place| !are_short || place >= pruned;
        let holds =
            |record: &&LogRecord| is_kept(record.place) && part.holds(record.place, &record.bytes);
        let LogPart::From(from) = part else {
            let mut chain: Vec<&LogRecord> = self.disk.records().iter().filter(holds).collect();
            chain.sort_by_key(|record| std::cmp::Reverse(record.place));
            return chain.into_iter().take(PAGE_RECORDS).cloned().collect();
        };
        let begin = self.readings.resume(to, from).unwrap_or_default();
        let rest = self.disk.records().iter().enumerate().skip(begin);
        let mut rest = rest.filter(|(_, record)| holds(record)).peekable();
        let page: Vec<_> = rest.by_ref().take(PAGE_RECORDS).map(|(_, it)| it.clone()).collect();
        let next = rest.peek().map(|(index, _)| *index);
        self.readings.shown(to, from, page.iter().map(|record| record.place), next);
        page
    }

    /// Has its wormhole attest a block; `None`: it refuses, for good.
    pub(crate) fn attest(&self, header: &BlockHeader) -> Option<Signature> {
        self.wormhole.as_ref()?.attest(header).ok()
    }

    /// Power goes.
    pub(crate) fn crash(&mut self, options: &Options, dice: &mut Dice, is_torn: bool) {
        self.server = None;
        if !options.are_rollback_proof {
            self.wormhole = None;
        }
        self.life += 1;
        self.disk.crash(dice, is_torn);
        self.held.clear();
        self.unheard.clear();
        self.timer = None;
        self.paused_until = 0;
        self.spins = 0;
        (self.inputs, self.urgent) = (0, None);
    }

    /// Whether `deed` may show now; otherwise it is held until what was appended before is durable. What
    /// comes of an urgent input is held until its end.
    pub(crate) fn admit(&mut self, deed: Deed) -> Option<Deed> {
        let needed = self.urgent.unwrap_or_else(|| self.disk.appended());
        if self.held.is_empty() && self.urgent.is_none() && needed <= self.disk.durable() {
            return Some(deed);
        }
        self.held.push_back((needed, deed));
        None
    }

    /// An input begins that brings so many records. Urgent: nothing that comes of it shows before the
    /// state is durable.
    pub(crate) fn begin_input(&mut self, records: usize) {
        self.inputs += 1;
        if self.server.as_mut().is_some_and(Server::take_urgent) {
            self.urgent = self.urgent.max(Some(self.disk.appended() + records));
        }
    }

    /// All is done that an input brought, unless another one came within.
    pub(crate) fn end_input(&mut self) {
        self.inputs = self.inputs.saturating_sub(1);
        if self.inputs == 0 {
            let is_urgent = self.urgent.take().is_some();
            self.disk.end_input(is_urgent);
        }
    }

    /// The next deed that may show now.
    pub(crate) fn release(&mut self) -> Option<Deed> {
        let durable = self.disk.durable();
        let is_due = self.held.front().is_some_and(|(needed, _)| *needed <= durable);
        if is_due { self.held.pop_front().map(|(_, deed)| deed) } else { None }
    }

    /// Takes note of what was executed since the last call; `latest`: the most that a correct clock shows.
    pub(crate) fn note_executed(&mut self, latest: Time) {
        let (operations, progress) = (self.witness.take(), self.take_progress());
        if !operations.is_empty() || progress.is_some() {
            let executed = Executed { operations, progress, latest };
            self.unheard.push_back((self.disk.appended(), executed));
        }
    }

    /// The next thing executed of which others may hear now. What rests on records that are not durable is
    /// void with them: in `hybrid` an intruder need not give again what it said.
    pub(crate) fn take_executed(&mut self) -> Option<Executed> {
        let durable = self.disk.durable();
        let is_due = self.unheard.front().is_some_and(|(needed, _)| *needed <= durable);
        if is_due { self.unheard.pop_front().map(|(_, executed)| executed) } else { None }
    }

    /// Where the replica stands, if that is news.
    fn take_progress(&mut self) -> Option<Progress> {
        let replica = self.server.as_ref()?.replica();
        let state = replica.execution().state();
        if state.commit() == self.shown {
            return None;
        }
        self.shown = state.commit();
        let ordering = replica.ordering().delivery().state();
        // Before the log has been read again, ordering may stand behind the state; and a new epoch has
        // an order of its own.
        let is_told = ordering.commit == state.commit() && ordering.leader_round > Round(0);
        is_told.then(|| Progress {
            commit: state.commit(),
            chain: ordering.chain,
            root: state.root(),
            position: replica.execution().position(),
            time: ordering.time,
        })
    }

    /// Whether it is up and makes blocks.
    pub(crate) fn takes_part(&self) -> bool {
        let replica = self.server.as_ref().map(Server::replica);
        replica.is_some_and(|replica| *replica.status() == Status::Active)
    }

    /// Whether the plan in force names its keys, and the instance of its wormhole.
    pub(crate) fn is_open(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.replica().speaks())
    }

    /// The instance of its wormhole.
    pub(crate) fn certificate(&self) -> Option<InstanceCertificate> {
        self.wormhole.as_ref().map(|wormhole| wormhole.as_own().certificate)
    }

    /// The last commit executed.
    pub(crate) fn commit(&self) -> CommitIndex {
        let replica = self.server.as_ref().map(Server::replica);
        replica.map_or(CommitIndex(0), |replica| replica.execution().state().commit())
    }

    /// Notes that the timer rang and whether the replica's deadline has moved on since.
    pub(crate) fn note_turn(&mut self, now: Micros) -> Result<(), Violation> {
        let shown = self.clock.show(now);
        let deadline = self.server.as_ref().and_then(Server::next_deadline);
        self.spins = if deadline.is_some_and(|at| at <= shown) { self.spins + 1 } else { 0 };
        if self.spins <= SPINS_MAX {
            return Ok(());
        }
        let what = format!("replica {} wants to be woken at {deadline:?} at {shown:?}", self.id);
        Err(Violation::new("spinning", what))
    }

    /// Compares what the replica holds with what it may hold.
    pub(crate) fn note_memory(&self, maxima: &mut Maxima) -> Result<(), Violation> {
        let Some(server) = &self.server else { return Ok(()) };
        let ordering = server.replica().ordering();
        let (dag, parking) = (ordering.dag(), ordering.parking());
        maxima.dag_blocks = maxima.dag_blocks.max(dag.len());
        maxima.dag_bytes = maxima.dag_bytes.max(dag.bytes());
        maxima.parked_blocks = maxima.parked_blocks.max(parking.len());
        maxima.waiting_envelopes = maxima.waiting_envelopes.max(ordering.payload().len());
        let n = dag.group().size();
        let horizon = usize::try_from(ravelin_model::limits::GC_DEPTH).unwrap_or(usize::MAX);
        let most_of_one = if parking.len() > PARKED_BLOCKS_MAX {
            let members = dag.group().members();
            members.map(|member| parking.of(member).count()).max().unwrap_or(0)
        } else {
            0
        };
        let bounds = [
            ("blocks of one author parked", most_of_one, PARKED_BLOCKS_MAX),
            ("blocks in the DAG", dag.len(), DAG_FACTOR * n * horizon),
            ("blocks parked", parking.len(), n * PARKED_BLOCKS_MAX),
            ("bytes parked", parking.bytes(), n * PARKED_BYTES_MAX),
        ];
        match bounds.into_iter().find(|(_, held, most)| held > most) {
            Some((of_what, held, most)) => {
                let what = format!("replica {} holds {held} {of_what}, {most} allowed", self.id);
                Err(Violation::new("memory", what))
            }
            None => Ok(()),
        }
    }
}

fn intruded(
    options: &Options,
    world: &World,
    (own, replica, wormhole): (ReplicaId, Replica, Option<&Shared>),
    names: &[&'static str],
) -> Intruded {
    let ring = Dice::new(options.seed, "ring").draw();
    let mut dice = Dice::new(options.seed ^ u64::from(own.0), "takeover");
    let from = if dice.once_in(3) { 0 } else { dice.between(1, 60) };
    let until = if dice.once_in(4) { from + dice.between(12, 150) } else { u64::MAX };
    let window = if names.iter().any(|name| ALWAYS_INTRUDED.contains(name)) {
        Window::ALWAYS
    } else {
        Window { from: Round(from), until: Round(until) }
    };
    let (plan, keyring) = (world.plan.clone(), world.keyring.clone());
    let means = Means::new(plan, keyring, world.block_key(own, 0), own, (ring, dice.draw()));
    let means = match wormhole {
        Some(wormhole) => means.with_wormhole(wormhole.as_shared(), wormhole.as_own()),
        None => means,
    };
    let intruders = names.iter().filter_map(|name| intruder::by_name(name)).collect();
    Intruded::new(replica, means, intruders, window)
}
