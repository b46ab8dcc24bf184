//! The table `[wormhole]` of a node file: in `hybrid`, and there only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ravelin_wormhole::sandbox::Owner;
use ravelin_wormhole::state::Lease;
use serde::Deserialize;

use super::super::disk::beside;
use super::super::syntax::Text;
use crate::exit::{Error, Result};
use crate::settings::{Layers, Setting};

/// How a server's wormhole is started. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WormholeConfig {
    /// Its state directory, where its provisioned key lies.
    pub(crate) state: PathBuf,
    /// Its program; `None`: `ravelin-wormhole` beside this one, or else this one.
    pub(crate) program: Option<PathBuf>,
    /// Its own user, which only root can give it.
    pub(crate) user: Option<User>,
    /// Whom the server becomes once its wormhole runs, for good.
    pub(crate) server_user: Option<User>,
    /// A TPM, and what one step of its counter lasts for.
    pub(crate) store: Option<(PathBuf, Keeping)>,
}

/// A user and a group, as numbers: `UID:GID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct User(pub(crate) Owner);

/// What one step of a TPM's counter lasts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keeping {
    /// A start.
    Run,
    /// An attestation, on a TPM whose memory does not wear out. What spares one that does, the
    /// wormhole's own `every`, has too few for the blocks of a server.
    EveryUnmetered,
}

impl Keeping {
    /// As the wormhole calls it.
    pub(crate) fn lease(self) -> Lease {
        match self {
            Self::Run => Lease::Run,
            Self::EveryUnmetered => Lease::EveryUnmetered,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWormhole {
    state: Option<PathBuf>,
    program: Option<PathBuf>,
    user: Option<User>,
    server_user: Option<User>,
    tpm: Option<PathBuf>,
    lease: Option<Keeping>,
}

/// The table of the file at `path`.
pub(super) fn checked(
    path: &Path,
    raw: RawWormhole,
    layers: &mut Layers<'_>,
) -> Result<WormholeConfig> {
    let in_file = |named: PathBuf| beside(path, &named);
    let state = raw.state.map(in_file);
    let state = layers.pick("wormhole.state", None, state, beside(path, Path::new("wormhole")));
    // A bare name is looked for where programs are.
    let is_bare = |program: &PathBuf| program.components().count() == 1;
    let program =
        raw.program.map(|program| if is_bare(&program) { program } else { in_file(program) });
    let program = layers.pick("wormhole.program", None, program.map(Some), None);
    let user = layers.pick("wormhole.user", None, raw.user.map(Some), None);
    let server_user = layers.pick("wormhole.server_user", None, raw.server_user.map(Some), None);
    let tpm = layers.pick("wormhole.tpm", None, raw.tpm.map(in_file).map(Some), None);
    if raw.lease.is_some() && tpm.is_none() {
        let cause = "wormhole.lease is given without wormhole.tpm";
        return Err(Error::usage(cause, "name the TPM, or leave out the lease"));
    }
    let lease = layers.pick("wormhole.lease", None, raw.lease, Keeping::Run);
    if user.is_some() && user == server_user {
        let cause = "wormhole.user and wormhole.server_user are the same";
        let hint = "whoever is the wormhole's user reads its key: give the server another";
        return Err(Error::usage(cause, hint));
    }
    let store = tpm.map(|tpm| (tpm, lease));
    Ok(WormholeConfig { state, program, user, server_user, store })
}

/// The table of a node file in the making.
pub(crate) struct NewWormhole {
    /// As seen from the file.
    pub(crate) state: String,
    pub(crate) user: Option<User>,
    pub(crate) server_user: Option<User>,
}

impl NewWormhole {
    pub(super) fn put(&self, text: &mut Text) {
        text.table("[wormhole]");
        text.set("state", self.state.as_str());
        let users = [("user", self.user), ("server_user", self.server_user)];
        for (key, user) in users.into_iter().filter_map(|(key, user)| Some((key, user?))) {
            text.set(key, user.to_string());
        }
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let ids = text.split_once(':').and_then(|(user, group)| {
            Owner::new(user.parse().ok()?, group.parse().ok()?).map(User)
        });
        ids.ok_or_else(|| format!("`{text}` is not UID:GID, two numbers above 0"))
    }
}

impl TryFrom<String> for User {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.0.user(), self.0.group())
    }
}

impl Setting for User {
    fn shown(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl Setting for Keeping {
    fn shown(&self) -> serde_json::Value {
        match self {
            Self::Run => "run".into(),
            Self::EveryUnmetered => "every-unmetered".into(),
        }
    }
}
