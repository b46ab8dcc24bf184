//! A server's wormhole, started as its node file says.
//!
//! **Guarantee:** what a server calls is the wormhole that the plan names for it; where the node file
//! names a user for the wormhole or for the server, the server has no capability from then on, and is
//! another user than the wormhole.

pub(crate) mod drawing;
pub(crate) mod standing;
pub(crate) mod together;
pub(crate) mod words;

use std::path::{Path, PathBuf};
use std::process::Child;

use ravelin_model::{ClusterId, Digest, PublicKey, ReplicaId};
use ravelin_replication::OwnWormhole;
use ravelin_runtime::wormhole::{self as local, LocalWormhole, answer_max, member_of};
use ravelin_wormhole::counter::CounterError;
use ravelin_wormhole::launcher::{Launch, PROGRAM_NAME, drop_payload_privileges};
use ravelin_wormhole::sandbox::Restart;
use ravelin_wormhole::tpm::Transport;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::exit::{Error, Exit, Result};
use crate::files::disk;
use crate::files::node::{Keeping, WormholeConfig};
use crate::server::OwnInstance;

use standing::Watch;

/// What to do about a wormhole that stopped.
pub(crate) const GONE: &str = "start the server again, with a new wormhole; an epoch lets that in";

/// What to do about a key that is not there, or not the plan's.
pub(crate) const LOST: &str = "the plan names that key for good, so without it the server is lost for this \
    cluster: one of the f faults is spent, and every reopening declares it by --lost N, until a backup is \
    restored into a new cluster";

/// The program that acts as a wormhole, and whether it is nothing else.
pub(crate) fn program() -> Result<(PathBuf, bool)> {
    let own = std::env::current_exe();
    let own = own.map_err(|error| Error::system("find", Path::new("/proc/self/exe"), &error))?;
    let small = own.with_file_name(PROGRAM_NAME);
    Ok(if small.is_file() { (small, true) } else { (own, false) })
}

/// The file of a state directory that holds the key.
const KEY: &str = "key";
/// The one that ties it to a TPM's counter.
const ANCHOR: &str = "anchor";

/// Makes the key of a new wormhole, and the directories above its own; gives the public half. If that
/// fails, nothing of it is left.
pub(crate) fn provision(config: &WormholeConfig) -> Result<PublicKey> {
    let state = &config.state;
    if state.exists() && !state.is_dir() {
        let cause = format!("{} is no directory", state.display());
        return Err(Error::new(Exit::Failed, cause, "name one for the wormhole's key alone"));
    }
    disk::refuse_existing(&state.join(KEY))?;
    let above: Vec<PathBuf> = disk::parent(state).ancestors().map(Path::to_owned).collect();
    let made: Vec<PathBuf> = above.into_iter().take_while(|dir| !dir.exists()).collect();
    disk::create_dir(disk::parent(state))?;
    make_key(config).inspect_err(|_| {
        made.iter().for_each(|dir| drop(std::fs::remove_dir(dir))); // only what is empty goes
    })
}

fn make_key(config: &WormholeConfig) -> Result<PublicKey> {
    let key = launch(config, nobody())?.provision().map_err(|error| {
        let hint = "what it wrote above says why; an own user needs root, and a directory is \
                    provisioned once";
        Error::caused(Exit::Failed, error, hint).context("cannot provision the wormhole")
    })?;
    Ok(PublicKey(key.0))
}

/// Whether this process may look into the state directory, or would learn that it is not there.
pub(crate) fn is_readable(config: &WormholeConfig) -> bool {
    let looked = rustix::fs::access(&config.state, Access::READ_OK | Access::EXEC_OK);
    looked != Err(Errno::ACCESS)
}

/// Refuses a TPM that the wormhole could not use at a start; gives what there is to say of it, if one is
/// named. It is opened and asked nothing.
pub(crate) fn check_tpm(config: &WormholeConfig) -> Result<Option<String>> {
    let Some((tpm, _)) = &config.store else { return Ok(None) };
    let shown = tpm.display();
    match Transport::open(tpm) {
        Ok(_) => {}
        // It is the wormhole's, whose user may be another one.
        Err(CounterError::Unreachable(Errno::ACCESS | Errno::PERM)) if config.user.is_some() => {
            return Ok(Some(format!("{shown} is not for us to open: ask as root to try it")));
        }
        Err(error) => {
            let hint = "is `wormhole.tpm` in the node file right, and if it is a software TPM's socket, does \
                        that run?";
            let what = format!("cannot use the wormhole's TPM {shown}");
            return Err(Error::caused(Exit::Failed, error, hint).context(what));
        }
    }
    if is_readable(config) && config.state.is_dir() && !config.state.join(ANCHOR).is_file() {
        let state = config.state.display();
        let cause = format!("no counter of a TPM was made for {state}");
        let user = config.user.map(|user| format!(" --user {user}")).unwrap_or_default();
        let hint = format!(
            "`{PROGRAM_NAME} --anchor INDEX --tpm {shown} --state {state}{user}` makes one"
        );
        return Err(Error::new(Exit::Failed, cause, hint));
    }
    Ok(Some(format!("{shown} is there")))
}

/// The public half of the key that was made before.
pub(crate) fn public(config: &WormholeConfig) -> Result<PublicKey> {
    let missing = |path: &Path| {
        std::fs::symlink_metadata(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    if missing(&config.state.join(KEY)) {
        let cause = format!("there is no wormhole's key in {}", config.state.display());
        let hint = format!(
            "check `wormhole.state` in the node file, and that its disk is mounted; is the key gone? {LOST}"
        );
        return Err(Error::new(Exit::NotFound, cause, hint));
    }
    let key = launch(config, nobody())?.public().map_err(|error| {
        let hint =
            "what it wrote above says why; the directory is its user's alone, so ask as root";
        Error::caused(Exit::Failed, error, hint)
            .context(format_args!("cannot read the wormhole's key in {}", config.state.display()))
    })?;
    Ok(PublicKey(key.0))
}

/// What became of a server whose wormhole stopped.
pub(crate) fn gone() -> Error {
    let cause = "this server can say nothing more: its wormhole stopped";
    Error::new(Exit::Failed, cause, GONE)
}

/// A wormhole that was started for this server.
pub(crate) struct Started {
    pub(crate) wormhole: Own,
    /// To look at it. It keeps the process alive, too.
    pub(crate) watch: Option<Watch>,
    /// Its process, to wait for.
    pub(crate) process: Child,
}

/// This server's wormhole. It ends with its last caller.
pub(crate) struct Own(LocalWormhole);

impl Started {
    /// Starts the wormhole of `member`, whose provisioned key is this, and becomes whom the server is to
    /// be. Nothing else may run in this process yet.
    pub(crate) fn start(
        config: &WormholeConfig,
        member: (ClusterId, ReplicaId),
        provisioned: PublicKey,
    ) -> Result<Self> {
        check_user(config)?;
        let launch = launch(config, member)?;
        let started = LocalWormhole::start(&launch, provisioned, answer_max(&launch));
        let local::Started { wormhole, monitor, process } = started.map_err(|error| {
            let hint = "what it wrote above says why; `ravelin wormhole selftest` tries one apart, \
                        `ravelin node check` compares its key with the plan's";
            Error::caused(Exit::Failed, error, hint)
        })?;
        if config.user.is_some() || config.server_user.is_some() {
            let users = (config.server_user.map(|user| user.0), config.user.map(|user| user.0));
            drop_payload_privileges(users.0, users.1, CapabilitySet::empty()).map_err(|error| {
                Error::caused(
                    Exit::Denied,
                    error,
                    "start as root, or leave out wormhole.server_user",
                )
            })?;
        }
        let restart = restart(config);
        let watch = monitor.map(|monitor| Watch::new(monitor, restart));
        Ok(Self { wormhole: Own(wormhole), watch, process })
    }
}

impl Own {
    /// The wormhole, and what it says now.
    pub(crate) fn presented(&self) -> Result<OwnInstance> {
        let (wormhole, certificate, last) = self.0.presented().map_err(|error| {
            Error::caused(Exit::Failed, error, GONE).context("this server's wormhole stopped")
        })?;
        Ok((wormhole, OwnWormhole { certificate, last }))
    }
}

/// What a stop does to an instance.
fn restart(config: &WormholeConfig) -> Restart {
    match &config.store {
        None => Restart::NewInstance,
        Some((_, Keeping::Run)) => Restart::CleanStop,
        Some((_, Keeping::EveryUnmetered)) => Restart::Exact,
    }
}

/// Refuses to serve as root beside a wormhole with a user of its own.
pub(crate) fn check_user(config: &WormholeConfig) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    if config.user.is_none() || config.server_user.is_some() || !is_root {
        return Ok(());
    }
    let cause = "root would serve beside a wormhole with a user of its own";
    let hint = "name wormhole.server_user: root without capabilities still owns the host's files, \
                and with them the next program that root runs";
    Err(Error::usage(cause, hint))
}

fn launch(config: &WormholeConfig, (cluster, replica): (ClusterId, ReplicaId)) -> Result<Launch> {
    let program = match &config.program {
        Some(program) => program.clone(),
        None => program()?.0,
    };
    Ok(Launch {
        program,
        state: config.state.clone(),
        owner: config.user.map(|user| user.0),
        connection_count: 2, // to call it, and to look at it
        member: member_of(cluster, replica),
        store: config.store.as_ref().map(|(tpm, keeping)| (tpm.clone(), keeping.lease())),
        words: None,
    })
}

/// For commands that serve no member.
fn nobody() -> (ClusterId, ReplicaId) {
    (ClusterId(Digest::default()), ReplicaId(0))
}
