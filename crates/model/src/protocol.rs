//! The contract of every protocol core: inputs in, actions out; no I/O, no clock.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    Block, BlockHeader, Chain, Encode as _, Epoch, Group, Misbehaviour, ReplicaId, Round,
    Signature, Time,
};

/// A deterministic state machine: inputs in, actions out; no I/O, no clock.
pub trait Protocol {
    /// What replicas say to each other, already verified.
    type Message: Clone;
    /// What the core tells the host it runs on.
    type Event;

    /// Takes one authenticated message of `from`.
    fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: Self::Message,
        out: &mut Actions<Self>,
    );

    /// Takes the passing of time; early calls are harmless.
    fn on_time(&mut self, now: Time, out: &mut Actions<Self>);

    /// When [`Protocol::on_time`] should be called at the latest.
    fn next_deadline(&self) -> Option<Time>;
}

/// What a [`Protocol`] wants done, in this order.
pub type Actions<P> = Vec<Action<<P as Protocol>::Message, <P as Protocol>::Event>>;

/// One thing that a core asks of the world. Performed in order.
#[derive(Clone, Debug)]
pub enum Action<M, E> {
    /// Make durable before any later action shows; the core goes on meanwhile.
    Persist(LogEntry),
    /// To one replica.
    Send(ReplicaId, M),
    /// To every replica, this one included.
    Broadcast(M),
    /// To the host: an answer to a client, a change of status.
    Emit(E),
    /// Have this replica's wormhole attest its own block, and hand the answer back as a message of its
    /// own.
    Attest(BlockHeader),
    /// A peer did what no correct replica does.
    Accuse(ReplicaId, Misbehaviour),
}

/// Where a record of the log belongs; rounds begin again in every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Place {
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: Round,
}

/// Bits of a [`Place`]'s number that count rounds: a thousand a second for 34 years.
const ROUND_BITS: u32 = 40;

impl Place {
    /// One number that rises with the place, as far as rounds and epochs have room in it.
    #[must_use]
    pub fn number(self) -> u64 {
        let epoch = self.epoch.0.min(u64::MAX >> ROUND_BITS);
        epoch << ROUND_BITS | self.round.0.min((1 << ROUND_BITS) - 1)
    }

    /// The place with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let round = Round(number & ((1 << ROUND_BITS) - 1));
        Self { epoch: Epoch(number >> ROUND_BITS), round }
    }
}

/// What a core has its log take in. Whoever reads a log finds [records](LogRecord) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A record.
    Whole(LogRecord),
    /// A [draft](Block::is_draft): a record of its own, to which an attestation may come.
    Draft(LogRecord),
    /// The attestation of the latest draft since the start: a record with its bytes, but for this at the end.
    Attested {
        /// The draft's place.
        place: Place,
        /// What its wormhole answered.
        attestation: Signature,
    },
}

/// One record of a replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where the record belongs; a log is pruned and read back by it.
    pub place: Place,
    /// Canonical bytes of a block.
    pub bytes: Vec<u8>,
}

impl LogRecord {
    /// The record of a block.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        let place = Place { epoch: block.body.epoch, round: block.body.round };
        Self { place, bytes: block.encode() }
    }
}

impl LogEntry {
    /// The record that a log takes this for, which remembers the last `draft` since its start; none at first.
    ///
    /// # Panics
    /// If this is an attestation, and not the first one that follows a draft of its place.
    #[must_use]
    pub fn into_record(self, draft: &mut Option<LogRecord>) -> LogRecord {
        match self {
            Self::Whole(record) => record,
            Self::Draft(record) => draft.insert(record).clone(),
            Self::Attested { place, attestation } => {
                let draft = draft.take().filter(|draft| draft.place == place);
                let mut record = draft.expect("its draft is asked for before an attestation");
                let end = record.bytes.len() - attestation.0.len();
                record.bytes.splice(end.., attestation.0);
                record
            }
        }
    }
}

/// Which records of a log a peer is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LogPart {
    /// All from a place on.
    From(Place),
    /// One author's blocks of some rounds of an epoch. They may stand anywhere after their rounds'
    /// other blocks: an author may hand out its blocks as late as it likes.
    Chain {
        /// The epoch.
        epoch: Epoch,
        /// The author.
        author: ReplicaId,
        /// The first round, and the last.
        rounds: (Round, Round),
    },
}

impl LogPart {
    /// What holds these chains of members of `group`: one part an author.
    #[must_use]
    pub fn of_chains(epoch: Epoch, group: Group, chains: &[Chain]) -> Vec<Self> {
        let mut rounds = BTreeMap::new();
        for Chain { tip, after } in chains.iter().filter(|chain| group.has(chain.tip.author)) {
            let (first, last) =
                rounds.entry(tip.author).or_insert_with(|| (after.next(), tip.round));
            (*first, *last) = (after.next().min(*first), tip.round.max(*last));
        }
        let parts = rounds.into_iter();
        parts.map(|(author, rounds)| Self::Chain { epoch, author, rounds }).collect()
    }

    /// The epoch of its records, or of the first of them.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.places().0.epoch
    }

    /// The lowest and the highest place that its records can have.
    #[must_use]
    pub fn places(&self) -> (Place, Place) {
        match *self {
            Self::From(place) => (place, Place::from_number(u64::MAX)),
            Self::Chain { epoch, rounds: (first, last), .. } => {
                (Place { epoch, round: first }, Place { epoch, round: last })
            }
        }
    }

    /// Whether a record belongs to it. Drafts are nobody's affair: whoever counted them as part of an answer
    /// would have peers ask again and again for what never comes.
    #[must_use]
    pub fn holds(&self, place: Place, bytes: &[u8]) -> bool {
        let (first, last) = self.places();
        (first..=last).contains(&place)
            && !Block::is_draft(bytes)
            && match *self {
                Self::From(_) => true,
                Self::Chain { author, .. } => Block::author_in(bytes) == Some(author),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last round and the last epoch that have a number of their own.
    const ROUND_LAST: u64 = (1 << 40) - 1;
    const EPOCH_LAST: u64 = (1 << 24) - 1;

    fn at(epoch: u64, round: u64) -> Place {
        Place { epoch: Epoch(epoch), round: Round(round) }
    }

    #[test]
    fn a_place_comes_back_from_its_number() {
        assert_eq!(at(1, 0).number(), 0x0000_0100_0000_0000);
        assert_eq!(at(0x0a_0b0c, 0x01_0203_0405).number(), 0x0a0b_0c01_0203_0405);
        for epoch in [0, 1, 2, EPOCH_LAST - 1, EPOCH_LAST] {
            for round in [0, 1, 2, ROUND_LAST - 1, ROUND_LAST] {
                assert_eq!(Place::from_number(at(epoch, round).number()), at(epoch, round));
            }
        }
        assert_eq!(Place::from_number(u64::MAX), at(EPOCH_LAST, ROUND_LAST));
    }

    #[test]
    fn what_has_no_room_counts_as_the_last_that_has() {
        for round in [ROUND_LAST + 1, u64::MAX] {
            assert_eq!(Place::from_number(at(3, round).number()), at(3, ROUND_LAST));
        }
        for epoch in [EPOCH_LAST + 1, u64::MAX] {
            assert_eq!(Place::from_number(at(epoch, 7).number()), at(EPOCH_LAST, 7));
        }
    }

    #[test]
    fn numbers_never_fall_as_places_rise() {
        let rounds = [0, 1, 2, ROUND_LAST - 1, ROUND_LAST, ROUND_LAST + 1, u64::MAX];
        let epochs = [0, 1, 2, EPOCH_LAST - 1, EPOCH_LAST];
        let places = epochs.iter().flat_map(|epoch| rounds.map(|round| at(*epoch, round)));
        let places: Vec<_> = places.collect();
        assert!(places.is_sorted());
        assert!(places.iter().map(|place| place.number()).is_sorted());
        let has_room = |place: &&Place| place.round.0 <= ROUND_LAST;
        let numbers: Vec<_> = places.iter().filter(has_room).map(|it| it.number()).collect();
        assert!(numbers.windows(2).all(|two| matches!(two, [one, next] if one < next)));
    }
}
