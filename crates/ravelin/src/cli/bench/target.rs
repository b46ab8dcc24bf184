//! The cluster that a load is put on: a throw-away one, or one that runs already.

use std::time::Duration;

use ravelin_model::{Group, PublicKey};
use ravelin_runtime::transport::TransportKey;

use super::testbed::{Storage, TestBed};
use super::usage::Usage;
use crate::cli::Invocation;
use crate::client_command::{self, trouble};
use crate::client_settings::ClientSettings;
use crate::connection::{CallError, Connection, ConnectionConfig};
use crate::drill;
use crate::exit::{Error, Exit, Result};
use crate::files::key::KeyFile;

/// Whom a load is put on.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A throw-away cluster of this machine.
    Own(&'a TestBed),
    /// One that runs already, of which is known what it says.
    Running(&'a RunningCluster),
}

impl Target<'_> {
    /// A client of it with an open session.
    pub(super) async fn connect(self) -> Result<Connection> {
        match self {
            Self::Own(bed) => drill::connect(&bed.cluster).await,
            Self::Running(cluster) => cluster.connect().await,
        }
    }

    /// Its size and resilience.
    pub(super) fn group(self) -> Group {
        match self {
            Self::Own(bed) => bed.cluster.group,
            Self::Running(cluster) => cluster.config.keyring.group(),
        }
    }

    /// What all its servers together have used so far, where this machine can tell.
    pub(super) fn usage(self) -> Option<Usage> {
        match self {
            Self::Own(bed) => Some(bed.total_usage()),
            Self::Running(_) => None,
        }
    }

    /// Whether what it acknowledges outlives the machine, where this machine can tell.
    pub(super) fn is_durable(self) -> Option<bool> {
        match self {
            Self::Own(bed) => Some(bed.layout.storage == Storage::Disk),
            Self::Running(_) => None,
        }
    }
}

/// The cluster that `--config` or `--context` names, spoken to with the client's key.
pub(super) struct RunningCluster {
    config: ConnectionConfig,
    public: PublicKey,
    timeout: Duration,
}

impl RunningCluster {
    /// Reads the client file in use, and asks servers for the plan if it names none.
    pub(super) async fn find(invocation: &Invocation) -> Result<Self> {
        let settings = ClientSettings::load(invocation)?;
        let client = settings.cluster()?;
        let path = client.key.as_ref().ok_or_else(|| client_command::no_key(&settings))?;
        let seed = KeyFile::read(path)?.seed;
        let public = TransportKey::from_seed(&seed).public_key();
        let config = client_command::connection_config(client, seed, settings.timeout).await?;
        Ok(Self { config, public, timeout: settings.timeout })
    }

    async fn connect(&self) -> Result<Connection> {
        let connection = Connection::start(&self.config)
            .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
        let unreachable = |cause: String| {
            Error::new(Exit::NoQuorum, cause, "`ravelin status` shows how its servers fare")
        };
        match tokio::time::timeout(self.timeout, connection.open()).await {
            Ok(Ok(_)) => Ok(connection),
            Ok(Err(CallError::Refused(refusal))) => Err(trouble::refused(refusal, self.public)),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("no quorum within {:?}", self.timeout))),
        }
    }
}
