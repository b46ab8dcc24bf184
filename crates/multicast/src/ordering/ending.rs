//! The end of an ordering: its epoch is over, here or elsewhere.

use ravelin_model::Group;

use super::*;

/// Bytes of blocks that are sent at once to who reads the end of an epoch here, but for one block: half of
/// what waits for a peer before the oldest are dropped.
const END_SHOWN_BYTES_MAX: usize = 16 << 20;

/// What decided the end of an epoch, for those who are not there yet.
#[derive(Debug)]
pub(super) struct End {
    /// The newest first; nothing changes it any more.
    deciders: Option<Vec<BlockRef>>,
    /// To each member: when it was last sent any, and with which to go on.
    shown: Vec<(Option<Time>, usize)>,
}

impl End {
    pub(super) fn new(group: Group) -> Self {
        Self { deciders: None, shown: vec![(None, 0); group.size()] }
    }
}

/// What an ordering leaves to the next one of its epoch.
#[derive(Debug)]
pub struct Remains<P> {
    /// Where blocks got their contents from, as from [`Ordering::into_payload`].
    pub payload: P,
    /// The last block that this replica made.
    pub last: BlockRef,
    /// The newest header known of each member.
    pub headers: Vec<SignedHeader>,
    /// Proofs against members that forked their chains.
    pub proofs: Vec<Evidence>,
    /// The blocks above the new horizon, each after its parents.
    pub blocks: Vec<Verified<Block>>,
    /// Whether this replica may make blocks.
    pub standing: Standing,
    /// The own block that the wormhole is to attest.
    pub drafted: Option<BlockDraft>,
}

impl<P: Payload> Remains<P> {
    /// What the next epoch's blocks get their contents from, where this one's are void: the own block
    /// that the wormhole was to attest is never said.
    #[must_use]
    pub fn into_void_payload(mut self) -> P {
        if let Some(draft) = &self.drafted {
            self.payload.give_back(&draft.block().body.envelopes);
        }
        self.payload
    }
}

impl<P: Payload> Ordering<P> {
    /// Learns that the epoch is over at `member`, which must hold what decided that: this replica asks it
    /// for everything from its own last commit on, until [`Self::into_payload`] ends this ordering. Cost
    /// of a lie: the liar's own answers.
    pub fn follow(&mut self, now: Time, member: ReplicaId, out: &mut Actions<Self>) {
        self.following.follow(now, member);
        self.request_missing(now, out);
    }

    /// Whether nobody is being followed now: the one before did not help.
    #[must_use]
    pub fn may_follow(&self) -> bool {
        !self.is_over && self.following.is_free()
    }

    /// Ends this ordering, for another that goes on from a later state of the same epoch.
    #[must_use]
    pub fn into_remains(mut self, horizon: Round) -> Remains<P> {
        let drafted = self.drafted.take();
        let (last, standing) = (self.last, self.recall.standing());
        let headers = self.rule.group.members().filter_map(|member| self.newest_of(member));
        let headers = headers.collect();
        let mut round = horizon.next();
        let mut blocks = Vec::new();
        while round <= self.dag.highest() {
            blocks.extend(self.dag.round(round).map(|(_, block)| block.clone()));
            round = round.next();
        }
        blocks.extend(self.made.clone().filter(|made| !self.dag.has(&made.reference())));
        let proofs = self.rule.group.members().filter_map(|member| self.forks.of(member).cloned());
        let proofs = proofs.collect();
        Remains { payload: self.into_payload(), last, headers, proofs, blocks, standing, drafted }
    }

    /// Ends this ordering: gives up where blocks got their contents from, with the envelopes of own
    /// blocks that were not delivered given back.
    #[must_use]
    pub fn into_payload(mut self) -> P {
        let is_void =
            |reference: &&BlockRef| reference.author == self.own && !self.delivery.has(reference);
        let void = self.undelivered.iter().filter(is_void);
        let void = void.filter_map(|reference| self.dag.block(reference));
        let is_coming = |made: &&Verified<Block>| {
            made.body.round >= self.dag.horizon() && !self.dag.has(&made.reference())
        };
        let coming = self.made.iter().filter(is_coming);
        let drafted = self.drafted.iter().map(BlockDraft::block);
        for block in void.chain(coming).map(|block| &**block).chain(drafted) {
            if !mutants::is_active("void_envelopes_lost") {
                self.payload.give_back(&block.body.envelopes);
            }
        }
        self.payload
    }

    /// Takes over what an earlier ordering of the epoch left, but for its payload.
    pub fn take_over<Q>(&mut self, left: Remains<Q>) -> Q {
        let Remains { payload, last, headers, proofs, blocks, standing, drafted } = left;
        headers.iter().for_each(|signed| self.dag.remember_header(signed));
        for proof in &proofs {
            self.forks.learn(proof);
        }
        self.restore_last(last);
        // What the earlier ordering delivered and let go of, a later state has delivered too.
        for block in blocks {
            if block.is_whole() || self.delivery.has(&block.reference()) {
                self.restore(block);
            }
        }
        if standing == Standing::Learner {
            // Who knew of the forgotten blocks may not be among those who answer the next time.
            self.recall.on_unknown_own_block(&mut self.restored);
        }
        self.drafted = drafted;
        payload
    }

    /// Takes over what an ordering that has ended knew of those who may be asked for missed blocks, if they
    /// are as many: who brought little is not to be asked first again.
    pub fn take_over_sources(&mut self, ended: &Self) {
        if !mutants::is_active("sources_forgotten") {
            self.catch_up.take_over(ended.catch_up.sources());
        }
    }

    /// Forbids this replica to speak: none of its keys is a member's.
    pub fn mute(&mut self, out: &mut Actions<Self>) {
        self.recall.on_unknown_own_block(out);
    }

    /// Sends `to`, who reads the rest of the epoch here, what decided its end: where an author forked its
    /// chain, `to` may hold another block of it, and nothing refers to this one.
    pub(super) fn show_end(&mut self, now: Time, to: ReplicaId, out: &mut Actions<Self>) {
        let Some((shown_at, next)) = self.end.shown.get_mut(to.index()) else { return };
        if shown_at.is_some_and(|at| now < at.after(HEARTBEAT)) {
            return;
        }
        *shown_at = Some(now);
        let deciders = self.end.deciders.get_or_insert_with(|| {
            let deciders = self.rule.deciders(&self.dag, self.delivery.state().leader_round);
            deciders.into_iter().map(Verified::reference).collect()
        });
        let mut bytes = 0;
        let turn = deciders.iter().cycle().skip(*next).take(deciders.len());
        for block in turn.filter_map(|name| self.dag.whole(name)) {
            bytes += block.size();
            if bytes > END_SHOWN_BYTES_MAX && bytes > block.size() {
                break;
            }
            *next = (*next + 1) % deciders.len();
            out.push(Action::Send(to, Message::Block(block.clone())));
        }
    }

    /// The epoch is over: this replica makes and takes no more blocks, and answers those who are not
    /// there yet.
    pub fn end(&mut self) {
        self.is_over = true;
    }
}
