//! The identity file of a server: three Ed25519 seeds, kept outside the data directory, so that a
//! copy of the data is not a copy of the server.
//!
//! **Guarantee:** the seeds leave the file for memory only, and are erased there.

use std::path::Path;

use ravelin_crypto::SigningKey;
use ravelin_model::PublicKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::hex::SecretHex;
use super::key::{check_version, push_seed};
use super::syntax::{Text, parse};
use super::{date, disk};
use crate::exit::{Error, Result};

/// Version of the format.
const VERSION: u16 = 1;

/// The secret keys of one server.
pub(crate) struct Identity {
    created: String,
    pub(crate) identity: Zeroizing<[u8; 32]>,
    pub(crate) block: Zeroizing<[u8; 32]>,
    pub(crate) transport: Zeroizing<[u8; 32]>,
}

/// The public halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKeys {
    pub(crate) identity: PublicKey,
    pub(crate) block: PublicKey,
    pub(crate) transport: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    version: u16,
    created: String,
    identity_seed: SecretHex,
    block_seed: SecretHex,
    transport_seed: SecretHex,
}

impl Identity {
    /// Fresh keys.
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self {
            created: date::now(),
            identity: Zeroizing::new(disk::random()?),
            block: Zeroizing::new(disk::random()?),
            transport: Zeroizing::new(disk::random()?),
        })
    }

    /// Reads an identity file that only its owner can read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = disk::read(path, disk::Privacy::Secret)?;
        let raw: RawIdentity = parse(path, &text)?;
        check_version(path, raw.version, VERSION)?;
        let identity = Self {
            created: raw.created,
            identity: raw.identity_seed.0,
            block: raw.block_seed.0,
            transport: raw.transport_seed.0,
        };
        let keys = identity.public_keys();
        if keys.identity == keys.block
            || keys.block == keys.transport
            || keys.transport == keys.identity
        {
            let cause = format!("{}: two of the three seeds are equal", path.display());
            return Err(Error::usage(cause, "make a new identity with `ravelin node init`"));
        }
        Ok(identity)
    }

    /// Writes the identity into a new file, for its owner only.
    pub(crate) fn create(&self, path: &Path) -> Result<()> {
        let mut text = Text::new(
            "The identity of a Ravelin server. SECRET: whoever reads this file can be this server.\n\
             Keep it outside the data directory, and never on two machines at once.",
        );
        text.number("version", VERSION.into());
        text.set("created", self.created.as_str());
        let mut text = Zeroizing::new(text.finish());
        push_seed(&mut text, "identity_seed", &self.identity);
        push_seed(&mut text, "block_seed", &self.block);
        push_seed(&mut text, "transport_seed", &self.transport);
        disk::create(path, &text, disk::Privacy::Secret)
    }

    /// What others know of it.
    pub(crate) fn public_keys(&self) -> PublicKeys {
        let public = |seed: &[u8; 32]| SigningKey::ed25519(seed).public();
        PublicKeys {
            identity: public(&self.identity),
            block: public(&self.block),
            transport: public(&self.transport),
        }
    }
}
