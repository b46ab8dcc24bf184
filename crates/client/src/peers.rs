//! The members as a sender sees them: who is connected, who asked for a rest, who comes first.
//!
//! **Guarantee:** a member can make itself be skipped for [`BUSY_HOLD_MAX`] at a time, and nobody
//! else. Randomness only spreads load and retries; nothing is believed because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use ravelin_model::{Group, ReplicaId, Time};

use crate::limits::{BACKOFF_MAX, BUSY_HOLD_MAX};
use crate::paces::Paces;

/// Who can be sent to, in which order, and how long to wait for them.
#[derive(Debug)]
pub(crate) struct Peers {
    group: Group,
    patience: Duration,
    connected: BTreeSet<ReplicaId>,
    held: BTreeMap<ReplicaId, Time>,
    first: ReplicaId,
    paces: Paces,
    generator: ChaCha8Rng,
}

impl Peers {
    /// All members, none connected yet; `seed` chooses which comes first.
    pub(crate) fn new(group: Group, patience: Duration, seed: [u8; 32]) -> Self {
        let mut generator = ChaCha8Rng::from_seed(seed);
        let n = u32::try_from(group.size()).expect("groups are small");
        let first = ReplicaId(u16::try_from(generator.next_u32() % n).expect("below n"));
        let (connected, held, paces) = Default::default();
        Self { group, patience, connected, held, first, paces, generator }
    }

    pub(crate) fn connect(&mut self, replica: ReplicaId) {
        self.connected.insert(replica);
        self.held.remove(&replica);
    }

    /// Another one comes first from now on: whoever comes back may be far behind.
    pub(crate) fn disconnect(&mut self, replica: ReplicaId) {
        self.connected.remove(&replica);
        self.held.remove(&replica);
        self.turn_from(replica);
    }

    /// Goes on with the members of another epoch, those connected staying so.
    pub(crate) fn regroup(&mut self, group: Group) {
        self.group = group;
        self.connected.retain(|replica| group.has(*replica));
        self.held.retain(|replica, _| group.has(*replica));
        self.paces = Paces::default();
        if !group.has(self.first) {
            self.first = ReplicaId(0);
        }
    }

    pub(crate) fn is_connected(&self, replica: ReplicaId) -> bool {
        self.connected.contains(&replica)
    }

    /// The connected members, ascending.
    pub(crate) fn connected(&self) -> impl Iterator<Item = ReplicaId> {
        self.connected.iter().copied()
    }

    pub(crate) fn connected_count(&self) -> usize {
        self.connected.len()
    }

    /// Leaves `replica` alone for the time it asks, within the limit.
    pub(crate) fn hold(&mut self, now: Time, replica: ReplicaId, retry_after_ms: u32) {
        let asked = Duration::from_millis(u64::from(retry_after_ms));
        self.held.insert(replica, now.after(asked.min(BUSY_HOLD_MAX)));
        self.turn_from(replica);
    }

    /// Ends the rests that are over.
    pub(crate) fn release(&mut self, now: Time) {
        self.held.retain(|_, until| *until > now);
    }

    /// When the next rest is over.
    pub(crate) fn next_release(&self) -> Option<Time> {
        self.held.values().min().copied()
    }

    /// The members that can be sent to now, the home replica first.
    pub(crate) fn usable(&self) -> impl Iterator<Item = ReplicaId> {
        let (before, after): (Vec<_>, Vec<_>) =
            self.group.members().partition(|replica| *replica < self.first);
        after
            .into_iter()
            .chain(before)
            .filter(|replica| self.connected.contains(replica) && !self.held.contains_key(replica))
    }

    /// Lets another member come first, if `replica` came first. A connected one that is not known to be
    /// slow, if there is one; any of them, so that those who leave one member do not all go to the same.
    pub(crate) fn turn_from(&mut self, replica: ReplicaId) {
        if self.first != replica && self.home() != replica {
            return;
        }
        let others: Vec<ReplicaId> = self.group.members().filter(|it| *it != replica).collect();
        let (here, away): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| self.connected.contains(other));
        let choice = if here.is_empty() { away } else { self.paces.quick(here) };
        self.turn_to_one_of(&choice);
    }

    /// Lets any of `choice` come first.
    fn turn_to_one_of(&mut self, choice: &[ReplicaId]) {
        let chosen = self.generator.next_u32() as usize % choice.len().max(1);
        self.first = choice.get(chosen).copied().unwrap_or(self.first);
    }

    /// Who is sent envelopes first: the one that comes first, or the next that can be sent to.
    fn home(&self) -> ReplicaId {
        self.usable().next().unwrap_or(self.first)
    }

    /// Takes it that an envelope that was sent to `member` first was answered after that time, or was not
    /// for so long. Another member comes first if the home turned out to be slow.
    pub(crate) fn on_answered(&mut self, member: ReplicaId, took: Duration) {
        let home = self.home();
        self.paces.record(member, took, home);
        let others = self.usable().filter(|other| *other != home).collect();
        let better = self.paces.better_than(home, others);
        if !better.is_empty() {
            self.paces.leave(home);
            self.turn_to_one_of(&better);
        }
    }

    /// Counts one more envelope, and says who is sent it instead of the home replica, if anybody, to see
    /// how soon it is answered, with how long to wait for that.
    pub(crate) fn launch(&mut self) -> Option<(ReplicaId, Duration)> {
        let patience = self.paces.trial_patience(self.home());
        let may_try = patience.is_some() && self.connected.len() >= self.group.quorum();
        let others: Vec<_> = if may_try { self.usable().skip(1).collect() } else { Vec::new() };
        self.paces.launch(others.into_iter()).zip(patience)
    }

    /// How many members an attempt should reach: the home replica, then enough that one is correct,
    /// then all.
    pub(crate) fn reach(&self, attempt: u32) -> usize {
        match attempt {
            0 => 1,
            1 => self.group.one_correct(),
            _ => self.group.size(),
        }
    }

    /// How long an attempt may take: doubled each time, with up to a quarter of jitter.
    pub(crate) fn wait(&mut self, attempt: u32) -> Duration {
        let doubled = self.patience.saturating_mul(1 << attempt.min(16));
        let wait = doubled.min(BACKOFF_MAX.max(self.patience));
        let quarter = u64::try_from((wait / 4).as_micros()).unwrap_or(u64::MAX).max(1);
        wait + Duration::from_micros(self.generator.next_u64() % quarter)
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::FaultModel;

    use super::*;

    fn peers(seed: u8) -> Peers {
        let group = Group::new(4, 1, FaultModel::Arbitrary).unwrap();
        let mut peers = Peers::new(group, Duration::from_millis(100), [seed; 32]);
        group.members().for_each(|member| peers.connect(member));
        peers
    }

    #[test]
    fn who_leaves_a_member_goes_to_any_of_the_others_and_does_not_come_back() {
        let left = ReplicaId(2);
        let mut homes = BTreeSet::new();
        for seed in 0..50 {
            let mut peers = peers(seed);
            peers.first = left;
            peers.disconnect(left);
            peers.connect(left);
            homes.extend(peers.usable().next());
        }
        let others = [0, 1, 3].map(ReplicaId);
        assert_eq!(homes, BTreeSet::from(others), "all of them, and not who was away");
        let mut last = peers(0);
        [0, 1, 3].map(ReplicaId).into_iter().for_each(|away| last.disconnect(away));
        assert_eq!(last.usable().next(), Some(left));
    }

    #[test]
    fn seeds_spread_homes_over_all_members() {
        let homes: BTreeSet<_> = (0..50).filter_map(|seed| peers(seed).usable().next()).collect();
        assert_eq!(homes.len(), 4);
    }

    #[test]
    fn a_hold_has_an_end_whatever_was_asked() {
        let mut peers = peers(1);
        let home = peers.usable().next().unwrap();
        peers.hold(Time(0), home, u32::MAX);
        assert!(peers.usable().all(|member| member != home));
        peers.release(Time(0).after(BUSY_HOLD_MAX));
        assert_eq!(peers.usable().count(), 4);
        assert_ne!(peers.usable().next(), Some(home), "it no longer comes first");
        assert!(peers.usable().any(|member| member == home));
    }

    #[test]
    fn waits_double_up_to_a_limit_and_differ() {
        let mut peers = peers(2);
        let waits: Vec<_> = (0..20).map(|attempt| peers.wait(attempt)).collect();
        assert!(waits[0] >= Duration::from_millis(100) && waits[0] <= Duration::from_millis(125));
        assert!(waits[3] >= Duration::from_millis(800));
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX * 5 / 4));
        assert_ne!(waits[18], waits[19]);
    }
}
