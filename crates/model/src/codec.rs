//! Canonical bytes: borsh, with exactly one encoding for each value.
//!
//! **Guarantee:** [`Decode::decode`] accepts only bytes that [`Encode::encode`] would write, reads
//! all of them, and allocates no more than a constant factor of their length.

use borsh::{BorshDeserialize, BorshSerialize};

/// Values with canonical bytes.
pub trait Encode {
    /// The value's canonical bytes.
    fn encode(&self) -> Vec<u8>;
}

/// Values that can be read back from their canonical bytes.
pub trait Decode: Sized {
    /// Reads a value; `what` names it in the error.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are cut short, have a tail, or are not canonical. Retrying does
    /// not help: the sender is wrong or of another version.
    fn decode(what: &'static str, bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// Counts before it writes: what is encoded is often small and kept for long, and would otherwise lie
/// in a kibibyte of memory each.
impl<T: BorshSerialize> Encode for T {
    fn encode(&self) -> Vec<u8> {
        let mut count = Count(0);
        self.serialize(&mut count).expect("counting cannot fail");
        let mut bytes = Vec::with_capacity(count.0);
        self.serialize(&mut bytes).expect("writing to memory cannot fail");
        bytes
    }
}

impl<T: BorshSerialize + BorshDeserialize> Decode for T {
    fn decode(what: &'static str, bytes: &[u8]) -> Result<Self, DecodeError> {
        let value = borsh::from_slice::<Self>(bytes)
            .map_err(|_| DecodeError { what, length: bytes.len() })?;
        let mut expected = Comparison { rest: bytes, equal: true };
        value.serialize(&mut expected).expect("comparing cannot fail");
        if expected.equal && expected.rest.is_empty() {
            Ok(value)
        } else {
            Err(DecodeError { what, length: bytes.len() })
        }
    }
}

/// Bytes that are not the canonical form of what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are not a canonical {what}")]
pub struct DecodeError {
    /// What was expected.
    pub what: &'static str,
    /// How many bytes there were.
    pub length: usize,
}

/// Counts what is written to it.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        self.0 += written.len();
        Ok(written.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Compares what is written to it with expected bytes, without a second buffer.
struct Comparison<'a> {
    rest: &'a [u8],
    equal: bool,
}

impl std::io::Write for Comparison<'_> {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        match self.rest.split_at_checked(written.len()) {
            Some((expected, rest)) if expected == written => self.rest = rest,
            _ => self.equal = false,
        }
        Ok(written.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_refused() {
        let mut bytes = 7u64.encode();
        assert_eq!(u64::decode("number", &bytes), Ok(7));
        bytes.push(0);
        assert!(u64::decode("number", &bytes).is_err());
    }

    #[test]
    fn a_second_spelling_of_a_value_is_refused() {
        let unsorted = std::collections::BTreeMap::from([(1u8, 1u8), (2, 2)]);
        let mut bytes = unsorted.encode();
        bytes.swap(4, 6);
        bytes.swap(5, 7);
        assert!(std::collections::BTreeMap::<u8, u8>::decode("map", &bytes).is_err());
    }

    #[test]
    fn a_length_beyond_the_input_does_not_allocate() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert!(Vec::<u64>::decode("list", &bytes).is_err());
    }
}
