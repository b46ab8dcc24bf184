//! One watch: what each member tells of a service's changes, and what of it is agreed.
//!
//! **Guarantee:** changes come out in order, each once, none left out: a position is passed only
//! when `one_correct` members told the same items for it, or told that it has none.
//!
//! Each subscription to a member has an id of its own, so that what an earlier one still sends is
//! never taken for the continuation of a later one.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_model::wire::ChangeItem;
use ravelin_model::{Group, Position, ReplicaId, ServiceId, Time};

use crate::limits::WATCH_AHEAD_BYTES_MAX;
use crate::tally::Tally;

/// What of the feed is agreed, and what single members told beyond.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) service: ServiceId,
    pub(crate) prefix: Vec<u8>,
    /// Everything up to here is agreed and handed out.
    through: Position,
    streams: BTreeMap<ReplicaId, Stream>,
    compacted: Tally<Gone>,
    /// Members for whose sake the others were asked anew, once a connection: so one that says again
    /// and again that it lacks something causes no more work than that.
    helped: BTreeSet<ReplicaId>,
    /// Members that would not begin a subscription, and when to ask them again.
    postponed: BTreeMap<ReplicaId, Time>,
}

/// What one member told since it was subscribed to, beyond what is agreed.
#[derive(Debug)]
struct Stream {
    id: u64,
    /// Where the subscription began.
    from: Position,
    /// The member told everything up to here.
    through: Position,
    items: BTreeMap<Position, Vec<ChangeItem>>,
    bytes: usize,
    /// It was too far ahead, and what it told after `through` is dropped.
    is_cut: bool,
}

/// What one member said of the changes that it no longer has.
#[derive(Debug)]
struct Gone {
    /// The first position that it still has.
    oldest: Position,
    /// What was agreed when it said so.
    through: Position,
}

/// What follows from a member's word that it lacks what is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Enough say so: the watch cannot go on. The smallest position that one of them still has.
    Compacted(Position),
    /// These may carry the watch to where that member can go on: ask them anew.
    Ask(Vec<ReplicaId>),
}

/// What became agreed.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) items: Vec<ChangeItem>,
    /// Members that told something else for a position that is agreed.
    pub(crate) liars: Vec<ReplicaId>,
}

impl Watch {
    /// A watch on changes at `from` and later.
    pub(crate) fn new(service: ServiceId, prefix: Vec<u8>, from: Position) -> Self {
        let through = Position(from.0.saturating_sub(1));
        let (streams, compacted, helped, postponed) = Default::default();
        Self { service, prefix, through, streams, compacted, helped, postponed }
    }

    /// Everything up to here is agreed and handed out.
    pub(crate) fn through(&self) -> Position {
        self.through
    }

    /// The first position not yet agreed.
    pub(crate) fn next(&self) -> Position {
        Position(self.through.0.saturating_add(1))
    }

    /// Expects `replica` to tell everything from [`Self::next`] on under `id`.
    pub(crate) fn subscribe(&mut self, replica: ReplicaId, id: u64) {
        let (from, through) = (self.through, self.through);
        let (items, bytes) = (BTreeMap::new(), 0);
        self.streams.insert(replica, Stream { id, from, through, items, bytes, is_cut: false });
        self.compacted.withdraw(replica);
        self.postponed.remove(&replica);
    }

    /// Ends the subscription at `replica`, to be begun anew at `until`.
    pub(crate) fn postpone(&mut self, replica: ReplicaId, until: Time) {
        self.streams.remove(&replica);
        self.postponed.insert(replica, until);
    }

    /// Members to subscribe at again.
    pub(crate) fn rested(&self, now: Time) -> impl Iterator<Item = ReplicaId> {
        let rested = self.postponed.iter().filter(move |(_, until)| **until <= now);
        rested.map(|(replica, _)| *replica)
    }

    /// When the first of them may be.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.postponed.values().min().copied()
    }

    /// Forgets what `replica` told, and returns the subscription's id.
    pub(crate) fn unsubscribe(&mut self, replica: ReplicaId) -> Option<u64> {
        self.postponed.remove(&replica);
        self.streams.remove(&replica).map(|stream| stream.id)
    }

    /// All subscriptions.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (ReplicaId, u64)> {
        self.streams.iter().map(|(replica, stream)| (*replica, stream.id))
    }

    /// Whether `id` is the subscription to `replica`.
    pub(crate) fn is_subscription(&self, replica: ReplicaId, id: u64) -> bool {
        self.streams.get(&replica).is_some_and(|stream| stream.id == id)
    }

    /// Takes the next changes that `from` tells.
    pub(crate) fn on_changes(
        &mut self,
        from: ReplicaId,
        through: Position,
        items: Vec<ChangeItem>,
        group: Group,
    ) -> Step {
        if let Some(stream) = self.streams.get_mut(&from) {
            stream.take(through, items);
        }
        self.advance(group)
    }

    /// Takes it that `from` no longer has what is wanted, as after a restart. The watch is over once
    /// `one_correct` members say so. Until then the others can carry it on: where nothing with this
    /// prefix changed, asking them anew moves it to where `from` can follow again.
    pub(crate) fn on_compacted(&mut self, from: ReplicaId, oldest: Position, group: Group) -> Lack {
        self.compacted.record(from, Gone { oldest, through: self.through });
        if self.compacted.len() >= group.one_correct() {
            let still = self.compacted.votes().map(|(_, gone)| gone.oldest).min();
            return Lack::Compacted(still.unwrap_or(oldest));
        }
        if oldest <= self.next() || !self.helped.insert(from) {
            return Lack::Ask(Vec::new());
        }
        let others = self.streams.keys().filter(|replica| !self.compacted.has(**replica));
        Lack::Ask(others.copied().collect())
    }

    /// Members that lacked something which is agreed by now: they can follow again.
    pub(crate) fn returning(&self) -> Vec<ReplicaId> {
        let can_follow = |gone: &Gone| gone.oldest <= self.next() && gone.through < self.through;
        self.compacted.who(can_follow)
    }

    /// The connection to `replica` ended, and the subscription with it.
    pub(crate) fn disconnect(&mut self, replica: ReplicaId) {
        self.unsubscribe(replica);
        self.compacted.withdraw(replica);
        self.helped.remove(&replica);
    }

    /// Members whose dropped changes can be asked for again: what was kept of them is agreed.
    pub(crate) fn caught_up(&self) -> Vec<ReplicaId> {
        let is_due = |stream: &Stream| {
            stream.is_cut && stream.through > stream.from && stream.through <= self.through
        };
        self.streams.iter().filter(|(_, stream)| is_due(stream)).map(|(who, _)| *who).collect()
    }

    /// Passes every position that enough members agree on.
    fn advance(&mut self, group: Group) -> Step {
        let mut step = Step::default();
        self.forget();
        while let Some(told) = self.told_by(group.one_correct()).filter(|told| *told > self.through)
        {
            let Some(next) = self.next_with_items(told) else {
                self.through = told;
                continue;
            };
            let Some(agreed) = self.agreed_at(next, group) else { break };
            for (replica, stream) in &self.streams {
                let tells = stream.items_at(next);
                if stream.through >= next && tells != agreed.as_slice() {
                    step.liars.push(*replica);
                }
            }
            step.items.extend(agreed);
            self.through = next;
            self.forget();
        }
        step
    }

    /// How far so many members have told everything.
    fn told_by(&self, members: usize) -> Option<Position> {
        let mut told: Vec<_> = self.streams.values().map(|stream| stream.through).collect();
        told.sort_unstable();
        told.into_iter().rev().nth(members - 1)
    }

    /// The first position up to `last` for which some member told items.
    fn next_with_items(&self, last: Position) -> Option<Position> {
        let firsts = self.streams.values().filter_map(|stream| stream.items.keys().next());
        firsts.min().copied().filter(|position| *position <= last)
    }

    /// The items at `position` that `one_correct` members told alike; perhaps none.
    fn agreed_at(&self, position: Position, group: Group) -> Option<Vec<ChangeItem>> {
        let votes = self.streams.values().filter(|stream| stream.through >= position);
        let lists: Vec<_> = votes.map(|stream| stream.items_at(position)).collect();
        let is_agreed = |list: &&&[ChangeItem]| {
            lists.iter().filter(|other| *other == *list).count() >= group.one_correct()
        };
        lists.iter().find(is_agreed).map(|list| list.to_vec())
    }

    /// Drops what is agreed.
    fn forget(&mut self) {
        let next = self.next();
        for stream in self.streams.values_mut() {
            stream.items = stream.items.split_off(&next);
            stream.bytes = stream.items.values().flatten().map(size_of_item).sum();
        }
    }

    /// Bytes of changes kept now.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.streams.values().map(|stream| stream.bytes).sum()
    }
}

impl Stream {
    fn items_at(&self, position: Position) -> &[ChangeItem] {
        self.items.get(&position).map_or(&[], Vec::as_slice)
    }

    /// Appends what the member tells. What was told already is not told again by a correct one.
    fn take(&mut self, through: Position, items: Vec<ChangeItem>) {
        for item in items {
            if self.is_cut || item.position <= self.through {
                break;
            }
            let size = size_of_item(&item);
            if self.bytes + size > WATCH_AHEAD_BYTES_MAX {
                self.cut(item.position);
                return;
            }
            self.bytes += size;
            self.items.entry(item.position).or_default().push(item);
        }
        if !self.is_cut {
            self.through = self.through.max(through);
        }
    }

    /// Drops everything from `position` on: of the rest, all is kept.
    fn cut(&mut self, position: Position) {
        self.is_cut = true;
        self.items.split_off(&position);
        self.bytes = self.items.values().flatten().map(size_of_item).sum();
        self.through = self.through.max(Position(position.0 - 1));
    }
}

/// What an item costs to keep.
fn size_of_item(item: &ChangeItem) -> usize {
    let value = item.change.value.as_ref().map_or(0, Vec::len);
    size_of::<ChangeItem>() + item.change.key.len() + value
}
