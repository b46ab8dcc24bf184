//! How a server that halted is let go on: by an order that administrators signed for this halt alone.
//!
//! **Guarantee:** without enough administrators' signatures over the digest of why and where it halted,
//! a replica stays halted. A release is good once: the next one has another number. It forgets
//! nothing: proofs stay in the private state; those named as repaired are no longer counted against
//! `f`, until an epoch gives them another key. Whoever is not named counts as before.
//!
//! Proofs of a member's lies carry no date that could be believed: those against a released member's
//! present key can come up at any time. So the member is excused, not single proofs.
//!
//! A replica that diverged cannot be released: its state is wrong, and its answers would be. Nor can one
//! that saw two histories, each of which a quorum signed: no order says which of them clients believed.
//!
//! # Source
//! The paper, section 5.6 (fail-safe). Decision: `docs/adr/0011-fail-safe-release.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use borsh::{BorshDeserialize, BorshSerialize};
use ravelin_crypto::{ApprovalError, Scheme, check_release, domain_digest};
use ravelin_model::{
    ClusterId, CommitIndex, Decode as _, Digest, Encode as _, Epoch, Evidence, FaultModel,
    ReleaseOrder, ReplicaId, SignedPlan, SignedRelease, StateBackend, mutants,
};

use super::HaltReason;
use super::epochs::recorded_plans;
use super::findings::{EVIDENCE, HALTED, is_fork};
use crate::state::State;

/// Key of what was released so far, in the private state.
const RELEASED: &[u8] = b"r";

/// What administrators released so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Released {
    /// Releases of this server.
    count: u64,
    /// Members called repaired whose key no epoch has changed since.
    repaired: BTreeSet<ReplicaId>,
}

impl Released {
    pub(super) fn recorded(state: &State) -> Self {
        let known = state.private_get(RELEASED);
        let known = known.map(|bytes| Self::decode("releases", &bytes));
        known.map_or_else(Self::default, |known| {
            known.expect("the state holds what this replica wrote")
        })
    }

    /// Whether proof against `member` counts.
    pub(super) fn excuses(&self, member: ReplicaId) -> bool {
        self.repaired.contains(&member)
    }

    /// `member` has another key: what is proven from now on counts. Returns what to write.
    pub(super) fn on_new_key(&mut self, member: ReplicaId) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        self.repaired.remove(&member).then(|| self.write())
    }

    fn write(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (RELEASED.to_vec(), Some(self.encode()))
    }
}

impl HaltReason {
    /// Whether administrators can let a server go on that halted for this.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn check_mendable(&self) -> Result<(), ReleaseError> {
        match self {
            Self::TooManyOffenders { .. } | Self::BrokenWormhole { .. } => Ok(()),
            Self::Diverged { commit } => Err(ReleaseError::Diverged { commit: *commit }),
            Self::TwoPlans { epoch } => Err(ReleaseError::TwoPlans { epoch: *epoch }),
        }
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyOffenders { members } => write!(
                out,
                "there is proof against servers {}, more than are tolerated",
                listed(members)
            ),
            Self::BrokenWormhole { member } => write!(
                out,
                "the wormhole of server {member} attested two blocks where a sound one attests one, so \
                 the servers may disagree"
            ),
            Self::Diverged { commit } => {
                write!(out, "others know the result of commit {} otherwise", commit.0)
            }
            Self::TwoPlans { epoch } => {
                write!(out, "a quorum signed each of two plans for epoch {}", epoch.0)
            }
        }
    }
}

/// Why and where a server halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Why.
    pub reason: HaltReason,
    /// Its last commit.
    pub commit: CommitIndex,
    /// The epoch.
    pub epoch: Epoch,
    /// Number of the release that would let it go on.
    pub serial: u64,
}

/// The state of a server that is not running, for whoever judges its halt.
pub struct Halted {
    state: State,
    cluster: ClusterId,
    own: ReplicaId,
    plan: SignedPlan,
    released: Released,
}

impl Halted {
    /// Looks into `backend`, the state of `own`, in the cluster whose first plan is `first`.
    ///
    /// # Panics
    /// If the state was not written by this program.
    #[must_use]
    pub fn open(
        backend: Box<dyn StateBackend + Send>,
        (cluster, first): (ClusterId, SignedPlan),
        own: ReplicaId,
    ) -> Self {
        let plan = recorded_plans(&*backend).pop().unwrap_or(first);
        let state = State::open(backend);
        let released = Released::recorded(&state);
        Self { state, cluster, own, plan, released }
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> &SignedPlan {
        &self.plan
    }

    /// Why and where the server halted, if it did.
    #[must_use]
    pub fn halt(&self) -> Option<Halt> {
        let reason = HaltReason::decode("halt reason", &self.state.private_get(HALTED)?);
        let reason = reason.expect("the state holds what this replica wrote");
        let (commit, epoch) = (self.state.commit(), self.plan.plan.epoch);
        Some(Halt { reason, commit, epoch, serial: self.released.count + 1 })
    }

    /// Proofs of misbehaviour that the server holds, by member.
    #[must_use]
    pub fn proofs(&self) -> Vec<Evidence> {
        recorded_proofs(&self.state)
    }

    /// The order that would let the server go on, for administrators to sign; without `repaired`, for
    /// all against whom it holds proof.
    #[must_use]
    pub fn draft(&self, repaired: Option<Vec<ReplicaId>>, issued: String) -> Option<ReleaseOrder> {
        let halt = self.halt()?;
        let repaired: BTreeSet<ReplicaId> = match repaired {
            Some(named) => named.into_iter().collect(),
            None => self.offenders(),
        };
        let repaired = repaired.into_iter().collect();
        Some(self.order(&halt, repaired, issued))
    }

    /// Takes a release: from its next start on the server goes on.
    ///
    /// # Errors
    /// [`ReleaseError`]; nothing is changed then.
    pub fn release(&mut self, signed: &SignedRelease, scheme: &Scheme) -> Result<(), ReleaseError> {
        let order = &signed.order;
        let plan = &self.plan.plan;
        if (order.cluster, order.incarnation) != (self.cluster, plan.incarnation) {
            return Err(ReleaseError::OtherCluster);
        }
        if order.server != self.own {
            return Err(ReleaseError::OtherServer { server: order.server });
        }
        check_release(signed, plan, scheme)?;
        let halt = self.halt().ok_or(ReleaseError::NotHalted)?;
        let fits = self.order(&halt, order.repaired.clone(), order.issued.clone()) == *order;
        if !fits && !mutants::is_active("release_of_any_halt") {
            return Err(ReleaseError::OtherHalt { serial: order.serial, next: halt.serial });
        }
        halt.reason.check_mendable()?;
        self.check_repaired(&order.repaired)?;
        self.released.count += 1;
        self.released.repaired.extend(&order.repaired);
        self.state.private_write(vec![(HALTED.to_vec(), None), self.released.write()]);
        self.state.sync(); // the server does not run
        Ok(())
    }

    /// Refuses to release a server that would halt again at once. Members may be named against whom
    /// only others hold proof: it will arrive here.
    fn check_repaired(&self, repaired: &[ReplicaId]) -> Result<(), ReleaseError> {
        let offenders = self.offenders();
        let size = self.plan.plan.members.len();
        if let Some(member) = repaired.iter().find(|member| member.index() >= size) {
            return Err(ReleaseError::NoMember { member: *member });
        }
        let left: Vec<ReplicaId> =
            offenders.into_iter().filter(|member| !repaired.contains(member)).collect();
        let is_broken = |member: &ReplicaId| {
            self.plan.plan.fault_model == FaultModel::Hybrid
                && self.proofs().iter().any(|it| it.accused() == *member && is_fork(it))
        };
        if left.len() > usize::from(self.plan.plan.f) || left.iter().any(is_broken) {
            return Err(ReleaseError::TooManyLeft { members: left });
        }
        Ok(())
    }

    /// Members with proof against them that counts.
    fn offenders(&self) -> BTreeSet<ReplicaId> {
        let accused = self.proofs().into_iter().map(|proof| proof.accused());
        accused.filter(|member| !self.released.excuses(*member)).collect()
    }

    fn order(&self, halt: &Halt, repaired: Vec<ReplicaId>, issued: String) -> ReleaseOrder {
        let halted = [halt.reason.encode(), halt.commit.encode()];
        let digest: Digest =
            domain_digest("ravelin halt v1", &halted.each_ref().map(Vec::as_slice));
        ReleaseOrder {
            cluster: self.cluster,
            incarnation: self.plan.plan.incarnation,
            epoch: halt.epoch,
            server: self.own,
            halt: digest,
            serial: halt.serial,
            repaired,
            issued,
        }
    }
}

/// The proofs that `state` holds, by member.
pub(super) fn recorded_proofs(state: &State) -> Vec<Evidence> {
    let mut proofs = Vec::new();
    state.private_scan(&[EVIDENCE], Some(&[EVIDENCE + 1]), &mut |_, bytes| {
        let evidence = Evidence::decode("evidence", bytes);
        proofs.push(evidence.expect("the state holds what this replica wrote"));
        ControlFlow::Continue(())
    });
    proofs
}

/// Why a release has no effect. Retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It is for another cluster or incarnation.
    #[error("the release is for another cluster or incarnation")]
    OtherCluster,
    /// It is for another server.
    #[error("the release is for server {server}")]
    OtherServer {
        /// For which.
        server: ReplicaId,
    },
    /// The signatures do not suffice.
    #[error("the release is not approved")]
    NotApproved(#[from] ApprovalError),
    /// The server is not halted.
    #[error("the server has not halted")]
    NotHalted,
    /// It is for another halt, before or after this one.
    #[error(
        "the release is for another halt: it is number {serial}, and number {next} is needed here"
    )]
    OtherHalt {
        /// Its number.
        serial: u64,
        /// The number of the release that is needed.
        next: u64,
    },
    /// The server's state is wrong.
    #[error("the server's state is wrong since commit {}: no release makes it right", commit.0)]
    Diverged {
        /// The commit that the others know otherwise.
        commit: CommitIndex,
    },
    /// There are two histories.
    #[error("a quorum signed each of two plans for epoch {}: the servers' histories have split", epoch.0)]
    TwoPlans {
        /// The epoch.
        epoch: Epoch,
    },
    /// It excuses a server that there is not.
    #[error("the release calls server {member} repaired, which the plan does not name")]
    NoMember {
        /// Which.
        member: ReplicaId,
    },
    /// The server would halt again.
    #[error(
        "the release leaves more offenders than the cluster tolerates: servers {}",
        listed(members)
    )]
    TooManyLeft {
        /// Who is accused and not named as repaired.
        members: Vec<ReplicaId>,
    },
}

fn listed(members: &[ReplicaId]) -> String {
    let names: Vec<String> = members.iter().map(ToString::to_string).collect();
    names.join(", ")
}
