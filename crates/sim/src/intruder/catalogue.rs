//! The names of all intruders.

use super::bad_envelopes::BadEnvelopes;
use super::censor::Censor;
use super::chain_gap::ChainGap;
use super::clocks::Clock;
use super::delayer::Delayer;
use super::different_to_each::DifferentToEach;
use super::duplicate_envelopes::DuplicateEnvelopes;
use super::equivocator::Equivocator;
use super::fake_fast::FakeFast;
use super::false_accuser::FalseAccuser;
use super::forger::Forger;
use super::future_flood::FutureFlood;
use super::garbage::Garbage;
use super::giant::Giant;
use super::hides_parents::HidesParents;
use super::liar::Liar;
use super::minimal_links::MinimalLinks;
use super::mute::Mute;
use super::never_votes_first::NeverVotesFirst;
use super::offline_tree::OfflineTree;
use super::perjurer::Perjurer;
use super::replayer::Replayer;
use super::slow_leader::SlowLeader;
use super::stale_epoch::StaleEpoch;
use super::twin::Twin;
use super::votes_nobody::VotesNobody;
use super::withholder::Withholder;
use super::wrong_parents::WrongParents;
use super::Intruder;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name.
    pub name: &'static str,
    /// What it does, in one line.
    pub what: &'static str,
    /// Whether it makes sense against real servers: its effect does not depend on an order of
    /// messages that only the simulator can arrange, or on taking over before the first start.
    pub is_live: bool,
    /// Whether it replaces the blocks of its replica, so that only one such can be composed.
    pub makes_blocks: bool,
    make: fn() -> Box<dyn Intruder>,
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

const fn live(
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    Description { name, what, is_live: true, makes_blocks: false, make }
}

const fn maker(
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Intruder>,
) -> Description {
    Description { name, what, is_live: true, makes_blocks: true, make }
}

const ALL: &[Description] = &[
    live("bad-envelopes", "hides badly signed envelopes among good ones", || {
        Box::new(BadEnvelopes)
    }),
    live("censor", "neither hears nor answers some clients", || Box::new(Censor)),
    live("chain-gap", "leaves own blocks out of its own chain", || Box::new(ChainGap::default())),
    live("delayer", "does everything right, and late", || Box::new(Delayer)),
    live("different-to-each", "sends every replica a block of its own", || {
        Box::new(DifferentToEach::default())
    }),
    maker("duplicate-envelopes", "orders clients' envelopes again and again", || {
        Box::new(DuplicateEnvelopes::default())
    }),
    live("equivocator", "shows each half of the group another chain", || {
        Box::new(Equivocator::default())
    }),
    maker("fake-fast", "seems to be faster than anybody, so that waits shrink", || {
        Box::new(FakeFast::default())
    }),
    live("false-accuser", "accuses correct members with forged proofs", || {
        Box::new(FalseAccuser::default())
    }),
    live("forger", "answers clients in others' names", || Box::new(Forger::default())),
    live("future-clock", "lives ten years ahead", || Box::new(Clock::future())),
    live("future-flood", "floods with blocks of rounds far ahead", || {
        Box::new(FutureFlood::default())
    }),
    live("garbage", "sends bytes that are no message", || Box::new(Garbage)),
    live("giant", "sends what is too large", || Box::new(Giant::default())),
    live("hides-parents", "shows blocks and keeps their parents", || Box::new(HidesParents)),
    live("liar", "answers clients wrongly, correctly signed", || Box::new(Liar)),
    maker("minimal-links", "links as few blocks as it may", || Box::new(MinimalLinks::default())),
    live("mute", "says nothing to anybody", || Box::new(Mute)),
    maker("never-votes-first", "never votes for others' leaders, but is always first", || {
        Box::new(NeverVotesFirst::default())
    }),
    live("offline-tree", "grows trees of forks and shows their leaves", || {
        Box::new(OfflineTree::default())
    }),
    live("past-clock", "lives a day ago", || Box::new(Clock::past())),
    maker("perjurer", "states wrong results in its blocks", || Box::new(Perjurer::default())),
    live("replayer", "says again what was said before", || Box::new(Replayer::default())),
    live("slow-leader", "is late with the blocks of rounds that it leads", || {
        Box::new(SlowLeader)
    }),
    live("stale-epoch", "speaks for another epoch, beginning or cluster", || {
        Box::new(StaleEpoch::default())
    }),
    Description {
        name: "twin",
        what: "runs a second replica with the same key",
        is_live: false,
        makes_blocks: false,
        make: || Box::new(Twin::default()),
    },
    maker("votes-nobody", "votes for nobody's leader block", || Box::new(VotesNobody::default())),
    live("withholder", "sends its blocks to few", || Box::new(Withholder)),
    live("wrong-parents", "sends blocks whose parents break the rules", || {
        Box::new(WrongParents::default())
    }),
];
