//! The file in which a client keeps proof of servers' misbehaviour: one JSON object a line.
//!
//! ```text
//! {"server":2,"name":"s2","kind":"two_statements","cluster":"...","incarnation":1,"epoch":1,"evidence":"..."}
//! ```
//!
//! `evidence` is the canonical bytes of [`Evidence`], in hexadecimal digits: whoever has the plan
//! can check it. Lines are only ever appended.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ravelin_model::{ClusterId, Encode as _, Evidence, SignedPlan};
use serde::Serialize;

use crate::exit::{Error, Exit, Result};
use crate::files::{disk, hex};

/// Where proof is kept; it can be written there, as far as one can tell beforehand.
pub(crate) struct EvidenceFile(PathBuf);

#[derive(Serialize)]
struct Line<'a> {
    server: u16,
    name: &'a str,
    kind: &'static str,
    cluster: String,
    incarnation: u32,
    epoch: u64,
    evidence: String,
}

impl EvidenceFile {
    /// Refuses a path that could not be written; creates nothing.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let path = disk::plain(path);
        let dir = disk::parent(&path);
        let metadata =
            fs::metadata(dir).map_err(|error| Error::system("keep evidence in", dir, &error))?;
        if path.is_dir() || !metadata.is_dir() {
            let cause = format!("evidence cannot be kept in {}", path.display());
            return Err(Error::usage(cause, "name a file in a directory"));
        }
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Appends what was proven, and makes it durable.
    pub(crate) fn append(
        &self,
        cluster: ClusterId,
        signed: &SignedPlan,
        proofs: &[Evidence],
    ) -> Result<()> {
        let mut text = String::new();
        for proof in proofs {
            let accused = proof.accused();
            let member = signed.plan.members.get(accused.index());
            let line = Line {
                server: accused.0,
                name: member.map_or("", |member| member.name.as_str()),
                kind: proof.kind(),
                cluster: cluster.0.to_string(),
                incarnation: signed.plan.incarnation.0,
                epoch: signed.plan.epoch.0,
                evidence: hex::encode(&proof.encode()),
            };
            text.push_str(&serde_json::to_string(&line).expect("plain fields"));
            text.push('\n');
        }
        let append = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&self.0)?;
            file.write_all(text.as_bytes())?; // in one write, so that lines of others stay whole
            file.sync_all()
        };
        append().map_err(|error| {
            Error::caused(Exit::Failed, error, "check the file's owner and the free space")
                .context(format!("cannot keep evidence in {}", self.0.display()))
        })
    }
}
