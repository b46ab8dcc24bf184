//! Size, resilience and the arithmetic of quorums: the only place where `n` and `f` meet.
//!
//! # Source
//! The paper, section 6: arbitrary against hybrid failure assumptions. Two quorums must share a
//! correct replica where replicas may say two things at once; one replica where they cannot.

use borsh::{BorshDeserialize, BorshSerialize};

/// What is assumed of an intruded server and of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum FaultModel {
    /// Nothing for safety; eventual timeliness for liveness. `n >= 3f+1`.
    Arbitrary,
    /// Each server's wormhole fails only by stopping. `n >= 2f+1`.
    Hybrid,
    /// Nothing about time, not even for liveness. `n >= 3f+1`.
    Asynchronous,
}

impl FaultModel {
    /// Rounds from a leader's proposal to its certificates, both included.
    #[must_use]
    pub fn wave(self) -> u64 {
        match self {
            Self::Arbitrary => 3,
            Self::Hybrid => 2,
            Self::Asynchronous => 5,
        }
    }

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arbitrary => "arbitrary",
            Self::Hybrid => "hybrid",
            Self::Asynchronous => "asynchronous",
        }
    }
}

/// `n` replicas of which `f` may be intruded, under one fault model. Holding one is proof that the
/// three fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    n: u16,
    f: u16,
    model: FaultModel,
}

impl Group {
    /// Checks that `n` replicas can tolerate `f` intrusions under `model`.
    ///
    /// # Errors
    /// [`GroupError`] names what does not fit and the nearest values that would.
    pub fn new(n: u16, f: u16, model: FaultModel) -> Result<Self, GroupError> {
        let least = match model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => 3 * u32::from(f) + 1,
            FaultModel::Hybrid => 2 * u32::from(f) + 1,
        };
        if f == 0 {
            return Err(GroupError::NothingTolerated);
        }
        if n > crate::limits::REPLICAS_MAX {
            return Err(GroupError::TooMany { n, most: crate::limits::REPLICAS_MAX });
        }
        if u32::from(n) < least {
            return Err(GroupError::TooFew { n, f, model: model.name(), least });
        }
        let turns = n / gcd(n, u16::try_from(model.wave()).unwrap_or(1));
        if model != FaultModel::Asynchronous && turns <= f {
            return Err(GroupError::Rotation { n, f, wave: model.wave(), turns });
        }
        Ok(Self { n, f, model })
    }

    /// Number of replicas.
    #[must_use]
    pub fn size(self) -> usize {
        usize::from(self.n)
    }

    /// Intrusions tolerated.
    #[must_use]
    pub fn faults(self) -> usize {
        usize::from(self.f)
    }

    /// The fault model.
    #[must_use]
    pub fn model(self) -> FaultModel {
        self.model
    }

    /// All members, in order.
    pub fn members(self) -> impl DoubleEndedIterator<Item = crate::ReplicaId> + Clone {
        (0..self.n).map(crate::ReplicaId)
    }

    /// Whether `replica` is one of the group.
    #[must_use]
    pub fn has(self, replica: crate::ReplicaId) -> bool {
        replica.0 < self.n
    }

    /// Votes after which no other such set can have decided differently.
    #[must_use]
    pub fn quorum(self) -> usize {
        let (n, f) = (usize::from(self.n), usize::from(self.f));
        match self.model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => (n + f) / 2 + 1, // any two share a correct replica
            FaultModel::Hybrid => n / 2 + 1, // any two share a replica, and none can equivocate
        }
    }

    /// Replicas of which at least one is correct.
    #[must_use]
    pub fn one_correct(self) -> usize {
        self.faults() + 1
    }

    /// Replicas that answer even if all intruded ones stay silent.
    #[must_use]
    pub fn responsive(self) -> usize {
        self.size() - self.faults()
    }

    /// Members that, by not voting for a block, prove that no quorum can.
    #[must_use]
    pub fn blocking(self) -> usize {
        self.size() - self.quorum() + 1
    }

    /// Equal answers that make a read without ordering safe.
    #[must_use]
    pub fn fast_read(self) -> usize {
        match self.model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => self.quorum(),
            FaultModel::Hybrid => self.size(),
        }
    }
}

/// Why `n`, `f` and the fault model do not fit together. Retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// `f` is zero.
    #[error("f = 0 tolerates no intrusion; the smallest useful cluster has f = 1")]
    NothingTolerated,
    /// More replicas than supported.
    #[error("{n} replicas are more than the {most} supported")]
    TooMany {
        /// Replicas asked for.
        n: u16,
        /// Replicas supported.
        most: u16,
    },
    /// Too few replicas for `f`.
    #[error("{n} replicas cannot tolerate f = {f} under `{model}`: at least {least} are needed")]
    TooFew {
        /// Replicas asked for.
        n: u16,
        /// Intrusions to tolerate.
        f: u16,
        /// Name of the fault model.
        model: &'static str,
        /// Replicas needed.
        least: u32,
    },
    /// One server would lead every wave that decides.
    #[error(
        "with {n} replicas and waves of {wave} rounds only {turns} servers ever lead a deciding \
         round, not more than f = {f}: choose another number of replicas"
    )]
    Rotation {
        /// Replicas asked for.
        n: u16,
        /// Intrusions to tolerate.
        f: u16,
        /// Rounds of a wave.
        wave: u64,
        /// Distinct leaders of deciding rounds.
        turns: u16,
    },
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
