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
//! The signature of the block that carries a statement vouches for it here; the statement's own one is
//! for others, who have not seen the block. So it is checked only once it matters: when members state
//! different things about a commit, before anyone is blamed, and when a certificate is shown.
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
    /// The newest certificate that was asked for.
    certificate: Option<Vec<SignedStatement>>,
}

/// What members stated about one commit.
#[derive(Debug, Default)]
struct OfCommit {
    /// The first statement of each.
    first: BTreeMap<ReplicaId, Heard>,
    /// What `f+1` members were the first to state alike.
    agreed: Option<CommitStatement>,
    is_certified: bool,
    /// Members stated different things: only statements that were checked count from then on.
    is_disputed: bool,
}

/// A statement that came in its member's block.
#[derive(Clone, Copy, Debug)]
struct Heard {
    signed: SignedStatement,
    /// Whether its own signature holds, too.
    is_checked: bool,
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

    /// Statements of a quorum about the newest commit that has them, of those that `is_shown`.
    #[must_use]
    pub fn certificate(
        &mut self,
        is_shown: impl Fn(CommitIndex) -> bool,
    ) -> Option<&[SignedStatement]> {
        let known = self.certificate.as_ref().and_then(|known| known.first());
        let known = known.map(|signed| signed.statement.commit);
        let (keyring, quorum) = (&self.keyring, self.group.quorum());
        let newer = self.commits.iter_mut().rev();
        let newer = newer.take_while(|(commit, _)| Some(**commit) > known);
        let mut newer = newer.filter(|(commit, _)| is_shown(**commit));
        let newest = newer.find_map(|(_, of_commit)| of_commit.certificate(keyring, quorum));
        if newest.is_some() {
            self.certificate = newest;
        }
        self.certificate.as_deref()
    }

    /// Statements of a quorum about `commit`, if that has them.
    #[must_use]
    pub fn certificate_of(&mut self, commit: CommitIndex) -> Option<Vec<SignedStatement>> {
        let (keyring, quorum) = (&self.keyring, self.group.quorum());
        self.commits.get_mut(&commit)?.certificate(keyring, quorum)
    }

    /// Takes what this replica states itself, right after it executed the commit.
    pub fn state(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        self.newest = self.newest.max(commit);
        let findings = self.record(Heard { signed, is_checked: true });
        let oldest = CommitIndex(self.newest.0.saturating_sub(STATEMENT_COMMITS_MAX as u64 - 1));
        while self.commits.first_key_value().is_some_and(|(commit, _)| *commit < oldest) {
            self.commits.pop_first();
        }
        findings
    }

    /// Takes what an ordered block of the member states. What is about other epochs or clusters, or
    /// about commits not executed here or long forgotten, has no effect, nor, in the end, what the
    /// member did not sign.
    pub fn hear(&mut self, signed: SignedStatement) -> Vec<Finding> {
        let commit = signed.statement.commit;
        let is_near = commit <= self.newest
            && commit.0.saturating_add(STATEMENT_COMMITS_MAX as u64) > self.newest.0;
        if is_near && self.keyring.claims_membership(&signed) {
            self.record(Heard { signed, is_checked: false })
        } else {
            Vec::new()
        }
    }

    fn record(&mut self, mut heard: Heard) -> Vec<Finding> {
        let signed = heard.signed;
        let (who, commit) = (signed.replica, signed.statement.commit);
        let of_commit = self.commits.entry(commit).or_default();
        of_commit.dispute(&signed.statement, &self.keyring, self.group);
        if of_commit.is_disputed && !heard.check(&self.keyring) {
            return Vec::new();
        }
        let first = of_commit.first.entry(who).or_insert(heard).signed;
        let mut findings = Vec::new();
        if first.statement != signed.statement && !self.is_unspoken(&first) {
            let evidence = Evidence::TwoStatements { first, second: signed };
            findings.extend(self.blame(who, commit, evidence));
        }
        findings.extend(self.compare(first));
        findings.extend(self.certify(commit));
        findings
    }

    /// Whether this is what a replica without a key in this epoch computed: nobody hears it, so an
    /// earlier life that had one may have stated something else.
    fn is_unspoken(&self, signed: &SignedStatement) -> bool {
        signed.replica == self.own && !self.keyring.holds(signed)
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
                let all = of_commit.first.values().map(|heard| &heard.signed);
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
        if of_commit.alike(&agreed).count() < self.group.quorum() {
            return None;
        }
        of_commit.is_certified = true;
        Some(Finding::Certified(agreed))
    }
}

impl OfCommit {
    /// The members' statements that say the same.
    fn alike(&self, statement: &CommitStatement) -> impl Iterator<Item = SignedStatement> {
        let first = self.first.values().map(|heard| heard.signed);
        first.filter(move |other| other.statement == *statement)
    }

    /// Takes it that some member states this: if others do not, all of them must have signed what
    /// they state, and what was agreed must be so among those who did.
    fn dispute(&mut self, statement: &CommitStatement, keyring: &Keyring, group: Group) {
        let is_other = |heard: &Heard| heard.signed.statement != *statement;
        if !self.is_disputed && self.first.values().any(is_other) {
            self.is_disputed = true;
            self.drop_unsigned(keyring);
            let agreed = self.agreed;
            self.agreed = agreed.filter(|agreed| self.alike(agreed).count() >= group.one_correct());
        }
    }

    fn drop_unsigned(&mut self, keyring: &Keyring) {
        self.first.retain(|_, heard| heard.check(keyring));
    }

    /// Statements of a quorum that said the same and signed it.
    fn certificate(&mut self, keyring: &Keyring, quorum: usize) -> Option<Vec<SignedStatement>> {
        let agreed = self.agreed.filter(|agreed| self.alike(agreed).count() >= quorum)?;
        self.drop_unsigned(keyring);
        let alike: Vec<_> = self.alike(&agreed).collect();
        (alike.len() >= quorum).then_some(alike)
    }
}

impl Heard {
    /// Whether the statement's own signature holds.
    fn check(&mut self, keyring: &Keyring) -> bool {
        let ignored = mutants::is_active("vote_signatures_ignored");
        self.is_checked = self.is_checked || ignored || keyring.holds(&self.signed);
        self.is_checked
    }
}

#[cfg(test)]
mod tests;
