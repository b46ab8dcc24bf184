//! Whom a load is put on: a cluster of ours, or another one to compare with.

use std::time::Duration;

use ravelin_client::ReadPath;
use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::{Encode as _, Operation, OperationResult, ServiceId};

use super::target::Target;
use super::{etcd, openraft};
use crate::connection::Connection;
use crate::exit::Result;

/// How all keys begin that are written.
pub(super) const PREFIX: &str = "ravelin-bench/";
/// How long the end of a session is waited for.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A client of a cluster.
#[derive(Clone)]
pub(super) enum Door {
    /// Ours: an envelope of operations.
    Ours(Connection),
    /// etcd: a transaction, or a single write.
    Etcd(etcd::Client),
    /// `raft-peer`: as many writes as are given, at once.
    Openraft(openraft::Client),
}

impl Door {
    /// A client of ours, with a session of its own.
    pub(super) async fn to_ours(target: Target<'_>) -> Result<Self> {
        Ok(Self::Ours(target.connect().await?))
    }

    /// Writes `value` under these keys.
    ///
    /// # Errors
    /// Why that was not acknowledged.
    pub(super) async fn put(
        &self,
        keys: &[usize],
        value: &[u8],
    ) -> std::result::Result<(), String> {
        match self {
            Self::Ours(connection) => {
                submit(connection, keys.iter().map(|key| put(*key, value)).collect()).await
            }
            Self::Etcd(client) => {
                client.put(&names(keys), value).await.map_err(|error| error.to_string())
            }
            Self::Openraft(client) => {
                client.put(&names(keys), value).await.map_err(|error| error.to_string())
            }
        }
    }

    /// Removes these keys; those of others go with their servers.
    ///
    /// # Errors
    /// Why that was not acknowledged.
    pub(super) async fn remove(&self, keys: &[usize]) -> std::result::Result<(), String> {
        match self {
            Self::Ours(connection) => {
                submit(connection, keys.iter().map(|key| write(*key, None)).collect()).await
            }
            Self::Etcd(_) | Self::Openraft(_) => Ok(()),
        }
    }

    /// Reads one of the keys, which is there, as `ravelin kv get` does, and says by which path. That of
    /// others counts as fast: their leader asks whether it still leads, and orders nothing.
    ///
    /// # Errors
    /// Why there is no reply.
    pub(super) async fn get(&self, key: usize) -> std::result::Result<ReadPath, String> {
        let connection = match self {
            Self::Ours(connection) => connection,
            Self::Etcd(client) => {
                let read = client.get(&name(key)).await;
                return read.map(|()| ReadPath::Fast).map_err(|error| error.to_string());
            }
            Self::Openraft(client) => {
                let read = client.get(&name(key)).await;
                return read.map(|_| ReadPath::Fast).map_err(|error| error.to_string());
            }
        };
        let request = KvRequest::Get { key: name(key) }.encode();
        match connection.read_with_path(ServiceId::KV, request).await {
            Ok((OperationResult::Done(_), path)) => Ok(path),
            Ok((OperationResult::Refused(refusal), _)) => Err(format!("{refusal:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends the session, if it has one.
    pub(super) async fn close(&self) {
        if let Self::Ours(connection) = self {
            // A session that was not closed ends by itself.
            let _ = tokio::time::timeout(CLOSE_MAX, connection.close()).await;
        }
    }
}

async fn submit(
    connection: &Connection,
    operations: Vec<Operation>,
) -> std::result::Result<(), String> {
    let answers = connection.submit(operations).await.map_err(|error| error.to_string())?;
    let mut refused = answers.iter().filter_map(|answer| match answer.outcome {
        OperationResult::Done(_) => None,
        OperationResult::Refused(refusal) => Some(format!("{refusal:?}")),
    });
    refused.next().map_or(Ok(()), Err)
}

/// Writes `value` under one of the keys.
pub(super) fn put(key: usize, value: &[u8]) -> Operation {
    write(key, Some(value.to_vec()))
}

fn write(key: usize, value: Option<Vec<u8>>) -> Operation {
    let write = Write { key: name(key), value, condition: Condition::Always, lease: None };
    Operation { service: ServiceId::KV, request: KvRequest::Write(write).encode() }
}

fn names(keys: &[usize]) -> Vec<Vec<u8>> {
    keys.iter().copied().map(name).collect()
}

fn name(key: usize) -> Vec<u8> {
    format!("{PREFIX}{key:08}").into_bytes()
}
