//! Starting a wormhole, and giving up what a payload must not have beside one.
//!
//! **Guarantee:** the wormhole gets nothing of the caller's environment, its own ends of the connections
//! and no other descriptor that this module made; the caller gets the other ends. After
//! [`drop_payload_privileges`] this process has exactly the capabilities on its keep-list, for good, and
//! is not the wormhole's user.
//!
//! The caller is short-lived and single-threaded until it became the payload: as root it starts the
//! wormhole, drops its own privileges and goes on as the replica.
//!
//! # Security
//! A payload that stays user 0 without capabilities cannot touch the wormhole's process, but owns the
//! files of the system and the kernel's settings: `/proc/sys/kernel/core_pattern` names a program that
//! runs with every capability at the next crash. Give the payload a user of its own.

mod network;

pub use network::{ControlNetwork, control_sockets};

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::CapabilitySet;

use crate::attestation::{ClusterId, ProvisionedId, ReplicaId};
use crate::core::{CONNECTIONS, Engine, Member};
use crate::sandbox::{self, Owner};
use crate::state::Lease;
use crate::{hex, os};

/// The name under which the program is started: another program that holds this library acts as the
/// wormhole when it finds itself called so.
pub const PROGRAM_NAME: &str = "ravelin-wormhole";

/// Longest time for a program that does one thing and ends.
pub const COMMAND_MAX: Duration = Duration::from_secs(10);
/// More than such a program ever writes: a key in hexadecimal.
const WORDS_MAX: usize = 256;

/// How to start a wormhole. Relative paths begin at the caller's directory.
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
    /// A file that what it says to people goes to; `None`: the caller's standard error.
    pub words: Option<Arc<File>>,
}

/// The control channel of a wormhole that is to agree with others.
#[derive(Debug)]
pub struct Control {
    /// A UDP socket, bound to its own address; on one host as [`control_sockets`] makes it. The network that it was made in is the one it reaches,
    /// wherever the wormhole's process is.
    pub socket: OwnedFd,
    /// All wormholes of the cluster, itself included, in the same order everywhere; 16 at most.
    pub members: Vec<(Member, SocketAddr)>,
    /// How they agree, the same for all. By [`Engine::RealTime`] the wormhole ends with status 1, and says
    /// why, where its start finds that it is woken later than the bound.
    pub engine: Engine,
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
        self.start_with(None)
    }

    /// Starts the wormhole with a control channel.
    ///
    /// # Errors
    /// As those of [`Self::start`].
    pub fn start_together(&self, control: Control) -> Result<Launched, LaunchError> {
        self.start_with(Some(control))
    }

    fn start_with(&self, control: Option<Control>) -> Result<Launched, LaunchError> {
        if !(1..=CONNECTIONS).contains(&self.connection_count) {
            return Err(LaunchError::ConnectionCount(self.connection_count));
        }
        let mut command = self.command()?;
        let (cluster, replica) = &self.member;
        command.arg("--cluster").arg(hex::encode(&cluster.0));
        command.arg("--replica").arg(replica.0.to_string());
        if let Some((tpm, lease)) = &self.store {
            let lease = match lease {
                Lease::Run => "run",
                Lease::Every => "every",
                Lease::EveryUnmetered => "every-unmetered",
            };
            command.arg("--tpm").arg(absolute(tpm)?).args(["--lease", lease]);
        }
        let mut ends = Vec::with_capacity(self.connection_count);
        let mut handed_over = Vec::with_capacity(self.connection_count + 1);
        for _ in 0..self.connection_count {
            let (payload, wormhole) = pair().map_err(LaunchError::Connection)?;
            command.arg("--fd").arg(wormhole.as_raw_fd().to_string());
            ends.push(payload);
            handed_over.push(wormhole);
        }
        if let Some(Control { socket, members, engine }) = control {
            command.arg("--control-fd").arg(socket.as_raw_fd().to_string());
            if let Engine::RealTime { bound } = engine {
                command.arg("--real-time").arg((bound.0 / 1_000).to_string());
            }
            for (Member { replica, provisioned }, address) in members {
                let key = hex::encode(&provisioned.0);
                command.arg("--member").arg(format!("{},{key},{address}", replica.0));
            }
            handed_over.push(socket);
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
    /// writes to standard error. [`LaunchError::Silent`] after [`COMMAND_MAX`].
    pub fn provision(&self) -> Result<ProvisionedId, LaunchError> {
        self.ask("--provision")
    }

    /// The public half of the key that was made before.
    ///
    /// # Errors
    /// As those of [`Self::provision`]; [`LaunchError::Refused`] when there is no key.
    pub fn public(&self) -> Result<ProvisionedId, LaunchError> {
        self.ask("--public")
    }

    /// Runs a command that answers with a public key.
    fn ask(&self, what: &str) -> Result<ProvisionedId, LaunchError> {
        let deadline = Instant::now() + COMMAND_MAX;
        let mut command = self.command()?;
        command.arg(what).stdout(Stdio::piped());
        let mut process = Ending(command.spawn().map_err(LaunchError::Program)?);
        let words = match process.0.stdout.take() {
            Some(out) => read_all(&out, deadline).map_err(LaunchError::Program)?,
            None => None,
        };
        let ended = process.wait(deadline).map_err(LaunchError::Program)?;
        let (Some(words), Some(status)) = (words, ended) else { return Err(LaunchError::Silent) };
        let public = str::from_utf8(&words).ok().and_then(|text| hex::decode(text.trim()));
        match public {
            Some(public) if status.success() => Ok(ProvisionedId(public)),
            _ => Err(LaunchError::Refused { status: status.into_raw() }),
        }
    }

    /// The program with nothing of this process's environment.
    fn command(&self) -> Result<Command, LaunchError> {
        // A bare name is looked for where programs are.
        let is_bare = self.program.components().count() == 1;
        let program = if is_bare { self.program.clone() } else { absolute(&self.program)? };
        let mut command = Command::new(program);
        command.arg0(PROGRAM_NAME).env_clear();
        // A program that allocates with mimalloc would give unused memory back to the kernel after a
        // while, by calls for which a closed process is killed; -1: never. Others do not read it.
        command.env("MIMALLOC_PURGE_DELAY", "-1");
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command.arg("--state").arg(absolute(&self.state)?);
        if let Some(owner) = self.owner {
            command.arg("--user").arg(format!("{}:{}", owner.user(), owner.group()));
        }
        if let Some(words) = &self.words {
            command.stderr(words.try_clone().map_err(LaunchError::Program)?);
        }
        Ok(command)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, LaunchError> {
    std::path::absolute(path).map_err(LaunchError::Program)
}

/// A process that is over when this is dropped: killed, if it has not ended by itself.
pub(crate) struct Ending(pub(crate) Child);

impl Ending {
    /// Waits for its end; `None`: it goes on after the deadline.
    pub(crate) fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.0.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Both do nothing to one that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program writes until it closes its output, or the first [`WORDS_MAX`] bytes; `None`: it goes
/// on after the deadline.
fn read_all(out: &ChildStdout, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut words = Vec::new();
    while words.len() < WORDS_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(out, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut part = [0; WORDS_MAX];
        match rustix::io::read(out, &mut part)? {
            0 => break,
            read => words.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    Ok(Some(words))
}

/// Drops every capability of this process that is not in `keep`, for good: programs that it executes
/// later included, set-user-id ones too. With an `owner` it becomes that user. `wormhole` is the
/// wormhole's own user, [`Launch::owner`]: whoever is that user can stop it and read its state, so the
/// payload must be another.
///
/// To be called before any other thread starts. `keep` is empty unless there is a reason; what
/// reaches a wormhole (`SYS_PTRACE`, `SYS_ADMIN`, `SYS_RAWIO`, `SYS_MODULE`, `BPF`, `PERFMON`,
/// `CHECKPOINT_RESTORE`, `KILL`, `SETUID`, `DAC_OVERRIDE`, ...) must never be in it.
///
/// # Errors
/// When something could not be dropped, or [`LaunchError::SameUser`]: the caller must end.
pub fn drop_payload_privileges(
    owner: Option<Owner>,
    wormhole: Option<Owner>,
    keep: CapabilitySet,
) -> Result<(), LaunchError> {
    let user = owner.map_or_else(|| rustix::process::geteuid().as_raw(), Owner::user);
    if wormhole.is_some_and(|wormhole| wormhole.user() == user) {
        return Err(LaunchError::SameUser(user));
    }
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

/// How a process ended, in words.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn refusal(status: ExitStatus) -> String {
    if status.success() {
        return "the program ended without an answer: it is no wormhole".to_owned();
    }
    format!("the wormhole refused ({})", ending(status))
}

/// The payload's end and the wormhole's.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (payload, wormhole) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
    // Before a payload could send any. The wormhole asks for it again, and tells if there is no such
    // thing.
    let _ = os::refuse_passed_files(&wormhole);
    Ok((payload, wormhole))
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
    /// The program ended without an answer, with this status in the form of `wait`.
    #[error("{}", refusal(ExitStatus::from_raw(*status)))]
    Refused {
        /// As `wait` gives it.
        status: i32,
    },
    /// The program did not do a small thing within [`COMMAND_MAX`]; it was killed.
    #[error("the program did not answer within {COMMAND_MAX:?}: is it a wormhole?")]
    Silent,
    /// There is no network for control channels, or no way back from it.
    #[error("cannot make the network of the control channels")]
    Network(#[source] io::Error),
    /// The payload would be the wormhole's user; it must end.
    #[error("user {0} is the wormhole's own: the payload must be another")]
    SameUser(u32),
    /// The payload would keep what it must not have; it must end.
    #[error("cannot drop the payload's privileges")]
    Privileges(#[source] io::Error),
}
