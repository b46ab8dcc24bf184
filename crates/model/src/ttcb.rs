//! What a payload protocol asks of the wormholes' distributed mode: the paper's TTCB.
//!
//! **Guarantee:** this is the contract alone, as small as the protocols need it. Whoever implements
//! [`Ttcb`] answers truthfully or not at all: one value for an instance at everybody who asks, and
//! intervals that hold the common time. A process calls the wormhole of its own host only.
//!
//! # Source
//! The paper, section 8.2: trusted block agreement and trusted absolute timestamps. Deviations:
//! blocks of 32 bytes instead of 160 bits; [`Ttcb::propose`] after `tstart` returns its error *and*
//! the tag, so that who comes late still learns what was decided.

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ReplicaId;

/// Processes in an instance of block agreement at most: a mask has so many bits.
pub const ELIST_MAX: usize = 16;

/// A process that said hello to its host's wormhole: unique among all wormholes of a cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Entity {
    /// The host.
    pub replica: ReplicaId,
    /// Which of those that said hello there; never given twice.
    pub local: u32,
}

/// Nanoseconds of the wormholes' common clock.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct TrustedTime(pub u64);

impl TrustedTime {
    /// So much later; stops at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// An interval that holds the common time of the moment of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedTimestamp {
    /// It is not earlier.
    pub earliest: TrustedTime,
    /// It is not later.
    pub latest: TrustedTime,
    /// Whether the wormhole's clock is synchronised: without, the interval says nothing.
    pub is_synchronised: bool,
}

/// How an instance makes one value of those proposed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum DecisionFunction {
    /// The value of the first of the list, the sender.
    ReliableMulticast,
    /// The value that most proposed.
    Plurality,
    /// The value that at least so many proposed.
    MajorityOf(u8),
    /// The value, if all proposed the same.
    AllEqual,
    /// The least.
    Min,
    /// The exclusive or of all.
    Xor,
}

/// A block: small enough for the control channel.
pub type Value = [u8; 32];

/// An instance of block agreement; its three fields together are its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Agreement {
    /// Who takes part: 1 to [`ELIST_MAX`], all different.
    pub elist: Vec<Entity>,
    /// The last instant at which it starts.
    pub tstart: TrustedTime,
    /// How it decides.
    pub decision: DecisionFunction,
}

impl Agreement {
    /// Whether its list has a size that is possible, and nobody twice.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        is_elist(&self.elist)
    }
}

/// Whether a list of this size is possible and names nobody twice.
#[must_use]
pub fn is_elist(elist: &[Entity]) -> bool {
    let is_new =
        |(place, entity): (usize, &Entity)| !elist.iter().take(place).any(|it| it == entity);
    (1..=ELIST_MAX).contains(&elist.len()) && elist.iter().enumerate().all(is_new)
}

/// The members of `elist` whose bits in `mask` are not set.
pub fn missing(elist: &[Entity], mask: u16) -> impl Iterator<Item = Entity> {
    let is_missing = move |(place, _): &(usize, &Entity)| {
        u32::try_from(*place).is_ok_and(|place| mask.checked_shr(place).unwrap_or(0) & 1 == 0)
    };
    elist.iter().enumerate().filter(is_missing).map(|(_, entity)| *entity)
}

/// A handle on an instance at the local wormhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreementTag(pub u64);

/// What came of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The handle for [`Ttcb::decide`]; also with errors of those who come late or twice.
    pub tag: Option<AgreementTag>,
    /// Why the proposal does not count, if so.
    pub error: Option<ProposeError>,
}

/// Why a proposal does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The caller is not in the list.
    #[error("not in the list")]
    NotInElist,
    /// The caller proposed before.
    #[error("already proposed")]
    AlreadyProposed,
    /// The instance has started.
    #[error("tstart is over")]
    TstartExpired,
    /// The wormhole plans no instance so far ahead.
    #[error("tstart is too far ahead")]
    TstartTooFar,
    /// No room now; asking again helps from then on.
    #[error("no room before {}", next_free.0)]
    NoResources {
        /// When there will be.
        next_free: TrustedTime,
    },
    /// The wormhole does not know the common time yet; asking again helps.
    #[error("the clocks are not synchronised")]
    NotSynchronised,
    /// The list is not one, or contradicts what the wormhole knows of the instance.
    #[error("the instance contradicts itself")]
    Conflict,
    /// The wormhole has stopped.
    #[error("the wormhole has halted")]
    Halted,
}

/// Where an instance stands. Bit `i` of a mask stands for the `i`-th of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not ended here.
    Running {
        /// When it should have.
        ends_by: TrustedTime,
    },
    /// It has ended: the same for everybody, for ever.
    Ended {
        /// The value, unless none came about.
        value: Option<Value>,
        /// Who proposed that value.
        proposed_ok: u16,
        /// Who proposed at all.
        proposed_any: u16,
    },
    /// The wormhole could not learn in time how it ended. Others may know.
    GivenUp,
}

/// Why the wormhole gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TtcbError {
    /// It has stopped, for good. The process can only stop too.
    #[error("the wormhole has halted")]
    Halted,
    /// It cannot be reached. It fails only by stopping, so this is the same.
    #[error("the wormhole cannot be reached")]
    Unreachable,
    /// It does not know the tag, or no longer; so it says nothing about how the instance ended.
    #[error("the wormhole does not know this instance")]
    UnknownInstance,
}

/// The wormhole of a process's own host, in its distributed mode. Calls return at once.
pub trait Ttcb {
    /// The common time.
    ///
    /// # Errors
    /// [`TtcbError`] if the wormhole gives no answer.
    fn timestamp(&mut self) -> Result<TrustedTimestamp, TtcbError>;

    /// Takes part in an instance; `None` takes part without a value.
    ///
    /// # Errors
    /// [`TtcbError`] if the wormhole gives no answer; refusals are in [`Proposed`].
    fn propose(
        &mut self,
        agreement: &Agreement,
        value: Option<Value>,
    ) -> Result<Proposed, TtcbError>;

    /// Where an instance stands.
    ///
    /// # Errors
    /// [`TtcbError`] if the wormhole gives no answer, or has forgotten the instance.
    fn decide(&mut self, tag: AgreementTag) -> Result<Progress, TtcbError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entities(count: u16) -> Vec<Entity> {
        (0..count).map(|replica| Entity { replica: ReplicaId(replica), local: 1 }).collect()
    }

    #[test]
    fn a_list_has_one_to_sixteen_and_nobody_twice() {
        for count in 0..20 {
            let elist = entities(count);
            assert_eq!(is_elist(&elist), (1..=16).contains(&count), "{count}");
            let twice: Vec<Entity> = elist.iter().chain(elist.first()).copied().collect();
            assert!(count == 0 || !is_elist(&twice), "{count}");
        }
    }

    #[test]
    fn who_is_missing_stands_in_the_mask_by_its_place() {
        let elist = entities(16);
        assert_eq!(missing(&elist, u16::MAX).count(), 0);
        assert_eq!(missing(&elist, 0).count(), 16);
        for (place, entity) in elist.iter().enumerate() {
            let others = u16::MAX ^ 1 << place;
            assert_eq!(missing(&elist, others).collect::<Vec<_>>(), [*entity]);
        }
    }

    #[test]
    fn trusted_time_stops_at_its_end() {
        assert_eq!(TrustedTime(5).after(Duration::from_micros(1)), TrustedTime(1_005));
        assert_eq!(TrustedTime(5).after(Duration::MAX), TrustedTime(u64::MAX));
    }
}
