//! The words that every floor shares: who speaks (ids, [`Group`]), what is said (canonical formats),
//! and the two contracts by which the rest fits together, [`Protocol`] and [`Service`].
//!
//! **Guarantee:** everything here is a value or a contract. Nothing performs I/O, reads a clock or
//! checks a signature; decoding is bounded by the input's length and by the named limits.
//!
//! # Source
//! Verissimo, Neves, Correia, *Intrusion-Tolerant Architectures: Concepts and Design* (2003):
//! the fault models of section 6 are [`FaultModel`]; errors apart from faults (section 4.4) are
//! [`Misbehaviour`], the sign, apart from its diagnosis.

pub mod answer;
pub mod attestation;
pub mod audit;
pub mod block;
pub mod codec;
pub mod envelope;
pub mod epochs;
pub mod evidence;
pub mod group;
pub mod ids;
pub mod limits;
pub mod mutants;
pub mod plan;
pub mod protocol;
pub mod reading;
pub mod release;
pub mod reopening;
pub mod requests;
pub mod service;
pub mod transfer;
pub mod ttcb;
pub mod wire;

pub use answer::{
    Answer, AnswerBatch, CommitStatement, MerklePath, OperationResult, Refusal, SignedStatement,
};
pub use attestation::{
    InstanceCertificate, LastAttested, NotAttested, SharedWormhole, Wormhole, WormholeKeys,
};
pub use audit::{
    AUDIT_HEAD_KEY, AuditHead, AuditList, AuditOutcome, AuditRecord, AuditedEnvelope,
    AuditedOperation,
};
pub use block::{
    Block, BlockBody, BlockHeader, BlockRef, Chain, Rekey, SignedHeader, SignedRekey, Vote,
};
pub use codec::{Decode, DecodeError, Encode};
pub use envelope::{Envelope, Operation};
pub use epochs::{EpochMessage, HandoverVote};
pub use evidence::{Evidence, Misbehaviour, Suspicion};
pub use group::{FaultModel, Group, GroupError};
pub use ids::{
    ClusterId, CommitIndex, Digest, Epoch, Incarnation, Position, PublicKey, ReplicaId, Round,
    Sequence, ServiceId, SessionId, Signature, Time,
};
pub use plan::{ClientEntry, ClusterPlan, Member, PlanError, Previous, Purpose, SignedPlan};
pub use protocol::{Action, Actions, LogEntry, LogPart, LogRecord, Place, Protocol};
pub use release::{ReleaseOrder, SignedRelease};
pub use reopening::{Closing, ClosingStage, Cut, Reopening, ReopeningVerdict, SignedReopening};
pub use service::{
    Application, Change, Context, Outcome, QueryContext, Service, ServiceStores, StateBackend,
    Store, View, scan_over,
};
