//! Keys of the state in memory.
//!
//! Trees and tables in memory compare keys more than they do anything else. Most keys are short, and
//! stand where they are compared instead of in a piece of memory of their own.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Bytes of a key that has no memory of its own: with these a key takes 40 bytes.
const SHORT_BYTES_MAX: usize = 38;

/// A key. Equal, ordered and hashed as its bytes are.
#[derive(Clone, Debug)]
pub(super) struct Key(Form);

#[derive(Clone, Debug)]
enum Form {
    /// So many bytes of these.
    Short(u8, [u8; SHORT_BYTES_MAX]),
    Long(Box<[u8]>),
}

impl Key {
    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Form::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT_BYTES_MAX];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Self(Form::Short(length, short))
            }
            _ => Self(Form::Long(bytes.into())),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    /// Also where one of two is short and the other is not.
    #[test]
    fn keys_are_ordered_and_hashed_as_their_bytes() {
        assert_eq!(size_of::<Key>(), 40);
        let mut all: Vec<Vec<u8>> = Vec::new();
        for length in [0, 1, SHORT_BYTES_MAX - 1, SHORT_BYTES_MAX, SHORT_BYTES_MAX + 1, 70_000] {
            all.extend([0, 1, 255].map(|byte| vec![byte; length]));
        }
        let hasher = std::hash::RandomState::new();
        for one in &all {
            let key = Key::from(one.as_slice());
            assert_eq!(key.bytes(), one.as_slice());
            assert_eq!(hasher.hash_one(&key), hasher.hash_one(one.as_slice()));
            for other in &all {
                assert_eq!(key.cmp(&Key::from(other.as_slice())), one.cmp(other));
            }
        }
    }
}
