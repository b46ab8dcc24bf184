//! What is said in a round of an agreement in real time.

use super::agreement::{put_value, take_value};
use super::{FrameError, Reader, Value, Writer};

/// What processes of a list proposed, so many of them as a frame has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Their places in the list, as bits.
    places: u16,
    values: [Option<Value>; Self::MAX],
}

impl Said {
    const MAX: usize = 10;

    fn count(&self) -> usize {
        self.places.count_ones() as usize
    }

    /// Takes in the proposal of a place after those that it has; false if there is no room.
    pub(crate) fn push(&mut self, place: u8, value: Option<Value>) -> bool {
        let count = self.count();
        let free = self.values.get_mut(count);
        self.places |= u16::from(free.is_some()) << place;
        free.map(|free| *free = value).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, Option<Value>)> {
        let places = (0..16).filter(|place| self.places >> place & 1 == 1);
        places.zip(self.values)
    }

    pub(super) fn put(&self, to: &mut Writer<'_>) {
        to.u16(self.places);
        self.values.iter().take(self.count()).for_each(|value| put_value(*value, to));
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let mut said = Self { places: from.u16()?, ..Self::default() };
        let count = said.count();
        for value in said.values.get_mut(..count).ok_or(FrameError::NoAgreement)? {
            *value = take_value(from)?;
        }
        Ok(said)
    }
}
