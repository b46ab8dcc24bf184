//! What a request says, checked.

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use ravelin_model::Position;
use ravelin_model::limits::KV_KEY_BYTES_MAX;
use ravelin_model::requests::kv::{Condition, LeaseId};
use serde::de::DeserializeOwned;

use super::{body, routes, spelling};
use crate::problem::{Code, Problem};

/// The media type of bytes as they are.
pub(crate) const BYTES: &str = "application/octet-stream";
/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// A request whose operation is known.
pub(crate) struct Asked {
    headers: HeaderMap,
    /// The parameter of its path, as it is spelled there.
    parameter: String,
    query: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Asked {
    /// Reads all of it.
    pub(crate) async fn read(
        parts: Parts,
        parameter: &str,
        body: Incoming,
    ) -> Result<Self, Problem> {
        let parameter = parameter.to_owned();
        let query = query(parts.uri.query().unwrap_or_default())?;
        Ok(Self { headers: parts.headers, parameter, query, body: body::read(body).await? })
    }

    /// Refuses a query with anything but `known` in it, or with one thing twice.
    pub(crate) fn check_query(&self, known: &[&str]) -> Result<(), Problem> {
        let hint = || match known {
            [] => "this takes no query".to_owned(),
            known => format!("known here: {}", known.join(", ")),
        };
        for (index, (name, _)) in self.query.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::invalid(format!("unknown in the query: {name:?}"), hint()));
            }
            if self.query.iter().take(index).any(|(other, _)| other == name) {
                return Err(Problem::invalid(format!("twice in the query: {name:?}"), hint()));
            }
        }
        Ok(())
    }

    /// The bytes of a value in the query.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// A number in the query.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let number = |bytes: &[u8]| {
            number(std::str::from_utf8(bytes).unwrap_or_default()).ok_or_else(|| {
                Problem::invalid(format!("`{name}` is no number"), "write decimal digits")
            })
        };
        self.bytes(name).map(number).transpose()
    }

    /// A choice in the query: there without a value, or `true` or `false`.
    pub(crate) fn choice(&self, name: &str) -> Result<bool, Problem> {
        match self.bytes(name) {
            None | Some(b"false") => Ok(false),
            Some(b"" | b"true") => Ok(true),
            Some(_) => {
                Err(Problem::invalid(format!("`{name}` is neither true nor false"), "leave it out"))
            }
        }
    }

    /// The key, or name of a lock, in the path.
    pub(crate) fn key(&self) -> Result<Vec<u8>, Problem> {
        let Some(key) = routes::parameter(&self.parameter) else {
            let hint = "spell bytes that paths cannot have as %41";
            return Err(Problem::invalid("the path is misspelled", hint));
        };
        check_key(&key)?;
        Ok(key)
    }

    /// The lease in the path.
    pub(crate) fn lease(&self) -> Result<LeaseId, Problem> {
        number(&self.parameter)
            .map(LeaseId)
            .ok_or_else(|| Problem::invalid("a lease is a number", "take it from POST /v1/leases"))
    }

    /// A field of the header; `None` if it is not there.
    pub(crate) fn field(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Problem::invalid(format!("`{name}` is there twice"), "send it once"));
        }
        let no_text = |_| Problem::invalid(format!("`{name}` is no text"), "use plain ASCII");
        value.to_str().map(|value| Some(value.trim())).map_err(no_text)
    }

    /// Whether the answer is wanted as bytes as they are, rather than as JSON.
    pub(crate) fn wants_bytes(&self) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT).iter();
        let texts = accepted.filter_map(|value| value.to_str().ok());
        let mut first = texts.flat_map(|text| text.split(',')).map(media_type);
        first.find(|kind| kind == BYTES || kind == JSON).is_some_and(|kind| kind == BYTES)
    }

    /// What must hold for a change, as `If-Match` and `If-None-Match` say.
    pub(crate) fn condition(&self) -> Result<Condition, Problem> {
        let hint = "send `If-Match: \"POSITION\"` with the ETag of an answer, or `*`";
        let (present, absent) =
            (self.field(&header::IF_MATCH)?, self.field(&header::IF_NONE_MATCH)?);
        match (present, absent) {
            (None, None) => Ok(Condition::Always),
            (Some("*"), None) => Ok(Condition::Present),
            (None, Some("*")) => Ok(Condition::Absent),
            (Some(tag), None) => match tag_position(tag) {
                Some(position) => Ok(Condition::ChangedAt(position)),
                None => Err(Problem::invalid("`If-Match` is no ETag of a gateway", hint)),
            },
            (None, Some(_)) => {
                Err(Problem::invalid("`If-None-Match` of a change can only be `*`", hint))
            }
            (Some(_), Some(_)) => {
                Err(Problem::invalid("both `If-Match` and `If-None-Match` are there", hint))
            }
        }
    }

    /// The position that the caller has seen, as `If-None-Match` says.
    pub(crate) fn known_position(&self) -> Result<Option<Position>, Problem> {
        let tag = self.field(&header::IF_NONE_MATCH)?;
        Ok(tag.and_then(|tag| tag_position(tag.strip_prefix("W/").unwrap_or(tag))))
    }

    /// Whether its body is bytes as they are; what says nothing of its kind is so too.
    pub(crate) fn brings_bytes(&self) -> Result<bool, Problem> {
        match self.field(&header::CONTENT_TYPE)?.map(media_type).as_deref() {
            None | Some(BYTES) => Ok(true),
            Some(JSON) => Ok(false),
            Some(_) => Err(unsupported(&format!("{BYTES} or {JSON}"))),
        }
    }

    /// All of its body.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Its body, as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let kind = self.field(&header::CONTENT_TYPE)?.map(media_type);
        if kind.as_deref() != Some(JSON) {
            return Err(unsupported(JSON));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let hint = "/v1/openapi.json describes what is expected";
            Problem::invalid(format!("the body is not the JSON expected here: {error}"), hint)
        })
    }
}

fn unsupported(kinds: &str) -> Problem {
    let hint = format!("send `Content-Type: {kinds}`");
    Problem::new(Code::UnsupportedMediaType, "the body is of another kind", hint)
}

/// Refuses what cannot be a key.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Problem> {
    if key.is_empty() {
        return Err(Problem::invalid("a key cannot be empty", "name a key"));
    }
    check_prefix(key)
}

/// Refuses what no key can begin with.
pub(crate) fn check_prefix(prefix: &[u8]) -> Result<(), Problem> {
    if prefix.len() > KV_KEY_BYTES_MAX {
        let detail = format!("a key of {} bytes is too long", prefix.len());
        return Err(Problem::new(
            Code::TooLarge,
            detail,
            format!("at most {KV_KEY_BYTES_MAX} fit"),
        ));
    }
    Ok(())
}

/// The tag of what changed there.
pub(crate) fn tag(position: Position) -> String {
    format!("\"{}\"", position.0)
}

/// The position in a tag.
fn tag_position(tag: &str) -> Option<Position> {
    number(tag.strip_prefix('"')?.strip_suffix('"')?).map(Position)
}

/// A number in decimal digits, and in no other spelling.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `text/plain` of `Text/Plain; charset=utf-8`.
fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Names and values of a query.
fn query(text: &str) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let wrong = || Problem::invalid("the query is misspelled", "spell bytes as %41");
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = spelling::percent_decoded(name, true)?;
        Some((String::from_utf8(name).ok()?, spelling::percent_decoded(value, true)?))
    };
    pairs.map(|text| pair(text).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        let read = query("a=1&b&c=%ff+x&").unwrap();
        let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert_eq!(read, [pair("a", b"1"), pair("b", b""), pair("c", b"\xff x")]);
        for wrong in ["a=%", "%ff=1"] {
            assert_eq!(query(wrong).unwrap_err().code(), Code::InvalidRequest, "{wrong}");
        }
    }

    #[test]
    fn tags_are_positions_in_quotes() {
        assert_eq!(tag_position(&tag(Position(7))), Some(Position(7)));
        for wrong in ["7", "\"7", "W/\"7\"", "\"+7\"", "\"\"", "\"7\", \"8\"", "*"] {
            assert_eq!(tag_position(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn media_types_have_no_parameters() {
        assert_eq!(media_type("Application/JSON ; charset=utf-8"), JSON);
    }
}
