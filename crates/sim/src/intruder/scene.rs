//! What an intruder sees of the server it owns, and how it acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ravelin_crypto::{Keyring, SigningKey, Verified};
use ravelin_model::wire::{PeerFrame, PeerMessage, ServerMessage};
use ravelin_model::{
    Action, Block, BlockBody, BlockHeader, BlockRef, Encode as _, PublicKey, ReplicaId,
    SharedWormhole, Signature, SignedPlan, Time,
};
use ravelin_multicast::{Dag, Message};
use ravelin_replication::{ConnectionId, Event, OwnWormhole, Replica};

use super::Deed;
use crate::dice::Dice;

/// Blocks that an intruder made beside its replica's, kept for those who fetch them.
const CRAFTED_MAX: usize = 512;
/// Things put off that are kept at once; beyond, the earliest is done now.
const LATER_MAX: usize = 4096;

/// What an intruder has in its hands once it owns a server.
pub struct Means {
    /// The plan in force.
    pub plan: SignedPlan,
    /// The epoch's keys.
    pub keyring: Keyring,
    /// The server's key for blocks and statements.
    pub key: Arc<SigningKey>,
    /// The server's wormhole, in `hybrid`: the intruder may call it, and that is all.
    pub wormhole: Option<SharedWormhole>,
    /// What that said when the server started.
    pub own_wormhole: Option<OwnWormhole>,
    /// The server.
    pub own: ReplicaId,
    /// What colluding intruders share: equal numbers split and lie alike.
    pub ring: u64,
    /// Chance, seeded by the host.
    pub dice: Dice,
    /// Whether an intruder makes the server's blocks now, and those of its replica are dropped.
    pub(super) makes_blocks: bool,
    /// The replica's own newest block that was let out.
    pub(super) last: Option<Verified<Block>>,
    /// The replica's own block that its wormhole was asked to attest and has not.
    pub(super) draft: Option<BlockBody>,
    pub(super) clients: BTreeMap<ConnectionId, PublicKey>,
    pub(super) later: BTreeMap<(Time, u64), Deed>,
    pub(super) acts: BTreeMap<&'static str, u64>,
    crafted: BTreeMap<BlockRef, Verified<Block>>,
    hidden: BTreeSet<BlockRef>,
    put_off: u64,
}

impl Means {
    /// The means of one who owns `own`. `ring`: equal for colluders; `seed`: this one's chance.
    #[must_use]
    pub fn new(
        plan: SignedPlan,
        keyring: Keyring,
        key: Arc<SigningKey>,
        own: ReplicaId,
        (ring, seed): (u64, u64),
    ) -> Self {
        Self {
            plan,
            keyring,
            key,
            wormhole: None,
            own_wormhole: None,
            own,
            ring,
            dice: Dice::new(seed, "intruder"),
            makes_blocks: false,
            last: None,
            draft: None,
            clients: BTreeMap::new(),
            later: BTreeMap::new(),
            acts: BTreeMap::new(),
            crafted: BTreeMap::new(),
            hidden: BTreeSet::new(),
            put_off: 0,
        }
    }

    /// The same with the server's wormhole.
    #[must_use]
    pub fn with_wormhole(self, wormhole: SharedWormhole, own_wormhole: OwnWormhole) -> Self {
        Self { wormhole: Some(wormhole), own_wormhole: Some(own_wormhole), ..self }
    }

    /// A number that all colluders draw alike for `what`.
    #[must_use]
    pub fn shared(&self, what: u64) -> u64 {
        Dice::new(self.ring ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15), "ring").draw()
    }

    /// Which of `parts` parts of the group `replica` is in, as all colluders see it.
    #[must_use]
    pub fn part_of(&self, replica: ReplicaId, parts: u64) -> u64 {
        let turn = self.shared(1) % parts;
        (u64::from(replica.0) + turn) % parts
    }

    /// The crafted block of this name, unless it is being hidden.
    pub(super) fn crafted(&self, reference: &BlockRef) -> Option<&Verified<Block>> {
        self.crafted.get(reference).filter(|_| !self.hidden.contains(reference))
    }

    pub(super) fn is_hidden(&self, reference: &BlockRef) -> bool {
        self.hidden.contains(reference)
    }

    /// Takes note of the epoch in which the replica is.
    pub(super) fn follow(&mut self, replica: &Replica) {
        if replica.keyring().epoch() != self.keyring.epoch() {
            self.keyring = replica.keyring().clone();
            self.key = Arc::clone(replica.key());
            self.plan = replica.plans().last().expect("there is a first plan").clone();
            self.last = None;
            self.draft = None;
            self.crafted.clear();
            self.hidden.clear();
        }
    }

    pub(super) fn act(&mut self, name: &'static str) {
        *self.acts.entry(name).or_default() += 1;
    }
}

/// One moment at an intruded server.
pub struct Scene<'a> {
    /// The server's clock.
    pub now: Time,
    /// The replica, to be looked into.
    pub core: &'a Replica,
    /// What the intruder has in its hands.
    pub means: &'a mut Means,
    pub(super) name: &'static str,
    pub(super) out: &'a mut Vec<Deed>,
}

impl Scene<'_> {
    /// What the replica knows of the others.
    #[must_use]
    pub fn dag(&self) -> &Dag {
        self.core.ordering().dag()
    }

    /// All other members.
    pub fn others(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let own = self.means.own;
        self.means.keyring.group().members().filter(move |member| *member != own)
    }

    /// Whether `member` is one of the `count` others whom all colluders favour.
    pub fn is_favoured(&self, member: ReplicaId, count: usize) -> bool {
        let turn = self.means.shared(3) % self.means.keyring.group().size() as u64;
        let mut others: Vec<_> = self.others().collect();
        let turn = usize::try_from(turn).unwrap_or(0) % others.len().max(1);
        others.rotate_left(turn);
        others.iter().take(count).any(|other| *other == member)
    }

    /// Lets `deed` happen.
    pub fn let_pass(&mut self, deed: Deed) {
        self.out.push(deed);
    }

    /// Notes that the intruder did something that a correct server would not.
    pub fn act(&mut self) {
        self.means.act(self.name);
    }

    /// Sends what a correct replica might send.
    pub fn send(&mut self, to: ReplicaId, message: Message) {
        self.act();
        self.out.push(Deed::Act(Action::Send(to, message)));
    }

    /// Sends anything.
    pub fn send_bytes(&mut self, to: ReplicaId, bytes: Vec<u8>) {
        self.act();
        self.out.push(Deed::Bytes(to, bytes));
    }

    /// Sends a block that the intruder made; those who fetch it later get it too.
    pub fn send_block(&mut self, to: ReplicaId, block: &Verified<Block>) {
        self.keep(block);
        let bytes = self.frame(PeerMessage::Block(Block::clone(block)));
        self.send_bytes(to, bytes);
    }

    /// Sends a block that no correct replica would take, and forgets it.
    pub fn send_bad_block(&mut self, to: ReplicaId, block: Block) {
        let bytes = self.frame(PeerMessage::Block(block));
        self.send_bytes(to, bytes);
    }

    fn frame(&self, message: PeerMessage) -> Vec<u8> {
        PeerFrame { epoch: self.means.keyring.epoch(), message }.encode()
    }

    /// Answers a client.
    pub fn answer(&mut self, connection: ConnectionId, message: ServerMessage) {
        self.act();
        self.out.push(Deed::Act(Action::Emit(Event::ToClient(connection, message))));
    }

    /// Does `deed` after `delay`.
    pub fn later(&mut self, delay: Duration, deed: Deed) {
        self.act();
        let means = &mut *self.means;
        means.put_off += 1;
        means.later.insert((self.now.after(delay), means.put_off), deed);
        if means.later.len() > LATER_MAX
            && let Some((_, first)) = means.later.pop_first()
        {
            self.out.push(first);
        }
    }

    /// Has the server's wormhole attest a block; `None`: there is none, or it refuses.
    #[must_use]
    pub fn attest(&self, header: &BlockHeader) -> Option<Signature> {
        let wormhole = self.means.wormhole.as_ref()?;
        wormhole.lock().unwrap_or_else(PoisonError::into_inner).attest(header).ok()
    }

    /// The replica's own block of this header, which its wormhole has not attested.
    #[must_use]
    pub fn draft(&self, header: &BlockHeader) -> Option<BlockBody> {
        let body = self.means.draft.as_ref()?;
        let drafted = self.means.keyring.draft_block(body.clone());
        (drafted.header() == *header).then(|| body.clone())
    }

    /// Signs a block with the server's key. In `hybrid` its wormhole is to attest it; where that
    /// refuses, the signature stands in the attestation's place, for what it is worth.
    #[must_use]
    pub fn sign(&self, body: BlockBody) -> Verified<Block> {
        let Means { keyring, key, wormhole, .. } = &*self.means;
        if wormhole.is_some() {
            let draft = keyring.draft_block(body.clone());
            let attestation = self.attest(&draft.header());
            if let Some(block) = attestation.and_then(|it| keyring.attest_block(draft, it).ok()) {
                return block;
            }
        }
        keyring.sign_block(key, body)
    }

    /// Keeps a block for those who fetch it.
    pub fn keep(&mut self, block: &Verified<Block>) {
        self.means.crafted.insert(block.reference(), block.clone());
        if self.means.crafted.len() > CRAFTED_MAX {
            self.means.crafted.pop_first();
        }
    }

    /// Refuses to hand a block of its own to anyone.
    pub fn hide(&mut self, reference: BlockRef) {
        self.act();
        self.means.hidden.insert(reference);
        if self.means.hidden.len() > CRAFTED_MAX {
            self.means.hidden.pop_first();
        }
    }

    /// The server's own block in `deed`, and whom it goes to.
    #[must_use]
    pub fn own_block(&self, deed: &Deed) -> Option<(ReplicaId, Verified<Block>)> {
        match deed {
            Deed::Act(Action::Send(to, Message::Block(block)))
                if block.body.author == self.means.own =>
            {
                Some((*to, block.clone()))
            }
            _ => None,
        }
    }
}
