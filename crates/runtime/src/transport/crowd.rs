//! Places that many want: who gets one, and who gives one up.
//!
//! **Guarantee:** never more places are taken than there are, and never more by one group than it
//! may have. Whoever comes when all are taken displaces the oldest of the group that holds the most:
//! a crowd that belongs together pushes out its own, and the few others stay. Cost: a look at each
//! group, only while all places are taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Places shared by groups, which are told apart by `G`: an address, or a key.
pub struct Crowd<G: Ord + Copy> {
    places_max: usize,
    inside: Arc<Mutex<Inside<G>>>,
}

struct Inside<G> {
    /// Of each group, oldest first.
    groups: BTreeMap<G, VecDeque<Entry>>,
    count: usize,
    entered: u64,
}

struct Entry {
    number: u64,
    leave: Arc<Notify>,
}

/// One place, given back on drop.
pub struct Ticket<G: Ord + Copy> {
    inside: Arc<Mutex<Inside<G>>>,
    group: G,
    number: u64,
}

impl<G: Ord + Copy> Crowd<G> {
    /// `places_max` places, at least one; all are free.
    #[must_use]
    pub fn new(places_max: usize) -> Self {
        let inside = Inside { groups: BTreeMap::new(), count: 0, entered: 0 };
        Self { places_max: places_max.max(1), inside: Arc::new(Mutex::new(inside)) }
    }

    /// Always lets in: at the group's maximum its own oldest leaves, and when all places are taken
    /// the oldest of the group that holds the most. Who must leave is notified by its `leave`.
    pub fn push_in(&self, group: G, group_max: usize, leave: Arc<Notify>) -> Ticket<G> {
        let mut inside = lock(&self.inside);
        while inside.size(&group) >= group_max.max(1) {
            inside.dismiss_oldest(&group);
        }
        while inside.count >= self.places_max {
            let Some((largest, _)) = inside.largest() else { break };
            inside.dismiss_oldest(&largest);
        }
        self.seat(inside, group, leave)
    }

    /// Lets in unless the group has all that it may have. When all places are taken, only a group
    /// that would still hold less than the largest gets one, and it gets it from that.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask_in(
        &self,
        group: G,
        group_max: usize,
        leave: Arc<Notify>,
    ) -> Result<Ticket<G>, Full> {
        let mut inside = lock(&self.inside);
        let size = inside.size(&group);
        if size >= group_max {
            return Err(Full::Group);
        }
        while inside.count >= self.places_max {
            match inside.largest() {
                Some((largest, most)) if most > size + 1 => inside.dismiss_oldest(&largest),
                _ => return Err(Full::Total),
            }
        }
        Ok(self.seat(inside, group, leave))
    }

    fn seat(
        &self,
        mut inside: MutexGuard<'_, Inside<G>>,
        group: G,
        leave: Arc<Notify>,
    ) -> Ticket<G> {
        let number = inside.entered;
        inside.entered += 1;
        inside.count += 1;
        inside.groups.entry(group).or_default().push_back(Entry { number, leave });
        drop(inside);
        Ticket { inside: Arc::clone(&self.inside), group, number }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The group has all that it may have.
    Group,
    /// All are taken, and nobody holds more than the newcomer would.
    Total,
}

impl<G: Ord + Copy> Inside<G> {
    fn size(&self, group: &G) -> usize {
        self.groups.get(group).map_or(0, VecDeque::len)
    }

    /// The group that holds the most; of several, the one whose oldest is oldest.
    fn largest(&self) -> Option<(G, usize)> {
        let age = |entries: &VecDeque<Entry>| entries.front().map_or(0, |entry| entry.number);
        self.groups
            .iter()
            .max_by_key(|(_, entries)| (entries.len(), std::cmp::Reverse(age(entries))))
            .map(|(group, entries)| (*group, entries.len()))
    }

    fn dismiss_oldest(&mut self, group: &G) {
        let Some(entries) = self.groups.get_mut(group) else { return };
        if let Some(oldest) = entries.pop_front() {
            self.count -= 1;
            oldest.leave.notify_one();
        }
        if entries.is_empty() {
            self.groups.remove(group);
        }
    }

    fn leave(&mut self, group: &G, number: u64) {
        let Some(entries) = self.groups.get_mut(group) else { return };
        let Ok(index) = entries.binary_search_by_key(&number, |entry| entry.number) else {
            return; // it was dismissed
        };
        entries.remove(index);
        self.count -= 1;
        if entries.is_empty() {
            self.groups.remove(group);
        }
    }
}

impl<G: Ord + Copy> Drop for Ticket<G> {
    fn drop(&mut self) {
        lock(&self.inside).leave(&self.group, self.number);
    }
}

fn lock<G>(inside: &Mutex<Inside<G>>) -> MutexGuard<'_, Inside<G>> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crowd and the notices of those who entered it.
    struct World {
        crowd: Crowd<char>,
        tickets: Vec<(char, Option<Ticket<char>>, Arc<Notify>)>,
    }

    impl World {
        fn new(places_max: usize) -> Self {
            Self { crowd: Crowd::new(places_max), tickets: Vec::new() }
        }

        fn push_in(&mut self, groups: &str, group_max: usize) {
            for group in groups.chars() {
                let leave = Arc::new(Notify::new());
                let ticket = self.crowd.push_in(group, group_max, Arc::clone(&leave));
                self.tickets.push((group, Some(ticket), leave));
            }
        }

        fn ask_in(&mut self, group: char, group_max: usize) -> Result<(), Full> {
            let leave = Arc::new(Notify::new());
            let ticket = self.crowd.ask_in(group, group_max, Arc::clone(&leave))?;
            self.tickets.push((group, Some(ticket), leave));
            Ok(())
        }

        /// Who is in, by order of coming; who had to leave is forgotten.
        fn inside(&mut self) -> String {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            self.tickets.retain(|(_, _, leave)| {
                std::pin::pin!(leave.notified()).poll(&mut context).is_pending()
            });
            let inside: String = self.tickets.iter().map(|(group, ..)| group).collect();
            assert_eq!(lock(&self.crowd.inside).count, inside.len());
            inside
        }
    }

    #[test]
    fn a_flood_of_one_group_pushes_out_its_own() {
        let mut world = World::new(4);
        world.push_in("abxxxxxxxx", 100);
        assert_eq!(world.inside(), "abxx");
        world.push_in("c", 100);
        assert_eq!(world.inside(), "abxc");
    }

    #[test]
    fn of_equal_groups_the_oldest_leaves() {
        let mut world = World::new(3);
        world.push_in("abcd", 100);
        assert_eq!(world.inside(), "bcd");
    }

    #[test]
    fn a_group_at_its_maximum_loses_its_oldest_or_waits() {
        let mut world = World::new(10);
        world.push_in("xaxxx", 2);
        assert_eq!(world.inside(), "axx");
        assert_eq!(world.ask_in('x', 2), Err(Full::Group));
        assert_eq!(world.inside(), "axx");
    }

    #[test]
    fn who_asks_displaces_only_those_who_have_more() {
        let mut world = World::new(4);
        world.push_in("xxxy", 100);
        assert_eq!(world.ask_in('a', 100), Ok(()));
        assert_eq!(world.inside(), "xxya");
        assert_eq!(world.ask_in('a', 100), Err(Full::Total), "it would have as many");
        assert_eq!(world.ask_in('b', 100), Ok(()));
        assert_eq!(world.inside(), "xyab");
        assert_eq!(world.ask_in('c', 100), Err(Full::Total), "all have one");
    }

    #[test]
    fn places_are_given_back_once() {
        let mut world = World::new(2);
        world.push_in("xxx", 100); // the first was dismissed and still holds its ticket
        assert_eq!(world.inside(), "xx");
        world.tickets.clear();
        assert_eq!(world.inside(), "");
        assert!(lock(&world.crowd.inside).groups.is_empty());
    }
}
