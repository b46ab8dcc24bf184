//! What makes an exported log believable: plans from the fingerprint on, a quorum's statements, the
//! way to the head in the state that they sign, and lists that lead to it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use ravelin_client::chain::follow;
use ravelin_crypto::Keyring;
use ravelin_crypto::audit::head_before;
use ravelin_crypto::state_tree::{state_key, verify_proof};
use ravelin_model::{AUDIT_HEAD_KEY, AuditHead, ClusterId, CommitStatement, ServiceId};
use serde::Serialize;

use super::file::{End, FORMAT, Header, Line};
use crate::exit::{Error, Exit, Result};
use crate::files::plan;

/// Bytes of a line: a list, in digits, is smaller by far.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// What a file proves.
#[derive(Serialize)]
pub(super) struct Verified {
    cluster: String,
    lists: u64,
    operations: u64,
    first: u64,
    commit: u64,
    time_us: u64,
    signers: Vec<u16>,
}

impl fmt::Display for Verified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, lists, first, commit, signers, .. } = self;
        let last = first + lists - 1;
        write!(out, "verified: {operations} operations in {lists} lists ")?;
        if *lists > 0 {
            write!(out, "(numbers {first} to {last}) ")?;
        }
        let signers = signers.len();
        write!(out, "up to commit {commit}, signed by {signers} servers")
    }
}

fn wrong(what: impl fmt::Display) -> Error {
    let hint = "do not rely on this file: export the log anew, and keep this one as evidence";
    Error::new(Exit::VerificationFailed, what, hint)
}

/// Whether the first line proves the head that it names; what the quorum stated.
pub(super) fn check(header: &Header, trusted: ClusterId) -> Result<(CommitStatement, AuditHead)> {
    let malformed = || wrong("its first line is malformed");
    if header.cluster() != Some(trusted) {
        return Err(wrong("it is of another cluster, or does not say of which"));
    }
    let (plans, statements) = header.plans().zip(header.statements()).ok_or_else(malformed)?;
    let (head, shown) = header.head().zip(header.proof()).ok_or_else(malformed)?;
    let scheme = plan::scheme()?;
    let first = statements.first().ok_or_else(|| wrong("nobody signed its head"))?.statement;
    let until = plans.iter().position(|signed| signed.plan.epoch == first.epoch);
    let plans = until.and_then(|until| plans.get(..=until));
    let plans = plans.ok_or_else(|| wrong("it lacks the plan of its epoch"))?;
    let (cluster, last) = follow(trusted.0, plans, &scheme)
        .map_err(|error| wrong(format_args!("its plans do not hold: {error}")))?;
    let keyring = Keyring::new(cluster, last, scheme)
        .map_err(|error| wrong(format_args!("its plan does not hold: {error}")))?;
    let signers: BTreeSet<_> = statements.iter().map(|signed| signed.replica).collect();
    let (got, needed) = (signers.len(), keyring.group().quorum());
    if got != statements.len() || got < needed {
        return Err(wrong(format_args!("{got} servers signed its head, {needed} must")));
    }
    if !statements.iter().all(|signed| signed.statement == first && keyring.holds(signed)) {
        return Err(wrong("a signature of its head does not hold"));
    }
    let key = state_key(ServiceId::AUDIT, AUDIT_HEAD_KEY);
    if !verify_proof(&first.state, &key, &shown) {
        return Err(wrong("its head is not in the state that the servers signed"));
    }
    Ok((first, head))
}

/// Checks a file against the cluster with this fingerprint.
pub(super) fn verify(path: &Path, trusted: ClusterId) -> Result<Verified> {
    let failed = |error| Error::system("read", path, &error);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::usage("it is not a regular file", "name a file"));
    }
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut next = || -> Result<Option<String>> {
        let mut line = String::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(not_a_log("it is not text"))
            }
            Err(error) => Err(failed(error)),
        }
    };
    let header = next()?.and_then(|line| serde_json::from_str::<Header>(&line).ok());
    let header = header.filter(|header| header.format == FORMAT);
    let header = header.ok_or_else(|| not_a_log("it is no exported audit log"))?;
    let (statement, head) = check(&header, trusted)?;
    let mut left = head;
    let oldest = loop {
        let line = next()?.ok_or_else(|| wrong("it is cut short: the last line is missing"))?;
        let line = serde_json::from_str::<Line>(&line);
        match line.map_err(|_| wrong(format_args!("list {} is malformed", left.lists)))? {
            Line::End(End { oldest, .. }) => break oldest,
            Line::List(list) => {
                let number = left.lists;
                let before = list.record().and_then(|(named, record)| {
                    (named == number).then(|| head_before(&left, &[record])).flatten()
                });
                left = before.ok_or_else(|| {
                    wrong(format_args!("list {number} is not the one that was recorded"))
                })?;
            }
        }
    };
    if oldest != left.lists + 1 || next()?.is_some() {
        return Err(wrong("it does not end where it says"));
    }
    Ok(Verified {
        cluster: trusted.0.to_string(),
        lists: head.lists - left.lists,
        operations: head.operations - left.operations,
        first: left.lists + 1,
        commit: statement.commit.0,
        time_us: statement.time.0,
        signers: header.statements().iter().flatten().map(|signed| signed.replica.0).collect(),
    })
}

fn not_a_log(what: &str) -> Error {
    Error::usage(what, "name a file that `ravelin audit export` wrote")
}
