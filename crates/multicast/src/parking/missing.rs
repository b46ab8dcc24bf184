//! What waiting blocks refer to, and when each of it is asked for next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_model::{BlockRef, ReplicaId, Round, Time};

/// A block that waiting ones refer to.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// Parked blocks that refer to it.
    pub(super) children: BTreeSet<BlockRef>,
    /// Whoever sent such a block should have it.
    pub(super) ask: ReplicaId,
    /// Who showed such a block and is or was asked for it.
    shown_by: BTreeSet<ReplicaId>,
    /// Since when it is missing.
    since: Time,
    /// When it was last asked for.
    asked_at: Time,
    /// A block of its author that builds on it was asked for, and so with it all that is lacking between.
    is_coming: bool,
    /// How often it was asked for.
    pub(super) asked: u32,
    next: Time,
}

impl Missing {
    /// When it is asked for next.
    #[cfg(test)]
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// Whether it is on its way here, asked for by itself or with what builds on it.
    pub(super) fn is_asked(&self) -> bool {
        self.asked > 0 || self.is_coming
    }

    pub(super) fn since(&self) -> Time {
        self.since
    }
}

/// All that is missing, by name, and what of it is asked for by time: a flood of blocks that wait makes no message that comes
/// meanwhile dearer.
#[derive(Clone, Debug, Default)]
pub(super) struct AllMissing {
    by_name: BTreeMap<BlockRef, Missing>,
    by_time: BTreeSet<(Time, BlockRef)>,
    by_author: BTreeSet<(ReplicaId, BlockRef)>,
    /// How much the waiting blocks of each author wait for; of one that several wait for each counts.
    by_waiting: BTreeMap<ReplicaId, usize>,
}

impl AllMissing {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn has(&self, name: &BlockRef) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn get(&self, name: &BlockRef) -> Option<&Missing> {
        self.by_name.get(name)
    }

    /// What is missing of its author's chain before `name`: the newest of it.
    pub(super) fn before(&self, name: &BlockRef) -> Option<BlockRef> {
        let (author, first) = (name.author, BlockRef { round: Round(0), ..*name });
        self.by_author.range((author, first)..(author, *name)).next_back().map(|(_, name)| *name)
    }

    /// What did not come yet, by the time when it is asked for next.
    pub(super) fn by_time(&self) -> impl Iterator<Item = (Time, &BlockRef)> {
        self.by_time.iter().map(|(next, name)| (*next, name))
    }

    /// `child` refers to `name`: who sent that, `ask`, is asked first, after `patience`.
    pub(super) fn add(
        &mut self,
        now: Time,
        name: BlockRef,
        child: BlockRef,
        (ask, patience): (ReplicaId, Duration),
    ) {
        let missing = self.by_name.entry(name).or_insert_with(|| {
            let next = now.after(patience);
            self.by_time.insert((next, name));
            self.by_author.insert((name.author, name));
            let (children, shown_by) = (BTreeSet::new(), BTreeSet::from([ask]));
            let (since, asked_at, asked, is_coming) = (now, now, 0, false);
            Missing { children, ask, shown_by, since, asked_at, is_coming, asked, next }
        });
        if missing.children.insert(child) {
            *self.by_waiting.entry(child.author).or_default() += 1;
        }
    }

    /// It is to come with what builds on it.
    pub(super) fn expect(&mut self, name: &BlockRef) {
        if let Some(missing) = self.by_name.get_mut(name) {
            missing.is_coming = true;
        }
    }

    /// `ask` showed a block that builds on it, so it should have it: if it is not its author, and fewer
    /// than `most` others showed one before, it is asked. At once if only the author was so far; else
    /// when whoever was asked last had `patience`, so that it does not come from many at the same time.
    pub(super) fn ask_another(
        &mut self,
        now: Time,
        name: &BlockRef,
        ask: ReplicaId,
        (patience, most): (Duration, usize),
    ) {
        let Some(missing) = self.by_name.get_mut(name) else { return };
        let others = missing.shown_by.iter().filter(|member| **member != name.author).count();
        if ask == name.author || others >= most || !missing.shown_by.insert(ask) {
            return;
        }
        let next = if others == 0 { now } else { now.max(missing.asked_at.after(patience)) };
        let before = (missing.next, *name);
        (missing.ask, missing.asked, missing.next) = (ask, 0, next);
        if self.by_time.remove(&before) {
            self.by_time.insert((next, *name));
        }
    }

    /// Whose blocks wait for the most, if those of `author` are about to wait for `more`.
    pub(super) fn greediest(&self, author: ReplicaId, more: usize) -> ReplicaId {
        let known = |author| self.by_waiting.get(&author).copied().unwrap_or(0);
        let others = self.by_waiting.iter().filter(|(other, _)| **other != author);
        let all =
            others.map(|(other, held)| (*held, *other)).chain([(known(author) + more, author)]);
        all.max().map_or(author, |(_, greediest)| greediest)
    }

    fn waits_no_more(&mut self, author: ReplicaId) {
        if let Some(held) = self.by_waiting.get_mut(&author) {
            *held -= 1;
        }
    }

    /// It came, and waits itself; or was dropped, and is asked for again.
    pub(super) fn set_here(&mut self, name: &BlockRef, is_here: bool) {
        let Some(missing) = self.by_name.get(name) else { return };
        let at = (missing.next, *name);
        if is_here {
            self.by_time.remove(&at)
        } else {
            self.by_time.insert(at)
        };
    }

    /// It was asked for, and is again at `next`.
    pub(super) fn on_asked(&mut self, now: Time, name: &BlockRef, asked: u32, next: Time) {
        let Some(missing) = self.by_name.get_mut(name) else { return };
        missing.asked_at = now;
        if self.by_time.remove(&(missing.next, *name)) {
            self.by_time.insert((next, *name));
        }
        (missing.asked, missing.next) = (asked, next);
    }

    /// `child` waits no longer: nobody asks for what none waits for.
    pub(super) fn remove_child(&mut self, name: &BlockRef, child: &BlockRef) {
        let Some(missing) = self.by_name.get_mut(name) else { return };
        let waited = missing.children.remove(child);
        if missing.children.is_empty() {
            self.remove(name);
        }
        if waited {
            self.waits_no_more(child.author);
        }
    }

    pub(super) fn remove(&mut self, name: &BlockRef) -> Option<Missing> {
        let missing = self.by_name.remove(name)?;
        self.by_time.remove(&(missing.next, *name));
        self.by_author.remove(&(name.author, *name));
        missing.children.iter().for_each(|child| self.waits_no_more(child.author));
        Some(missing)
    }

    /// Forgets all of rounds up to `horizon`.
    pub(super) fn forget(&mut self, horizon: Round) {
        let names = self.by_name.keys().copied();
        let old: Vec<BlockRef> = names.take_while(|name| name.round <= horizon).collect();
        for name in old {
            self.remove(&name);
        }
    }
}
