//! The key file of a client or an administrator: one Ed25519 seed.
//!
//! **Guarantee:** the seed leaves the file for memory only, and is erased there.

use std::path::Path;

use ravelin_crypto::SigningKey;
use ravelin_model::PublicKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::hex::{Hex, SecretHex, encode};
use super::syntax::{Text, parse};
use super::{date, disk};
use crate::exit::{Error, Exit, Result};

/// Version of the format.
const VERSION: u16 = 1;

/// A key that signs.
pub(crate) struct KeyFile {
    pub(crate) seed: Zeroizing<[u8; 32]>,
    created: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    version: u16,
    created: String,
    public: Hex<32>,
    seed: SecretHex,
}

impl KeyFile {
    /// A fresh key.
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self { seed: Zeroizing::new(disk::random()?), created: date::now() })
    }

    /// Reads a key file that only its owner can read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = disk::read(path, disk::Privacy::Secret)?;
        let raw: RawKey = parse(path, &text)?;
        check_version(path, raw.version, VERSION)?;
        let key = Self { seed: raw.seed.0, created: raw.created };
        if key.public().0 != raw.public.0 {
            let cause = format!("{}: seed and public key do not belong together", path.display());
            let hint = "the file was damaged or edited: restore it, or make a new key";
            return Err(Error::new(Exit::VerificationFailed, cause, hint));
        }
        Ok(key)
    }

    /// Writes the key into a new file, for its owner only.
    pub(crate) fn create(&self, path: &Path) -> Result<()> {
        let mut text = Text::new("A Ravelin key. SECRET: whoever reads this file can sign as you.");
        text.number("version", VERSION.into());
        text.set("created", self.created.as_str());
        text.set("public", self.public().to_string());
        let mut text = Zeroizing::new(text.finish());
        push_seed(&mut text, "seed", &self.seed);
        disk::create(path, &text, disk::Privacy::Secret)
    }

    /// The half that others know.
    pub(crate) fn public(&self) -> PublicKey {
        self.signing_key().public()
    }

    /// The key, ready to sign.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::ed25519(&self.seed)
    }
}

/// Appends a seed; room is made beforehand, so that no copy of it stays behind in freed memory.
pub(super) fn push_seed(text: &mut Zeroizing<String>, key: &str, seed: &[u8; 32]) {
    let digits = Zeroizing::new(encode(seed));
    let mut larger = Zeroizing::new(String::with_capacity(text.len() + key.len() + 80));
    larger.push_str(text);
    for part in [key, " = \"", &digits, "\"\n"] {
        larger.push_str(part);
    }
    *text = larger;
}

/// Refuses a file written for another version of its format.
pub(super) fn check_version(path: &Path, found: u16, known: u16) -> Result<()> {
    if found == known {
        return Ok(());
    }
    let cause = format!("{}: format {found} is not {known}, the one known here", path.display());
    Err(Error::usage(cause, "use the version of ravelin that wrote the file"))
}
