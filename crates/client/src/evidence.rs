//! Signed statements, compared: what makes a wrong answer provable to others.
//!
//! **Guarantee:** with at most `f` intruded members, only they are proven wrong: a correct member
//! signs one statement a commit, and `one_correct` equal statements have a correct one among them.
//! Memory is bounded for each member by itself, so a flood displaces only what its sender signed.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_model::{CommitIndex, Evidence, Group, ReplicaId, SignedStatement};

use crate::limits::STATEMENTS_PER_MEMBER_MAX;

/// The latest statements of each member.
#[derive(Debug)]
pub(crate) struct Statements {
    group: Group,
    told: BTreeMap<ReplicaId, BTreeMap<CommitIndex, SignedStatement>>,
    /// Offences already reported: one proof of a kind is enough.
    proven: BTreeSet<(ReplicaId, &'static str)>,
}

impl Statements {
    pub(crate) fn new(group: Group) -> Self {
        Self { group, told: BTreeMap::new(), proven: BTreeSet::new() }
    }

    /// Keeps `signed`, whose signature holds, and returns what it newly proves.
    pub(crate) fn record(&mut self, signed: SignedStatement) -> Vec<Evidence> {
        let commit = signed.statement.commit;
        let own = self.told.entry(signed.replica).or_default();
        let mut found = Vec::new();
        match own.get(&commit) {
            Some(known) if known.statement == signed.statement => return found,
            Some(known) => found.push(Evidence::TwoStatements { first: *known, second: signed }),
            None => {
                own.insert(commit, signed);
                if own.len() > STATEMENTS_PER_MEMBER_MAX {
                    own.pop_first();
                }
                found.extend(self.wrong_ones(commit));
            }
        }
        found.retain(|evidence| self.proven.insert((evidence.accused(), evidence.kind())));
        found
    }

    /// Those whose statement on `commit` differs from one that `one_correct` others made.
    fn wrong_ones(&self, commit: CommitIndex) -> Vec<Evidence> {
        let about: Vec<_> = self.told.values().filter_map(|own| own.get(&commit)).collect();
        let Some(truth) = about.iter().find(|candidate| {
            let equal = about.iter().filter(|other| other.statement == candidate.statement);
            equal.count() >= self.group.one_correct()
        }) else {
            return Vec::new();
        };
        let (right, wrong): (Vec<&SignedStatement>, Vec<_>) =
            about.iter().partition(|signed| signed.statement == truth.statement);
        let correct: Vec<_> = right.into_iter().copied().take(self.group.one_correct()).collect();
        wrong
            .into_iter()
            .map(|accused| Evidence::WrongStatement { accused: *accused, correct: correct.clone() })
            .collect()
    }

    /// Statements kept now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.told.values().map(BTreeMap::len).sum()
    }
}
