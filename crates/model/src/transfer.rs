//! What replicas say to each other when one fetches the state from the others.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::wire::StateNode;
use crate::{BlockRef, CommitIndex, Digest, Epoch, Position, SignedPlan, SignedStatement};

/// Bits of a path.
pub const PATH_BITS: u16 = 256;

/// A place in the authenticated state: the way to it from the root.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Spot {
    /// Steps from the root, at most [`PATH_BITS`].
    pub depth: u16,
    /// The first `depth` bits are the way; the others are zero.
    pub prefix: Digest,
}

impl Spot {
    /// The place of the root.
    pub const ROOT: Self = Self { depth: 0, prefix: Digest([0; 32]) };

    /// Whether it is one that there can be.
    #[must_use]
    pub fn is_place(&self) -> bool {
        let beyond = (self.depth..PATH_BITS).any(|bit| bit_of(&self.prefix, bit));
        self.depth <= PATH_BITS && !beyond
    }

    /// The places below, where the next bit is 0, or 1; `None` at the end of all paths.
    #[must_use]
    pub fn below(&self) -> Option<[Self; 2]> {
        let depth = self.depth.checked_add(1).filter(|depth| *depth <= PATH_BITS)?;
        let mut right = self.prefix;
        if let Some(byte) = right.0.get_mut(usize::from(self.depth / 8)) {
            *byte |= 0x80 >> (self.depth % 8);
        }
        Some([Self { depth, prefix: self.prefix }, Self { depth, prefix: right }])
    }

    /// Whether the way to `path` leads through here.
    #[must_use]
    pub fn leads_to(&self, path: &Digest) -> bool {
        (0..self.depth).all(|bit| bit_of(path, bit) == bit_of(&self.prefix, bit))
    }
}

/// A bit of a path; the first one is the highest of the first byte.
fn bit_of(path: &Digest, bit: u16) -> bool {
    path.0.get(usize::from(bit / 8)).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
}

/// When one replica fetches the state from the others.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TransferMessage {
    /// Which state can the receiver show? The sender knows the plans up to this epoch, and is past
    /// this commit.
    Ask {
        /// The last epoch whose plan it has.
        epoch: Epoch,
        /// Its own last commit.
        commit: CommitIndex,
    },
    /// The answer to `Ask`.
    Offer(Box<Offer>),
    /// Asks for a part of the state after a commit.
    Want(StateRequest),
    /// The answer to `Want`.
    Have(StateReply),
}

/// A state that its receiver may fetch, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// The plans that follow the asker's, in order, as many as fit.
    pub plans: Vec<SignedPlan>,
    /// A checkpoint of the epoch of the last plan; none while that is not among `plans`, or the asker
    /// is past it.
    pub checkpoint: Option<Checkpoint>,
    /// Where its sender stands, if it has no such checkpoint.
    pub present: Option<Present>,
}

/// The state of one member, in the epoch of its last plan. No signature vouches for it: it is believed
/// of `f+1` members that show the same, and of nobody else.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Present {
    /// Its last commit.
    pub commit: CommitIndex,
    /// The last position given out by then.
    pub position: Position,
    /// The root of its public state.
    pub state: Digest,
    /// Canonical bytes of its ordering state.
    pub ordering: Vec<u8>,
    /// References delivered above that state's horizon, ascending.
    pub delivered: Vec<BlockRef>,
}

/// A state that a quorum vouches for, and where the order goes on from it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    /// Equal statements of a quorum about its commit; none for the state in which the epoch began, to
    /// which its plan is witness.
    pub statements: Vec<SignedStatement>,
    /// Canonical bytes of the ordering state, whose digest the statements name.
    pub ordering: Vec<u8>,
    /// References delivered above its horizon, ascending; under the same digest.
    pub delivered: Vec<BlockRef>,
}

impl Checkpoint {
    /// That of the state in which an epoch began.
    #[must_use]
    pub fn of_beginning() -> Self {
        Self { statements: Vec::new(), ordering: Vec::new(), delivered: Vec::new() }
    }
}

/// Asks for a part of the state after `commit`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateRequest {
    /// The commit.
    pub commit: CommitIndex,
    /// What of its state.
    pub wanted: Wanted,
}

/// A part of the state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Wanted {
    /// The nodes at these places and below them.
    Nodes {
        /// So many levels.
        levels: u8,
        /// The places.
        spots: Vec<Spot>,
    },
    /// The entries with these paths.
    Entries(Vec<Digest>),
    /// The entries with state keys from this one on, and below the other.
    Range {
        /// The first key.
        from: Vec<u8>,
        /// The end; without it, that of all keys.
        until: Option<Vec<u8>>,
    },
}

/// The answer to a [`StateRequest`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateReply {
    /// The request's.
    pub commit: CommitIndex,
    /// The part, or the beginning of it.
    pub found: Found,
}

/// A part of the state, as it was after a commit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Found {
    /// Of each place asked for, in order, its nodes level by level, each level from the left; of the
    /// last one only the beginning where the answer grew too large.
    Nodes(Vec<Vec<StateNode>>),
    /// State key and value of each entry asked for, in order.
    Entries(Vec<(Vec<u8>, Vec<u8>)>),
    /// The sender does not keep the state of that commit.
    Gone,
    /// Of a range, entries as they are by now, ascending by key; some may be left out.
    Range {
        /// State key and value of each.
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        /// Where the rest of the range begins, if there is more.
        next: Option<Vec<u8>>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(first: u8) -> Digest {
        let mut bytes = [0; 32];
        bytes[0] = first;
        Digest(bytes)
    }

    #[test]
    fn ways_lead_bit_by_bit() {
        let [left, right] = Spot::ROOT.below().unwrap();
        assert_eq!(left, Spot { depth: 1, prefix: digest(0) });
        assert_eq!(right, Spot { depth: 1, prefix: digest(0b1000_0000) });
        let [_, right] = right.below().unwrap();
        assert_eq!(right, Spot { depth: 2, prefix: digest(0b1100_0000) });
        assert!(right.leads_to(&digest(0b1101_0001)) && !right.leads_to(&digest(0b1001_0001)));
        assert!(Spot::ROOT.leads_to(&digest(0xff)));
    }

    #[test]
    fn a_place_has_no_bits_beyond_its_depth() {
        assert!(Spot { depth: 4, prefix: digest(0b1011_0000) }.is_place());
        assert!(!Spot { depth: 4, prefix: digest(0b1011_1000) }.is_place());
        let end = Spot { depth: PATH_BITS, prefix: Digest([0xff; 32]) };
        assert!(end.is_place());
        assert_eq!(end.below(), None);
        assert!(!Spot { depth: PATH_BITS + 1, ..end }.is_place());
        assert!(!Spot { depth: u16::MAX, ..end }.is_place());
    }
}
