//! The text of a transaction.
//!
//! ```text
//! # Move a lamp from one room to another, unless somebody else did.
//! if
//!   value lamp kitchen        # it has this value
//!   absent moving             # it has no value
//!   present house             # it has one
//!   changed lamp 4711         # it last changed at this position
//!   locked house 17           # the lock is held under this token
//! then
//!   put lamp "the \"red\" room"
//!   put moving yes lease 12   # it goes when the lease ends
//!   delete dust
//! else
//!   get lamp
//! ```
//!
//! `if` and `else` may be left out. Words are separated by blanks; a word in quotes is spelled as in
//! JSON, and `base64:...` without quotes is bytes in base64.

use ravelin_gateway::base64;
use ravelin_model::Position;
use ravelin_model::limits::{
    KV_VALUE_BYTES_MAX, TRANSACTION_CONDITIONS_MAX, TRANSACTION_STEPS_MAX,
};
use ravelin_model::requests::kv::{Condition, KvRequest, LeaseId, Step, Token};

use super::bounded;
use crate::exit::{Error, Result};

/// The format, for the help text.
pub(super) const FORMAT: &str = "\
The file, line by line (`if` and `else` may be left out):
  if                       all of these must hold:
    value KEY VALUE        the key has this value
    absent KEY             the key has no value
    present KEY            the key has a value
    changed KEY POSITION   the key last changed there
    locked NAME TOKEN      the lock is held under this token
  then                     what is done if they hold:
    put KEY VALUE [lease ID]
    get KEY
    delete KEY
  else                     what is done if not
    ...

Words are separated by blanks. A word in \"quotes\" is spelled as in JSON; base64:... without
quotes is bytes in base64; # begins a comment.

Example:
  printf 'if\\n absent a\\nthen\\n put a 1\\nelse\\n get a\\n' | ravelin kv txn -

Exit code 9 tells that the conditions did not hold.";

/// A transaction that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) conditions: Vec<(Vec<u8>, Condition)>,
    pub(super) then: Vec<Step>,
    pub(super) otherwise: Vec<Step>,
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Nowhere,
    If,
    Then,
    Else,
}

impl Transaction {
    /// Reads the text of `file`, which serves in errors only.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let mut transaction = Self::default();
        let mut section = Section::Nowhere;
        for (index, line) in text.lines().enumerate() {
            let place = |error: Error| error.context(format!("{file}:{}", index + 1));
            let words = words(line).map_err(|what| place(misspelled(&what)))?;
            let words: Vec<&Word> = words.iter().collect();
            section = transaction.take(section, &words).map_err(place)?;
        }
        if section < Section::Then {
            let cause = format!("{file}: there is no `then`");
            return Err(Error::usage(cause, "`ravelin kv txn --help` shows the format"));
        }
        transaction.check_counts().map_err(|error| error.context(file))?;
        Ok(transaction)
    }

    /// The request that it is.
    pub(super) fn into_request(self) -> KvRequest {
        let Self { conditions, then, otherwise } = self;
        KvRequest::Transaction { conditions, then, otherwise }
    }

    /// Takes the words of one line, and says where the next one stands.
    fn take(&mut self, section: Section, words: &[&Word]) -> Result<Section> {
        let Some((first, rest)) = words.split_first() else { return Ok(section) };
        let next = match (first.plain(), rest.is_empty()) {
            ("if", true) => Some(Section::If),
            ("then", true) => Some(Section::Then),
            ("else", true) => Some(Section::Else),
            _ => None,
        };
        match (next, section) {
            (Some(next), _) if next > section => return Ok(next),
            (Some(_), _) => return Err(misspelled("`if`, `then` and `else` come in this order")),
            (None, Section::Nowhere) => return Err(misspelled("it begins with `if` or `then`")),
            (None, Section::If) => self.conditions.push(condition(first.plain(), rest)?),
            (None, Section::Then) => self.then.push(step(first.plain(), rest)?),
            (None, Section::Else) => self.otherwise.push(step(first.plain(), rest)?),
        }
        Ok(section)
    }

    fn check_counts(&self) -> Result<()> {
        for (what, count, count_max) in [
            ("conditions", self.conditions.len(), TRANSACTION_CONDITIONS_MAX),
            ("steps in `then`", self.then.len(), TRANSACTION_STEPS_MAX),
            ("steps in `else`", self.otherwise.len(), TRANSACTION_STEPS_MAX),
        ] {
            if count > count_max {
                let hint = format!("at most {count_max} fit: split the transaction");
                return Err(Error::usage(format!("{count} {what} are too many"), hint));
            }
        }
        Ok(())
    }
}

fn condition(verb: &str, words: &[&Word]) -> Result<(Vec<u8>, Condition)> {
    match (verb, words) {
        ("value", [key, value]) => Ok((key.key()?, Condition::ValueIs(value.value()?))),
        ("absent", [key]) => Ok((key.key()?, Condition::Absent)),
        ("present", [key]) => Ok((key.key()?, Condition::Present)),
        ("changed", [key, at]) => Ok((key.key()?, Condition::ChangedAt(Position(at.number()?)))),
        ("locked", [name, token]) => {
            Ok((name.key()?, Condition::LockedWith(Token(token.number()?))))
        }
        ("value" | "absent" | "present" | "changed" | "locked", _) => Err(miscounted(verb)),
        _ => Err(misspelled(&format!("`{verb}` is no condition"))),
    }
}

fn step(verb: &str, words: &[&Word]) -> Result<Step> {
    match (verb, words) {
        ("get", [key]) => key.key().map(Step::Get),
        ("delete", [key]) => key.key().map(Step::Delete),
        ("put", [key, value]) => {
            Ok(Step::Put { key: key.key()?, value: value.value()?, lease: None })
        }
        ("put", [key, value, word, lease]) if word.plain() == "lease" => {
            let lease = Some(LeaseId(lease.number()?));
            Ok(Step::Put { key: key.key()?, value: value.value()?, lease })
        }
        ("get" | "put" | "delete", _) => Err(miscounted(verb)),
        _ => Err(misspelled(&format!("`{verb}` is no step"))),
    }
}

/// One word: its bytes, and its text if it was written without quotes.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    bytes: Vec<u8>,
    plain: Option<String>,
}

impl Word {
    fn plain(&self) -> &str {
        self.plain.as_deref().unwrap_or_default()
    }

    fn key(&self) -> Result<Vec<u8>> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => super::key(text),
            Err(_) => bounded("a key", self.bytes.clone(), ravelin_model::limits::KV_KEY_BYTES_MAX),
        }
    }

    fn value(&self) -> Result<Vec<u8>> {
        bounded("a value", self.bytes.clone(), KV_VALUE_BYTES_MAX)
    }

    fn number(&self) -> Result<u64> {
        let number = self.plain().parse();
        number.map_err(|_| misspelled("a position, token or lease is a number"))
    }
}

/// The words of a line.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let length = if rest.starts_with('"') {
            quoted_length(rest).ok_or("a quote is not closed")?
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(length);
        if after.chars().next().is_some_and(|next| !next.is_whitespace()) {
            return Err("a blank is missing after a quote".to_owned());
        }
        words.push(read_word(word)?);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Where the quoted word at the beginning of `text` ends.
fn quoted_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return Some(index + 1),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

fn read_word(word: &str) -> Result<Word, String> {
    if word.starts_with('"') {
        let text: String =
            serde_json::from_str(word).map_err(|_| format!("{word} is not spelled as in JSON"))?;
        return Ok(Word { bytes: text.into_bytes(), plain: None });
    }
    let bytes = match word.strip_prefix("base64:") {
        Some(digits) => base64::decode(digits).ok_or("this is not base64 with padding")?,
        None => word.as_bytes().to_vec(),
    };
    Ok(Word { bytes, plain: Some(word.to_owned()) })
}

fn misspelled(what: &str) -> Error {
    Error::usage(what, "`ravelin kv txn --help` shows the format")
}

fn miscounted(verb: &str) -> Error {
    misspelled(&format!("`{verb}` has too few or too many words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8], lease: Option<u64>) -> Step {
        Step::Put { key: key.to_vec(), value: value.to_vec(), lease: lease.map(LeaseId) }
    }

    #[test]
    fn all_that_can_be_written_is_read() {
        let text = "# comment\nif\n value a \"x \\\" # y\"  # why\n absent b\n present c\n\
                    changed d 7\n locked e 9\nthen\n\n put f \"\"\n put g base64:/w== lease 12\n\
                    get h\n delete then\nelse\n put \"base64:x\" -1\n";
        let read = Transaction::parse("t", text).unwrap();
        let key = |key: &str| key.as_bytes().to_vec();
        let expected = Transaction {
            conditions: vec![
                (key("a"), Condition::ValueIs(key("x \" # y"))),
                (key("b"), Condition::Absent),
                (key("c"), Condition::Present),
                (key("d"), Condition::ChangedAt(Position(7))),
                (key("e"), Condition::LockedWith(Token(9))),
            ],
            then: vec![
                put(b"f", b"", None),
                put(b"g", &[0xff], Some(12)),
                Step::Get(key("h")),
                Step::Delete(key("then")),
            ],
            otherwise: vec![put(b"base64:x", b"-1", None)],
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_misspelled_is_refused_with_its_line() {
        for (text, place, cause) in [
            ("", "t:", "no `then`"),
            ("if\nabsent a\n", "t:", "no `then`"),
            ("put a b", "t:1", "begins with"),
            ("then\nif", "t:2", "in this order"),
            ("then\nthen", "t:2", "in this order"),
            ("then\nput a", "t:2", "words"),
            ("then\nput a b lease", "t:2", "words"),
            ("then\nput a b lease x", "t:2", "a number"),
            ("then\n\nput a \"b", "t:3", "not closed"),
            ("then\nput a \"b\"c", "t:2", "blank"),
            ("then\nput a \"\\x\"", "t:2", "JSON"),
            ("then\nput a base64:x", "t:2", "base64"),
            ("then\nput \"\" x", "t:2", "empty"),
            ("then\nmove a b", "t:2", "`move` is no step"),
            ("if\nmod a 1\nthen", "t:2", "`mod` is no condition"),
            ("if\nchanged a -1\nthen", "t:2", "a number"),
        ] {
            let message = Transaction::parse("t", text).unwrap_err().message();
            assert!(message.starts_with(place) && message.contains(cause), "{text}: {message}");
        }
        let many = format!("then\n{}", "get a\n".repeat(129));
        assert!(Transaction::parse("t", &many).unwrap_err().message().contains("too many"));
        let long = format!("then\nget {}", "a".repeat(1025));
        assert!(Transaction::parse("t", &long).unwrap_err().message().contains("too long"));
    }
}
