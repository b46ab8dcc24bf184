//! Bytes that are mostly text: as people read them in one line, and in JSON.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Bytes in one line: text with control characters escaped, or all escaped if they are no text.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(text) = std::str::from_utf8(self.0) else {
            return self.0.escape_ascii().fmt(out);
        };
        text.chars().try_for_each(|letter| match letter {
            '\\' => out.write_str("\\\\"),
            letter if letter.is_control() => letter.escape_default().fmt(out),
            letter => fmt::Write::write_char(out, letter),
        })
    }
}

/// Bytes under a name in a JSON object: `"name": "text"`, or `"name_base64": "..."` if they are no
/// text. To be flattened.
pub(crate) struct Named(pub(crate) &'static str, pub(crate) Vec<u8>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match std::str::from_utf8(&self.1) {
            Ok(text) => map.serialize_entry(self.0, text)?,
            Err(_) => map.serialize_entry(&format!("{}_base64", self.0), &base64(&self.1))?,
        }
        map.end()
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let value = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = LETTERS.get(value).copied().unwrap_or_default();
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The bytes that `text` spells in base64 with padding; only the canonical spelling counts.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for letter in group {
            let value = match letter {
                b'=' => 0,
                _ => LETTERS.iter().position(|known| known == letter)?,
            };
            bits = bits << 6 | value;
        }
        let padding = group.iter().filter(|letter| **letter == b'=').count();
        let [_, whole @ ..] = u32::try_from(bits).ok()?.to_be_bytes();
        bytes.extend(whole.get(..3_usize.checked_sub(padding)?)?);
    }
    (base64(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xfe], "//4="),
        ] {
            assert_eq!(base64(bytes), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes));
        }
        for wrong in ["Z", "Zg", "Zg=", "Zh==", "Zg==Zg==x", "====", "Zm9v\n", "Z===", "=Zg="] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_stay_in_one_line() {
        assert_eq!(Shown("a\n\u{1b}\\\u{e9}".as_bytes()).to_string(), "a\\n\\u{1b}\\\\\u{e9}");
        assert_eq!(Shown(&[0xff, b'a', b'\n']).to_string(), "\\xffa\\n");
    }

    #[test]
    fn names_tell_how_bytes_are_spelled() {
        let json = |bytes: &[u8]| serde_json::to_string(&Named("value", bytes.to_vec())).unwrap();
        assert_eq!(json(b"a\"b"), r#"{"value":"a\"b"}"#);
        assert_eq!(json(&[0xff]), r#"{"value_base64":"/w=="}"#);
    }
}
