//! Envelopes on their way into a block: admission with quotas, and fair turns among clients.
//!
//! **Guarantee:** bounded in bytes, over all clients and for each; a client that floods fills its
//! own quota and waits for its own turn. Who is turned away is told when to try again. What was
//! executed, through whichever replica, is not proposed any more.

use std::collections::{BTreeMap, VecDeque};

use ravelin_crypto::VerifiedEnvelope;
use ravelin_crypto::keyring::envelope_digest;
use ravelin_model::limits::{BLOCK_ENVELOPES_MAX, BLOCK_VOTES_MAX};
use ravelin_model::{
    Digest, Encode as _, Envelope, PublicKey, ReplicaId, SignedRekey, SignedStatement, Vote,
};
use ravelin_multicast::Payload;

use crate::execution::{Deferral, Deferred};

/// Bytes of envelopes that wait, over all clients.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// Bytes of envelopes of one client that wait.
pub const PENDING_CLIENT_BYTES_MAX: usize = 8 << 20;
/// Envelopes of one client that wait.
pub const PENDING_CLIENT_ENVELOPES_MAX: usize = 2048;
/// Envelopes remembered as under way in own blocks, so that a retry does not put them in another.
pub const UNDER_WAY_MAX: usize = 65_536;
/// Operations after which a block takes no further envelope: small writes, of which more would not be
/// executed with one block.
pub const DRAWN_OPERATIONS_MAX: usize = 32 << 10;
/// What a client may take of one block while others have envelopes, too: operations, and
/// [`ENVELOPE_SHARE`] more for each envelope; but its first envelope whatever that holds. All others wait
/// for what one takes, so whoever floods gets no more of a round than who asks for little.
pub const CLIENT_SHARE: usize = 16;
/// What an envelope counts in that, beside its operations: its signature is checked by all.
pub const ENVELOPE_SHARE: usize = 2;
/// Own blocks for which a client counts as present that had an envelope ordered.
pub const PRESENT_DRAWS: u64 = 64;
/// What a client is told to wait when its quota is full.
pub const RETRY_AFTER_MS: u32 = 20;

/// Envelopes that wait, by client, and votes for the next block.
#[derive(Debug, Default)]
pub struct Mempool {
    queues: BTreeMap<PublicKey, Queue>,
    /// Clients with something waiting, in the order of their turns.
    turns: VecDeque<PublicKey>,
    /// Blocks filled so far.
    draws: u64,
    /// The two clients that something was drawn or ordered of last, the later one first, and how many blocks
    /// had been filled by then.
    present: [Option<(PublicKey, u64)>; 2],
    /// Envelopes that wait, and whose they are.
    waiting: BTreeMap<Digest, PublicKey>,
    /// Envelopes in own blocks, and the number of their drawing.
    under_way: BTreeMap<Digest, u64>,
    /// The same by number: who was drawn first is forgotten first.
    drawings: BTreeMap<u64, Digest>,
    drawn: u64,
    bytes: usize,
    evidence: VecDeque<Vote>,
    statements: VecDeque<SignedStatement>,
    /// Members' orders of new keys, one of each member.
    rekeys: BTreeMap<ReplicaId, SignedRekey>,
    /// What clients are told to wait while this replica takes no more envelopes.
    closed: Option<Busy>,
}

#[derive(Debug, Default)]
struct Queue {
    envelopes: VecDeque<Waiting>,
    bytes: usize,
}

/// An envelope with its digest and size.
type Waiting = (Digest, Envelope, usize);

/// Why an envelope was not taken: the client should wait and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// For how long.
    pub retry_after_ms: u32,
}

impl Mempool {
    /// Takes an envelope for a coming block. One that waits already, or is under way in an own
    /// block, is taken without effect.
    ///
    /// # Errors
    /// [`Busy`] when the client's quota or the replica's is full, or the replica takes no more.
    pub fn admit(&mut self, envelope: &VerifiedEnvelope) -> Result<(), Busy> {
        let digest = envelope.digest();
        if self.waiting.contains_key(&digest) || self.under_way.contains_key(&digest) {
            return Ok(());
        }
        if let Some(busy) = self.closed {
            return Err(busy);
        }
        let size = envelope.size();
        if !self.has_room(&envelope.client, size) {
            return Err(Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        self.push(digest, Envelope::clone(envelope), size);
        Ok(())
    }

    /// Takes no more envelopes from clients, or takes them again. What waits already goes into blocks,
    /// and what others propose is executed as ever.
    pub fn close(&mut self, busy: Option<Busy>) {
        self.closed = busy;
    }

    /// Adds a vote for the next block; the oldest of its kind gives way when there are too many, and
    /// proofs go before statements.
    pub fn add_vote(&mut self, vote: Vote) {
        match vote {
            Vote::Statement(signed) => {
                self.statements.push_back(signed);
                if self.statements.len() > BLOCK_VOTES_MAX {
                    self.statements.pop_front();
                }
            }
            Vote::Rekey(signed) => {
                self.rekeys.insert(signed.rekey.member, signed);
            }
            evidence @ Vote::Evidence(_) => {
                self.evidence.push_back(evidence);
                if self.evidence.len() > BLOCK_VOTES_MAX {
                    self.evidence.pop_front();
                }
            }
        }
    }

    /// Begins a new epoch: votes are of the old one, and no envelope is under way in it any more.
    pub fn begin_epoch(&mut self) {
        self.under_way.clear();
        self.drawings.clear();
        self.evidence.clear();
        self.statements.clear();
        self.rekeys.clear();
    }

    /// Notes that an envelope was executed: it neither waits nor is under way any more.
    pub fn on_executed(&mut self, digest: &Digest) {
        self.forget_under_way(digest);
        let Some(client) = self.waiting.remove(digest) else { return };
        let Some(queue) = self.queues.get_mut(&client) else { return };
        if let Some(place) = queue.envelopes.iter().position(|(other, _, _)| other == digest)
            && let Some((_, _, size)) = queue.envelopes.remove(place)
        {
            queue.bytes -= size;
            self.bytes -= size;
        }
        if queue.envelopes.is_empty() {
            self.queues.remove(&client);
            self.turns.retain(|other| *other != client);
        }
    }

    /// Notes that envelopes of a block were ordered and their turns did not come, and returns those whose
    /// clients are to be told to try again. One that stood in an own block is under way no more: where
    /// others had used up the block, it keeps its turn and comes first in the next one, or whoever is
    /// last in a block could stay so for ever. One that waits here goes on waiting.
    pub fn on_deferred(&mut self, deferred: Vec<Deferred>) -> Vec<Envelope> {
        let mut gone = Vec::new();
        for Deferred { digest, envelope, why } in deferred.into_iter().rev() {
            if !self.forget_under_way(&digest) {
                continue;
            }
            let size = envelope.encode().len();
            if why == Deferral::Block && self.has_room(&envelope.client, size) {
                self.turns.retain(|other| *other != envelope.client);
                self.turns.push_front(envelope.client);
                self.enqueue(digest, envelope, size, VecDeque::push_front);
            } else {
                gone.push(envelope);
            }
        }
        gone
    }

    /// How many further envelopes of `client` may wait, small ones.
    #[must_use]
    pub fn room_of(&self, client: &PublicKey) -> usize {
        if !self.has_room(client, 0) {
            return 0;
        }
        let waiting = self.queues.get(client).map_or(0, |queue| queue.envelopes.len());
        PENDING_CLIENT_ENVELOPES_MAX - waiting
    }

    /// Whether another envelope of `client` may wait.
    fn has_room(&self, client: &PublicKey, size: usize) -> bool {
        let is_full = self.queues.get(client).is_some_and(|queue| {
            queue.bytes + size > PENDING_CLIENT_BYTES_MAX
                || queue.envelopes.len() >= PENDING_CLIENT_ENVELOPES_MAX
        });
        !is_full && self.bytes + size <= PENDING_BYTES_MAX
    }

    /// Envelopes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no envelope waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, digest: Digest, envelope: Envelope, size: usize) {
        let client = envelope.client;
        if !self.queues.contains_key(&client) {
            self.turns.push_back(client);
        }
        self.enqueue(digest, envelope, size, VecDeque::push_back);
    }

    /// Adds an envelope at that end of its client's queue which `add` says.
    fn enqueue(
        &mut self,
        digest: Digest,
        envelope: Envelope,
        size: usize,
        add: fn(&mut VecDeque<Waiting>, Waiting),
    ) {
        self.waiting.insert(digest, envelope.client);
        self.bytes += size;
        let queue = self.queues.entry(envelope.client).or_default();
        queue.bytes += size;
        add(&mut queue.envelopes, (digest, envelope, size));
    }

    /// The oldest envelope of the next client that has not `used` up its share of the block, if it fits
    /// into `room`.
    fn take_turn(
        &mut self,
        room: usize,
        used: &mut BTreeMap<PublicKey, usize>,
    ) -> Option<(Envelope, usize)> {
        let may_take = |client: &PublicKey| {
            let has_share = used.get(client).is_none_or(|used| *used < CLIENT_SHARE);
            has_share || !self.is_shared(client)
        };
        let place = self.turns.iter().position(may_take)?;
        let client = *self.turns.get(place)?;
        let queue = self.queues.get_mut(&client)?;
        let (_, _, size) = queue.envelopes.front()?;
        if *size > room {
            return None;
        }
        let (digest, envelope, size) = queue.envelopes.pop_front()?;
        queue.bytes -= size;
        self.bytes -= size;
        self.turns.remove(place);
        if queue.envelopes.is_empty() {
            self.queues.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting.remove(&digest);
        self.remember_under_way(digest);
        self.note_present(client);
        *used.entry(client).or_default() += ENVELOPE_SHARE + envelope.operations.len();
        Some((envelope, size))
    }

    /// Whether others than `client` have envelopes, or had lately.
    fn is_shared(&self, client: &PublicKey) -> bool {
        let oldest = self.draws.saturating_sub(PRESENT_DRAWS);
        let mut lately = self.present.iter().flatten().filter(|(_, draw)| *draw >= oldest);
        self.turns.iter().take(2).any(|other| other != client)
            || lately.any(|(other, _)| other != client)
    }

    /// Notes that an envelope of `client` was put into a block, by whomever.
    pub fn note_present(&mut self, client: PublicKey) {
        let [last, _] = self.present;
        if last.is_some_and(|(last, _)| last != client) {
            self.present = [None, last];
        }
        let [last, _] = &mut self.present;
        *last = Some((client, self.draws));
    }

    fn remember_under_way(&mut self, digest: Digest) {
        self.drawn += 1;
        self.under_way.insert(digest, self.drawn);
        self.drawings.insert(self.drawn, digest);
        if self.drawings.len() > UNDER_WAY_MAX
            && let Some((_, oldest)) = self.drawings.pop_first()
        {
            self.under_way.remove(&oldest);
        }
    }

    /// Whether it was under way.
    fn forget_under_way(&mut self, digest: &Digest) -> bool {
        let number = self.under_way.remove(digest);
        number.is_some_and(|number| self.drawings.remove(&number).is_some())
    }

    fn draw_votes(&mut self, votes_max: usize) -> Vec<Vote> {
        let rekey = self.rekeys.pop_first().map(|(_, signed)| Vote::Rekey(signed));
        let votes_max = votes_max.saturating_sub(usize::from(rekey.is_some()));
        let proofs = self.evidence.len().min(votes_max);
        let statements = self.statements.len().min(votes_max - proofs);
        let statements = self.statements.drain(..statements).map(Vote::Statement);
        rekey.into_iter().chain(self.evidence.drain(..proofs)).chain(statements).collect()
    }
}

impl Payload for Mempool {
    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.rekeys.is_empty()
    }

    fn draw(&mut self, bytes_max: usize, votes_max: usize) -> (Vec<Envelope>, Vec<Vote>) {
        let votes = self.draw_votes(votes_max);
        // In large groups a proof has as many bytes as many envelopes.
        let taken: usize = votes.iter().map(|vote| vote.encode().len()).sum();
        let mut room = bytes_max.saturating_sub(taken);
        let mut envelopes = Vec::new();
        let (mut operations, mut used) = (0, BTreeMap::new());
        self.draws += 1;
        while envelopes.len() < BLOCK_ENVELOPES_MAX && operations < DRAWN_OPERATIONS_MAX {
            let Some((envelope, size)) = self.take_turn(room, &mut used) else { break };
            room -= size;
            operations += envelope.operations.len();
            envelopes.push(envelope);
        }
        (envelopes, votes)
    }

    fn give_back(&mut self, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let digest = envelope_digest(envelope);
            let size = envelope.encode().len();
            self.forget_under_way(&digest); // first of all, or no retry would ever be taken again
            let has_room = self.bytes + size <= PENDING_BYTES_MAX;
            if has_room && !self.waiting.contains_key(&digest) {
                self.push(digest, envelope.clone(), size);
            }
        }
    }
}

#[cfg(test)]
mod tests;
