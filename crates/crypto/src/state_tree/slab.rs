//! Values under small numbers, in pieces of memory that never move.

use std::num::NonZeroU32;

/// Where a value stands. Half the size of a pointer, also when it may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(NonZeroU32);

/// Values of one piece of memory. In one piece for all of them they would be moved whenever it is too
/// small, and need twice the memory meanwhile.
const PIECE: usize = 1024;

/// Values with numbers; the places of removed ones are used again.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    /// All full but for the last.
    pieces: Vec<Vec<T>>,
    free: Vec<Id>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: Vec::new() }
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
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let before = PIECE * (self.pieces.len() - 1);
        let last = self.pieces.last_mut().expect("there is one with a place");
        last.push(value);
        let count = u32::try_from(before + last.len()).ok().and_then(NonZeroU32::new);
        Id(count.expect("a slab has fewer than 2^32 places"))
    }

    /// The value at a place in use.
    pub(super) fn get(&self, id: Id) -> &T {
        let (piece, place) = whereabouts(id);
        let found = self.pieces.get(piece).and_then(|piece| piece.get(place));
        found.expect("an id leads to a place")
    }

    /// The value at a place in use, for changing.
    pub(super) fn get_mut(&mut self, id: Id) -> &mut T {
        let (piece, place) = whereabouts(id);
        let found = self.pieces.get_mut(piece).and_then(|piece| piece.get_mut(place));
        found.expect("an id leads to a place")
    }

    /// Frees a place. What stood there is dropped when the place is used again.
    pub(super) fn remove(&mut self, id: Id) {
        self.free.push(id);
    }

    /// How many places are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }
}

/// The piece, and the place in it.
fn whereabouts(id: Id) -> (usize, usize) {
    let index = id.0.get() as usize - 1;
    (index / PIECE, index % PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_little_and_uses_places_again() {
        let mut slab = Slab::default();
        let ids: Vec<Id> = (0..100_000).map(|number| slab.add(number)).collect();
        let room: usize = slab.pieces.iter().map(Vec::capacity).sum();
        assert!(room < 100_000 + PIECE, "room for {room}");
        assert!(ids.iter().zip(0..).all(|(id, number)| *slab.get(*id) == number));
        let last = ids.last().copied().expect("there are many");
        slab.remove(last);
        assert_eq!(slab.add(7), last);
        assert_eq!(slab.len(), 100_000);
    }
}
