//! What is to go wrong in a run.
//!
//! **Guarantee:** between any two processes at least one of `Od + 1` copies arrives as it was sent, so
//! that whoever is not intruded is correct.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_sim::Dice;

use super::{COUNT, INTRUDERS, OD};

/// What the payload network does to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    Lost,
    Corrupted,
    Late(Duration),
}

impl Fate {
    /// Whether the copy arrives as it was sent.
    pub(super) fn is_sound(self) -> bool {
        matches!(self, Self::Well | Self::Late(_))
    }
}

/// What a malicious process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intrusion {
    /// Has its wormhole decide on one message, sends that to one process and another to the rest.
    TwoMessages,
    /// Hands on another message than it received, with its own sound proof that it made the copy.
    CorruptCopies,
}

impl Intrusion {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TwoMessages => "two-messages",
            Self::CorruptCopies => "corrupt-copies",
        }
    }
}

/// A run that has not begun.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) number: u32,
    /// Who multicasts.
    pub(super) sender: usize,
    /// Each once, [`INTRUDERS`] at most.
    pub(super) intruders: Vec<(usize, Intrusion)>,
    /// By the two processes, in the order of copies.
    fates: BTreeMap<(usize, usize), Vec<Fate>>,
}

impl Plan {
    /// The paper's example. Copies handed on to P4 take so long that the first it sees is P1's, as
    /// there.
    pub(super) fn figure_10() -> Self {
        use Fate::{Corrupted, Late, Lost, Well};
        let (after_tstart, longer) = (Duration::from_millis(230), Duration::from_millis(100));
        let fates = [
            ((0, 1), [Well, Well]),
            ((0, 2), [Corrupted, Well]),
            ((0, 3), [Lost, Late(after_tstart)]),
            ((1, 3), [Late(longer), Late(longer)]),
            ((2, 3), [Late(longer), Late(longer)]),
        ];
        let fates = fates.into_iter().map(|(pair, fates)| (pair, fates.to_vec())).collect();
        Self { number: 0, sender: 0, intruders: vec![], fates }
    }

    /// One that chance makes; the same for the same seed and number.
    pub(super) fn random(seed: u64, number: u32) -> Self {
        let mut dice = Dice::new(seed, &format!("multicast demo {number}"));
        let sender = below(&mut dice, COUNT);
        let mut honest: Vec<usize> = (0..COUNT).collect();
        let intruders = (0..below(&mut dice, INTRUDERS + 1)).map(|_| {
            let at = honest.swap_remove(below(&mut dice, honest.len()));
            let is_sender = at == sender;
            (at, if is_sender { Intrusion::TwoMessages } else { Intrusion::CorruptCopies })
        });
        let intruders = intruders.collect();
        let pairs = (0..COUNT).flat_map(|from| (0..COUNT).map(move |to| (from, to)));
        let fates = pairs.map(|pair| (pair, copies(&mut dice))).collect();
        Self { number, sender, intruders, fates }
    }

    /// What to call it.
    pub(super) fn name(&self) -> String {
        match self.number {
            0 => "figure 10".to_owned(),
            number => format!("run {number}"),
        }
    }

    /// What becomes of a copy, counted from 0 between these two.
    pub(super) fn fate(&self, from: usize, to: usize, copy: u8) -> Fate {
        let fates = self.fates.get(&(from, to));
        fates.and_then(|fates| fates.get(usize::from(copy))).copied().unwrap_or(Fate::Well)
    }

    /// What a process does, if it does not follow the protocol.
    pub(super) fn intrusion(&self, at: usize) -> Option<Intrusion> {
        let found = self.intruders.iter().find(|(intruder, _)| *intruder == at);
        found.map(|(_, intrusion)| *intrusion)
    }
}

fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end as u64)).unwrap_or(0)
}

/// The fates of `Od + 1` copies, of which one arrives.
fn copies(dice: &mut Dice) -> Vec<Fate> {
    let late = |dice: &mut Dice| Fate::Late(Duration::from_millis(dice.between(1, 300)));
    let mut fates: Vec<Fate> = (0..=OD)
        .map(|_| match dice.below(4) {
            0 => Fate::Lost,
            1 => Fate::Corrupted,
            2 => late(dice),
            _ => Fate::Well,
        })
        .collect();
    if !fates.iter().any(|fate| fate.is_sound()) {
        let spared = below(dice, fates.len());
        let fate = late(dice);
        if let Some(place) = fates.get_mut(spared) {
            *place = fate;
        }
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_plan_is_worse_than_what_is_promised() {
        let plans = (1..500).map(|number| Plan::random(7, number));
        let (mut intruded, mut lost, mut corrupted) = ([0; INTRUDERS + 1], 0, 0);
        for plan in plans.chain([Plan::figure_10()]) {
            for (from, to) in (0..COUNT).flat_map(|from| (0..COUNT).map(move |to| (from, to))) {
                let fates: Vec<Fate> =
                    (0..=OD).map(|copy| plan.fate(from, to, copy as u8)).collect();
                assert!(fates.iter().any(|fate| fate.is_sound()), "{plan:?}");
                lost += usize::from(fates.contains(&Fate::Lost));
                corrupted += usize::from(fates.contains(&Fate::Corrupted));
            }
            intruded[plan.intruders.len()] += 1;
            let malicious = (0..COUNT).filter(|at| plan.intrusion(*at).is_some()).count();
            assert_eq!(malicious, plan.intruders.len(), "one is named twice: {plan:?}");
            let equivocates = |(at, how)| how == Intrusion::TwoMessages && at == plan.sender;
            let corrupts = |(at, how)| how == Intrusion::CorruptCopies && at != plan.sender;
            let is_apt = |it: &(usize, Intrusion)| equivocates(*it) || corrupts(*it);
            assert!(plan.intruders.iter().all(is_apt), "{plan:?}");
        }
        // Every number of them that a group of four can have.
        assert!(intruded.iter().all(|runs| *runs > 100), "{intruded:?}");
        assert!(lost > 500 && corrupted > 500, "{lost} {corrupted}");
    }
}
