//! Keys, digests and signatures as people copy them: hexadecimal digits.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use zeroize::Zeroizing;

/// The bytes that `text` spells, if it is `2 N` hexadecimal digits.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    fill(text, &mut bytes).then_some(bytes)
}

/// The bytes that `text` spells, however many, if it is hexadecimal digits in pairs.
pub(crate) fn decode_all(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    fill(text, &mut bytes).then_some(bytes)
}

/// The lower-case digits of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit =
        |value: u8| char::from_digit(u32::from(value), 16).expect("half a byte is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn fill(text: &str, bytes: &mut [u8]) -> bool {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    rest.is_empty()
        && pairs.len() == bytes.len()
        && pairs.iter().zip(bytes).all(|([high, low], byte)| match (value(*high), value(*low)) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

/// `N` public bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&encode(&self.0))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits::<N>).map(|bytes| Self(*bytes))
    }
}

/// 32 secret bytes, erased when dropped. No `Debug`, no `Serialize`.
pub(crate) struct SecretHex(pub(crate) Zeroizing<[u8; 32]>);

impl<'de> Deserialize<'de> for SecretHex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits::<32>).map(Self)
    }
}

/// Reads digits; an error does not quote them, since they may be a secret.
struct Digits<const N: usize>;

impl<const N: usize> de::Visitor<'_> for Digits<N> {
    type Value = Zeroizing<[u8; N]>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} hexadecimal digits in quotes", 2 * N)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let mut bytes = Zeroizing::new([0; N]);
        if fill(text, bytes.as_mut_slice()) {
            Ok(bytes)
        } else {
            Err(E::custom(format_args!("expected {} hexadecimal digits", 2 * N)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back() {
        let bytes = [0x00, 0x1f, 0xa0, 0xff];
        assert_eq!(encode(&bytes), "001fa0ff");
        assert_eq!(decode("001fA0ff"), Some(bytes));
    }

    #[test]
    fn other_spellings_are_refused() {
        for wrong in ["", "001fa0f", "001fa0ff00", "001fa0fg", "+01fa0ff", "001fa0f\u{e9}"] {
            assert_eq!(decode::<4>(wrong), None, "{wrong}");
        }
    }
}
