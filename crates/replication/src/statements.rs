//! What each replica stated about each commit: certificates, checkpoints, and wrong statements.
//!
//! Every replica signs one statement a commit and carries it in its next block. Equal statements of
//! a quorum are a certificate: proofs of reads rest on it, and at checkpoints it makes everything
//! below disposable. A statement that contradicts `f+1` equal ones is evidence against its signer;
//! if the one contradicted is this replica, its own state is wrong and it must not answer.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Keyring;
use ravelin_model::{CommitIndex, CommitStatement, Evidence, Group, ReplicaId, SignedStatement};

/// Commits whose statements are kept.
pub const STATEMENT_COMMITS_MAX: usize = 256;

/// Statements of recent commits.
#[derive(Debug)]
pub struct Statements {
    keyring: Keyring,
    group: Group,
    own: ReplicaId,
    commits: BTreeMap<CommitIndex, BTreeMap<ReplicaId, SignedStatement>>,
    accused: BTreeSet<ReplicaId>,
    /// The newest commit that a quorum stated alike, with their statements.
    certified: Option<Vec<SignedStatement>>,
}

/// What a new statement brought to light.
#[derive(Debug)]
pub enum Finding {
    /// A quorum stated this alike.
    Certified(CommitStatement),
    /// A member's statement is proven wrong.
    Wrong(Evidence),
    /// This replica's own statement is contradicted by `f+1` equal ones.
    Diverged(CommitIndex),
}

impl Statements {
    /// None known yet.
    #[must_use]
    pub fn new(keyring: Keyring, own: ReplicaId) -> Self {
        let group = keyring.group();
        Self {
            keyring,
            group,
            own,
            commits: BTreeMap::new(),
            accused: BTreeSet::new(),
            certified: None,
        }
    }

    /// Statements of a quorum about the newest commit that has them.
    #[must_use]
    pub fn certificate(&self) -> Option<&[SignedStatement]> {
        self.certified.as_deref()
    }

    /// Takes a statement. Those about other epochs or clusters, or long forgotten, have no effect.
    pub fn record(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        let newest = self.commits.last_key_value().map_or(0, |(commit, _)| commit.0);
        let is_near = commit.0 + STATEMENT_COMMITS_MAX as u64 > newest
            && commit.0 <= newest + STATEMENT_COMMITS_MAX as u64;
        let is_own = signed.replica == self.own;
        if !is_own && (!is_near || !self.keyring.holds(&signed)) {
            return Vec::new();
        }
        let of_commit = self.commits.entry(commit).or_default();
        let earlier = *of_commit.entry(signed.replica).or_insert(signed);
        let mut findings = Vec::new();
        if earlier.statement != signed.statement && self.accused.insert(signed.replica) {
            let evidence = Evidence::TwoStatements { first: earlier, second: signed };
            findings.push(Finding::Wrong(evidence));
        }
        findings.extend(self.compare(commit));
        while self.commits.len() > STATEMENT_COMMITS_MAX {
            self.commits.pop_first();
        }
        findings
    }

    fn compare(&mut self, commit: CommitIndex) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(of_commit) = self.commits.get(&commit) else { return findings };
        let alike = most_common(of_commit);
        let Some(first) = alike.first() else { return findings };
        if alike.len() >= self.group.one_correct() {
            for wrong in of_commit.values().filter(|other| other.statement != first.statement) {
                if wrong.replica == self.own {
                    findings.push(Finding::Diverged(commit));
                } else if self.accused.insert(wrong.replica) {
                    let correct = alike.iter().copied().take(self.group.one_correct()).collect();
                    let evidence = Evidence::WrongStatement { accused: *wrong, correct };
                    findings.push(Finding::Wrong(evidence));
                }
            }
        }
        let newest = self.certified.as_ref().and_then(|known| known.first());
        let is_newer = newest.is_none_or(|newest| newest.statement.commit < commit);
        if alike.len() >= self.group.quorum() && is_newer {
            findings.push(Finding::Certified(first.statement));
            self.certified = Some(alike);
        }
        findings
    }
}

/// The statements about one commit that agree with each other and are most.
fn most_common(of_commit: &BTreeMap<ReplicaId, SignedStatement>) -> Vec<SignedStatement> {
    let alike = |one: &SignedStatement| -> Vec<SignedStatement> {
        of_commit.values().filter(|other| other.statement == one.statement).copied().collect()
    };
    of_commit.values().map(alike).max_by_key(Vec::len).unwrap_or_default()
}
