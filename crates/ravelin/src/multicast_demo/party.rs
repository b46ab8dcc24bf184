//! A process: the product's BRM-T between its wormhole and a payload network that does what was
//! planned; or, where it is malicious, what an intruder does in its place.
//!
//! **Guarantee:** faults are put between the protocol and the socket; an honest process's protocol
//! sees nothing else of the plan.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ravelin_model::ttcb::{
    Agreement, AgreementTag, Entity, Progress, ProposeError, Proposed, TrustedTimestamp, Ttcb,
    TtcbError, Value,
};
use ravelin_model::{Digest, Time};
use ravelin_multicast::brm::{
    Action, Brm, Event, Header, Message, Packet, PairKey, Settings, Variant,
};

use super::plan::{Fate, Intrusion, Plan};
use super::site::{Key, Port};
use super::{COUNT, OD, T0};

/// A run that takes longer is judged as it is then.
const RUN_TIME_MAX: Duration = Duration::from_secs(20);
/// How long processes go on listening when all have delivered.
const GRACE: Duration = Duration::from_millis(20);
/// How long a process waits for a copy before it looks at the time again.
const WAIT: Duration = Duration::from_millis(1);
/// More than a copy of this demonstration has.
const DATAGRAM_BYTES: usize = 2048;

/// Something that happened to a process.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// Since the run began.
    pub(super) at: Duration,
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// It multicasts a message of its own.
    Multicasts(Arc<Message>),
    /// Its multicast did not begin.
    Refused(String),
    /// It took part in an agreement, in time or not.
    Proposes {
        value: Option<Value>,
        error: Option<ProposeError>,
    },
    /// Its wormhole told it how the agreement ended.
    Learns(Option<Value>),
    /// Copies are counted from 0, between each two processes.
    Sends {
        to: usize,
        copy: u8,
        fate: Fate,
        message: Arc<Message>,
    },
    /// `is_sound`: the MAC holds.
    Receives {
        from: usize,
        copy: u8,
        is_sound: bool,
        message: Arc<Message>,
    },
    Delivers(Arc<Message>),
    /// Its own multicast ended without a delivery.
    Ends,
    /// Its wormhole gave up learning how its own multicast ended.
    IsUntold,
    Halts(TtcbError),
}

/// A run, as all processes see it.
pub(super) struct Scene<'a> {
    plan: &'a Plan,
    begun: Instant,
    /// How many processes have done what they were to do.
    done: AtomicUsize,
    /// Nothing will be delivered.
    is_void: AtomicBool,
}

impl<'a> Scene<'a> {
    /// A run that begins now.
    pub(super) fn new(plan: &'a Plan) -> Self {
        let (done, is_void) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { plan, begun: Instant::now(), done, is_void }
    }

    fn is_over(&self) -> bool {
        let are_done = self.done.load(Ordering::SeqCst) == COUNT;
        are_done || self.is_void.load(Ordering::SeqCst) || self.begun.elapsed() > RUN_TIME_MAX
    }

    fn data(&self, text: &str) -> Vec<u8> {
        [&self.plan.number.to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn is_of_it(&self, message: &Message) -> bool {
        message.data.starts_with(&self.plan.number.to_le_bytes())
    }
}

/// What a message says, without the number of its run.
pub(super) fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.data.get(4..).unwrap_or_default()).into_owned()
}

/// A process.
pub(super) struct Party {
    own: Entity,
    number: usize,
    brm: Brm,
    port: Port,
    /// The same as those of `brm`, for what an intruder makes of them.
    keys: Vec<(Entity, PairKey)>,
    socket: UdpSocket,
    peers: Vec<(Entity, SocketAddr)>,
    begun: Instant,
    run: Run,
}

/// What a process keeps of one run.
struct Run {
    begun: Instant,
    notes: Vec<Note>,
    /// How many copies went to each.
    copies: [u8; COUNT],
    late: Vec<(Instant, usize, Vec<u8>)>,
    /// Delivered, or over.
    has_ended: bool,
    has_lied: bool,
}

impl Run {
    fn new(begun: Instant) -> Self {
        let (notes, late) = (vec![], vec![]);
        Self { begun, notes, copies: [0; COUNT], late, has_ended: false, has_lied: false }
    }

    fn note(&mut self, what: What) {
        self.notes.push(Note { at: self.begun.elapsed(), what });
    }
}

impl Party {
    /// The process of this number, with the keys that it shares with others.
    pub(super) fn new(
        number: usize,
        port: Port,
        (socket, peers): (UdpSocket, Vec<(Entity, SocketAddr)>),
        keys: &[(Entity, Key)],
        settings: Settings,
    ) -> Self {
        let own = peers.get(number).expect("each process has an address").0;
        let made = || keys.iter().map(|(other, key)| (*other, PairKey::new(**key)));
        let brm = Brm::new(Variant::T, own, settings, made().collect());
        let begun = Instant::now();
        let keys = made().collect();
        Self { own, number, brm, port, keys, socket, peers, begun, run: Run::new(begun) }
    }

    /// Who it is to others.
    pub(super) fn entity(&self) -> Entity {
        self.own
    }

    /// Plays its part in a run, and tells what happened to it.
    pub(super) fn play(&mut self, scene: &Scene<'_>) -> Vec<Note> {
        self.run = Run::new(scene.begun);
        let intrusion = scene.plan.intrusion(self.number);
        if scene.plan.sender == self.number {
            match intrusion {
                Some(_) => self.send_two_messages(scene),
                None => self.multicast(scene),
            }
        }
        let (mut is_counted, mut over) = (false, None);
        while over.is_none_or(|since: Instant| since.elapsed() < GRACE) {
            self.receive(scene, intrusion);
            if intrusion.is_none() {
                let mut out = vec![];
                let (now, mut port) = watched(self.begun, &mut self.port, &mut self.run);
                self.brm.on_time(now, &mut port, &mut out);
                self.perform(scene, out);
            }
            self.send_late();
            let is_done = (self.run.has_ended || intrusion.is_some()) && self.run.late.is_empty();
            if is_done && !is_counted {
                is_counted = true;
                scene.done.fetch_add(1, Ordering::SeqCst);
            }
            if over.is_none() && scene.is_over() {
                over = Some(Instant::now());
            }
        }
        std::mem::replace(&mut self.run, Run::new(scene.begun)).notes
    }

    fn recipients(&self) -> Vec<Entity> {
        self.peers.iter().map(|(entity, _)| *entity).filter(|it| *it != self.own).collect()
    }

    fn number_of(&self, entity: Entity) -> Option<usize> {
        self.peers.iter().position(|(it, _)| *it == entity)
    }

    fn multicast(&mut self, scene: &Scene<'_>) {
        let (recipients, data) = (self.recipients(), scene.data("M"));
        let mut out = vec![];
        let (now, mut port) = watched(self.begun, &mut self.port, &mut self.run);
        let begun = self.brm.multicast(now, &mut port, (&recipients, data.clone()), &mut out);
        match begun {
            Ok(header) => self.run.note(What::Multicasts(Arc::new(Message { header, data }))),
            Err(error) => {
                self.run.note(What::Refused(error.to_string()));
                scene.is_void.store(true, Ordering::SeqCst);
            }
        }
        self.perform(scene, out);
    }

    /// Takes one copy from the network, if there is one soon.
    fn receive(&mut self, scene: &Scene<'_>, intrusion: Option<Intrusion>) {
        let mut datagram = [0; DATAGRAM_BYTES];
        // Without a time to wait for, nothing would end; the system takes any but zero.
        self.socket.set_read_timeout(Some(WAIT)).expect("the time is not zero");
        let Ok(length) = self.socket.recv(&mut datagram) else { return };
        let Some((copy, bytes)) = datagram.get(..length).and_then(<[u8]>::split_first) else {
            return;
        };
        let Ok(packet) = Packet::decode(bytes) else { return };
        let Some(from) = self.number_of(packet.from) else { return };
        if !scene.is_of_it(&packet.message) {
            return;
        }
        let (copy, is_sound) = (*copy, self.is_sound(&packet));
        let message = Arc::clone(&packet.message);
        self.run.note(What::Receives { from, copy, is_sound, message });
        if intrusion.is_some() {
            if scene.plan.sender != self.number && is_sound {
                self.hand_on_another(scene, &packet.message.header);
            }
            return;
        }
        let mut out = vec![];
        let (now, mut port) = watched(self.begun, &mut self.port, &mut self.run);
        self.brm.on_packet(now, &mut port, &packet, &mut out);
        self.perform(scene, out);
    }

    fn key_of(&self, entity: Entity) -> Option<&PairKey> {
        self.keys.iter().find(|(other, _)| *other == entity).map(|(_, key)| key)
    }

    fn is_sound(&self, packet: &Packet) -> bool {
        let digest = packet.message.digest(Variant::T);
        let right = |key: &PairKey| key.mac(Variant::T, (packet.from, self.own), &digest);
        self.key_of(packet.from).is_some_and(|key| right(key) == packet.mac)
    }

    fn perform(&mut self, scene: &Scene<'_>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(to, packet) => self.send(scene, to, &packet),
                Action::Emit(Event::Delivered(message)) => {
                    self.run.note(What::Delivers(message));
                    self.run.has_ended = true;
                }
                Action::Emit(Event::Ended(_)) => {
                    self.run.note(What::Ends);
                    scene.is_void.store(true, Ordering::SeqCst);
                }
                Action::Emit(Event::Undecided(_)) => {
                    self.run.note(What::IsUntold);
                    self.run.has_ended = true;
                }
                Action::Emit(Event::Halted(error)) => {
                    self.run.note(What::Halts(error));
                    self.run.has_ended = true;
                }
            }
        }
    }

    /// Hands a copy to the network, which does to it what was planned.
    fn send(&mut self, scene: &Scene<'_>, to: Entity, packet: &Packet) {
        let Some(to) = self.number_of(to) else { return };
        let Some(count) = self.run.copies.get_mut(to) else { return };
        let copy = *count;
        *count = count.saturating_add(1);
        let fate = scene.plan.fate(self.number, to, copy);
        let message = Arc::clone(&packet.message);
        self.run.note(What::Sends { to, copy, fate, message });
        let mut datagram = [&[copy][..], &packet.encode()].concat();
        match fate {
            Fate::Lost => {}
            Fate::Late(by) => self.run.late.push((Instant::now() + by, to, datagram)),
            Fate::Corrupted => {
                // The last byte before the MAC is one of the data, as in the figure.
                let of_data = datagram.len().checked_sub(Digest::default().0.len() + 1);
                if let Some(byte) = of_data.and_then(|at| datagram.get_mut(at)) {
                    *byte ^= 1;
                }
                self.transmit(to, &datagram);
            }
            Fate::Well => self.transmit(to, &datagram),
        }
    }

    fn send_late(&mut self) {
        let now = Instant::now();
        let (due, left) = std::mem::take(&mut self.run.late)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= now);
        self.run.late = left;
        due.iter().for_each(|(_, to, datagram)| self.transmit(*to, datagram));
    }

    fn transmit(&self, to: usize, datagram: &[u8]) {
        let Some((_, address)) = self.peers.get(to) else { return };
        // What the system does not take is lost, which the judge counts like any other loss.
        let _ = self.socket.send_to(datagram, address);
    }

    /// An intruder's copy of a message: its own key makes it sound.
    fn lie(&mut self, scene: &Scene<'_>, to: Entity, message: &Arc<Message>) {
        let digest = message.digest(Variant::T);
        let Some(key) = self.key_of(to) else { return };
        let made = (Arc::clone(message), &digest);
        let packet = Packet::new(Variant::T, (self.own, to), key, made);
        self.send(scene, to, &packet);
    }

    /// [`Intrusion::TwoMessages`]
    fn send_two_messages(&mut self, scene: &Scene<'_>) {
        let recipients = self.recipients();
        let mut port = watched(self.begun, &mut self.port, &mut self.run).1;
        let proposed = port.timestamp().and_then(|stamp| {
            let elist = [&[self.own][..], &recipients].concat();
            let header = Header { elist, tstart: stamp.latest.after(T0) };
            let message = Message { header, data: scene.data("M") };
            let value = Some(message.digest(Variant::T).0);
            Ok((port.propose(&message.header.agreement(), value)?, message))
        });
        let Ok((Proposed { error: None, .. }, message)) = proposed else {
            return scene.is_void.store(true, Ordering::SeqCst);
        };
        let other = Message { data: scene.data("another"), ..message.clone() };
        let (message, other) = (Arc::new(message), Arc::new(other));
        // The right one goes to one who is not intruded, or the run would show nothing.
        let is_honest = |to: &Entity| {
            self.number_of(*to).is_some_and(|number| scene.plan.intrusion(number).is_none())
        };
        let told = recipients.iter().copied().find(is_honest);
        for _ in 0..=OD {
            for to in &recipients {
                let chosen = if Some(*to) == told { &message } else { &other };
                self.lie(scene, *to, chosen);
            }
        }
    }

    /// [`Intrusion::CorruptCopies`]
    fn hand_on_another(&mut self, scene: &Scene<'_>, header: &Header) {
        if std::mem::replace(&mut self.run.has_lied, true) {
            return;
        }
        let other = Arc::new(Message { header: header.clone(), data: scene.data("another") });
        for _ in 0..=OD {
            for to in self.recipients() {
                self.lie(scene, to, &other);
            }
        }
    }
}

/// The time of the protocol, and its wormhole with somebody who takes notes.
fn watched<'a>(begun: Instant, port: &'a mut Port, run: &'a mut Run) -> (Time, Watched<'a>) {
    let now = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    (Time(now), Watched { port, run })
}

/// A wormhole, and notes of what it was asked and said.
struct Watched<'a> {
    port: &'a mut Port,
    run: &'a mut Run,
}

impl Ttcb for Watched<'_> {
    fn timestamp(&mut self) -> Result<TrustedTimestamp, TtcbError> {
        self.port.timestamp()
    }

    fn propose(
        &mut self,
        agreement: &Agreement,
        value: Option<Value>,
    ) -> Result<Proposed, TtcbError> {
        let proposed = self.port.propose(agreement, value)?;
        self.run.note(What::Proposes { value, error: proposed.error });
        Ok(proposed)
    }

    fn decide(&mut self, tag: AgreementTag) -> Result<Progress, TtcbError> {
        let progress = self.port.decide(tag)?;
        if let Progress::Ended { value, .. } = progress {
            self.run.note(What::Learns(value));
        }
        Ok(progress)
    }
}
