//! The wormhole of this host in its distributed mode, as payload protocols ask for it.
//!
//! **Guarantee:** a [`LocalTtcb`] says what the wormhole said in answer to the very call, or gives no
//! answer. What the wormhole refuses for now, because the process asked for more than its share, is
//! told as "not yet", which the protocols can wait for.
//!
//! | the wormhole | here |
//! |---|---|
//! | `Taken`, `AlreadyProposed`, `TstartExpired` | the tag, with no error or with that one |
//! | refuses a proposal | no tag, and why |
//! | refuses a question for want of room | an interval that says nothing; still running |
//! | does not know how an agreement ended | [`Progress::GivenUp`] |
//! | refuses a question about what it does not know | [`TtcbError::UnknownInstance`] |
//! | has halted | [`TtcbError::Halted`] |
//! | does not answer, or what answers is not it | [`TtcbError::Unreachable`] |
//!
//! # Source
//! The paper, section 8.2: each process calls the TTCB of its own host.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_model::ttcb::{
    Agreement, AgreementTag, DecisionFunction, Entity, Progress, ProposeError, Proposed,
    TrustedTime, TrustedTimestamp, Ttcb, TtcbError, Value,
};
use ravelin_wormhole::attestation::{self, Peer};
use ravelin_wormhole::client::{CallError, Channel, Client, HelloError, SeqPacket};
use ravelin_wormhole::frame::{self, Nanos, Refusal, Standing, Tag};
use zeroize::Zeroizing;

use crate::wormhole::{QUICK_ANSWER_MAX, greet};

/// After what time to ask again for what was refused for want of room: every budget of the wormhole
/// is full again within it. The time that the wormhole names is one of its own clock, which the
/// common time says nothing about.
const ROOM_AFTER: Duration = Duration::from_secs(1);

/// A session with the wormhole of this host.
pub struct LocalTtcb<C>(Client<C>);

impl LocalTtcb<SeqPacket> {
    /// Says hello to the wormhole at the other end of `end`, which must be `wormhole`.
    ///
    /// # Errors
    /// [`HelloError`]
    pub fn connect(end: &OwnedFd, wormhole: &Peer) -> Result<Self, HelloError> {
        greet(end, wormhole, QUICK_ANSWER_MAX).map(Self)
    }
}

impl<C: Channel> LocalTtcb<C> {
    /// Who this process is to the others, once and for all.
    #[must_use]
    pub fn entity(&self) -> Option<Entity> {
        let entity = self.0.entity()?;
        Some(Entity { replica: ReplicaId(entity.replica.0), local: entity.local })
    }

    /// A key that this process and `other` alone get, each once; `None`: not yet, ask again.
    ///
    /// # Errors
    /// [`CallError`]; a refusal means that there will be none.
    pub fn pair_key(&mut self, other: Entity) -> Result<Option<Zeroizing<[u8; 32]>>, CallError> {
        match self.0.pair_key(theirs(other)) {
            Err(CallError::Refused(Refusal::NoResources { .. })) => Ok(None),
            answer => answer,
        }
    }

    fn refused(
        &mut self,
        agreement: &Agreement,
        refusal: Refusal,
    ) -> Result<ProposeError, TtcbError> {
        Ok(match refusal {
            Refusal::NotInElist => ProposeError::NotInElist,
            // One that has no peers knows none of those in the list.
            Refusal::Conflict | Refusal::NotDistributed => ProposeError::Conflict,
            Refusal::TooFar => ProposeError::TstartTooFar,
            Refusal::TstartExpired => ProposeError::TstartExpired,
            Refusal::NotSynchronised => ProposeError::NotSynchronised,
            Refusal::Halted { .. } => ProposeError::Halted,
            Refusal::NoResources { .. } => {
                let stamp = self.timestamp()?;
                let known = stamp.is_synchronised.then(|| stamp.latest.after(ROOM_AFTER));
                ProposeError::NoResources { next_free: known.unwrap_or(agreement.tstart) }
            }
            _ => return Err(TtcbError::Unreachable),
        })
    }
}

impl<C: Channel> Ttcb for LocalTtcb<C> {
    fn timestamp(&mut self) -> Result<TrustedTimestamp, TtcbError> {
        match self.0.timestamp() {
            Ok(stamp) => Ok(TrustedTimestamp {
                earliest: TrustedTime(stamp.earliest.0),
                latest: TrustedTime(stamp.latest.0),
                is_synchronised: stamp.synchronised,
            }),
            Err(CallError::Refused(Refusal::NoResources { .. })) => Ok(TrustedTimestamp {
                earliest: TrustedTime(0),
                latest: TrustedTime(u64::MAX),
                is_synchronised: false,
            }),
            Err(error) => Err(gone(&error)),
        }
    }

    fn propose(
        &mut self,
        agreement: &Agreement,
        value: Option<Value>,
    ) -> Result<Proposed, TtcbError> {
        let Some(named) = agreement_of(agreement) else {
            return Ok(Proposed { tag: None, error: Some(ProposeError::Conflict) });
        };
        match self.0.propose(named, value) {
            Ok(frame::Proposed { tag, standing }) => {
                let error = match standing {
                    Standing::Taken => None,
                    Standing::AlreadyProposed => Some(ProposeError::AlreadyProposed),
                    Standing::TstartExpired => Some(ProposeError::TstartExpired),
                };
                Ok(Proposed { tag: Some(AgreementTag(tag.0)), error })
            }
            Err(CallError::Refused(refusal)) => {
                Ok(Proposed { tag: None, error: Some(self.refused(agreement, refusal)?) })
            }
            Err(error) => Err(gone(&error)),
        }
    }

    fn decide(&mut self, tag: AgreementTag) -> Result<Progress, TtcbError> {
        match self.0.decide(Tag(tag.0)) {
            Ok(frame::Progress::Running { ends_by }) => {
                Ok(Progress::Running { ends_by: TrustedTime(ends_by.0) })
            }
            Ok(frame::Progress::Ended(decision)) => Ok(Progress::Ended {
                value: decision.value,
                proposed_ok: decision.proposed_ok,
                proposed_any: decision.proposed_any,
            }),
            Ok(frame::Progress::GivenUp) => Ok(Progress::GivenUp),
            // It may have ended; when, was not said.
            Err(CallError::Refused(Refusal::NoResources { .. })) => {
                Ok(Progress::Running { ends_by: TrustedTime(u64::MAX) })
            }
            Err(CallError::Refused(Refusal::UnknownTag)) => Err(TtcbError::UnknownInstance),
            Err(error) => Err(gone(&error)),
        }
    }
}

/// Why there is no answer, where none of the protocol's own reasons fits.
fn gone(error: &CallError) -> TtcbError {
    match error {
        CallError::Refused(Refusal::Halted { .. }) => TtcbError::Halted,
        _ => TtcbError::Unreachable,
    }
}

fn theirs(entity: Entity) -> frame::Entity {
    frame::Entity { replica: attestation::ReplicaId(entity.replica.0), local: entity.local }
}

/// The wormhole's word for an agreement; `None` if it could be none.
fn agreement_of(agreement: &Agreement) -> Option<frame::Agreement> {
    let elist: Vec<frame::Entity> = agreement.elist.iter().copied().map(theirs).collect();
    let decision = match agreement.decision {
        DecisionFunction::ReliableMulticast => frame::DecisionFunction::ReliableMulticast,
        DecisionFunction::Plurality => frame::DecisionFunction::Plurality,
        DecisionFunction::MajorityOf(least) => frame::DecisionFunction::MajorityOf(least),
        DecisionFunction::AllEqual => frame::DecisionFunction::AllEqual,
        DecisionFunction::Min => frame::DecisionFunction::Min,
        DecisionFunction::Xor => frame::DecisionFunction::Xor,
    };
    frame::Agreement::new(&elist, Nanos(agreement.tstart.0), decision)
}
