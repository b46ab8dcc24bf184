//! The token file of a gateway: whose requests it takes, and with which client key it speaks for
//! each.
//!
//! **Guarantee:** it holds digests of tokens, not tokens: who reads it can use none of them.

use std::path::{Path, PathBuf};

use ravelin_gateway::tokens::{self, Bearer};
use ravelin_model::Digest;
use ravelin_model::limits::NAME_BYTES_MAX;
use serde::Deserialize;

use super::disk::{self, Privacy, beside};
use super::hex::Hex;
use super::key::{KeyFile, check_version};
use super::syntax::{Text, parse, path_text};
use crate::exit::{Error, Exit, Result};

/// Version of the format.
const VERSION: u16 = 1;

/// A token file, as far as it can be checked without the keys that it names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenFile {
    pub(crate) tokens: Vec<TokenEntry>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenEntry {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    /// The key file, from the root.
    pub(crate) key: PathBuf,
    pub(crate) created: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    version: u16,
    #[serde(default)]
    tokens: Vec<RawToken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    name: String,
    digest: Hex<32>,
    key: PathBuf,
    created: String,
}

impl TokenFile {
    /// Reads a token file that only its owner can read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let raw: RawFile = parse(path, &disk::read(path, Privacy::Secret)?)?;
        check_version(path, raw.version, VERSION)?;
        let mut tokens = Vec::new();
        for RawToken { name, digest, key, created } in raw.tokens {
            check_name(&name).map_err(|error| error.context(path.display()))?;
            let (digest, key) = (Digest(digest.0), beside(path, &key));
            tokens.push(TokenEntry { name, digest, key, created });
        }
        Ok(Self { tokens })
    }

    /// Those that the tokens stand for, with their keys.
    pub(crate) fn bearers(&self) -> Result<Vec<Bearer>> {
        let bearer = |entry: &TokenEntry| {
            let key = KeyFile::read(&entry.key)
                .map_err(|error| error.context(format!("the token `{}`", entry.name)))?;
            Ok(Bearer { name: entry.name.clone(), digest: entry.digest, seed: key.seed })
        };
        let bearers = self.tokens.iter().map(bearer).collect::<Result<Vec<_>>>()?;
        tokens::check(&bearers).map_err(|error| {
            Error::caused(Exit::Conflict, error, "one token, one client with a key of its own")
        })?;
        Ok(bearers)
    }

    /// Writes the file in place of an older one, for its owner only.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = Text::new(
            "Tokens of a Ravelin gateway: digests, and the client keys that they stand for.\n\
             `ravelin gateway token add` and `remove` change it; a running gateway notices.",
        );
        text.number("version", VERSION.into());
        for entry in &self.tokens {
            text.table("[[tokens]]");
            text.set("name", entry.name.as_str());
            text.set("digest", entry.digest.to_string());
            text.set("key", path_text(&entry.key)?);
            text.set("created", entry.created.as_str());
        }
        disk::replace(path, &text.finish(), Privacy::Secret)
    }
}

/// Refuses what cannot be the name of a token.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_plain = !name.is_empty() && !name.chars().any(char::is_control);
    if is_plain && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let hint = format!("1 to {NAME_BYTES_MAX} bytes without control characters, as `ci`");
    Err(Error::usage(format!("{name:?} is no name for a token"), hint))
}
