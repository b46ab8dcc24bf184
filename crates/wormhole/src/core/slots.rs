//! A fixed number of places for things that an entity comes back to.
//!
//! **Guarantee:** a thing is kept until its owner takes it or its time is over; before that no
//! other pushes it out. Tags are looked up among one entity's own things only.

use crate::frame::{Nanos, Tag};

/// `N` places.
pub(crate) struct Slots<T, const N: usize>([Option<Slot<T>>; N]);

struct Slot<T> {
    tag: Tag,
    /// From here on it may make room for another.
    kept_until: Nanos,
    thing: T,
}

impl<T, const N: usize> Slots<T, N> {
    pub(crate) const fn new() -> Self {
        Self([const { None }; N])
    }

    /// Keeps `thing` at least until `kept_until`.
    ///
    /// # Errors
    /// When no place is free: from when on one will be, at the latest.
    pub(crate) fn keep(
        &mut self,
        now: Nanos,
        tag: Tag,
        kept_until: Nanos,
        thing: T,
    ) -> Result<(), Nanos> {
        let next_free = |slot: &Option<Slot<T>>| slot.as_ref().map(|slot| slot.kept_until);
        let place = self.0.iter_mut().min_by_key(|slot| next_free(slot)); // an empty one is least
        let place = place.ok_or(Nanos::NEVER)?;
        match next_free(place) {
            Some(until) if until > now => Err(until),
            _ => {
                *place = Some(Slot { tag, kept_until, thing });
                Ok(())
            }
        }
    }

    pub(crate) fn find(&self, tag: Tag) -> Option<&T> {
        self.0.iter().flatten().find(|slot| slot.tag == tag).map(|slot| &slot.thing)
    }

    /// Lets its place go to another from now on.
    pub(crate) fn release(&mut self, now: Nanos, tag: Tag) {
        for slot in self.0.iter_mut().flatten().filter(|slot| slot.tag == tag) {
            slot.kept_until = slot.kept_until.min(now);
        }
    }

    /// The things whose time is not over, each with its end.
    pub(crate) fn kept(&self, now: Nanos) -> impl Iterator<Item = (Nanos, &T)> {
        let kept = self.0.iter().flatten().filter(move |slot| slot.kept_until > now);
        kept.map(|slot| (slot.kept_until, &slot.thing))
    }

    /// Gives the thing back to its owner, and its place to the next.
    pub(crate) fn take(&mut self, tag: Tag) -> Option<T> {
        let holds = |slot: &&mut Option<Slot<T>>| slot.as_ref().is_some_and(|slot| slot.tag == tag);
        self.0.iter_mut().find(holds)?.take().map(|slot| slot.thing)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tag, &T)> {
        self.0.iter().flatten().map(|slot| (slot.tag, &slot.thing))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Tag, &mut T)> {
        self.0.iter_mut().flatten().map(|slot| (slot.tag, &mut slot.thing))
    }

    /// How many places are taken, at most 255.
    pub(crate) fn used(&self) -> u8 {
        u8::try_from(self.iter().count()).unwrap_or(u8::MAX)
    }
}
