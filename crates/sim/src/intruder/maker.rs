//! Blocks that an intruder makes in its replica's place: well-formed, but with parents, contents and
//! timing of its own choice.

use ravelin_crypto::Verified;
use ravelin_model::{
    Action, Block, BlockBody, BlockRef, Envelope, LogEntry, LogRecord, ReplicaId, Round, Vote,
};
use ravelin_multicast::{CommitRule, Message};

use super::{Deed, Scene};

/// What a maker decides about its next block.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Members of whose newest block it would rather not know.
    pub(super) shunned: Vec<ReplicaId>,
    /// What it carries.
    pub(super) envelopes: Vec<Envelope>,
    /// What it adds.
    pub(super) votes: Vec<Vote>,
}

/// Makes the server's blocks from the moment on at which it is first asked to.
#[derive(Debug, Default)]
pub(super) struct Maker {
    last: Option<BlockRef>,
}

impl Maker {
    /// The round on which the next block can be built, if it can be built now.
    pub(super) fn base(&mut self, scene: &mut Scene<'_>) -> Option<Round> {
        if self.last.is_none() {
            if scene.means.draft.is_some() {
                return None; // the counter's next value is spoken for
            }
            self.last = Some(scene.means.last.as_ref()?.reference());
            scene.means.makes_blocks = true;
        }
        let last = self.last?;
        let dag = scene.dag();
        let quorum = dag.group().quorum();
        (dag.has(&last) && last.round >= dag.horizon() && dag.width(last.round) >= quorum)
            .then_some(last.round)
    }

    /// The leaders of `round`.
    pub(super) fn leaders(scene: &Scene<'_>, round: Round) -> Vec<ReplicaId> {
        let group = scene.means.keyring.group();
        let rule = CommitRule::new(group, scene.means.plan.plan.leaders_per_round);
        rule.leaders_of(round).collect()
    }

    /// Whether a block after `base` can do without `shunned`, now or ever.
    pub(super) fn is_worth_waiting(scene: &Scene<'_>, base: Round, shunned: &[ReplicaId]) -> bool {
        let needed = scene.dag().group().quorum() - 1;
        let welcome: Vec<ReplicaId> =
            scene.others().filter(|other| !shunned.contains(other)).collect();
        let is_here = |other: &&ReplicaId| scene.dag().of(base, **other).next().is_some();
        welcome.len() >= needed && welcome.iter().filter(is_here).count() < needed
    }

    /// Makes the block after `base` and sends it to everybody.
    pub(super) fn make(&mut self, scene: &mut Scene<'_>, base: Round, draft: Draft) {
        let Some(last) = self.last else { return };
        let Some((parents, exposed)) = parents(scene, last, base, &draft.shunned) else { return };
        let keyring = scene.means.keyring.clone();
        let block = scene.sign(BlockBody {
            cluster: keyring.cluster(),
            genesis: keyring.genesis(),
            epoch: keyring.epoch(),
            author: scene.means.own,
            round: base.next(),
            parents,
            exposed,
            timestamp: scene.now,
            envelopes: draft.envelopes,
            votes: draft.votes,
        });
        self.last = Some(block.reference());
        announce(scene, &block);
    }
}

/// Sends the block to everybody, its maker's own replica first.
fn announce(scene: &mut Scene<'_>, block: &Verified<Block>) {
    let own = scene.means.own;
    scene.let_pass(Deed::Act(Action::Persist(LogEntry::Whole(LogRecord::of(block)))));
    scene.let_pass(Deed::Act(Action::Send(own, Message::Block(block.clone()))));
    for to in scene.others() {
        scene.send_block(to, block);
    }
}

/// The own last block, then a block of every other member: its newest one up to `base`, or, if it
/// is shunned and there are enough others, an older one.
fn parents(
    scene: &Scene<'_>,
    last: BlockRef,
    base: Round,
    shunned: &[ReplicaId],
) -> Option<(Vec<BlockRef>, Vec<ReplicaId>)> {
    let dag = scene.dag();
    let newest: Vec<BlockRef> =
        scene.others().filter_map(|member| dag.newest_until(member, base)).collect();
    let tips = newest.iter().chain([&last]).filter_map(|tip| dag.block(tip));
    let mut exposed: Vec<ReplicaId> = tips.flat_map(|tip| tip.body.exposed.clone()).collect();
    exposed.sort_unstable();
    exposed.dedup();
    let usable = newest.iter().filter(|tip| !exposed.contains(&tip.author));
    let mut spare = usable.clone().filter(|tip| tip.round == base).count() + 1;
    let mut parents = vec![last];
    for tip in usable {
        let is_spare = spare > dag.group().quorum();
        if tip.round == base && is_spare && shunned.contains(&tip.author) {
            spare -= 1;
            parents.extend(dag.newest_until(tip.author, base.minus(1)));
        } else {
            parents.push(*tip);
        }
    }
    (spare >= dag.group().quorum()).then_some((parents, exposed))
}
