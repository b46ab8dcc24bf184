//! One step beyond `f`, shown honestly: two servers lie alike.
//!
//! Outside every promise. What is measured: whether a client was ever told something wrong, and
//! whether the correct servers saw the proof and halted.

use std::path::Path;
use std::time::Duration;

use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, Write};
use ravelin_model::{FaultModel, ReplicaId};
use serde::Serialize;

use crate::cluster_dir::LocalCluster;
use crate::drill::workload::call;
use crate::drill::{READY_MAX, connect, start_all, wait_until};
use crate::exit::Result;
use crate::processes::{Hands, Processes};

/// What is done, in words.
pub(super) const WHAT: &str = "two colluding servers sign the same wrong answers";
/// Operations tried.
const TRIES: usize = 12;
/// How long one may take.
const TRY_MAX: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Beyond {
    /// Operations that a client tried.
    pub(crate) operations: usize,
    /// Answers that were believed and wrong.
    pub(crate) wrong: usize,
    /// Operations without an answer.
    pub(crate) refused: usize,
    /// Whether the correct servers stopped answering.
    pub(crate) halted: bool,
    /// Operations tried before they did.
    pub(crate) halted_after: Option<usize>,
}

impl Beyond {
    pub(super) fn in_words(&self) -> String {
        let halt = match self.halted_after {
            Some(after) => format!(
                "the correct servers halted after {after} operations; only administrators let them go on \
                 (`ravelin node release`)"
            ),
            None => "the correct servers did not halt".to_owned(),
        };
        format!(
            "{} operations tried: {} wrong answers believed, {} without an answer; {halt}",
            self.operations, self.wrong, self.refused
        )
    }
}

/// The servers that lie, of so many.
pub(super) fn liars(servers: u16) -> [ReplicaId; 2] {
    [2, 1].map(|from_end| ReplicaId(servers - from_end))
}

pub(super) async fn run(dir: &Path, servers: u16, model: FaultModel) -> Result<Beyond> {
    let liars = liars(servers);
    let cluster = LocalCluster::create(dir, servers, model)?;
    let processes = Processes::of(&cluster)?;
    start_all(&cluster, &processes).await?;
    let connection = connect(&cluster).await?;
    for liar in liars {
        processes.kill(liar)?;
        processes.start(liar, Hands::Intruder("liar"))?;
        // Both must take part again, or the cluster is only short of servers.
        wait_until(READY_MAX, || processes.is_ready(liar).unwrap_or(false)).await;
    }
    let mut beyond = Beyond::default();
    let mut written: Option<(Vec<u8>, bool)> = None;
    for count in 0..TRIES {
        let request = if count % 2 == 0 { put(count) } else { get() };
        let answer = tokio::time::timeout(TRY_MAX, call(&connection, &request)).await;
        beyond.operations += 1;
        match (answer, &request) {
            (Ok(Ok(KvReply::Written { .. })), _) => written = Some((value(count), true)),
            (Ok(Ok(KvReply::Entry(entry))), _) => {
                let is_right = written
                    .as_ref()
                    .is_none_or(|(value, is_sure)| entry.value == *value || !is_sure);
                beyond.wrong += usize::from(!is_right);
            }
            (Ok(Ok(KvReply::Absent { .. })), _) => {
                beyond.wrong += usize::from(written.as_ref().is_some_and(|(_, is_sure)| *is_sure));
            }
            (Ok(Ok(_)), _) => beyond.wrong += 1,
            (_, KvRequest::Write(_)) => {
                beyond.refused += 1;
                written = Some((value(count), false)); // it may have happened, or may yet
            }
            _ => beyond.refused += 1,
        }
        let reports = connection.status().await.unwrap_or_default();
        let halted = reports
            .iter()
            .filter(|(id, report)| !liars.contains(id) && report.state == "fail_safe");
        if halted.count() >= cluster.servers.len() - liars.len() {
            beyond.halted = true;
            beyond.halted_after.get_or_insert(beyond.operations);
        }
    }
    for server in &cluster.servers {
        processes.kill(server.id)?;
    }
    Ok(beyond)
}

fn value(count: usize) -> Vec<u8> {
    format!("beyond-{count}").into_bytes()
}

fn put(count: usize) -> KvRequest {
    KvRequest::Write(Write {
        key: b"beyond".to_vec(),
        value: Some(value(count)),
        condition: Condition::Always,
        lease: None,
    })
}

fn get() -> KvRequest {
    KvRequest::Get { key: b"beyond".to_vec() }
}
