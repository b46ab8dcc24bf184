//! The command line, read by hand.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::attestation::{ClusterId, ProvisionedId, ReplicaId};
use crate::core::{CONNECTIONS, Engine, Member, Nanos, REAL_TIME_BOUND_MAX};
use crate::frame::WORMHOLES_MAX;
use crate::hex;
use crate::sandbox::Owner;
use crate::state::Lease;
use crate::tpm::NvIndex;

/// What the program can be asked to do.
pub const USAGE: &str = "\
The trusted component of a server. It may stop, it never lies.

    ravelin-wormhole --state DIR --cluster HEX --replica N --fd N [--fd N ...]
                     [--tpm PATH --lease run|every|every-unmetered] [--user UID:GID]
                     [--control-fd N --member N,HEX,ADDRESS [--member N,HEX,ADDRESS ...]
                      [--real-time MICROSECONDS]]
        Serves the payloads whose SEQPACKET sockets it inherits. With a UDP socket that it inherits, it
        agrees with the wormholes of these members, itself among them, by their keys and addresses: by a
        majority, or in real time, by rounds with this bound (at most 20000) on how late the process is
        woken and a frame arrives. Then it first measures its wake-ups, and does not serve if one is later.
    ravelin-wormhole --provision --state DIR [--user UID:GID]
        Makes the state directory and its key, once; prints the public key.
    ravelin-wormhole --public --state DIR [--user UID:GID]
        Prints the public key again.
    ravelin-wormhole --anchor INDEX --tpm PATH --state DIR [--user UID:GID]
        Makes a counter in a TPM's NV memory (INDEX such as 0x1800001) and ties the state directory
        to it. Whatever instance the directory held is closed; if no counter can be made, nothing
        changes.
    ravelin-wormhole --selftest
        Starts one in a directory of its own, measures it, and says which protections are missing.

Exit status: 0 stopped cleanly, 1 could not start, 2 wrong arguments, 3 stopped in doubt.
";

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve calls.
    Serve(Serve),
    /// Make the state directory.
    Provision(Place),
    /// Print the public key.
    Public(Place),
    /// Make a counter in hardware.
    Anchor(Place, NvIndex, PathBuf),
    /// Measure.
    SelfTest,
    /// Print [`USAGE`].
    Help,
}

/// A state directory and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub state: PathBuf,
    /// The wormhole's own user; `None`: the one that starts it.
    pub owner: Option<Owner>,
}

impl Place {
    /// Who must own the directory.
    #[must_use]
    pub fn user(&self) -> u32 {
        self.owner.map_or_else(|| rustix::process::geteuid().as_raw(), Owner::user)
    }
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub struct Serve {
    /// State directory and user.
    pub place: Place,
    /// The member that is served.
    pub member: (ClusterId, ReplicaId),
    /// Inherited sockets, each named once, none of the standard three.
    pub connections: Vec<RawFd>,
    /// A TPM and what one step of its counter lasts for; `None`: every start is a new instance.
    pub store: Option<(PathBuf, Lease)>,
    /// The control channel; `None`: the wormhole is a local one.
    pub control: Option<Control>,
}

/// How to reach the other wormholes.
#[derive(Debug, PartialEq, Eq)]
pub struct Control {
    /// An inherited socket that is bound to the own address.
    pub socket: RawFd,
    /// All wormholes of the cluster, in the same order everywhere.
    pub members: Vec<(Member, SocketAddr)>,
    /// How they agree.
    pub engine: Engine,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Not an option of this program.
    #[error("unknown argument `{0}`")]
    Unknown(String),
    /// A value that the option cannot have.
    #[error("`{0}` cannot be `{1}`")]
    WrongValue(&'static str, String),
    /// An option, or its value, without which the command means nothing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An option given too often, or of another command.
    #[error("`{0}` does not belong here")]
    Superfluous(&'static str),
}

/// The options as they stand, before anything is made of them; flags have an empty value.
struct Options(Vec<(&'static str, OsString)>);

const FLAGS: [&str; 4] = ["--provision", "--public", "--selftest", "--help"];
const OPTIONS: [&str; 11] = [
    "--state",
    "--user",
    "--cluster",
    "--replica",
    "--fd",
    "--tpm",
    "--lease",
    "--anchor",
    "--control-fd",
    "--member",
    "--real-time",
];

impl Command {
    /// Reads the command line, the program's own name left out.
    ///
    /// # Errors
    /// [`UsageError`], at the first thing that is wrong.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Options::collect(arguments)?;
        let command = if options.take("--help")?.is_some() {
            Self::Help
        } else if options.take("--selftest")?.is_some() {
            Self::SelfTest
        } else if options.take("--provision")?.is_some() {
            Self::Provision(options.place()?)
        } else if options.take("--public")?.is_some() {
            Self::Public(options.place()?)
        } else if let Some(index) = options.take("--anchor")? {
            let index = parsed("--anchor", &index, |text| {
                u32::from_str_radix(text.strip_prefix("0x")?, 16).ok().and_then(NvIndex::new)
            })?;
            Self::Anchor(options.place()?, index, options.require("--tpm")?.into())
        } else {
            Self::Serve(options.serve()?)
        };
        match options.0.first() {
            Some((name, _)) => Err(UsageError::Superfluous(name)),
            None => Ok(command),
        }
    }
}

impl Options {
    fn collect(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Vec::new();
        while let Some(argument) = arguments.next() {
            let is_named = |name: &&&str| OsStr::new(name) == argument;
            let value = if let Some(flag) = FLAGS.iter().find(is_named) {
                (*flag, OsString::new())
            } else if let Some(option) = OPTIONS.iter().find(is_named) {
                (*option, arguments.next().ok_or(UsageError::Missing(option))?)
            } else {
                return Err(UsageError::Unknown(argument.to_string_lossy().into()));
            };
            options.push(value);
        }
        Ok(Self(options))
    }

    fn next(&mut self, name: &str) -> Option<OsString> {
        let place = self.0.iter().position(|(found, _)| *found == name)?;
        Some(self.0.remove(place).1)
    }

    /// Takes the only value of the option out.
    fn take(&mut self, name: &'static str) -> Result<Option<OsString>, UsageError> {
        let value = self.next(name);
        if self.next(name).is_some() { Err(UsageError::Superfluous(name)) } else { Ok(value) }
    }

    fn require(&mut self, name: &'static str) -> Result<OsString, UsageError> {
        self.take(name)?.ok_or(UsageError::Missing(name))
    }

    fn place(&mut self) -> Result<Place, UsageError> {
        let state = PathBuf::from(self.require("--state")?);
        let owner =
            self.take("--user")?.map(|value| parsed("--user", &value, owner)).transpose()?;
        Ok(Place { state, owner })
    }

    fn serve(&mut self) -> Result<Serve, UsageError> {
        let place = self.place()?;
        let cluster = parsed("--cluster", &self.require("--cluster")?, hex::decode)?;
        let replica = parsed("--replica", &self.require("--replica")?, |text| text.parse().ok())?;
        let mut connections = vec![self.connection(&[])?.ok_or(UsageError::Missing("--fd"))?];
        while let Some(connection) = self.connection(&connections)? {
            connections.push(connection);
        }
        let store = match self.take("--lease")? {
            None => None,
            Some(value) => Some((self.require("--tpm")?.into(), parsed("--lease", &value, lease)?)),
        };
        let control = self.control(&connections)?;
        let member = (ClusterId(cluster), ReplicaId(replica));
        Ok(Serve { place, member, connections, store, control })
    }

    fn control(&mut self, others: &[RawFd]) -> Result<Option<Control>, UsageError> {
        let Some(value) = self.take("--control-fd")? else { return Ok(None) };
        let is_fit = |fd: &RawFd| *fd > 2 && !others.contains(fd);
        let socket = parsed("--control-fd", &value, |text| text.parse().ok().filter(is_fit))?;
        let mut members = Vec::new();
        while let Some(value) = self.next("--member") {
            if members.len() == WORMHOLES_MAX {
                return Err(UsageError::Superfluous("--member"));
            }
            members.push(parsed("--member", &value, member)?);
        }
        let engine = match self.take("--real-time")? {
            Some(value) => parsed("--real-time", &value, real_time)?,
            None => Engine::Quorum,
        };
        match members.is_empty() {
            true => Err(UsageError::Missing("--member")),
            false => Ok(Some(Control { socket, members, engine })),
        }
    }

    /// The next connection, another one than those `before`.
    fn connection(&mut self, before: &[RawFd]) -> Result<Option<RawFd>, UsageError> {
        let Some(value) = self.next("--fd") else { return Ok(None) };
        if before.len() == CONNECTIONS {
            return Err(UsageError::Superfluous("--fd"));
        }
        let is_fit = |fd: &RawFd| *fd > 2 && !before.contains(fd);
        parsed("--fd", &value, |text| text.parse().ok().filter(is_fit)).map(Some)
    }
}

fn parsed<T>(
    option: &'static str,
    value: &OsStr,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, UsageError> {
    let wrong = || UsageError::WrongValue(option, value.to_string_lossy().into());
    value.to_str().and_then(read).ok_or_else(wrong)
}

fn owner(text: &str) -> Option<Owner> {
    let (user, group) = text.split_once(':')?;
    Owner::new(user.parse().ok()?, group.parse().ok()?)
}

fn real_time(text: &str) -> Option<Engine> {
    let bound = Nanos(text.parse::<u64>().ok()?.checked_mul(1_000)?);
    (1..=REAL_TIME_BOUND_MAX.0).contains(&bound.0).then_some(Engine::RealTime { bound })
}

fn member(text: &str) -> Option<(Member, SocketAddr)> {
    let mut parts = text.split(',');
    let replica = ReplicaId(parts.next()?.parse().ok()?);
    let provisioned = ProvisionedId(hex::decode(parts.next()?)?);
    let address = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((Member { replica, provisioned }, address))
}

fn lease(text: &str) -> Option<Lease> {
    match text {
        "run" => Some(Lease::Run),
        "every" => Some(Lease::Every),
        "every-unmetered" => Some(Lease::EveryUnmetered),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
