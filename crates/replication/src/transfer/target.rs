//! Judging a state that one member shows: whether a quorum vouches for it.

use std::collections::BTreeSet;

use ravelin_crypto::{Keyring, check_successor};
use ravelin_model::transfer::{Checkpoint, Offer, Present};
use ravelin_model::{
    BlockRef, CommitIndex, Decode as _, Digest, Position, SignedPlan, Suspicion, mutants,
};
use ravelin_multicast::OrderingState;

use crate::replica::epoch_start;

/// A state to fetch.
#[derive(Clone, Debug)]
pub struct Target {
    /// The plans that follow the ones known, up to that of its epoch.
    pub plans: Vec<SignedPlan>,
    /// That epoch's keys.
    pub keyring: Keyring,
    /// Its commit.
    pub commit: CommitIndex,
    /// The last position given out by then.
    pub position: Position,
    /// The root of its public state.
    pub root: Digest,
    /// Where the order goes on.
    pub ordering: OrderingState,
    /// References delivered above that order's horizon.
    pub delivered: BTreeSet<BlockRef>,
}

impl Target {
    /// What `offer` shows to a replica whose last plan is `known`, with these keys; `None` if no
    /// state. Cost: at most a signature for each member and epoch.
    ///
    /// # Errors
    /// A [`Suspicion`] to count against its sender: no quorum vouches for it.
    pub fn judge(
        known: &SignedPlan,
        keyring: &Keyring,
        offer: Offer,
    ) -> Result<Option<Self>, Suspicion> {
        let mut last = known;
        for next in &offer.plans {
            check_successor(&last.plan, next, keyring.scheme())
                .map_err(|_| Suspicion::BadSignature)?;
            last = next;
        }
        let Some(checkpoint) = offer.checkpoint else { return Ok(None) };
        let keyring = Keyring::new(keyring.cluster(), last, keyring.scheme().clone());
        let keyring = keyring.map_err(|_| Suspicion::BadSignature)?;
        let witnessed = match checkpoint.statements.is_empty() {
            true => Self::at_beginning(last, keyring, checkpoint),
            false => Self::at_checkpoint(keyring, checkpoint),
        };
        let mut target = witnessed.ok_or(Suspicion::BadState)?;
        target.plans = offer.plans;
        Ok(Some(target))
    }

    /// Where one member stands, in the epoch of `plan`: to be compared with what others say.
    ///
    /// # Errors
    /// [`Suspicion::BadState`]: nobody can stand there.
    pub fn shown(
        plan: &SignedPlan,
        keyring: &Keyring,
        present: Present,
    ) -> Result<Self, Suspicion> {
        let keyring = Keyring::new(keyring.cluster(), plan, keyring.scheme().clone());
        let keyring = keyring.map_err(|_| Suspicion::BadSignature)?;
        let ordering = OrderingState::decode("ordering state", &present.ordering);
        let ordering = ordering.map_err(|_| Suspicion::BadState)?;
        let Present { commit, position, state, delivered, .. } = present;
        let is_of_epoch = plan.plan.previous.is_none_or(|previous| commit >= previous.commit);
        let fits = ordering.commit == commit && ordering.clocks.len() == keyring.group().size();
        if !fits || !is_of_epoch {
            return Err(Suspicion::BadState);
        }
        let (root, delivered) = (state, delivered.into_iter().collect());
        Ok(Self { plans: Vec::new(), keyring, commit, position, root, ordering, delivered })
    }

    /// Whether it is the same state, at the same place in the order of the same epoch: nothing else in
    /// it says which epoch that is.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let place =
            |target: &Self| (target.keyring.genesis(), target.commit, target.position, target.root);
        place(self) == place(other)
            && self.ordering == other.ordering
            && self.delivered == other.delivered
    }

    /// The state in which the epoch of `plan` began.
    fn at_beginning(plan: &SignedPlan, keyring: Keyring, checkpoint: Checkpoint) -> Option<Self> {
        let previous = plan.plan.previous?;
        let is_empty = checkpoint.ordering.is_empty() && checkpoint.delivered.is_empty();
        let ordering = epoch_start(&keyring, &plan.plan);
        is_empty.then(|| Self {
            plans: Vec::new(),
            keyring,
            commit: previous.commit,
            position: previous.position,
            root: previous.state,
            ordering,
            delivered: BTreeSet::new(),
        })
    }

    /// A state that equal statements of a quorum name.
    fn at_checkpoint(keyring: Keyring, checkpoint: Checkpoint) -> Option<Self> {
        let group = keyring.group();
        if checkpoint.statements.len() > group.size() {
            return None; // checking a signature again and again takes time
        }
        let statement = checkpoint.statements.first()?.statement;
        let signers = checkpoint.statements.iter();
        let signers = signers.filter(|signed| {
            signed.statement == statement
                && keyring.claims_membership(signed)
                && keyring.holds(signed)
        });
        let signers: BTreeSet<_> = signers.map(|signed| signed.replica).collect();
        let needed = match mutants::is_active("offers_of_one_believed") {
            true => 1,
            false => group.quorum(),
        };
        let ordering = OrderingState::decode("ordering state", &checkpoint.ordering).ok()?;
        let delivered: BTreeSet<BlockRef> = checkpoint.delivered.into_iter().collect();
        let is_named = statement.ordering == Some(ordering.digest(&delivered));
        let holds = signers.len() >= needed
            && (is_named || mutants::is_active("ordering_state_believed"))
            && ordering.commit == statement.commit
            && ordering.clocks.len() == group.size();
        holds.then(|| Self {
            plans: Vec::new(),
            keyring,
            commit: statement.commit,
            position: statement.position,
            root: statement.state,
            ordering,
            delivered,
        })
    }
}
