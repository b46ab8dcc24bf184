//! The names of all intruders.
//!
//! In `hybrid` a sound wormhole attests one block a round, each after the last. So what some make has no
//! attestation there, and nobody takes it: they are as loud as elsewhere, and harmless if everybody bears
//! the noise. Those are all who fork (`chain-gap`, `different-to-each`, `equivocator`, `future-flood`,
//! `offline-tree`; `twin`, whose two replicas share one counter), and the blocks that `bad-envelopes`,
//! `false-accuser`, `giant`, `stale-epoch` and `wrong-parents` put beside those of their replica. The makers
//! are believed, for they make blocks in their replica's place; and `attested-nonsense` shows what a block
//! that breaks the rules does when it is its author's only one of the round.
//!
//! One promise is weaker in `hybrid`: a quorum may hold no more than one correct clock, so `f` slow ones hold
//! agreed time back, and at a cluster's beginning its first times may be theirs. Sessions opened then are
//! lost in the next moment if those clocks are an hour slow (`past-clock`): `slow-clock` stays below that.

use ravelin_model::FaultModel;

use super::Intruder;
use super::attested_nonsense::AttestedNonsense;
use super::bad_envelopes::BadEnvelopes;
use super::burnt_counter::BurntCounter;
use super::censor::Censor;
use super::chain_gap::ChainGap;
use super::clocks::Clock;
use super::delayer::Delayer;
use super::deserter::Deserter;
use super::different_to_each::DifferentToEach;
use super::duplicate_envelopes::DuplicateEnvelopes;
use super::equivocator::Equivocator;
use super::fake_fast::FakeFast;
use super::falls_silent::FallsSilent;
use super::false_accuser::FalseAccuser;
use super::false_closings::FalseClosings;
use super::false_state::FalseState;
use super::forger::Forger;
use super::future_flood::FutureFlood;
use super::garbage::Garbage;
use super::giant::Giant;
use super::hides_parents::HidesParents;
use super::late_heaps::LateHeaps;
use super::liar::Liar;
use super::minimal_links::MinimalLinks;
use super::mute::Mute;
use super::never_votes_first::NeverVotesFirst;
use super::offline_tree::OfflineTree;
use super::old_orders::OldOrders;
use super::perjurer::Perjurer;
use super::replayer::Replayer;
use super::slow_leader::SlowLeader;
use super::stale_epoch::StaleEpoch;
use super::twin::Twin;
use super::votes_nobody::VotesNobody;
use super::whisperer::Whisperer;
use super::withholder::Withholder;
use super::wrong_parents::WrongParents;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name.
    pub name: &'static str,
    /// What it does, in one line.
    pub what: &'static str,
    /// Whether it makes sense against real servers: its effect does not depend on an order of
    /// messages that only the simulator can arrange, on taking over before the first start, or on
    /// somebody's wish for another key.
    pub is_live: bool,
    /// Whether it signs what proves its server faulty, or what that server does not know of
    /// afterwards: the server's key is spent then, and it never takes part again.
    pub spends_key: bool,
    /// What alone it is drawn for: it turns its server's wormhole against it, or breaks a promise that
    /// other fault models do not make.
    pub only_in: Option<FaultModel>,
    /// Whose blocks it works with; decides with whom it can be composed.
    pub blocks: Blocks,
    make: fn() -> Box<dyn Intruder>,
}

impl Description {
    /// Whether it is for runs that assume `model`.
    #[must_use]
    pub fn acts_in(&self, model: FaultModel) -> bool {
        self.only_in.is_none_or(|only| only == model)
    }

    const fn only_in(self, model: FaultModel) -> Self {
        Self { only_in: Some(model), ..self }
    }

    const fn with_wormhole(self) -> Self {
        self.simulated().only_in(FaultModel::Hybrid)
    }

    const fn spending(self) -> Self {
        Self { spends_key: true, ..self }
    }

    const fn simulated(self) -> Self {
        Self { is_live: false, ..self }
    }
}

/// What an intruder has to do with its server's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Nothing: composes with everyone.
    Leaves,
    /// It alters, hides or follows up its replica's blocks.
    Alters,
    /// It makes blocks in its replica's place: for those who alter that one's, nothing is left.
    Makes,
}

/// All intruders, by name.
#[must_use]
pub fn all() -> &'static [Description] {
    ALL
}

/// The intruder of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<Box<dyn Intruder>> {
    ALL.iter().find(|known| known.name == name).map(|known| (known.make)())
}

/// The intruders of these names, joined by `+`, in this order.
#[must_use]
pub fn by_names(names: &str) -> Option<Vec<Box<dyn Intruder>>> {
    names.split('+').map(by_name).collect()
}

const fn described(
    name: &'static str,
    what: &'static str,
    blocks: Blocks,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    Description { name, what, is_live: true, spends_key: false, only_in: None, blocks, make }
}

const fn aside(
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    described(name, what, Blocks::Leaves, make)
}

const fn alters(
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    described(name, what, Blocks::Alters, make)
}

const fn maker(
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    described(name, what, Blocks::Makes, make)
}

const ALL: &[Description] = &[
    alters("attested-nonsense", "has its wormhole attest a block that breaks the rules", || {
        Box::new(AttestedNonsense)
    })
    .spending()
    .with_wormhole(),
    alters("bad-envelopes", "hides badly signed envelopes among good ones", || {
        Box::new(BadEnvelopes)
    }),
    alters("burnt-counter", "has its wormhole's counter jump over all rounds to come", || {
        Box::new(BurntCounter)
    })
    .spending()
    .with_wormhole(),
    aside("censor", "neither hears nor answers some clients", || Box::new(Censor)),
    alters("chain-gap", "leaves own blocks out of its own chain", || Box::new(ChainGap::default()))
        .spending(),
    aside("delayer", "does everything right, and late", || Box::new(Delayer)),
    aside("deserter", "signs the end of its epoch, and is never heard again", || {
        Box::new(Deserter::default())
    })
    .simulated(),
    alters("different-to-each", "sends every replica a block of its own", || {
        Box::new(DifferentToEach::default())
    })
    .spending(),
    maker("duplicate-envelopes", "orders clients' envelopes again and again", || {
        Box::new(DuplicateEnvelopes::default())
    }),
    alters("equivocator", "shows each half of the group another chain", || {
        Box::new(Equivocator::default())
    })
    .spending(),
    maker("fake-fast", "seems to be faster than anybody, so that waits shrink", || {
        Box::new(FakeFast::default())
    }),
    alters("falls-silent", "helps until others rely on it, and then says nothing", || {
        Box::new(FallsSilent::default())
    }),
    alters("false-accuser", "accuses correct members with forged proofs", || {
        Box::new(FalseAccuser::default())
    })
    .spending(),
    aside("false-closings", "lies about what it holds when administrators end an epoch", || {
        Box::new(FalseClosings::default())
    })
    .with_wormhole(),
    aside("false-state", "shows who fetches the state what is none", || Box::new(FalseState))
        .simulated(),
    aside("forger", "answers clients in others' names", || Box::new(Forger::default())),
    alters("future-clock", "lives ten years ahead", || Box::new(Clock::future())),
    alters("future-flood", "floods with blocks of rounds far ahead", || {
        Box::new(FutureFlood::default())
    })
    .spending(),
    aside("garbage", "sends bytes that are no message", || Box::new(Garbage)),
    alters("giant", "sends what is too large", || Box::new(Giant::default())),
    alters("hides-parents", "shows blocks and keeps their parents", || Box::new(HidesParents)),
    alters("late-heaps", "hands its blocks out late, in heaps and to a bare quorum", || {
        Box::new(LateHeaps::default())
    }),
    aside("liar", "answers clients wrongly, correctly signed", || Box::new(Liar)).spending(),
    maker("minimal-links", "links as few blocks as it may", || Box::new(MinimalLinks::default())),
    alters("mute", "says nothing to anybody", || Box::new(Mute)),
    maker("never-votes-first", "never votes for others' leaders, but is always first", || {
        Box::new(NeverVotesFirst::default())
    }),
    alters("offline-tree", "grows trees of forks and shows their leaves", || {
        Box::new(OfflineTree::default())
    })
    .spending(),
    aside("old-orders", "repeats members' orders of new keys in later epochs", || {
        Box::new(OldOrders::default())
    })
    .simulated(),
    alters("past-clock", "lives a day ago", || Box::new(Clock::past()))
        .only_in(FaultModel::Arbitrary),
    maker("perjurer", "states wrong results in its blocks", || Box::new(Perjurer::signed()))
        .spending(),
    aside("replayer", "says again what was said before", || Box::new(Replayer::default())),
    alters("slow-clock", "lives half an hour ago", || Box::new(Clock::slow())).with_wormhole(),
    alters("slow-leader", "is late with the blocks of rounds that it leads", || {
        Box::new(SlowLeader::default())
    }),
    alters("stale-epoch", "speaks for another epoch, beginning or cluster", || {
        Box::new(StaleEpoch::default())
    }),
    alters("twin", "runs a second replica with the same key", || Box::new(Twin::default()))
        .spending()
        .simulated(),
    maker("vote-poisoner", "puts badly signed statements into its blocks", || {
        Box::new(Perjurer::unsigned())
    }),
    maker("votes-nobody", "votes for nobody's leader block", || Box::new(VotesNobody::default()))
        .spending(),
    alters("whisperer", "shows one what all lack when administrators end an epoch", || {
        Box::new(Whisperer::default())
    })
    .with_wormhole(),
    alters("withholder", "sends its blocks to few", || Box::new(Withholder)),
    alters("wrong-parents", "sends blocks whose parents break the rules", || {
        Box::new(WrongParents::default())
    })
    .spending(),
];
