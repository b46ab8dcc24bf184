//! Atomic multicast: all correct replicas deliver the same blocks in the same order.
//!
//! Assumes at most `f` intruded members; timeliness is needed for progress only. One message kind
//! carries the protocol, the block; the others help those who miss some.
//!
//! | message | sent when | threshold |
//! |---|---|---|
//! | `Block` | its author may make one: `q` blocks of the round before are there | `q` parents |
//! | `Fetch` | a parent is missing after a short patience, maybe with more of its author's chain | - |
//! | `Replay`, `Replayed` | blocks far ahead arrive: this replica was away | - |
//! | `Recall`, `Recalled` | after a start, before the first block | `q-1` others know no newer own block |
//!
//! # Source
//! The paper, section 8.2 (atomic multicast as a service on which replication rests); uncertified
//! block DAGs after Mysticeti (2023). Waiting, idling and restart: `docs/papers.md`.

mod attesting;
mod catching_up;
mod closing;
mod ending;
mod forking;
mod making;
#[cfg(test)]
mod testing;

pub use ending::Remains;

use std::collections::BTreeSet;
use std::sync::Arc;

use ravelin_crypto::{BlockDraft, Keyring, SigningKey, Verified};
use ravelin_model::limits::{FETCH_MAX, HEARTBEAT};
use ravelin_model::transfer::TransferMessage;
use ravelin_model::{
    Action, Actions, Block, BlockBody, BlockHeader, BlockRef, Chain, Envelope, EpochMessage,
    Evidence, LastAttested, LogEntry, LogPart, LogRecord, Misbehaviour, Place, Protocol, ReplicaId,
    Round, Signature, SignedHeader, Suspicion, Time, Vote, mutants,
};

use catching_up::Way;

use crate::catch_up::CatchUp;
use crate::delivery::{Committed, Delivery, OrderingState};
use crate::following::Following;
use crate::forks::Forks;
use crate::parking::has_parents;
use crate::recall::{Recall, Standing};
use crate::{CommitRule, Dag, Decision, Pacing, Parking, Slot, SlotEnd, validity};

/// Blocks of one replay that may wait for parents which it does not bring, unless others wait for
/// them.
pub const REPLAYED_WAITING_MAX: usize = 16;
/// Blocks that answer the fetches of one peer within [`FETCH_PATIENCE`](crate::parking::FETCH_PATIENCE):
/// as many as an author can have between two replicas' horizons.
pub const FETCHED_BLOCKS_MAX: usize = 256;
/// Bytes of them; one block is answered whatever its size.
pub const FETCHED_BYTES_MAX: usize = 2 << 20;

/// Where a replica's blocks get their contents from.
pub trait Payload {
    /// Whether envelopes wait to be ordered.
    fn is_waiting(&self) -> bool;

    /// Takes what the next block carries: envelopes of at most `bytes_max` canonical bytes, and at
    /// most `votes_max` votes.
    fn draw(&mut self, bytes_max: usize, votes_max: usize) -> (Vec<Envelope>, Vec<Vote>);

    /// Takes back the envelopes of an own block that fell behind the horizon undelivered.
    fn give_back(&mut self, envelopes: &[Envelope]);
}

/// What replicas say to each other about the order.
#[derive(Clone, Debug)]
pub enum Message {
    /// A block, from its author or relayed.
    Block(Verified<Block>),
    /// Asks for blocks by name, each with the part of its author's chain that the asker lacks.
    Fetch(Vec<Chain>),
    /// Asks for everything from a round on.
    Replay(Round),
    /// Part of the answer: blocks, each after its parents.
    Replayed(Vec<Verified<Block>>),
    /// Asks for the newest block of the asker.
    Recall(u64),
    /// The answer.
    Recalled(u64, Option<SignedHeader>),
    /// About epochs: for whoever runs one ordering after another, and nothing to this one.
    Epoch(EpochMessage),
    /// About the state: for whoever executes what is ordered, and nothing to this one.
    Transfer(TransferMessage),
}

/// What happened to the order.
#[derive(Clone, Debug)]
pub enum Event {
    /// Causal view: a block entered the DAG, after all its parents.
    Entered(Verified<Block>),
    /// Reliable view: a certificate for the block is in the DAG, so every correct replica will have
    /// it, and no other block of its author and round gets one. In `hybrid` the block itself is in the
    /// DAG, and there is no other.
    Certified(BlockRef),
    /// Total view: a leader was committed with all that it brings into the order.
    Committed(Box<Committed>),
    /// `to` asked for blocks that the DAG holds no more: serve them from the log.
    Archive {
        /// Who asked.
        to: ReplicaId,
        /// Which.
        part: LogPart,
    },
    /// This replica may speak, or may not.
    Standing(Standing),
}

/// How a replica's own blocks become authentic.
#[derive(Clone, Debug)]
pub enum Authorship {
    /// It signs them with its block key.
    Key(Arc<SigningKey>),
    /// Its wormhole attests them, each once it is durable here: then [`Action::Attest`] asks, and
    /// [`Ordering::on_attested`] takes the answer. With what it attested last, in whatever epoch.
    Wormhole(Option<LastAttested>),
}

/// What an [`Ordering`] needs to begin.
pub struct Start<P> {
    /// The epoch's keys.
    pub keyring: Keyring,
    /// How this replica's blocks become authentic.
    pub authorship: Authorship,
    /// This replica.
    pub own: ReplicaId,
    /// Leader slots of a round.
    pub leaders: u16,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
    /// Where blocks get their contents from.
    pub payload: P,
    /// The ordering state to go on from; `None` at the beginning of an epoch.
    pub state: Option<OrderingState>,
    /// References delivered above that state's horizon.
    pub delivered: BTreeSet<BlockRef>,
    /// Ties answers to this start's questions: a number never used before.
    pub nonce: u64,
    /// Whether to report the reliable and causal views, which costs a little for each block.
    pub views: Views,
}

/// Which views are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Views {
    /// The total order only.
    Total,
    /// Causal entry and reliable delivery too.
    All,
}

/// What a peer fetched since a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Fetched {
    since: Time,
    blocks: usize,
    bytes: usize,
}

/// One replica's part in ordering.
pub struct Ordering<P> {
    keyring: Keyring,
    authorship: Authorship,
    /// The own block that the wormhole is to attest.
    drafted: Option<BlockDraft>,
    own: ReplicaId,
    rule: CommitRule,
    payload: P,
    views: Views,
    dag: Dag,
    parking: Parking,
    pacing: Pacing,
    delivery: Delivery,
    recall: Recall,
    catch_up: CatchUp,
    following: Following,
    fetched: Vec<Fetched>,
    /// Whether the epoch has ended.
    is_over: bool,
    closing: closing::Closing,
    end: ending::End,
    /// The last block that this replica made; its next one begins with it.
    last: BlockRef,
    /// That block, which is on its way back from the own disk until the DAG has it.
    made: Option<Verified<Block>>,
    last_made: Time,
    /// When the conditions to make the next block, but for waiting, first held.
    ready_since: Option<Time>,
    /// When this replica last sent its last block.
    said: Time,
    forks: Forks,
    /// Blocks with envelopes or orders that are in the DAG and not delivered.
    undelivered: BTreeSet<BlockRef>,
    /// What was decided while the log was taken back, until it is told.
    restored: Vec<Action<Message, Event>>,
}

impl<P: Payload> Ordering<P> {
    /// Begins, or goes on, with nothing in the DAG: [`Ordering::restore`] follows after a restart.
    pub fn new(start: Start<P>) -> Self {
        let Start { keyring, authorship, own, leaders, checkpoint_every, .. } = start;
        let Start { payload, state, delivered, nonce, views, .. } = start;
        let group = keyring.group();
        let rule = CommitRule::new(group, leaders);
        let state = state
            .unwrap_or_else(|| OrderingState::first(group, keyring.genesis(), rule.first_slot()));
        let dag = Dag::new(group, keyring.genesis(), state.horizon());
        Self {
            own,
            rule,
            payload,
            views,
            dag,
            parking: Parking::new(group, own),
            pacing: Pacing::new(group, own),
            delivery: Delivery::new(group, checkpoint_every, state, delivered),
            recall: Recall::new(group, own, nonce),
            catch_up: CatchUp::new(group, own),
            following: Following::default(),
            fetched: vec![Fetched::default(); group.size()],
            is_over: false,
            closing: closing::Closing::Open,
            end: ending::End::new(group),
            last: BlockRef::genesis(own, keyring.genesis()),
            made: None,
            last_made: Time(0),
            ready_since: None,
            said: Time(0),
            forks: Forks::new(group),
            undelivered: BTreeSet::new(),
            restored: vec![],
            keyring,
            authorship,
            drafted: None,
        }
    }

    /// Takes back a block from this replica's own log, in the log's order.
    ///
    /// What the log decides so far is decided as soon as a block needs it: it may have entered when
    /// the horizon had passed a parent that was never here. Blocks that cannot enter all the same
    /// (their parents lie in a part of the log that is gone) are left out: they are fetched again if
    /// anyone refers to them.
    pub fn restore(&mut self, block: Verified<Block>) {
        let reference = block.reference();
        if reference.author == self.own && reference.round > self.last.round {
            self.last = reference;
        }
        self.dag.remember(&block);
        let mut unseen = Vec::new();
        self.learn_proofs(&block, &mut unseen);
        if !has_parents(&block, &self.dag) {
            let mut decided = std::mem::take(&mut self.restored);
            self.decide(Time(0), &mut decided);
            self.restored = decided;
        }
        let is_new = reference.round > self.dag.horizon() && !self.dag.has(&reference);
        if is_new && has_parents(&block, &self.dag) {
            self.note_forks(&block, &mut unseen);
            self.insert(block);
        }
    }

    /// Takes back the name of this replica's newest block where that lies below what its log still
    /// holds: a next block that began with an older one would contradict it.
    pub fn restore_last(&mut self, last: BlockRef) {
        if last.author == self.own && last.round > self.last.round {
            self.last = last;
        }
    }

    /// Ends the restoring: tells what the log alone decides, and asks the others.
    pub fn resume(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.is_over {
            return;
        }
        if let Authorship::Wormhole(_) = self.authorship {
            self.compare_with_wormhole(out);
        }
        out.append(&mut self.restored);
        self.decide(now, out);
        if !self.dag.has(&self.last) {
            // The log lost what stood before this replica's own last block: it is not to be trusted.
            self.recall.on_unknown_own_block(out);
        }
        self.recall.ask(now, out);
    }

    /// Where blocks get their contents from.
    pub fn payload(&self) -> &P {
        &self.payload
    }

    /// Where blocks get their contents from. Call [`Protocol::on_time`] after adding to it.
    pub fn payload_mut(&mut self) -> &mut P {
        &mut self.payload
    }

    /// What this replica knows.
    pub fn dag(&self) -> &Dag {
        &self.dag
    }

    /// What waits for missing parents.
    pub fn parking(&self) -> &Parking {
        &self.parking
    }

    /// How far the order is decided and delivered.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Whether this replica may make blocks.
    pub fn standing(&self) -> Standing {
        self.recall.standing()
    }

    /// The round of this replica's last block.
    pub fn round(&self) -> Round {
        self.last.round
    }

    /// The last block that this replica made.
    pub fn last(&self) -> BlockRef {
        self.last
    }

    /// How many rounds others are ahead of what this replica knows, at least as one correct member
    /// shows.
    pub fn lag(&self) -> u64 {
        self.catch_up.lag(&self.dag)
    }

    /// Whether blocks far ahead of the DAG are known: this replica is behind.
    pub fn is_behind(&self) -> bool {
        self.catch_up.is_behind(&self.dag)
    }

    /// The proof against `member`, if it forked its chain.
    pub fn fork_of(&self, member: ReplicaId) -> Option<&Evidence> {
        self.forks.of(member)
    }

    fn on_block(
        &mut self,
        now: Time,
        (from, way): (ReplicaId, Way),
        block: Verified<Block>,
        out: &mut Actions<Self>,
    ) {
        let reference = block.reference();
        if !validity::is_well_formed(&self.dag, &block) {
            return out.push(bad_parents(reference.author));
        }
        let is_authors_word = from == reference.author;
        if is_authors_word {
            // A block of the far future shows no more than that its author is alive now.
            let round = reference.round.min(self.dag.highest().next());
            self.pacing.on_arrival(now, from, round);
        }
        let is_farther = (is_authors_word || !mutants::is_active("relayed_blocks_show_nothing"))
            && self.catch_up.on_seen(reference);
        if self.dag.has(&reference) || self.parking.has(&reference) {
            return;
        }
        self.learn_proofs(&block, out);
        let is_second = self.note_forks(&block, out);
        let is_useless = is_second || (is_authors_word && self.forks.has(from));
        let is_taken = !is_useless
            || self.parking.wants(&reference)
            || (way == Way::Sent
                && self.following.takes_further(self.rule.group, from, block.size()));
        if !is_taken {
            return; // the first of (author, round) counts; others only when referenced
        }
        self.parking.on_arrival(now, &block, &self.dag);
        self.enter_or_park(now, from, block.clone(), out);
        if is_farther && is_authors_word {
            self.ask_who_else_is_there(&block, out);
        }
    }

    fn enter_or_park(
        &mut self,
        now: Time,
        from: ReplicaId,
        block: Verified<Block>,
        out: &mut Actions<Self>,
    ) {
        let mut ready = vec![(from, block)];
        while let Some((from, block)) = ready.pop() {
            let reference = block.reference();
            if !has_parents(&block, &self.dag) {
                self.parking.park(now, from, block, &self.dag);
                if self.parking.has(&reference) {
                    self.discard_contradicted(&reference, out);
                } // else it was too far ahead to be kept
                continue;
            }
            let is_proven = |member| self.forks.has(member);
            if !validity::is_consistent(&self.dag, &block, &is_proven) {
                out.push(bad_parents(reference.author));
                continue;
            }
            let is_lost = reference.author == self.own && reference.round > self.last.round;
            // What is decided on it must follow from the log alone. (Without a wormhole, whose word tells
            // what this replica said last, one that lost its log must not take it for whole again.)
            let is_kept = is_lost
                && self.rule.is_hybrid()
                && !mutants::is_active("lost_own_blocks_not_recorded");
            if reference.author != self.own || is_kept {
                out.push(record(&block));
            }
            if is_lost {
                // Made before a stop and lost with the disk, or by someone else with this key.
                self.recall.on_unknown_own_block(out);
            }
            self.insert_and_report(block, out);
            ready.extend(self.parking.release(&reference, &self.dag));
        }
    }

    fn insert_and_report(&mut self, block: Verified<Block>, out: &mut Actions<Self>) {
        self.insert(block.clone());
        if self.views == Views::All && self.rule.is_hybrid() {
            out.push(Action::Emit(Event::Certified(block.reference())));
            out.push(Action::Emit(Event::Entered(block)));
        } else if self.views == Views::All {
            for certified in self.certified_by(&block) {
                out.push(Action::Emit(Event::Certified(certified)));
            }
            out.push(Action::Emit(Event::Entered(block)));
        }
    }

    fn insert(&mut self, block: Verified<Block>) {
        let reference = block.reference();
        self.dag.insert(block.clone());
        if self.delivery.has(&reference) {
            self.dag.on_delivered(&[block]);
        } else if has_payload(&block) {
            self.undelivered.insert(reference);
        }
    }

    /// The blocks two rounds before `block` for which it is a certificate.
    fn certified_by(&self, block: &Verified<Block>) -> Vec<BlockRef> {
        let proposed = block.body.round.minus(self.rule.wave - 1);
        let of_round = self.dag.round(proposed).map(|(reference, _)| *reference);
        of_round.filter(|proposal| self.rule.certifies(&self.dag, block, proposal)).collect()
    }

    /// Decides what can be decided and delivers what is committed; or, while it holds, foresees that.
    fn decide(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.is_held() {
            return self.foresee(now, out);
        }
        while !self.is_over {
            let decisions = self.rule.decide(&self.dag, self.delivery.state().next);
            if decisions.is_empty() {
                return;
            }
            for (slot, decision) in decisions {
                self.apply(slot, decision, out);
            }
            if self.is_sealed() {
                continue;
            }
            for (from, block) in self.parking.reexamine(&self.dag) {
                self.enter_or_park(now, from, block, out);
            }
        }
    }

    fn apply(&mut self, slot: Slot, decision: Decision, out: &mut Actions<Self>) {
        let next = self.rule.after(slot);
        let Decision::Commit(leader, _) = decision else {
            return self.delivery.decided_until(next);
        };
        let committed = self.delivery.commit(&self.dag, leader, next);
        for block in &committed.blocks {
            self.undelivered.remove(&block.reference());
        }
        self.dag.on_delivered(&committed.blocks);
        let horizon = committed.state.horizon();
        out.push(Action::Emit(Event::Committed(Box::new(committed))));
        for block in self.dag.forget(horizon) {
            let lost = self.undelivered.remove(&block.reference());
            if lost && block.body.author == self.own {
                self.payload.give_back(&block.body.envelopes);
            }
        }
    }

    fn settle(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.is_over {
            return;
        }
        self.decide(now, out);
        self.advance(now, out);
        self.request_missing(now, out);
    }
}

impl<P: Payload> Protocol for Ordering<P> {
    type Message = Message;
    type Event = Event;

    fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: Message,
        out: &mut Actions<Self>,
    ) {
        match message {
            Message::Block(_) | Message::Replayed(_) | Message::Recalled(..) if self.is_over => {}
            Message::Block(block) => self.on_block(now, (from, Way::Sent), block, out),
            Message::Fetch(wanted) => return self.on_fetch(now, from, &wanted, out),
            Message::Replay(from_round) => {
                if self.is_over {
                    self.show_end(now, from, out);
                }
                let part = LogPart::From(self.place(from_round));
                return out.push(Action::Emit(Event::Archive { to: from, part }));
            }
            Message::Epoch(_) | Message::Transfer(_) => return,
            Message::Replayed(blocks) => self.on_replayed(now, from, blocks, out),
            Message::Recall(nonce) => {
                let newest = self.newest_of(from);
                out.push(Action::Send(from, Message::Recalled(nonce, newest)));
                // It missed what was sent while it was away, and may be needed for the next round.
                let last = self.dag.whole(&self.last).filter(|_| !self.is_over).cloned();
                return out.extend(last.map(|block| Action::Send(from, Message::Block(block))));
            }
            Message::Recalled(nonce, newest) => {
                let newest = newest.filter(|signed| {
                    signed.header.reference.author == self.own && self.keyring.is_header(signed)
                });
                self.recall.on_recalled(from, nonce, newest, &self.last, out);
            }
        }
        self.settle(now, out);
    }

    fn on_time(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.is_over {
            return;
        }
        self.recall.on_time(now, out);
        self.settle(now, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        if self.is_over {
            return None;
        }
        let may_speak = self.recall.standing() == Standing::Active
            && self.dag.has(&self.last)
            && self.drafted.is_none()
            && self.is_open();
        let block = self.base().filter(|_| may_speak).and_then(|base| match self.ready_since {
            Some(since) => Some(self.due(base, since)),
            None => self.dag.whole(&self.last).map(|_| self.said.after(HEARTBEAT)),
        });
        [
            block,
            self.parking.next_deadline(self.fetched_until()),
            self.catch_up.next_deadline(),
            self.following.next_deadline(),
            self.recall.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Whether somebody waits for what the block carries.
fn has_payload(block: &Block) -> bool {
    let is_order = |vote: &Vote| matches!(vote, Vote::Rekey(_));
    !block.body.envelopes.is_empty() || block.body.votes.iter().any(is_order)
}

fn record<E>(block: &Verified<Block>) -> Action<Message, E> {
    assert!(block.is_whole(), "the log holds blocks with all that they carry");
    Action::Persist(LogEntry::Whole(LogRecord::of(block)))
}

fn bad_parents<E>(author: ReplicaId) -> Action<Message, E> {
    Action::Accuse(author, Misbehaviour::Suspected(Suspicion::BadParents))
}
