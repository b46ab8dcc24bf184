//! How bytes are spelled in URIs and JSON.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::base64;

/// The bytes that `text` spells with `%41` for `A`; `None` if it is misspelled. In a query, `+` is a
/// blank.
pub(crate) fn percent_decoded(text: &str, is_query: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            b'+' if is_query => b' ',
            other => other,
        });
    }
    Some(bytes)
}

/// Bytes that JSON spells in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Base64;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("base64 with padding")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                let wrong = || E::custom("this is not base64 with padding (RFC 4648, section 4)");
                base64::decode(text).map(Base64).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_spell_bytes() {
        for (text, bytes) in [
            ("a%2Fb", Some(&b"a/b"[..])),
            ("%00%ff+", Some(b"\0\xff+")),
            ("", Some(b"")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
        ] {
            assert_eq!(percent_decoded(text, false).as_deref(), bytes, "{text}");
        }
        assert_eq!(percent_decoded("a+b%2B", true).unwrap(), b"a b+");
    }

    #[test]
    fn base64_is_read_and_written() {
        let bytes: Base64 = serde_json::from_str("\"/w==\"").unwrap();
        assert_eq!(bytes.0, [0xff]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"/w==\"");
        assert!(serde_json::from_str::<Base64>("\"/w=\"").is_err());
        assert!(serde_json::from_str::<Base64>("7").is_err());
    }
}
