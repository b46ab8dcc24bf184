//! Votes that walk through several rounds: seven servers, of which the leader forks and another one
//! helps it, over one wave of the `asynchronous` rule.
//!
//! Server 1 leads the slot of round 1 and makes two blocks for it, `L` and `M`. Server 5 sees `M`
//! alone, server 6 (which helps) `L` alone, and the other four neither, until round 4, where each of
//! them links 5, 6 or both and so meets one of the two blocks first. All their choices in round 4
//! and 5 are enumerated, as far as they differ in what they show of 5 and 6.
//!
//! ```text
//! round 1   0 L M 2 3 4 5 6       L and M by server 1
//! round 2   0 . . 2 3 4 5 6       5 links M, 6 links L
//! round 3   0 1 . 2 3 4 5 6       1: a third branch, which 0 2 3 4 need for a quorum
//! round 4   0 . . 2 3 4 5 6       votes: 0 2 3 4 link 5, 6 or both, and expose 1
//! round 5   0 . . 2 3 4 5 6       certificates: each links all, or all but 5, or all but 6
//! ```

use std::collections::{BTreeMap, BTreeSet};

use ravelin_model::{BlockRef, FaultModel, ReplicaId, Round};
use ravelin_multicast::committer::Decision;
use ravelin_multicast::{CommitRule, Dag, Slot, validity};

use crate::keys::{Fork, Keys};
use crate::parents::complete;

const SLOT: Slot = Slot { round: Round(1), index: 0 };
const LEADER: u16 = 1;
/// Sees one of the leader's blocks only.
const SEES_M: u16 = 5;
/// Sees the other one only.
const SEES_L: u16 = 6;
/// See what they choose to.
const UNDECIDED: [u16; 4] = [0, 2, 3, 4];

/// What was found over all runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Choices explored.
    pub runs: u64,
    /// Runs in which some view commits a block of the leader.
    pub committed: u64,
    /// Runs in which two views commit different blocks.
    pub conflicts: u64,
}

/// Which of the servers 5 and 6 a block leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LeftOut(Option<u16>);

const CHOICES: [LeftOut; 3] = [LeftOut(None), LeftOut(Some(SEES_M)), LeftOut(Some(SEES_L))];

/// The group, and the DAG so far.
struct Wave {
    keys: Keys,
    dag: Dag,
}

/// Explores all choices.
#[must_use]
pub fn explore() -> Found {
    let mut found = Found::default();
    let start = Wave::until_round_3();
    for votes in tuples(UNDECIDED.len()) {
        if !votes.is_sorted() {
            continue; // the four are interchangeable
        }
        let mut voted =
            Wave { keys: Keys::new(7, 2, FaultModel::Asynchronous), dag: start.dag.clone() };
        for (author, left_out) in UNDECIDED.iter().zip(&votes) {
            voted.link_all(*author, Round(4), &[LEADER, left_out.0.unwrap_or(*author)]);
        }
        voted.link_all(SEES_M, Round(4), &[LEADER, SEES_L]);
        voted.link_all(SEES_L, Round(4), &[LEADER, SEES_M]);
        for certificates in tuples(6) {
            let mut dag =
                Wave { keys: Keys::new(7, 2, FaultModel::Asynchronous), dag: voted.dag.clone() };
            let authors = UNDECIDED.iter().chain(&[SEES_M, SEES_L]);
            for (author, left_out) in authors.zip(&certificates) {
                dag.link_all(*author, Round(5), &[LEADER, left_out.0.unwrap_or(*author)]);
            }
            let outcomes = dag.outcomes();
            found.runs += 1;
            found.committed += u64::from(!outcomes.is_empty());
            found.conflicts += u64::from(outcomes.len() > 1);
        }
    }
    found
}

/// All lists of `length` choices.
fn tuples(length: usize) -> Vec<Vec<LeftOut>> {
    let mut all = vec![vec![]];
    for _ in 0..length {
        all = all
            .into_iter()
            .flat_map(|list| {
                CHOICES.map(|choice| list.iter().copied().chain([choice]).collect::<Vec<_>>())
            })
            .collect();
    }
    all
}

impl Wave {
    fn until_round_3() -> Self {
        let keys = Keys::new(7, 2, FaultModel::Asynchronous);
        let dag = Dag::new(keys.keyring.group(), keys.keyring.genesis(), Round(0));
        let mut wave = Self { keys, dag };
        for author in 0..7 {
            wave.link_all(author, Round(1), &[]);
        }
        let genesis: Vec<BlockRef> = wave.seen(Round(1), LEADER, &[]).into_values().collect();
        let own = wave.keys.genesis(ReplicaId(LEADER));
        let parents = std::iter::once(own).chain(genesis).collect();
        let second = wave.keys.block(ReplicaId(LEADER), Round(1), parents, &Fork::default(), 1);
        let branches: Vec<BlockRef> =
            wave.dag.of(Round(1), ReplicaId(LEADER)).map(|(at, _)| *at).collect();
        let (l, m) = (branches[0], second.reference());
        wave.dag.insert(second);
        let (l, m) = (l.min(m), l.max(m)); // a rule that mistakes L for M looks at the smaller first
        for author in UNDECIDED {
            wave.link_all(author, Round(2), &[LEADER]);
        }
        for (author, branch) in [(SEES_M, m), (SEES_L, l)] {
            let mut seen = wave.seen(Round(2), author, &[LEADER]);
            seen.insert(ReplicaId(LEADER), branch);
            wave.add(author, Round(2), wave.newest(author, Round(2)), seen);
        }
        // The leader's third branch skips round 1.
        wave.add(LEADER, Round(2), own, wave.seen(Round(2), LEADER, &[]));
        let third = wave.dag.of(Round(2), ReplicaId(LEADER)).map(|(at, _)| *at).next();
        for author in UNDECIDED {
            let mut seen = wave.seen(Round(3), author, &[LEADER, SEES_M, SEES_L]);
            seen.extend(third.map(|third| (ReplicaId(LEADER), third)));
            wave.add(author, Round(3), wave.newest(author, Round(3)), seen);
        }
        wave.link_all(SEES_M, Round(3), &[LEADER, SEES_L]);
        wave.link_all(SEES_L, Round(3), &[LEADER, SEES_M]);
        wave
    }

    fn newest(&self, author: u16, round: Round) -> BlockRef {
        let genesis = self.keys.genesis(ReplicaId(author));
        self.dag.newest_until(ReplicaId(author), round.minus(1)).unwrap_or(genesis)
    }

    /// The newest blocks before `round` of everyone but `author` and those left out.
    fn seen(&self, round: Round, author: u16, left_out: &[u16]) -> BTreeMap<ReplicaId, BlockRef> {
        let others = (0..7).filter(|member| *member != author && !left_out.contains(member));
        others.map(|member| (ReplicaId(member), self.newest(member, round))).collect()
    }

    fn link_all(&mut self, author: u16, round: Round, left_out: &[u16]) {
        let seen = self.seen(round, author, left_out);
        self.add(author, round, self.newest(author, round), seen);
    }

    /// Adds a block, which must keep the product's rules.
    fn add(
        &mut self,
        author: u16,
        round: Round,
        own: BlockRef,
        seen: BTreeMap<ReplicaId, BlockRef>,
    ) {
        let (parents, fork) = complete(&self.dag, own, seen).expect("nobody exposes itself");
        let block = self.keys.block(ReplicaId(author), round, parents, &fork, 0);
        assert!(validity::is_well_formed(&self.dag, &block), "{author} in {round:?}");
        assert!(validity::is_consistent(&self.dag, &block, &|_| false), "{author} in {round:?}");
        self.dag.insert(block);
    }

    /// What views of a quorum of certificates, or of all six, commit.
    fn outcomes(&self) -> BTreeSet<BlockRef> {
        let rule = CommitRule::new(self.dag.group(), 1);
        let tips: Vec<BlockRef> = self.dag.round(Round(5)).map(|(at, _)| *at).collect();
        let mut outcomes = BTreeSet::new();
        for left_out in 0..=tips.len() {
            let chosen = tips.iter().enumerate().filter(|(index, _)| *index != left_out);
            let mut view = Dag::new(self.dag.group(), self.keys.keyring.genesis(), Round(0));
            for at in self.dag.history(chosen.map(|(_, at)| *at), Round(0)) {
                view.insert(self.dag.block(&at).expect("of this DAG").clone());
            }
            if let Some((_, Decision::Commit(leader, _))) = rule.decide(&view, SLOT).first() {
                outcomes.insert(*leader);
            }
        }
        outcomes
    }
}
