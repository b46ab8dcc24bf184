//! Reliable multicast with the wormholes' help: the paper's BRM, for any number of intruded members.
//!
//! **Guarantee:** let a process be *correct* if it follows the protocol to its end, nobody else has
//! its entity's keys, its wormhole runs and learns in time what was decided, and of the `od + 1` copies
//! that another one sends it at least one arrives. Then, *Validity:* what a correct process multicasts, some correct process
//! delivers. *Agreement:* what a correct process delivers, all correct processes of the group do.
//! *Integrity:* each delivers it at most once, only as one of the group, and only if its sender
//! multicast it, should that be correct. However many others are intruded, colluding, or in charge of
//! the network.
//!
//! Assumes that wormholes fail only by stopping, that BLAKE3 has no collisions, and pairwise keys.
//! Nothing here rests on time for safety. A multicast ends well under [`Engine::RealTime`] if two
//! correct processes are in the group, and under [`Engine::Quorum`] while a majority of wormholes is
//! up and the control channel brings the sender's proposal there by `tstart`.
//!
//! | | [`Variant::T`] (figure 9) | [`Variant::M`] |
//! |---|---|---|
//! | sender | proposes H(M), sends M `od + 1` times to all | the same, M once |
//! | recipient | proposes nothing, learns H(M) | proposes the hash of what the sender sent it |
//! | then who has M | sends it `od + 1` times to all but the sender | ... to those whose wormhole did not propose H(M), if there are any |
//! | then | delivers | delivers |
//!
//! # Source
//! The paper, section 8.2, figures 9 and 10. `BRM-M` is the variant of the work that the paper cites
//! there. What figure 9 leaves open is closed so: the sender looks at what became of its proposal,
//! and under `Quorum` at the decision, before it delivers; who comes late gets the decision all the
//! same; an instance without a value ends; a copy counts only if a member of its list made it for
//! us, so that corruption opens no instance and takes no other copy's place; everything kept is
//! bounded, and what was delivered is remembered for as long as a copy of it would be looked at.

mod instance;
mod keys;
mod message;
mod omissions;

pub use keys::{PairKey, PairKeys};
pub use message::{Header, Message, Packet};
pub use omissions::omission_degree;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::ttcb::{Entity, ProposeError, TrustedTime, Ttcb, TtcbError, is_elist};
use ravelin_model::{Digest, Time, mutants};

use instance::{Instance, Turn};

/// Bytes of a message at most.
pub const DATA_BYTES_MAX: usize = 64 << 10;
/// Multicasts of its own that a process has under way at most.
pub const SENDING_MAX: usize = 8;
/// Instances at most that one other process brought up and that have not ended here.
pub const OPENED_PER_PEER_MAX: usize = 64;
/// Of these, how many the wormhole is asked about at once.
pub const ASKING_PER_PEER_MAX: usize = 8;
/// Bytes at most that one other process brought, and of which it is open whether they are right.
pub const HELD_BYTES_PER_PEER_MAX: usize = 4 << 20;
/// Delivered messages of one sender that are remembered at most.
pub const REMEMBERED_PER_SENDER_MAX: usize = 4096;
/// Copies that may get lost between two processes, each time, unless the network was measured.
pub const OD_DEFAULT: u16 = 2;
/// How long block agreement takes at most, unless it was measured.
pub const AGREEMENT_BOUND_DEFAULT: Duration = Duration::from_millis(5);
/// How many times that bound lies between a multicast and its `tstart`.
const T0_BOUNDS: u32 = 4;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// BRM-T: few delays, many messages.
    T,
    /// BRM-M: few messages, where nothing gets lost.
    M,
}

/// How the wormholes agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// By a majority of the wormholes: what is proposed in time may still come too late for it.
    Quorum,
    /// By rounds in real time: what is proposed in time counts.
    RealTime,
}

/// What a process may choose; all in a group choose the same.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How its wormholes agree.
    pub engine: Engine,
    /// The omission degree: copies that may get lost between two processes.
    pub od: u16,
    /// From a multicast to its `tstart`.
    pub t0: Duration,
    /// Between two copies to the same process.
    pub resend_every: Duration,
    /// Between two questions to the wormhole about the same instance.
    pub poll_every: Duration,
    /// After `tstart`: who has not delivered by then, has failed.
    pub retention: Duration,
}

impl Settings {
    /// The defaults for wormholes that agree within `agreement_bound`.
    #[must_use]
    pub fn new(engine: Engine, agreement_bound: Duration) -> Self {
        Self {
            engine,
            od: OD_DEFAULT,
            t0: agreement_bound.saturating_mul(T0_BOUNDS),
            resend_every: agreement_bound,
            poll_every: agreement_bound / 5,
            retention: Duration::from_secs(60),
        }
    }
}

/// One thing that a process asks of the world. Performed in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To one process.
    Send(Entity, Packet),
    /// To the host.
    Emit(Event),
}

/// What a process tells its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A message is delivered: its sender is the first of its list.
    Delivered(Arc<Message>),
    /// A multicast of this process has ended, and nobody delivers it.
    Ended(Header),
    /// How a multicast of this process ended is not known here and will not be: others may deliver it. Its
    /// wormhole heard too late, so this process counts as failed.
    Undecided(Header),
    /// The wormhole has stopped, and this process with it.
    Halted(TtcbError),
}

/// Why a multicast did not begin. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MulticastError {
    /// The recipients are none or too many, or one stands twice; call with others.
    #[error("the recipients make no group")]
    Recipients,
    /// There is no key for this recipient; exchange one first.
    #[error("there is no key for a process of replica {}", _0.replica)]
    NoKey(Entity),
    /// The message is too large; send its digest, and itself in another way.
    #[error("{0} bytes are too many")]
    TooLarge(usize),
    /// As many multicasts as allowed are under way; try again when one has ended.
    #[error("too many multicasts are under way")]
    Busy,
    /// The wormhole refuses; trying again helps unless it has halted.
    #[error("the wormhole refuses the proposal")]
    Refused(#[source] ProposeError),
    /// The wormhole gives no answer; trying again is of no use.
    #[error("the wormhole gives no answer")]
    Wormhole(#[source] TtcbError),
}

/// A process that multicasts and delivers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Brm {
    fixed: Arc<Fixed>,
    /// What has not ended.
    running: BTreeMap<Header, Instance>,
    /// What must not be delivered again, by sender.
    delivered: BTreeMap<Entity, BTreeSet<Header>>,
    /// Two multicasts must not have the same.
    last_tstart: TrustedTime,
    swept: Time,
    /// The latest time by which anything was forgotten: wormholes that found their time anew may be behind.
    forgotten_by: TrustedTime,
    is_halted: bool,
}

/// How many instances the wormhole is being asked about, by who is charged.
type Asking = BTreeMap<Entity, usize>;

/// What never changes in a process.
#[derive(Debug)]
struct Fixed {
    own: Entity,
    variant: Variant,
    settings: Settings,
    keys: PairKeys,
}

impl Brm {
    /// A process that has not multicast anything. It must be as new as its entity is: a process that
    /// starts again says hello again.
    #[must_use]
    pub fn new(variant: Variant, own: Entity, settings: Settings, keys: PairKeys) -> Self {
        Self {
            fixed: Arc::new(Fixed { own, variant, settings, keys }),
            running: BTreeMap::new(),
            delivered: BTreeMap::new(),
            last_tstart: TrustedTime(0),
            swept: Time(0),
            forgotten_by: TrustedTime(0),
            is_halted: false,
        }
    }

    /// Multicasts `data` to `recipients`, and delivers it here too in the end, or says that it has
    /// [`Event::Ended`], or is [`Event::Undecided`].
    ///
    /// # Errors
    /// [`MulticastError`]; then nothing was sent, and nothing will be delivered.
    pub fn multicast(
        &mut self,
        now: Time,
        ttcb: &mut dyn Ttcb,
        (recipients, data): (&[Entity], Vec<u8>),
        out: &mut Vec<Action>,
    ) -> Result<Header, MulticastError> {
        let own = self.fixed.own;
        let elist: Vec<Entity> = std::iter::once(own).chain(recipients.iter().copied()).collect();
        if recipients.is_empty() || !is_elist(&elist) {
            return Err(MulticastError::Recipients);
        }
        if let Some(stranger) = recipients.iter().find(|it| self.fixed.keys.of(**it).is_none()) {
            return Err(MulticastError::NoKey(*stranger));
        }
        if data.len() > DATA_BYTES_MAX {
            return Err(MulticastError::TooLarge(data.len()));
        }
        if self.running.keys().filter(|header| header.sender() == Some(own)).count() >= SENDING_MAX
        {
            return Err(MulticastError::Busy);
        }
        if self.is_halted {
            return Err(MulticastError::Wormhole(TtcbError::Halted));
        }
        let asked = ttcb.timestamp().map_err(|error| self.halt(error, out));
        let stamp = asked.map_err(MulticastError::Wormhole)?;
        if !stamp.is_synchronised {
            return Err(MulticastError::Refused(ProposeError::NotSynchronised));
        }
        let soonest = self.last_tstart.after(Duration::from_nanos(1));
        let tstart = stamp.latest.after(self.fixed.settings.t0).max(soonest);
        self.last_tstart = tstart;
        let header = Header { elist, tstart };
        self.begin(now, ttcb, Message { header: header.clone(), data }, out)?;
        Ok(header)
    }

    /// Proposes a message of its own, and sends it if the proposal counts.
    fn begin(
        &mut self,
        now: Time,
        ttcb: &mut dyn Ttcb,
        message: Message,
        out: &mut Vec<Action>,
    ) -> Result<(), MulticastError> {
        let digest = message.digest(self.fixed.variant);
        let header = message.header.clone();
        let asked = ttcb.propose(&header.agreement(), Some(digest.0));
        let proposed = asked.map_err(|error| MulticastError::Wormhole(self.halt(error, out)))?;
        let error = proposed.error.filter(|_| !mutants::is_active("brm_refusal_ignored"));
        if let Some(error) = error {
            return Err(MulticastError::Refused(error));
        }
        let Some(tag) = proposed.tag else {
            return Err(MulticastError::Refused(ProposeError::Conflict));
        };
        let instance = Instance::of_sender(now, &self.fixed, (Arc::new(message), digest), tag);
        self.running.insert(header.clone(), instance);
        self.advance((now, ttcb), &header, &mut Asking::new(), out);
        Ok(())
    }

    /// Takes what the network brought.
    pub fn on_packet(
        &mut self,
        now: Time,
        ttcb: &mut dyn Ttcb,
        packet: &Packet,
        out: &mut Vec<Action>,
    ) {
        let header = &packet.message.header;
        if self.is_halted || self.remembered_of(header).is_some_and(|it| it.contains(header)) {
            return;
        }
        let Some(digest) = self.authentic(packet) else { return };
        if !self.running.contains_key(header) && !self.open(ttcb, packet, out) {
            return;
        }
        let held = self.running.values().map(|it| it.held_bytes(packet.from)).sum::<usize>();
        let has_room = held.saturating_add(packet.message.data.len()) <= HELD_BYTES_PER_PEER_MAX;
        let Some(instance) = self.running.get_mut(header) else { return };
        instance.take(now, &self.fixed, (packet, digest), has_room);
        self.advance((now, ttcb), header, &mut self.asking(), out);
    }

    /// The digest of the packet's message, if a member of its list made it for this process.
    fn authentic(&self, packet: &Packet) -> Option<Digest> {
        let Fixed { own, variant, keys, .. } = &*self.fixed;
        let Message { header, data } = &*packet.message;
        let is_in = |entity| header.elist.contains(entity);
        let is_sound = is_elist(&header.elist) && data.len() <= DATA_BYTES_MAX;
        if !is_sound || packet.from == *own || !is_in(own) || !is_in(&packet.from) {
            return None;
        }
        let digest = packet.message.digest(*variant);
        let key = keys.of(packet.from)?;
        let is_made_for_us = key.is_mac(&packet.mac, *variant, (packet.from, *own), &digest);
        (is_made_for_us || mutants::is_active("brm_copies_unauthenticated")).then_some(digest)
    }

    /// Makes room for an instance that a packet brought up; false if there is none, or it is too old.
    fn open(&mut self, ttcb: &mut dyn Ttcb, packet: &Packet, out: &mut Vec<Action>) -> bool {
        let header = &packet.message.header;
        let remembered = self.remembered_of(header).map_or(0, BTreeSet::len);
        let opened = self.running.values().filter(|it| it.charged_to() == packet.from).count();
        if header.sender() == Some(self.fixed.own)
            || opened >= OPENED_PER_PEER_MAX
            || remembered >= REMEMBERED_PER_SENDER_MAX
        {
            return false;
        }
        match ttcb.timestamp() {
            Err(error) => {
                self.halt(error, out);
                false
            }
            Ok(stamp)
                if !stamp.is_synchronised
                    || self.is_too_far(header, stamp.latest)
                    || self.may_be_forgotten(header, stamp.latest) =>
            {
                false
            }
            Ok(_) => {
                self.running.insert(header.clone(), Instance::of_recipient(packet.from));
                true
            }
        }
    }

    /// What was delivered of the same sender.
    fn remembered_of(&self, header: &Header) -> Option<&BTreeSet<Header>> {
        self.delivered.get(&header.sender()?)
    }

    /// Whether nobody correct would multicast so far ahead. It loses no message: without this process,
    /// nothing is decided before `tstart`, and then it is not far any more.
    fn is_too_far(&self, header: &Header, latest: TrustedTime) -> bool {
        header.tstart > latest.after(self.fixed.settings.t0.saturating_mul(2))
    }

    /// Whether it may have been delivered and forgotten by `latest`, and must not be looked at again.
    fn may_be_forgotten(&self, header: &Header, latest: TrustedTime) -> bool {
        latest.max(self.forgotten_by) > header.tstart.after(self.fixed.settings.retention)
            && !mutants::is_active("brm_old_copies_taken")
    }

    /// For whom the wormhole is being asked about how many instances.
    fn asking(&self) -> Asking {
        let mut asking = Asking::new();
        for instance in self.running.values().filter(|it| it.is_asking()) {
            *asking.entry(instance.charged_to()).or_default() += 1;
        }
        asking
    }

    /// Does for one instance what is due.
    fn advance(
        &mut self,
        (now, ttcb): (Time, &mut dyn Ttcb),
        header: &Header,
        asking: &mut Asking,
        out: &mut Vec<Action>,
    ) {
        let Some(instance) = self.running.get_mut(header) else { return };
        // Who brings up much makes nobody else's multicasts wait: any of those who brought it pays.
        let count = |payer: &Entity| asking.get(payer).copied().unwrap_or(0);
        let payer = instance.payers().find(|payer| count(payer) < ASKING_PER_PEER_MAX);
        let may_ask = payer.is_some_and(|payer| instance.charge(payer));
        let mut turn = Turn { now, ttcb, fixed: &self.fixed, header, may_ask };
        let advanced = instance.advance(&mut turn, out);
        if may_ask && instance.is_asking() {
            *asking.entry(instance.charged_to()).or_default() += 1;
        }
        if instance.is_delivered() {
            self.running.remove(header);
            if let Some(sender) = header.sender()
                && !mutants::is_active("brm_delivered_forgotten")
            {
                self.delivered.entry(sender).or_default().insert(header.clone());
            }
        } else if instance.is_over(now) {
            self.running.remove(header);
        }
        if let Err(error) = advanced {
            self.halt(error, out);
        }
    }

    /// Without its wormhole a process says nothing more.
    fn halt(&mut self, error: TtcbError, out: &mut Vec<Action>) -> TtcbError {
        if !self.is_halted {
            self.is_halted = true;
            self.running.clear();
            out.push(Action::Emit(Event::Halted(error)));
        }
        error
    }

    /// Takes the passing of time; early calls are harmless.
    pub fn on_time(&mut self, now: Time, ttcb: &mut dyn Ttcb, out: &mut Vec<Action>) {
        let due =
            |(_, instance): &(&Header, &Instance)| instance.deadline().is_some_and(|it| it <= now);
        let due: Vec<Header> =
            self.running.iter().filter(due).map(|(header, _)| header.clone()).collect();
        let mut asking = self.asking();
        for header in due {
            self.advance((now, &mut *ttcb), &header, &mut asking, out);
        }
        if self.sweep_at().is_some_and(|at| at <= now) {
            self.sweep(now, ttcb, out);
        }
    }

    /// Forgets what is older than the retention.
    fn sweep(&mut self, now: Time, ttcb: &mut dyn Ttcb, out: &mut Vec<Action>) {
        self.swept = now;
        let stamp = match ttcb.timestamp() {
            Ok(stamp) if stamp.is_synchronised => stamp,
            Ok(_) => return,
            Err(error) => {
                self.halt(error, out);
                return;
            }
        };
        let retention = self.fixed.settings.retention;
        self.forgotten_by = self.forgotten_by.max(stamp.earliest);
        let is_kept = |header: &Header| header.tstart.after(retention) >= stamp.earliest;
        self.delivered.retain(|_, remembered| {
            remembered.retain(is_kept);
            !remembered.is_empty()
        });
        let own = self.fixed.own;
        self.running.retain(|header, instance| {
            let is_kept = is_kept(header);
            if !is_kept && header.sender() == Some(own) && !instance.is_void() {
                out.push(Action::Emit(Event::Undecided(header.clone())));
            }
            is_kept
        });
    }

    fn sweep_at(&self) -> Option<Time> {
        let is_idle = self.is_halted || (self.running.is_empty() && self.delivered.is_empty());
        (!is_idle).then(|| self.swept.after(self.fixed.settings.retention / 4))
    }

    /// When [`Brm::on_time`] should be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.running.values().filter_map(Instance::deadline).chain(self.sweep_at()).min()
    }

    /// Instances that have not ended here, and messages that are remembered.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.running.len(), self.delivered.values().map(BTreeSet::len).sum())
    }
}

impl PartialEq for Fixed {
    fn eq(&self, other: &Self) -> bool {
        self.own == other.own
    }
}

impl Eq for Fixed {}

/// One group has one process of a name.
impl Hash for Fixed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.own.hash(state);
    }
}

#[cfg(test)]
mod tests;
