//! What processes agree on: names of agreements, proposals and decisions. (How a payload calls:
//! [`client`](crate::client).)

use super::{FrameError, Nanos, Reader, Tag, Writer};
use crate::attestation::ReplicaId;

/// Processes that may take part in one agreement.
pub const ELIST_MAX: usize = 16;

/// What is agreed on: a hash, mostly.
pub type Value = [u8; 32];

/// A process that said hello to its host's wormhole. No two processes of a cluster share one, and none
/// is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its host.
    pub replica: ReplicaId,
    /// Its [`EntityId`](super::EntityId) there.
    pub local: u32,
}

impl Entity {
    const NONE: Self = Self { replica: ReplicaId(0), local: 0 };

    pub(crate) fn put(self, to: &mut Writer<'_>) {
        to.u16(self.replica.0);
        to.bytes(&self.local.to_le_bytes());
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let replica = ReplicaId(from.u16()?);
        Ok(Self { replica, local: u32::from_le_bytes(from.bytes()?) })
    }
}

/// How proposals become one value. Values compare as bytes, the first one the most significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionFunction {
    /// What the first process of the list proposed.
    ReliableMulticast,
    /// What most proposed; of several, that whose first proposer stands first in the list.
    Plurality,
    /// The same, if at least so many proposed it: `1..=` the length of the list.
    MajorityOf(u8),
    /// What all of the list proposed.
    AllEqual,
    /// The least value proposed.
    Min,
    /// The exclusive or of all values proposed.
    Xor,
}

/// The name of an agreement: who says the same is in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    elist: [Entity; ELIST_MAX],
    count: u8,
    /// The last instant at which it starts, in the wormholes' common time.
    pub tstart: Nanos,
    /// How proposals become one value.
    pub decision: DecisionFunction,
}

impl Agreement {
    /// Size of [`Self::put`].
    const BYTES: usize = 1 + 1 + 1 + 8 + ELIST_MAX * 6;

    /// The agreement of these processes; `None` if `elist` is empty, names more than [`ELIST_MAX`] or
    /// one twice, or fewer than `decision` asks for.
    #[must_use]
    pub fn new(elist: &[Entity], tstart: Nanos, decision: DecisionFunction) -> Option<Self> {
        let is_distinct = elist.iter().zip(1..).all(|(one, next)| {
            let rest = elist.get(next..).unwrap_or_default();
            !rest.contains(one)
        });
        let is_possible = match decision {
            DecisionFunction::MajorityOf(least) => (1..=elist.len()).contains(&usize::from(least)),
            _ => true,
        };
        let mut places = [Entity::NONE; ELIST_MAX];
        places.get_mut(..elist.len())?.copy_from_slice(elist);
        let count = u8::try_from(elist.len()).ok().filter(|count| *count > 0)?;
        (is_distinct && is_possible).then_some(Self { elist: places, count, tstart, decision })
    }

    /// Who takes part; bit `i` of a mask stands for the one in place `i`.
    #[must_use]
    pub fn elist(&self) -> &[Entity] {
        self.elist.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The hash of all that names it.
    pub(crate) fn name(&self) -> [u8; 32] {
        let mut bytes = [0; Self::BYTES];
        self.put(&mut Writer::new(&mut bytes));
        *blake3::Hasher::new_derive_key("ravelin wormhole agreement v1")
            .update(&bytes)
            .finalize()
            .as_bytes()
    }

    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        let (code, least) = match self.decision {
            DecisionFunction::ReliableMulticast => (0, 0),
            DecisionFunction::Plurality => (1, 0),
            DecisionFunction::MajorityOf(least) => (2, least),
            DecisionFunction::AllEqual => (3, 0),
            DecisionFunction::Min => (4, 0),
            DecisionFunction::Xor => (5, 0),
        };
        to.bytes(&[self.count, code, least]);
        to.u64(self.tstart.0);
        for entity in self.elist {
            entity.put(to);
        }
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let [count, code, least] = from.bytes()?;
        let decision = match (code, least) {
            (0, 0) => DecisionFunction::ReliableMulticast,
            (1, 0) => DecisionFunction::Plurality,
            (2, least) => DecisionFunction::MajorityOf(least),
            (3, 0) => DecisionFunction::AllEqual,
            (4, 0) => DecisionFunction::Min,
            (5, 0) => DecisionFunction::Xor,
            _ => return Err(FrameError::UnknownCode),
        };
        let tstart = Nanos(from.u64()?);
        let mut places = [Entity::NONE; ELIST_MAX];
        for place in &mut places {
            *place = Entity::take(from)?;
        }
        let (elist, rest) =
            places.split_at_checked(usize::from(count)).ok_or(FrameError::NoAgreement)?;
        if rest.iter().any(|entity| *entity != Entity::NONE) {
            return Err(FrameError::Padding);
        }
        Self::new(elist, tstart, decision).ok_or(FrameError::NoAgreement)
    }
}

/// A wish to take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposeCall {
    /// In what.
    pub agreement: Agreement,
    /// With what; `None` takes part and stands for no value.
    pub value: Option<Value>,
}

/// What became of a proposal. In every case its agreement can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// It is the caller's proposal. Whether it came in time, the decision's masks say.
    Taken = 0,
    /// The caller has proposed before; this changes nothing.
    AlreadyProposed = 1,
    /// The agreement has started, or ended, without it.
    TstartExpired = 2,
}

impl Standing {
    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        match from.u8()? {
            0 => Ok(Self::Taken),
            1 => Ok(Self::AlreadyProposed),
            2 => Ok(Self::TstartExpired),
            _ => Err(FrameError::UnknownCode),
        }
    }
}

/// The answer to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// By this name ask for the decision.
    pub tag: Tag,
    /// Whether it counts.
    pub standing: Standing,
}

/// What was agreed: one thing, the same wherever it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `None`: it ended without a value.
    pub value: Option<Value>,
    /// Who proposed that value; of [`DecisionFunction::Xor`], who proposed any.
    pub proposed_ok: u16,
    /// Who took part.
    pub proposed_any: u16,
}

impl Decision {
    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        put_value(self.value, to);
        to.u16(self.proposed_ok);
        to.u16(self.proposed_any);
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let value = take_value(from)?;
        Ok(Self { value, proposed_ok: from.u16()?, proposed_any: from.u16()? })
    }
}

/// How far an agreement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not decided, as far as this wormhole knows.
    Running {
        /// When it should be, in common time, if a majority of the wormholes is up.
        ends_by: Nanos,
    },
    /// Decided.
    Ended(Decision),
    /// This wormhole does not know: it could not learn in time what was decided, or was asked too late.
    /// Others may know a decision.
    GivenUp,
}

pub(crate) fn put_value(value: Option<Value>, to: &mut Writer<'_>) {
    to.u8(value.is_some().into());
    to.bytes(&value.unwrap_or_default());
}

pub(crate) fn take_value(from: &mut Reader<'_>) -> Result<Option<Value>, FrameError> {
    match (from.flag()?, from.bytes()?) {
        (true, value) => Ok(Some(value)),
        (false, value) if value == [0; 32] => Ok(None),
        (false, _) => Err(FrameError::Padding),
    }
}
