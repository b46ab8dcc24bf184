//! Whom a load is put on: a cluster of ours, or another one to compare with.

use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::{Encode as _, Operation, ServiceId};

use super::etcd;
use super::testbed::TestBed;
use crate::connection::Connection;
use crate::drill;
use crate::exit::{Error, Exit, Result};

/// A client of a cluster.
#[derive(Clone)]
pub(super) enum Door {
    /// Ours: an envelope of operations.
    Ours(Connection),
    /// etcd: a transaction, or a single write.
    Etcd(etcd::Client),
}

impl Door {
    /// A client of ours, with a session of its own.
    pub(super) async fn to_ours(bed: &TestBed) -> Result<Self> {
        Ok(Self::Ours(drill::connect(&bed.cluster).await?))
    }

    /// A connection to etcd's leader.
    pub(super) async fn to_etcd(etcd: &etcd::Etcd) -> Result<Self> {
        let client = etcd::Client::connect(etcd.leader).await;
        let client = client.map_err(|error| {
            let hint = "look whether the machine is busy, and try again";
            Error::caused(Exit::Failed, error, hint).context("cannot speak to etcd")
        })?;
        Ok(Self::Etcd(client))
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
                let operations = keys.iter().map(|key| put(*key, value)).collect();
                let answers = connection.submit(operations).await;
                answers.map(drop).map_err(|error| error.to_string())
            }
            Self::Etcd(client) => {
                let keys: Vec<Vec<u8>> = keys.iter().copied().map(name).collect();
                client.put(&keys, value).await.map_err(|error| error.to_string())
            }
        }
    }
}

/// Writes `value` under one of the keys.
pub(super) fn put(key: usize, value: &[u8]) -> Operation {
    let write = Write {
        key: name(key),
        value: Some(value.to_vec()),
        condition: Condition::Always,
        lease: None,
    };
    Operation { service: ServiceId::KV, request: KvRequest::Write(write).encode() }
}

fn name(key: usize) -> Vec<u8> {
    format!("bench/{key:08}").into_bytes()
}
