//! Values under small numbers, in one piece of memory.

use std::num::NonZeroU32;

/// Where a value stands. Half the size of a pointer, also when it may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(NonZeroU32);

/// By what part of itself a full slab grows. Doubling would leave up to half of it unused; large pieces of
/// memory grow where they are, so that growing often costs little.
const GROWTH: usize = 8;
/// Places that it grows by at least.
const GROWTH_MIN: usize = 64;

/// Values with numbers; the places of removed ones are used again.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    places: Vec<T>,
    free: Vec<Id>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores a value.
    ///
    /// # Panics
    /// With more than 2^32 - 2 values: memory for at least 600 GB of nodes would come first.
    pub(super) fn add(&mut self, value: T) -> Id {
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = value;
            return id;
        }
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(GROWTH_MIN.max(self.places.len() / GROWTH));
        }
        self.places.push(value);
        let count = u32::try_from(self.places.len()).ok().and_then(NonZeroU32::new);
        Id(count.expect("a slab has fewer than 2^32 places"))
    }

    /// The value at a place in use.
    pub(super) fn get(&self, id: Id) -> &T {
        self.places.get(index(id)).expect("an id leads to a place")
    }

    /// The value at a place in use, for changing.
    pub(super) fn get_mut(&mut self, id: Id) -> &mut T {
        self.places.get_mut(index(id)).expect("an id leads to a place")
    }

    /// Frees a place. What stood there is dropped when the place is used again.
    pub(super) fn remove(&mut self, id: Id) {
        self.free.push(id);
    }

    /// How many places are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

fn index(id: Id) -> usize {
    id.0.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_little_and_uses_places_again() {
        let mut slab = Slab::default();
        let ids: Vec<Id> = (0..100_000).map(|number| slab.add(number)).collect();
        assert!(slab.places.capacity() <= 100_000 * 9 / 8, "{}", slab.places.capacity());
        assert!(ids.iter().zip(0..).all(|(id, number)| *slab.get(*id) == number));
        let last = ids.last().copied().expect("there are many");
        slab.remove(last);
        assert_eq!(slab.add(7), last);
        assert_eq!(slab.len(), 100_000);
    }
}
