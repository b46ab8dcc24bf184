//! The other wormholes of the cluster, and what each pair of processes shares.
//!
//! **Guarantee:** a message that [`Links::open`] gives was sent by that member's wormhole to this one,
//! by the process whose life the link names, after this process began, and is given once; of two lives
//! of a member the later one is listened to from its first message on, and the earlier one never again.
//! Assumes that provisioned keys are their owners' and that lives and nonces do not repeat.
//!
//! Keys are made of the secret that two wormholes share for life and of a fresh nonce of each side. Who
//! greets repeats the other's nonce: whoever repeats mine lives now. A nonce makes one link at most.

use zeroize::Zeroizing;

use super::{REAL_TIME_BOUND_MAX, REAL_TIME_WORMHOLES_MAX, Turn};
use crate::attestation::{ClusterId, ProvisionedId, ReplicaId};
use crate::core::Output;
use crate::core::random::Random;
use crate::frame::{
    ControlHeader, Entity, EntityId, Frame, Greeting, KeyWish, Life, Lives, Message, Nanos, Report,
    WORMHOLES_MAX, Writer, control_header, decode_control, encode_control, is_sealed, seal,
};
use crate::keys::{MacKey, ProvisionedKey};

/// One wormhole of the cluster, as its plan has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member that it serves.
    pub replica: ReplicaId,
    /// Its key.
    pub provisioned: ProvisionedId,
}

/// After so long without a message a wormhole is greeted anew.
const SILENCE_MAX: Nanos = Nanos::from_millis(400);
/// By rounds, who was not heard for so long has stopped.
const PRESENT_MAX: Nanos = Nanos::from_millis(500);
/// The kind of a greeting, in its frame.
const GREETING: u8 = 1;

/// All members, in the order of the plan.
pub(super) struct Links {
    pub(super) own: usize,
    pub(super) life: Life,
    cluster: ClusterId,
    count: usize,
    members: [ReplicaId; WORMHOLES_MAX],
    /// None at the own place, and beyond the last.
    peers: [Option<Peer>; WORMHOLES_MAX],
}

struct Peer {
    secret: Zeroizing<[u8; 32]>,
    greetings: [MacKey; 2],
    /// For the next link.
    nonce: [u8; 32],
    /// The other's, as last heard.
    heard: [u8; 32],
    link: Option<Link>,
}

/// What two processes share.
pub(super) struct Link {
    pub(super) life: Life,
    nonces: [[u8; 32]; 2],
    outward: MacKey,
    inward: MacKey,
    sent: u64,
    received: Window,
    heard_at: Nanos,
    pub(super) report: Option<Report>,
}

/// Why there is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody, more than [`WORMHOLES_MAX`], or somebody twice.
    #[error("a cluster has 1 to {WORMHOLES_MAX} wormholes, each once")]
    Members,
    /// This wormhole is not among them, or has another key.
    #[error("the cluster does not name this wormhole and its key")]
    Stranger,
    /// A bound of real time that is 0, or above [`REAL_TIME_BOUND_MAX`]; or more wormholes than
    /// [`REAL_TIME_WORMHOLES_MAX`] in real time.
    #[error(
        "in real time the bound is above 0, and {} ms at most, for {REAL_TIME_WORMHOLES_MAX} wormholes at \
         most: name such a bound, or agree by majority",
        REAL_TIME_BOUND_MAX.0 / 1_000_000
    )]
    Bound,
    /// A key that is none.
    #[error("the key of a member is none")]
    Key,
}

impl Links {
    pub(super) fn new(
        members: &[Member],
        bound: Nanos,
        (cluster, own): (ClusterId, ReplicaId),
        key: &ProvisionedKey,
        random: &mut Random,
    ) -> Result<Self, ClusterError> {
        let mut ids = [ReplicaId(0); WORMHOLES_MAX];
        let mut peers = [const { None }; WORMHOLES_MAX];
        let mut place = None;
        if !(1..=WORMHOLES_MAX).contains(&members.len()) {
            return Err(ClusterError::Members);
        }
        for (number, member) in members.iter().enumerate() {
            let before = members.get(..number).unwrap_or_default();
            if before.iter().any(|other| other.replica == member.replica) {
                return Err(ClusterError::Members);
            }
            if member.replica == own {
                place = Some(number).filter(|_| member.provisioned == key.id());
            } else if let Some(peer) = peers.get_mut(number) {
                let secret = key.shared_with(member.provisioned).ok_or(ClusterError::Key)?;
                // Those who agree in another way, or by another bound, do not hear each other.
                let mut hasher = blake3::Hasher::new_derive_key("ravelin wormhole engine v1");
                hasher.update(&secret[..]).update(&bound.0.to_le_bytes());
                let secret = Zeroizing::new(*hasher.finalize().as_bytes());
                *peer = Some(Peer::new(secret, (cluster, own, member.replica), random.draw()));
            }
            if let Some(id) = ids.get_mut(number) {
                *id = member.replica;
            }
        }
        let own = place.ok_or(ClusterError::Stranger)?;
        let [a, b, c, d, e, f, g, h, ..] = random.draw();
        let life = Life(u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(1));
        let count = members.len();
        Ok(Self { own, life, cluster, count, members: ids, peers })
    }

    /// How many wormholes the cluster has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Any two sets of so many share a wormhole.
    pub(super) fn majority(&self) -> usize {
        self.count / 2 + 1
    }

    /// A majority of those that were heard lately, this one among them; two at least, where there are.
    pub(super) fn majority_of_present(&self, now: Nanos) -> usize {
        let is_present = |number: &usize| {
            let link = self.link(*number);
            link.is_some_and(|link| now.since(link.heard_at) <= PRESENT_MAX)
        };
        let count = 1 + self.others().filter(is_present).count();
        (count / 2 + 1).max(self.count.min(2))
    }

    pub(super) fn place(&self, replica: ReplicaId) -> Option<usize> {
        self.members.iter().take(self.count).position(|member| *member == replica)
    }

    /// The lives that this process listens to; its own at its place.
    pub(super) fn lives(&self) -> Lives {
        let mut lives = [Life::UNKNOWN; WORMHOLES_MAX];
        for (number, life) in lives.iter_mut().enumerate() {
            *life = self.life_of(number);
        }
        lives
    }

    pub(super) fn life_of(&self, number: usize) -> Life {
        if number == self.own {
            return self.life;
        }
        self.link(number).map_or(Life::UNKNOWN, |link| link.life)
    }

    pub(super) fn link(&self, number: usize) -> Option<&Link> {
        self.peers.get(number)?.as_ref()?.link.as_ref()
    }

    pub(super) fn link_mut(&mut self, number: usize) -> Option<&mut Link> {
        self.peers.get_mut(number)?.as_mut()?.link.as_mut()
    }

    /// The name of a process of this host.
    pub(super) fn entity(&self, eid: EntityId) -> Option<Entity> {
        let replica = self.members.get(self.own).copied()?;
        Some(Entity { replica, local: u32::try_from(eid.0).ok()? })
    }

    /// The key of a wish of or for a process of that host, whose last part is `nonce`.
    pub(super) fn pair_key(
        &self,
        host: usize,
        wish: &KeyWish,
        nonce: &[u8; 32],
    ) -> Option<[u8; 32]> {
        let peer = self.peers.get(host)?.as_ref()?;
        let mut bytes = [0; KeyWish::BYTES];
        wish.put(&mut Writer::new(&mut bytes));
        let mut hasher = blake3::Hasher::new_derive_key("ravelin wormhole pair key v1");
        hasher.update(&peer.secret[..]).update(&self.cluster.0).update(&bytes).update(nonce);
        Some(*hasher.finalize().as_bytes())
    }

    /// Everybody but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.own;
        (0..self.count).filter(move |number| *number != own)
    }

    /// Sends to one, if there is a link.
    pub(super) fn send(&mut self, to: usize, message: &Message, turn: &mut Turn<'_>) {
        let ids = (self.members.get(self.own).copied(), self.members.get(to).copied());
        let (Some(from), Some(replica)) = ids else { return };
        let Some(link) = self.link_mut(to) else { return };
        let Some(sequence) = link.sent.checked_add(1) else { return };
        link.sent = sequence;
        let header = ControlHeader { from, to: replica, sequence };
        let mut frame = encode_control(header, message);
        seal(&mut frame, &link.outward);
        turn.out.push(Output::Control { to: replica, frame });
    }

    /// Sends to everybody with whom there is a link.
    pub(super) fn broadcast(&mut self, message: &Message, turn: &mut Turn<'_>) {
        for to in self.others() {
            self.send(to, message, turn);
        }
    }

    /// Sends to everybody, and greets whoever was not heard for long.
    pub(super) fn tick(&mut self, message: &Message, turn: &mut Turn<'_>) {
        for to in self.others() {
            let heard = self.link(to).map(|link| link.heard_at);
            if heard.is_none_or(|heard| turn.now.since(heard) > SILENCE_MAX) {
                self.greet(to, turn);
            }
            self.send(to, message, turn);
        }
    }

    /// What a frame says and who says it, if that is a link's next message.
    pub(super) fn open(&mut self, frame: &Frame, turn: &mut Turn<'_>) -> Option<(usize, Message)> {
        let header = control_header(frame).ok()?;
        let from = self.place(header.from)?;
        if self.place(header.to)? != self.own {
            return None;
        }
        let peer = self.peers.get_mut(from)?.as_mut()?;
        if frame.get(1) == Some(&GREETING) {
            let [_, inward] = &peer.greetings;
            if header.sequence == 0
                && is_sealed(frame, inward)
                && let Ok(Message::Greeting(greeting)) = decode_control(frame)
            {
                self.on_greeting(from, &greeting, turn);
            }
            return None;
        }
        let link = peer.link.as_mut()?;
        if !is_sealed(frame, &link.inward) || !link.received.take(header.sequence) {
            return None;
        }
        link.heard_at = turn.now;
        Some((from, decode_control(frame).ok()?))
    }

    fn on_greeting(&mut self, from: usize, greeting: &Greeting, turn: &mut Turn<'_>) {
        let (Some(own), Some(other)) = (self.members.get(self.own), self.members.get(from)) else {
            return;
        };
        let between = Between { cluster: self.cluster, ids: [*own, *other], own: self.life };
        let Some(Some(peer)) = self.peers.get_mut(from) else { return };
        peer.heard = greeting.nonce;
        // My nonce of now: the greeter lives now, and whoever it was before does not.
        if greeting.echo == peer.nonce {
            let nonces = [peer.nonce, greeting.nonce];
            peer.link = Some(Link::new(&peer.secret, &between, greeting.life, nonces, turn.now));
            peer.nonce = turn.random.draw();
        }
        if !greeting.has_keys {
            self.greet(from, turn);
        }
    }

    fn greet(&mut self, to: usize, turn: &mut Turn<'_>) {
        let (Some(own), Some(other)) = (self.members.get(self.own), self.members.get(to)) else {
            return;
        };
        let header = ControlHeader { from: *own, to: *other, sequence: 0 };
        let Some(Some(peer)) = self.peers.get(to) else { return };
        // The nonces of the link, for one who may not know it yet; else that of the next.
        let of_link = peer.link.as_ref().map(|link| link.nonces);
        let (nonce, has_keys) = match of_link {
            Some([nonce, theirs]) if theirs == peer.heard => (nonce, true),
            _ => (peer.nonce, false),
        };
        let greeting = Greeting { life: self.life, nonce, echo: peer.heard, has_keys };
        let mut frame = encode_control(header, &Message::Greeting(greeting));
        let [outward, _] = &peer.greetings;
        seal(&mut frame, outward);
        turn.out.push(Output::Control { to: *other, frame });
    }
}

/// Which of a link's numbers came: the highest, and in bit `i` whether that minus `i` did. What is older
/// than these counts as lost.
#[derive(Default)]
struct Window {
    highest: u64,
    came: u64,
}

impl Window {
    /// Takes a number, once.
    fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.highest {
            let ahead = u32::try_from(sequence - self.highest).unwrap_or(u32::MAX);
            self.came = self.came.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let behind = u32::try_from(self.highest - sequence).unwrap_or(u32::MAX);
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let is_new = bit != 0 && sequence != 0 && self.came & bit == 0;
        self.came |= bit;
        is_new
    }
}

/// What the keys of a link depend on beyond its nonces and the other's life.
struct Between {
    cluster: ClusterId,
    ids: [ReplicaId; 2],
    own: Life,
}

impl Peer {
    fn new(
        secret: Zeroizing<[u8; 32]>,
        (cluster, own, other): (ClusterId, ReplicaId, ReplicaId),
        nonce: [u8; 32],
    ) -> Self {
        let key = |from: ReplicaId, to: ReplicaId| {
            let mut hasher = blake3::Hasher::new_derive_key("ravelin wormhole greeting v1");
            hasher.update(&secret[..]).update(&cluster.0);
            hasher.update(&from.0.to_le_bytes()).update(&to.0.to_le_bytes());
            MacKey(*hasher.finalize().as_bytes())
        };
        let greetings = [key(own, other), key(other, own)];
        Self { secret, greetings, nonce, heard: [0; 32], link: None }
    }
}

impl Link {
    fn new(
        secret: &[u8; 32],
        between: &Between,
        life: Life,
        nonces: [[u8; 32]; 2],
        now: Nanos,
    ) -> Self {
        let [own, other] = between.ids;
        let [own_nonce, other_nonce] = nonces;
        let key = |from: (ReplicaId, Life, [u8; 32]), to: (ReplicaId, Life, [u8; 32])| {
            let mut hasher = blake3::Hasher::new_derive_key("ravelin wormhole control v1");
            hasher.update(secret).update(&between.cluster.0);
            for (id, life, nonce) in [from, to] {
                hasher.update(&id.0.to_le_bytes()).update(&life.0.to_le_bytes()).update(&nonce);
            }
            MacKey(*hasher.finalize().as_bytes())
        };
        let (here, there) = ((own, between.own, own_nonce), (other, life, other_nonce));
        let (outward, inward) = (key(here, there), key(there, here));
        let heard_at = now;
        Self {
            life,
            nonces,
            outward,
            inward,
            sent: 0,
            received: Window::default(),
            heard_at,
            report: None,
        }
    }
}
