//! What each replica stated about each commit: certificates, checkpoints, and wrong statements.
//!
//! Every replica signs one statement a commit and carries it in its next block. Equal statements of
//! a quorum are a certificate: proofs of reads rest on it, and at checkpoints it makes everything
//! below disposable. A statement that contradicts `f+1` equal ones is evidence against its signer;
//! if the one contradicted is this replica, its own state is wrong and it must not answer.
//!
//! **Guarantee:** while at most `f` members are intruded, no correct one is accused and none is found
//! to have diverged. Bounded: [`STATEMENT_COMMITS_MAX`] commits, one statement a member in each.
//!
//! A correct replica executes a commit before it states it, and its statement is ordered after that
//! commit: what an ordered block states of a commit that is not yet executed here is a lie, kept by
//! nobody, so that no liar can push the commits of today out of memory.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Keyring;
use ravelin_model::{
    CommitIndex, CommitStatement, Evidence, Group, ReplicaId, SignedStatement, mutants,
};

/// Commits whose statements are kept.
pub const STATEMENT_COMMITS_MAX: usize = 256;

/// Statements of recent commits.
#[derive(Debug)]
pub struct Statements {
    keyring: Keyring,
    group: Group,
    own: ReplicaId,
    /// The last commit that this replica stated.
    newest: CommitIndex,
    commits: BTreeMap<CommitIndex, OfCommit>,
    accused: BTreeSet<ReplicaId>,
    /// The newest commit that a quorum stated alike, with their statements.
    certificate: Option<Vec<SignedStatement>>,
}

/// What members stated about one commit.
#[derive(Debug, Default)]
struct OfCommit {
    /// The first statement of each.
    first: BTreeMap<ReplicaId, SignedStatement>,
    /// What `f+1` members were the first to state alike.
    agreed: Option<CommitStatement>,
    is_certified: bool,
}

/// What a new statement brought to light.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A quorum stated this alike.
    Certified(CommitStatement),
    /// A member's statement is proven wrong.
    Wrong(Evidence),
    /// This replica's own statement is contradicted: by `f+1` equal ones, or by itself.
    Diverged(CommitIndex),
}

impl Statements {
    /// None known yet.
    #[must_use]
    pub fn new(keyring: Keyring, own: ReplicaId) -> Self {
        Self {
            group: keyring.group(),
            keyring,
            own,
            newest: CommitIndex(0),
            commits: BTreeMap::new(),
            accused: BTreeSet::new(),
            certificate: None,
        }
    }

    /// Statements of a quorum about the newest commit that has them.
    #[must_use]
    pub fn certificate(&self) -> Option<&[SignedStatement]> {
        self.certificate.as_deref()
    }

    /// Takes what this replica states itself, right after it executed the commit.
    pub fn state(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        self.newest = self.newest.max(commit);
        let findings = self.record(signed);
        let oldest = CommitIndex(self.newest.0.saturating_sub(STATEMENT_COMMITS_MAX as u64 - 1));
        self.commits = self.commits.split_off(&oldest);
        findings
    }

    /// Takes what an ordered block states. What is about other epochs or clusters, about commits not
    /// executed here or long forgotten, or not signed by its member, has no effect.
    pub fn hear(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        let is_near = commit <= self.newest
            && commit.0.saturating_add(STATEMENT_COMMITS_MAX as u64) > self.newest.0;
        let is_signed =
            || mutants::is_active("vote_signatures_ignored") || self.keyring.holds(&signed);
        if is_near && is_signed() { self.record(signed) } else { Vec::new() }
    }

    fn record(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let (who, commit) = (signed.replica, signed.statement.commit);
        let of_commit = self.commits.entry(commit).or_default();
        let first = *of_commit.first.entry(who).or_insert(signed);
        let mut findings = Vec::new();
        if first.statement != signed.statement {
            let evidence = Evidence::TwoStatements { first, second: signed };
            findings.extend(self.blame(who, commit, evidence));
        }
        findings.extend(self.compare(first));
        findings.extend(self.certify(commit));
        findings
    }

    /// Compares a statement with those of the others: whom it, or they, prove wrong.
    fn compare(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        let Some(of_commit) = self.commits.get_mut(&commit) else { return Vec::new() };
        let wrong: Vec<SignedStatement> = match of_commit.agreed {
            Some(agreed) if agreed == signed.statement => return Vec::new(),
            Some(_) => vec![signed],
            None if of_commit.alike(&signed.statement).count() < self.group.one_correct() => {
                return Vec::new();
            }
            None => {
                of_commit.agreed = Some(signed.statement);
                let all = of_commit.first.values();
                all.filter(|other| other.statement != signed.statement).copied().collect()
            }
        };
        let Some(agreed) = of_commit.agreed else { return Vec::new() };
        let correct: Vec<_> = of_commit.alike(&agreed).take(self.group.one_correct()).collect();
        let evidence = |accused| Evidence::WrongStatement { accused, correct: correct.clone() };
        let blamed: Vec<_> = wrong.iter().map(|one| (one.replica, evidence(*one))).collect();
        blamed.into_iter().filter_map(|(who, evidence)| self.blame(who, commit, evidence)).collect()
    }

    /// The finding that `who` is wrong, once; this replica does not accuse itself.
    fn blame(
        &mut self,
        who: ReplicaId,
        commit: CommitIndex,
        evidence: Evidence,
    ) -> Option<Finding> {
        if who == self.own {
            return Some(Finding::Diverged(commit));
        }
        self.accused.insert(who).then_some(Finding::Wrong(evidence))
    }

    fn certify(&mut self, commit: CommitIndex) -> Option<Finding> {
        let of_commit = self.commits.get_mut(&commit).filter(|known| !known.is_certified)?;
        let agreed = of_commit.agreed?;
        let alike: Vec<_> = of_commit.alike(&agreed).collect();
        if alike.len() < self.group.quorum() {
            return None;
        }
        of_commit.is_certified = true;
        let newest = self.certificate.as_ref().and_then(|known| known.first());
        if newest.is_none_or(|newest| newest.statement.commit < commit) {
            self.certificate = Some(alike);
        }
        Some(Finding::Certified(agreed))
    }
}

impl OfCommit {
    /// The members' statements that say the same.
    fn alike(&self, statement: &CommitStatement) -> impl Iterator<Item = SignedStatement> {
        self.first.values().filter(move |other| other.statement == *statement).copied()
    }
}

#[cfg(test)]
mod tests;
