//! Bytes that are mostly text: as people read them in one line, and in JSON.

use std::fmt;

use ravelin_gateway::base64;
use ravelin_model::limits::KV_KEY_BYTES_MAX;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::exit::{Error, Result};

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
            Err(_) => {
                map.serialize_entry(&format!("{}_base64", self.0), &base64::encode(&self.1))?
            }
        }
        map.end()
    }
}

/// The bytes of a key, or of the name of a lock.
pub(crate) fn key(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Err(Error::usage("a key cannot be empty", "name a key"));
    }
    bounded("a key", text.as_bytes().to_vec(), KV_KEY_BYTES_MAX)
}

/// `bytes`, unless they are too many.
pub(crate) fn bounded(what: &str, bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>> {
    if bytes.len() <= bytes_max {
        return Ok(bytes);
    }
    let cause = format!("{what} of {} bytes is too long", bytes.len());
    Err(Error::usage(cause, format!("at most {bytes_max} bytes fit")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
