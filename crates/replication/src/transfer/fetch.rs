//! Fetching one state: what is agreed on, what is still to be looked at, and what is still to come.

use std::collections::{BTreeSet, VecDeque};

use ravelin_crypto::state_tree::{below, is_node, path_of, value_digest};
use ravelin_model::transfer::{Found, Spot, Wanted};
use ravelin_model::wire::StateNode;
use ravelin_model::{CommitIndex, Digest, Suspicion, mutants};

use super::Target;
use super::bulk::{Bulk, Range};
use crate::state::{State, StateEntry};

/// Places in one request: there are three or four nodes below each where the tree ends.
pub const SPOTS_MAX: usize = 128;
/// Levels asked for below each place where this replica has nothing: up to 63 nodes.
pub const LEVELS_MAX: u8 = 6;
/// Levels asked for where it has something, which may be equal a little further down.
const LEVELS_OF_DIFFERENCE: u8 = 2;
/// Places that differ and wait to be looked at, from which on most of what lies below differs too.
const MANY_DIFFER: usize = 256;
/// Entries in one request.
pub const ENTRIES_MAX: usize = 256;
/// Entries agreed on and still to come, beyond which no further places are looked at: 48 MiB of paths.
pub const MISSING_MAX: usize = 1 << 20;

/// The fetching of a target.
#[derive(Debug)]
pub(super) struct Fetch {
    target: Target,
    /// Places where the own state differs, with the digests that they are to have; the deepest last.
    frontier: Vec<(Spot, Digest)>,
    /// Paths in the own tree whose values are still to come, and asked of nobody by path.
    pub(super) missing: BTreeSet<Digest>,
    /// The ranges of keys in which most of them are looked for.
    bulk: Bulk,
    /// As [`MISSING_MAX`].
    missing_max: usize,
    /// Whether another state took the place of the first, and its places are not all looked at yet: it
    /// may not have what is missing of that.
    is_redirected: bool,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Nodes { commit: CommitIndex, levels: u8, spots: Vec<(Spot, Digest)> },
    Entries { commit: CommitIndex, entries: Vec<(Digest, Digest)> },
    Range { commit: CommitIndex, range: Range },
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Helped,
    Nothing,
    Gone,
}

impl Asked {
    pub(super) fn is_walking(&self) -> bool {
        matches!(self, Self::Nodes { .. })
    }

    pub(super) fn commit(&self) -> CommitIndex {
        match self {
            Self::Nodes { commit, .. }
            | Self::Entries { commit, .. }
            | Self::Range { commit, .. } => *commit,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::Nodes { levels, spots, .. } => {
                let spots = spots.iter().map(|(spot, _)| *spot).collect();
                Wanted::Nodes { levels: *levels, spots }
            }
            Self::Entries { entries, .. } => {
                Wanted::Entries(entries.iter().map(|(path, _)| *path).collect())
            }
            Self::Range { range, .. } => {
                Wanted::Range { from: range.from.clone(), until: range.until.clone() }
            }
        }
    }
}

impl Fetch {
    pub(super) fn new(target: Target, missing_max: usize) -> Self {
        let frontier = vec![(Spot::ROOT, target.root)];
        let (missing, bulk) = (BTreeSet::new(), Bulk::default());
        Self { target, frontier, missing, bulk, missing_max, is_redirected: false }
    }

    pub(super) fn commit(&self) -> CommitIndex {
        self.target.commit
    }

    pub(super) fn into_target(self) -> Target {
        self.target
    }

    /// Goes on with another state; what was fetched stays, and so does what was agreed on. Its holders
    /// must not be asked for what they never showed: first for its places, then for what is missing.
    pub(super) fn redirect(&mut self, target: Target) {
        self.frontier = vec![(Spot::ROOT, target.root)];
        self.target = target;
        self.is_redirected = true;
    }

    /// What to ask for next; whether anybody was asked for places.
    pub(super) fn next(&mut self, is_walking: bool, state: &mut State) -> Option<Asked> {
        let commit = self.target.commit;
        if let Some(range) = self.bulk.next(self.missing.len()) {
            return Some(Asked::Range { commit, range });
        }
        self.is_redirected &= is_walking || !self.frontier.is_empty();
        if self.wants_entries(is_walking) {
            let mut entries = Vec::with_capacity(ENTRIES_MAX);
            while entries.len() < ENTRIES_MAX
                && let Some(path) = self.missing.pop_first()
            {
                entries.extend(state.value_at(&path).map(|value| (path, value)));
            }
            return (!entries.is_empty()).then_some(Asked::Entries { commit, entries });
        }
        let mut spots = Vec::new();
        let mut are_empty = None;
        while spots.len() < SPOTS_MAX
            && let Some((spot, expected)) = self.frontier.pop()
        {
            let digest = state.digest_at(&spot);
            if digest == expected {
                continue;
            }
            let is_empty = digest == Digest::default();
            if *are_empty.get_or_insert(is_empty) != is_empty {
                self.frontier.push((spot, expected));
                break;
            }
            spots.push((spot, expected));
        }
        let is_much = are_empty == Some(true) || self.frontier.len() >= MANY_DIFFER;
        let levels = if is_much { LEVELS_MAX } else { LEVELS_OF_DIFFERENCE };
        (!spots.is_empty()).then_some(Asked::Nodes { commit, levels, spots })
    }

    /// Whether to ask for entries by path now. All places come first: then all that is missing is known,
    /// and if it is much there are ranges for it.
    fn wants_entries(&self, is_walking: bool) -> bool {
        let are_places_known = self.frontier.is_empty() && !is_walking;
        let is_full = self.missing.len() >= self.missing_max || are_places_known;
        is_full && !self.is_redirected && !self.missing.is_empty()
    }

    /// Takes back a request that was not answered.
    pub(super) fn give_back(&mut self, asked: Asked, state: &mut State) {
        match asked {
            Asked::Nodes { commit, spots, .. } if commit == self.target.commit => {
                self.frontier.extend(spots);
            }
            Asked::Nodes { .. } => {}
            Asked::Entries { entries, .. } => self.miss(&entries, state),
            Asked::Range { range, .. } => self.bulk.give_back(range),
        }
    }

    /// Takes an answer.
    pub(super) fn take(
        &mut self,
        asked: Asked,
        found: Found,
        state: &mut State,
    ) -> Result<Taken, Suspicion> {
        match (asked, found) {
            (asked, Found::Gone) => {
                self.give_back(asked, state);
                Ok(Taken::Gone)
            }
            (Asked::Nodes { commit, .. }, Found::Nodes(_)) if commit != self.target.commit => {
                Ok(Taken::Helped) // as it was asked; the places are another state's
            }
            (Asked::Nodes { levels, spots, .. }, Found::Nodes(shown)) => {
                self.take_nodes((levels, spots), shown, state)
            }
            (Asked::Entries { entries, .. }, Found::Entries(shown)) => {
                self.take_entries(&entries, shown, state)
            }
            (Asked::Range { range, .. }, Found::Range { entries, next }) => {
                self.take_range(range, entries, next, state)
            }
            (asked, Found::Nodes(_) | Found::Entries(_) | Found::Range { .. }) => {
                self.give_back(asked, state);
                Err(Suspicion::BadState)
            }
        }
    }

    /// Whether everything is there.
    pub(super) fn is_complete(&mut self, state: &mut State) -> bool {
        if !self.frontier.is_empty() || !self.missing.is_empty() {
            return false;
        }
        if state.digest_at(&Spot::ROOT) == self.target.root {
            return true;
        }
        self.frontier.push((Spot::ROOT, self.target.root)); // what was redirected is looked at again
        false
    }

    fn take_nodes(
        &mut self,
        (levels, spots): (u8, Vec<(Spot, Digest)>),
        shown: Vec<Vec<StateNode>>,
        state: &mut State,
    ) -> Result<Taken, Suspicion> {
        let (mut taken, mut is_good) = (Taken::Nothing, shown.len() <= spots.len());
        let mut shown = shown.into_iter();
        for (spot, expected) in spots {
            let nodes = shown.next().filter(|_| is_good).unwrap_or_default();
            let mut waiting = VecDeque::from([(spot, expected, 1)]);
            for node in nodes {
                let next = waiting.pop_front();
                let right = next.filter(|(spot, expected, _)| {
                    is_node(spot, expected, &node) || mutants::is_active("state_parts_believed")
                });
                let Some((spot, _, level)) = right else {
                    is_good = false;
                    waiting.extend(next);
                    break;
                };
                taken = Taken::Helped;
                self.settle(&spot, &node, state);
                for (spot, digest) in below(&spot, &node) {
                    self.go_below((spot, digest, level + 1), levels, &mut waiting, state);
                }
            }
            self.frontier.extend(waiting.into_iter().map(|(spot, digest, _)| (spot, digest)));
        }
        if is_good { Ok(taken) } else { Err(Suspicion::BadState) }
    }

    fn go_below(
        &mut self,
        (spot, digest, level): (Spot, Digest, u8),
        levels: u8,
        waiting: &mut VecDeque<(Spot, Digest, u8)>,
        state: &mut State,
    ) {
        if digest == Digest::default() {
            let gone = state.clear(&spot);
            self.forget(&gone);
        } else if level <= levels {
            waiting.push_back((spot, digest, level)); // shown in the same answer
        } else if state.digest_at(&spot) != digest {
            self.frontier.push((spot, digest));
        }
    }

    fn forget(&mut self, gone: &[Digest]) {
        for path in gone {
            self.missing.remove(path);
        }
    }

    fn settle(&mut self, spot: &Spot, node: &StateNode, state: &mut State) {
        let (is_missing, gone) = state.settle(spot, node.path, node.value);
        self.forget(&gone);
        if is_missing {
            self.missing.insert(node.path);
        }
    }

    fn take_entries(
        &mut self,
        asked: &[(Digest, Digest)],
        shown: Vec<StateEntry>,
        state: &mut State,
    ) -> Result<Taken, Suspicion> {
        let is_one = |((path, digest), (key, value)): &(&(Digest, Digest), &StateEntry)| {
            let is_right = path_of(key) == *path && value_digest(value) == *digest;
            is_right || mutants::is_active("state_parts_believed")
        };
        let good = asked.iter().zip(&shown).take_while(is_one).count();
        let is_good = good == shown.len();
        self.miss(asked.get(good..).unwrap_or_default(), state);
        if self.frontier.is_empty() || self.missing.len() >= self.missing_max / 2 {
            self.bulk.begin(self.missing.len(), shown.get(..good).unwrap_or_default());
        }
        // What was asked for an earlier state may be no part of this one.
        let entries = shown.into_iter().take(good).zip(asked);
        let entries = entries.filter(|(_, (path, value))| state.value_at(path) == Some(*value));
        let entries: Vec<StateEntry> = entries.map(|(entry, _)| entry).collect();
        state.store(entries);
        match (is_good, good) {
            (false, _) => Err(Suspicion::BadState),
            (true, 0) => Ok(Taken::Nothing),
            (true, _) => Ok(Taken::Helped),
        }
    }

    /// Takes what somebody has in a range: what of it is agreed on and missing.
    fn take_range(
        &mut self,
        range: Range,
        shown: Vec<StateEntry>,
        next: Option<Vec<u8>>,
        state: &mut State,
    ) -> Result<Taken, Suspicion> {
        if !range.may_hold(&shown, next.as_ref()) {
            self.bulk.give_back(range);
            return Err(Suspicion::BadState);
        }
        let shown_count = shown.len();
        let is_wanted = |(key, value): &StateEntry| {
            let path = path_of(key);
            state.value_at(&path) == Some(value_digest(value)) && self.missing.remove(&path)
        };
        let entries: Vec<StateEntry> = shown.into_iter().filter(is_wanted).collect();
        let useful = entries.len();
        state.store(entries);
        self.bulk.go_on(range, next, (useful, shown_count));
        Ok(Taken::Helped)
    }

    /// Asks again for entries, as far as they are still agreed on.
    fn miss(&mut self, entries: &[(Digest, Digest)], state: &State) {
        let agreed = entries.iter().filter(|(path, value)| state.value_at(path) == Some(*value));
        self.missing.extend(agreed.map(|(path, _)| *path));
    }
}
