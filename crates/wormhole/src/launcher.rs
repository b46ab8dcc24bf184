//! Starting a wormhole, and giving up what a payload must not have beside one.
//!
//! **Guarantee:** the wormhole gets an empty environment, its own ends of the connections and no other
//! descriptor that this module made; the caller gets the other ends. After
//! [`drop_payload_privileges`] this process has exactly the capabilities on its keep-list, for good.
//!
//! The caller is short-lived and single-threaded until it became the payload: as root it starts the
//! wormhole, drops its own privileges and goes on as the replica.
//!
//! # Security
//! A payload that stays user 0 without capabilities cannot touch the wormhole's process, but owns the
//! files of the system: what root runs later (a program, a unit, a timer) is its way back. Give the
//! payload a user of its own.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::CapabilitySet;

use crate::attestation::{ClusterId, ProvisionedId, ReplicaId};
use crate::core::CONNECTIONS;
use crate::sandbox::{self, Owner};
use crate::state::Lease;
use crate::{hex, os};

/// The name under which the program is started: another program that holds this library acts as the
/// wormhole when it finds itself called so.
pub const PROGRAM_NAME: &str = "ravelin-wormhole";

/// How to start a wormhole.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program: `ravelin-wormhole`, or one that acts as it by [`PROGRAM_NAME`].
    pub program: PathBuf,
    /// Its state directory, provisioned before.
    pub state: PathBuf,
    /// The wormhole's own user; needs root. `None`: it shares the caller's.
    pub owner: Option<Owner>,
    /// How many processes will call it, `1..=`[`CONNECTIONS`].
    pub connection_count: usize,
    /// The member that it serves.
    pub member: (ClusterId, ReplicaId),
    /// A TPM and what one step of its counter lasts for; `None`: every start is a new instance.
    pub store: Option<(PathBuf, Lease)>,
}

/// A wormhole that was started. It is ready once it answers.
#[derive(Debug)]
pub struct Launched {
    /// Its process. It ends by itself when every end below is closed.
    pub process: Child,
    /// The payload's ends, one a connection: SEQPACKET, closed on execution.
    pub ends: Vec<OwnedFd>,
}

impl Launch {
    /// Starts the wormhole.
    ///
    /// # Errors
    /// [`LaunchError`]. That the program ran and refused shows by its exit status and on standard
    /// error only.
    pub fn start(&self) -> Result<Launched, LaunchError> {
        if !(1..=CONNECTIONS).contains(&self.connection_count) {
            return Err(LaunchError::ConnectionCount(self.connection_count));
        }
        let mut command = self.command();
        let (cluster, replica) = &self.member;
        command.arg("--cluster").arg(hex::encode(&cluster.0));
        command.arg("--replica").arg(replica.0.to_string());
        if let Some((tpm, lease)) = &self.store {
            let lease = match lease {
                Lease::Run => "run",
                Lease::Every => "every",
            };
            command.arg("--tpm").arg(tpm).args(["--lease", lease]);
        }
        let mut ends = Vec::with_capacity(self.connection_count);
        let mut handed_over = Vec::with_capacity(self.connection_count);
        for _ in 0..self.connection_count {
            let (payload, wormhole) = pair().map_err(LaunchError::Connection)?;
            command.arg("--fd").arg(wormhole.as_raw_fd().to_string());
            ends.push(payload);
            handed_over.push(wormhole);
        }
        os::hand_over(&mut command, handed_over);
        let process = command.spawn().map_err(LaunchError::Program)?;
        Ok(Launched { process, ends })
    }

    /// Makes the state directory and the wormhole's key, once in the life of a member, and answers
    /// with the public half: what the cluster's plan names.
    ///
    /// # Errors
    /// [`LaunchError::Refused`] when there is a key already, among other reasons that the program
    /// writes to standard error.
    pub fn provision(&self) -> Result<ProvisionedId, LaunchError> {
        let mut command = self.command();
        command.arg("--provision").stdout(Stdio::piped()).stderr(Stdio::inherit());
        let output = command.output().map_err(LaunchError::Program)?;
        let public = str::from_utf8(&output.stdout).ok().and_then(|text| hex::decode(text.trim()));
        match public {
            Some(public) if output.status.success() => Ok(ProvisionedId(public)),
            _ => Err(LaunchError::Refused { status: output.status.into_raw() }),
        }
    }

    /// The program with nothing of this process's environment.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0(PROGRAM_NAME);
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command.arg("--state").arg(&self.state);
        if let Some(owner) = self.owner {
            command.arg("--user").arg(format!("{}:{}", owner.user(), owner.group()));
        }
        command
    }
}

/// Drops every capability of this process that is not in `keep`, for good: programs that it executes
/// later included, set-user-id ones too. With an `owner` it becomes that user.
///
/// To be called before any other thread starts. `keep` is empty unless there is a reason; what
/// reaches a wormhole (`SYS_PTRACE`, `SYS_ADMIN`, `SYS_RAWIO`, `SYS_MODULE`, `BPF`, `PERFMON`,
/// `CHECKPOINT_RESTORE`, `KILL`, `SETUID`, `DAC_OVERRIDE`, ...) must never be in it.
///
/// # Errors
/// When something could not be dropped: the caller must end.
pub fn drop_payload_privileges(
    owner: Option<Owner>,
    keep: CapabilitySet,
) -> Result<(), LaunchError> {
    let drop = || -> io::Result<()> {
        sandbox::require_only_thread()?;
        sandbox::bound(keep)?;
        if let Some(owner) = owner {
            // A change of user would take what is to be kept; `keep_only` takes the rest.
            rustix::thread::set_keep_capabilities(true)?;
            sandbox::become_owner(owner)?;
            rustix::thread::set_keep_capabilities(false)?;
        }
        sandbox::keep_only(keep)?;
        Ok(rustix::thread::set_no_new_privs(true)?)
    };
    drop().map_err(LaunchError::Privileges)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Why there is no wormhole, or no safe payload beside it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Not `1..=`[`CONNECTIONS`].
    #[error("a wormhole has 1 to {CONNECTIONS} connections, not {0}")]
    ConnectionCount(usize),
    /// No socket could be made or handed over.
    #[error("cannot make a connection for the wormhole")]
    Connection(#[source] io::Error),
    /// The program could not be started.
    #[error("cannot start the wormhole")]
    Program(#[source] io::Error),
    /// The program ended with this status, in the form of `wait`.
    #[error("the wormhole refused (status {status:#x})")]
    Refused {
        /// As `wait` gives it.
        status: i32,
    },
    /// The payload would keep what it must not have; it must end.
    #[error("cannot drop the payload's privileges")]
    Privileges(#[source] io::Error),
}
