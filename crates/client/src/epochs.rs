//! The epochs that a session knows: the one in force, and the last few before it.
//!
//! **Guarantee:** each plan follows the one before it by the signatures of a quorum of that one's
//! members, and what was signed in an epoch is judged by the keys of that epoch and by no others.
//! Statements are compared within one epoch only: nobody is accused because two epochs differ.
//!
//! Assumes: at most `f` members of each epoch are intruded. With more, two plans can follow one; a
//! session stays with the one that it followed first, and says so.

use std::collections::VecDeque;

use ravelin_crypto::{ChainError, Keyring, check_successor, plan_digest};
use ravelin_model::{Epoch, Evidence, SignedPlan, SignedStatement, Suspicion};

use crate::evidence::Statements;
use crate::limits::EPOCHS_KEPT;

/// Plans, keys and statements of the newest epochs.
#[derive(Debug)]
pub(crate) struct Epochs {
    newest: Known,
    /// Those before it, ascending.
    older: VecDeque<Known>,
}

/// One epoch.
#[derive(Debug)]
struct Known {
    plan: SignedPlan,
    keyring: Keyring,
    statements: Statements,
    /// Whether it was told that another plan was signed in the place of this one.
    is_forked: bool,
}

/// When something was stated, as a session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In an epoch whose keys are known, and the signature holds.
    Signed,
    /// In a later epoch than any known, if at all.
    Later,
    /// In an epoch whose keys are no longer kept.
    Forgotten,
}

/// What is wrong with a chain that a member handed over.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// No correct member hands this over.
    Suspicion(Suspicion),
    /// The two plans follow one plan, and quorums of its members signed both: more than `f` of them
    /// are intruded, and any member may have been handed the second.
    Fork(Box<[SignedPlan; 2]>),
    /// Such a fork, told before.
    KnownFork,
}

impl Epochs {
    /// The epoch that `plan` begins, of which `keyring` holds the keys.
    pub(crate) fn new(keyring: Keyring, plan: SignedPlan) -> Self {
        Self { newest: Known::new(keyring, plan), older: VecDeque::new() }
    }

    /// The keys of the newest epoch.
    pub(crate) fn newest(&self) -> &Keyring {
        &self.newest.keyring
    }

    /// The plan of the newest epoch.
    pub(crate) fn plan(&self) -> &SignedPlan {
        &self.newest.plan
    }

    /// The oldest epoch whose keys are kept.
    pub(crate) fn oldest(&self) -> Epoch {
        self.older.front().unwrap_or(&self.newest).keyring.epoch()
    }

    /// The keys of `epoch`, if they are kept.
    pub(crate) fn keyring(&self, epoch: Epoch) -> Option<&Keyring> {
        self.all().find(|known| known.keyring.epoch() == epoch).map(|known| &known.keyring)
    }

    /// Judges a statement by the keys of its own epoch.
    ///
    /// # Errors
    /// The [`Suspicion`] against the one who sent it.
    pub(crate) fn judge(&self, signed: &SignedStatement) -> Result<Standing, Suspicion> {
        let (statement, newest) = (&signed.statement, self.newest());
        if (statement.cluster, statement.incarnation) != (newest.cluster(), newest.incarnation()) {
            return Err(Suspicion::Foreign);
        }
        if statement.epoch > newest.epoch() {
            return Ok(Standing::Later);
        }
        match self.keyring(statement.epoch) {
            None => Ok(Standing::Forgotten),
            Some(keyring) if keyring.holds(signed) => Ok(Standing::Signed),
            Some(_) => Err(Suspicion::BadSignature),
        }
    }

    /// Keeps `signed`, whose signature holds, and returns what it newly proves about its epoch.
    pub(crate) fn record(&mut self, signed: SignedStatement) -> Vec<Evidence> {
        let mut all = self.older.iter_mut().chain([&mut self.newest]);
        let known = all.find(|known| known.keyring.epoch() == signed.statement.epoch);
        known.map(|known| known.statements.record(signed)).unwrap_or_default()
    }

    /// Goes on along `chain` from the newest plan, and returns the plans that follow it, with what
    /// is wrong with the chain, if anything; what comes after that is not looked at.
    ///
    /// Cost: at most one signature for each member of every plan followed, and of one more.
    pub(crate) fn follow(&mut self, chain: Vec<SignedPlan>) -> (Vec<SignedPlan>, Option<Flaw>) {
        let mut followed = Vec::new();
        let mut before: Option<SignedPlan> = None;
        for next in chain {
            let epoch = next.plan.epoch;
            if before.as_ref().is_some_and(|before| before.plan.epoch.next() != epoch) {
                return (followed, Some(Flaw::Suspicion(Suspicion::Malformed)));
            }
            let checked = if epoch > self.newest().epoch() {
                self.enter(&next).map(|()| followed.push(next.clone())).map_err(Flaw::Suspicion)
            } else {
                self.compare(before.as_ref(), &next)
            };
            if let Err(flaw) = checked {
                return (followed, Some(flaw));
            }
            before = Some(next);
        }
        (followed, None)
    }

    /// Takes `next` for the newest plan, if it follows the newest one known.
    fn enter(&mut self, next: &SignedPlan) -> Result<(), Suspicion> {
        let (newest, plan) = (self.newest(), &self.newest.plan.plan);
        check_successor(plan, next, newest.scheme()).map_err(|error| suspicion_of(&error))?;
        let keyring = Keyring::new(newest.cluster(), next, newest.scheme().clone())
            .map_err(|_| Suspicion::Malformed)?;
        let left = std::mem::replace(&mut self.newest, Known::new(keyring, next.clone()));
        self.older.push_back(left);
        if self.older.len() >= EPOCHS_KEPT {
            self.older.pop_front();
        }
        Ok(())
    }

    /// Whether `next`, which a member shows after `before`, is the plan known of its epoch. Of an
    /// epoch that is no longer kept, nothing depends on it.
    fn compare(&mut self, before: Option<&SignedPlan>, next: &SignedPlan) -> Result<(), Flaw> {
        let scheme = self.newest().scheme().clone();
        let mut all = self.older.iter_mut().chain([&mut self.newest]);
        let Some(known) = all.find(|known| known.keyring.epoch() == next.plan.epoch) else {
            return Ok(());
        };
        if plan_digest(&known.plan.plan) == plan_digest(&next.plan) {
            return Ok(());
        }
        // What the known plan names as the one before it is that one, whoever shows it.
        let named = known.plan.plan.previous.map(|previous| previous.plan);
        let follows_alike = before.is_some_and(|before| {
            named == Some(plan_digest(&before.plan))
                && check_successor(&before.plan, next, &scheme).is_ok()
        });
        match (follows_alike, std::mem::replace(&mut known.is_forked, follows_alike)) {
            (false, was_forked) => {
                known.is_forked = was_forked;
                Err(Flaw::Suspicion(Suspicion::Foreign))
            }
            (true, true) => Err(Flaw::KnownFork),
            (true, false) => Err(Flaw::Fork(Box::new([known.plan.clone(), next.clone()]))),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Known> {
        self.older.iter().chain([&self.newest])
    }

    /// Statements kept now.
    #[cfg(test)]
    pub(crate) fn statement_count(&self) -> usize {
        self.all().map(|known| known.statements.len()).sum()
    }

    /// Epochs kept now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all().count()
    }
}

impl Known {
    fn new(keyring: Keyring, plan: SignedPlan) -> Self {
        let statements = Statements::new(keyring.group());
        Self { plan, keyring, statements, is_forked: false }
    }
}

fn suspicion_of(error: &ChainError) -> Suspicion {
    match error {
        ChainError::NotSigned { .. } | ChainError::NotHandedOver { .. } => Suspicion::BadSignature,
        ChainError::Plan(_) | ChainError::NotFirst | ChainError::NotNext { .. } => {
            Suspicion::Malformed
        }
    }
}
