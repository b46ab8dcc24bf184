//! The identity file of a server: its Ed25519 seeds, kept outside the data directory, so that a copy
//! of the data is not a copy of the server.
//!
//! **Guarantee:** the seeds leave memory for the file only, and are erased in memory; a block key that
//! could be asked for is in the file, durably, before anybody hears of it; once an epoch uses it, the
//! file holds the one before no longer. A server whose log is lost has no key with which it had signed
//! anything, so it cannot contradict what it forgot.
//!
//! Besides the block key of the epoch there is always a next one, for which a server asks when it lost
//! what it had promised (a key that signs again after that could fork its chain). Both are tried
//! against the plan in force, so a crash before the file was written back does no harm.
//!
//! # Security
//! An old seed is overwritten where it was and its file removed. Flash media, copy-on-write file
//! systems, snapshots and backups may keep it all the same.

use std::path::{Path, PathBuf};

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
/// What it means that the file cannot be written, in errors and warnings.
pub(crate) const READ_ONLY: &str = "this server can ask for no new block key by itself";

/// A secret from which a key follows; erased when dropped.
pub(crate) type Seed = Zeroizing<[u8; 32]>;

/// The secret keys of one server, and the file that holds them.
pub(crate) struct Identity {
    file: PathBuf,
    created: String,
    pub(crate) identity: Seed,
    block: Seed,
    /// `None`: the file is of an earlier release, and [`Identity::prepare`] has not been called.
    next_block: Option<Seed>,
    pub(crate) transport: Seed,
    /// Whether a log was begun that may hold promises made with one of the block keys.
    log_begun: bool,
    upkeep: Upkeep,
}

/// Whether the file can be written anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upkeep {
    /// Not tried yet, or it failed.
    Unknown,
    /// It could when last tried, and the next key is in it.
    Possible,
}

/// The public halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKeys {
    pub(crate) identity: PublicKey,
    pub(crate) block: PublicKey,
    pub(crate) next_block: Option<PublicKey>,
    pub(crate) transport: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    version: u16,
    created: String,
    identity_seed: SecretHex,
    block_seed: SecretHex,
    next_block_seed: Option<SecretHex>,
    transport_seed: SecretHex,
    #[serde(default)]
    log_begun: bool,
}

impl Identity {
    /// Fresh keys, for a file at `path`.
    pub(crate) fn generate(path: &Path) -> Result<Self> {
        Ok(Self {
            file: path.to_owned(),
            created: date::now(),
            identity: fresh()?,
            block: fresh()?,
            next_block: Some(fresh()?),
            transport: fresh()?,
            log_begun: false,
            upkeep: Upkeep::Unknown,
        })
    }

    /// Reads an identity file that only its owner can read. Changes nothing.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = disk::read(path, disk::Privacy::Secret)?;
        let raw: RawIdentity = parse(path, &text)?;
        check_version(path, raw.version, VERSION)?;
        let identity = Self {
            file: path.to_owned(),
            created: raw.created,
            identity: raw.identity_seed.0,
            block: raw.block_seed.0,
            next_block: raw.next_block_seed.map(|seed| seed.0),
            transport: raw.transport_seed.0,
            log_begun: raw.log_begun,
            upkeep: Upkeep::Unknown,
        };
        if identity.has_equal_seeds() {
            let cause = format!("{}: two of the seeds are equal", path.display());
            return Err(Error::usage(cause, "make a new identity with `ravelin node init`"));
        }
        Ok(identity)
    }

    /// Writes the identity into its file, which is new, for its owner only.
    pub(crate) fn create(&self) -> Result<()> {
        disk::create(&self.file, &self.text(), disk::Privacy::Secret)
    }

    /// Makes the file ready for changes of the block key: removes what a crash left beside it, and
    /// adds a next key if it has none. Nobody else may be running as this server.
    ///
    /// # Errors
    /// The file cannot be written. The server can run nevertheless, without a [`Identity::spare`].
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.upkeep = Upkeep::Unknown;
        let explained = |error: Error| {
            let hint = format!("make the directory of {} writable for it", self.file.display());
            error.context(READ_ONLY).hint(hint)
        };
        disk::remove_drafts(&self.file).map_err(explained)?;
        if self.next_block.is_some() {
            disk::check_replaceable(&self.file).map_err(explained)?;
            self.upkeep = Upkeep::Possible;
            return Ok(());
        }
        let complete = self.with_block(self.block.clone())?;
        disk::replace_secret(&self.file, &complete.text()).map_err(explained)?;
        *self = complete;
        Ok(())
    }

    /// The seed of the block key for which this server may ask: none, unless the file is kept.
    pub(crate) fn spare(&self) -> Option<&Seed> {
        self.next_block.as_ref().filter(|_| self.upkeep == Upkeep::Possible)
    }

    /// The seeds with which this server may have to sign: of its block key and, if there is one, of
    /// the next.
    pub(crate) fn block_seeds(&self) -> impl Iterator<Item = &Seed> {
        [&self.block].into_iter().chain(&self.next_block)
    }

    /// The seed of the block key `public`, if it is this server's.
    pub(crate) fn block_seed(&self, public: &PublicKey) -> Option<&Seed> {
        self.block_seeds().find(|seed| SigningKey::ed25519(seed).public() == *public)
    }

    /// Follows the plan in force, which gives this server the block key `in_force`: if that is the
    /// next one, it takes the place of the one before, and a fresh one becomes the next. Whether it
    /// did.
    ///
    /// # Errors
    /// The file cannot be written. The keys are as before then: [`Identity::block_seed`] has the one
    /// in force, but the old one is still in the file, and there is none to ask for.
    pub(crate) fn advance(&mut self, in_force: &PublicKey) -> Result<bool> {
        let is_next = |seed: &&Seed| SigningKey::ed25519(seed).public() == *in_force;
        let Some(seed) = self.next_block.as_ref().filter(is_next) else { return Ok(false) };
        let advanced = self.with_block(seed.clone())?;
        self.upkeep = Upkeep::Unknown;
        disk::replace_secret(&self.file, &advanced.text()).map_err(|error| {
            let hint = "make it writable and restart the server: its old block key is still there";
            error.context(READ_ONLY).hint(hint)
        })?;
        *self = advanced;
        Ok(true)
    }

    /// Whether this server's log was begun: one that is not there any more is lost.
    pub(crate) fn is_log_begun(&self) -> bool {
        self.log_begun
    }

    /// Notes that the log was begun, before anything is signed that it must remember.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn begin_log(&mut self) -> Result<()> {
        if self.log_begun {
            return Ok(());
        }
        let begun =
            Self { log_begun: true, ..self.with_keys(self.block.clone(), self.next_block.clone()) };
        disk::replace_secret(&self.file, &begun.text())?;
        *self = begun;
        Ok(())
    }

    /// Gives up both block keys for fresh ones, which no plan names: the server has lost what it
    /// promised with the ones before, and takes part again once an epoch gives it a new one. It does
    /// not matter how much was lost, or whether a crash comes before what else is done about it.
    ///
    /// # Errors
    /// The file cannot be written. The keys are as before: the server must not run.
    pub(crate) fn give_up_keys(&mut self) -> Result<()> {
        let without = Self { log_begun: false, ..self.with_block(fresh()?)? };
        disk::replace_secret(&self.file, &without.text())?;
        *self = without;
        Ok(())
    }

    /// The same server with the block key of `block`, and a fresh next one: for when it is written.
    fn with_block(&self, block: Seed) -> Result<Self> {
        let fresh = Some(fresh()?);
        Ok(Self { upkeep: Upkeep::Possible, ..self.with_keys(block, fresh) })
    }

    fn with_keys(&self, block: Seed, next_block: Option<Seed>) -> Self {
        Self {
            file: self.file.clone(),
            created: self.created.clone(),
            identity: self.identity.clone(),
            block,
            next_block,
            transport: self.transport.clone(),
            log_begun: self.log_begun,
            upkeep: self.upkeep,
        }
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Text::new(
            "The identity of a Ravelin server. SECRET: whoever reads this file can be this server.\n\
             Keep it outside the data directory, and never on two machines at once. The server\n\
             writes it anew when its block key changes: a copy made before lacks the new one.",
        );
        text.number("version", VERSION.into());
        text.set("created", self.created.as_str());
        if self.log_begun {
            text.set("log_begun", true);
        }
        let mut text = Zeroizing::new(text.finish());
        push_seed(&mut text, "identity_seed", &self.identity);
        push_seed(&mut text, "block_seed", &self.block);
        if let Some(seed) = &self.next_block {
            push_seed(&mut text, "next_block_seed", seed);
        }
        push_seed(&mut text, "transport_seed", &self.transport);
        text
    }

    fn has_equal_seeds(&self) -> bool {
        let seeds = || self.block_seeds().chain([&self.identity, &self.transport]);
        seeds().enumerate().any(|(index, seed)| seeds().take(index).any(|before| before == seed))
    }

    /// What others know of it.
    pub(crate) fn public_keys(&self) -> PublicKeys {
        let public = |seed: &Seed| SigningKey::ed25519(seed).public();
        PublicKeys {
            identity: public(&self.identity),
            block: public(&self.block),
            next_block: self.next_block.as_ref().map(public),
            transport: public(&self.transport),
        }
    }
}

fn fresh() -> Result<Seed> {
    Ok(Zeroizing::new(disk::random()?))
}

#[cfg(test)]
mod tests;
