//! A server's seat: its place in the plan, and everything without which it must not start.
//!
//! **Guarantee:** holding a [`Seat`] is proof that every check here held. Inspecting changes nothing.

use std::fmt;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ravelin_model::{ClusterId, Group, Member, PublicKey, ReplicaId, SignedPlan};
use rustix::fs::Access;
use serde::Serialize;

use crate::data;
use crate::exit::{Error, Exit, Result};
use crate::files::identity::{Identity, READ_ONLY};
use crate::files::node::NodeConfig;
use crate::files::{disk, plan};
use crate::wormhole;

/// How long an address may still be in use at a start: a server that was killed a moment ago holds its
/// sockets until all of its threads have ended.
const LISTEN_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two attempts.
const LISTEN_RETRY: Duration = Duration::from_millis(20);

/// A server's place in its cluster.
pub(crate) struct Seat {
    /// Which member it is.
    pub(crate) replica: ReplicaId,
    /// The member's name in the plan.
    pub(crate) name: String,
    /// Size and resilience.
    pub(crate) group: Group,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The plan in force.
    pub(crate) plan: SignedPlan,
    /// The server's secret keys.
    pub(crate) identity: Identity,
    /// What is unusual and yet no reason not to start.
    pub(crate) warning: Option<String>,
}

/// Whose data a node file names, checked without regard to whether the server could start.
pub(crate) struct Place {
    /// Which member it is.
    pub(crate) replica: ReplicaId,
    /// Its identity key.
    pub(crate) identity: PublicKey,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The cluster's first plan.
    pub(crate) plan: SignedPlan,
}

impl Place {
    /// Which member `config` is about.
    pub(crate) fn of(config: &NodeConfig) -> Result<Self> {
        let identity = Identity::read(&config.identity)?;
        let plan = read_plan(config)?;
        let in_plan = |error: Error| error.context(config.plan.display());
        plan::check_fit(&plan.plan).map_err(in_plan)?;
        let cluster = plan::check_signed(&plan).map_err(in_plan)?;
        let (replica, member) = find(&identity, &plan, config)?;
        Ok(Self { replica, identity: member.identity, cluster, plan })
    }
}

/// What became of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) holds: bool,
    pub(crate) detail: String,
    /// What is unusual and yet no reason not to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
}

/// All checks, and the seat if they held.
pub(crate) struct Inspection {
    pub(crate) checks: Vec<Check>,
    outcome: Result<Seat>,
}

impl Seat {
    /// Checks everything that a server needs to start.
    pub(crate) fn inspect(config: &NodeConfig) -> Inspection {
        let mut checks = Checks::default();
        let identity = checks.note("identity", Identity::read(&config.identity), |_| {
            format!("{}", config.identity.display())
        });
        checks.warn(identity.as_ref().and_then(|_| read_only(&config.identity)));
        let apart = check_apart(&config.identity, &config.data_dir);
        checks.note("identity apart from data", apart, |()| "yes".to_owned());
        let signed = checks.note("plan", read_plan(config), |signed| {
            format!("{}, epoch {}", signed.plan.name, signed.plan.epoch.0)
        });
        let group = signed.as_ref().and_then(|signed| {
            let group =
                plan::check_fit(&signed.plan).map_err(|error| error.context(config.plan.display()));
            checks.note("group", group, |group| {
                format!("{} servers, of which {} may be intruded", group.size(), group.faults())
            })
        });
        let cluster = signed.as_ref().zip(group).and_then(|(signed, _)| {
            let cluster =
                plan::check_signed(signed).map_err(|error| error.context(config.plan.display()));
            checks.note("signatures", cluster, |cluster| format!("fingerprint {}", cluster.0))
        });
        let replica = identity.as_ref().zip(signed.as_ref()).and_then(|(identity, signed)| {
            checks.note("membership", find(identity, signed, config), |(replica, member)| {
                format!("server {replica}, `{}`", member.name)
            })
        });
        let warning = identity.as_ref().and_then(|identity| {
            checks.note("block keys", Ok(()), |()| block_keys(identity));
            let warning = strange_key(identity, replica.as_ref().map(|(_, member)| member), config);
            checks.warn(warning.clone());
            warning
        });
        checks.note("data directory", check_data_dir(&config.data_dir), |()| {
            config.data_dir.display().to_string()
        });
        if let Some((cluster, (_, member))) = cluster.as_ref().zip(replica.as_ref()) {
            let owner = data::owner(cluster, &member.identity);
            let owned = data::check_owner(&config.data_dir, &owner);
            checks.note("owner of the data", owned, |()| "this server, or nobody yet".to_owned());
        }
        if let Some((signed, (_, member))) = signed.as_ref().zip(replica.as_ref()) {
            check_wormhole(&mut checks, config, signed, member);
        }
        let until = Instant::now() + LISTEN_PATIENCE;
        for (name, address) in config.listeners() {
            checks.note(name, check_free(name, address, until), |()| format!("{address} is free"));
        }
        let parts = || {
            let (replica, Member { name, .. }) = replica?;
            let (plan, identity) = (signed?, identity?);
            Some(Self { replica, name, group: group?, cluster: cluster?, plan, identity, warning })
        };
        let seat = parts();
        checks.finish(seat)
    }
}

impl Inspection {
    /// The seat, or the first thing that is wrong.
    pub(crate) fn seat(self) -> Result<Seat> {
        self.outcome
    }
}

/// Checks as they are made.
#[derive(Default)]
struct Checks {
    checks: Vec<Check>,
    first: Option<Error>,
}

impl Checks {
    fn note<T>(
        &mut self,
        what: &'static str,
        outcome: Result<T>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match outcome {
            Ok(value) => {
                let detail = detail(&value);
                self.checks.push(Check { what, holds: true, detail, warning: None });
                Some(value)
            }
            Err(error) => {
                let detail = error.message();
                self.checks.push(Check { what, holds: false, detail, warning: None });
                self.first.get_or_insert(error);
                None
            }
        }
    }

    /// Adds a warning to the last check.
    fn warn(&mut self, warning: Option<String>) {
        if let Some(check) = self.checks.last_mut() {
            check.warning = warning;
        }
    }

    fn finish(self, seat: Option<Seat>) -> Inspection {
        let outcome = match (self.first, seat) {
            (Some(error), _) => Err(error),
            (None, seat) => Ok(seat.expect("no check failed, so each gave its part")),
        };
        Inspection { checks: self.checks, outcome }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "ok" } else { "REFUSED" };
        write!(out, "{verdict:<8} {}: {}", self.what, self.detail)?;
        match &self.warning {
            Some(warning) => write!(out, "\nwarning  {}: {warning}", self.what),
            None => Ok(()),
        }
    }
}

fn read_plan(config: &NodeConfig) -> Result<SignedPlan> {
    plan::read(&config.plan).map_err(|error| {
        if error.exit() == Exit::NotFound {
            error.hint("copy the signed plan there, the same file for every server")
        } else {
            error
        }
    })
}

/// The member of the plan whose identity this is. Its block key may be another than the first plan's:
/// later epochs change it.
fn find(
    identity: &Identity,
    signed: &SignedPlan,
    config: &NodeConfig,
) -> Result<(ReplicaId, Member)> {
    let keys = identity.public_keys();
    let named = |what: &str, hint: &str| {
        let cause = format!("{} {what} {}", config.identity.display(), config.plan.display());
        Error::usage(cause, hint)
    };
    let (id, member) = (0..)
        .zip(&signed.plan.members)
        .find(|(_, member)| member.identity == keys.identity)
        .ok_or_else(|| {
            named("is the identity of no server in", "was the plan made from this server's card?")
        })?;
    if member.transport != keys.transport {
        let what = format!("has another transport key than server {id}, `{}`, in", member.name);
        return Err(named(&what, "make the plan again from this server's present card"));
    }
    Ok((ReplicaId(id), member.clone()))
}

/// In `hybrid`: that this host has the wormhole that the plan names.
fn check_wormhole(checks: &mut Checks, config: &NodeConfig, signed: &SignedPlan, member: &Member) {
    let model = signed.plan.fault_model.name();
    let found = match (&member.wormhole, &config.wormhole) {
        (None, None) => return,
        (Some(_), None) => {
            let cause = format!("the plan is `{model}`, and the node file names no wormhole");
            Err(Error::usage(cause, "add the table [wormhole]: `ravelin config example node`"))
        }
        (None, Some(_)) => {
            let cause = format!("the node file names a wormhole, and the plan is `{model}`");
            Err(Error::usage(cause, "remove the table [wormhole], or get the right plan"))
        }
        // Only its user and root can look; a start compares them in any case.
        (Some(_), Some(own)) if !wormhole::is_readable(own) => Ok(None),
        (Some(keys), Some(own)) => wormhole::public(own).and_then(|public| {
            if public == keys.provisioned {
                return Ok(Some(public));
            }
            let cause = format!("the wormhole here has the key {public}, not the plan's");
            let hint = format!(
                "was the plan made from this server's card, and is it its state directory? If the plan's key \
                 is gone: {}",
                wormhole::LOST
            );
            Err(Error::new(Exit::Conflict, cause, hint))
        }),
    };
    checks.note("wormhole", found, |public| match public {
        Some(public) => format!("provisioned key {public}"),
        None => "its key is for its user and root to read: ask as root to compare it".to_owned(),
    });
    // No refusal: root may ask for a server that its unit starts as another user.
    let as_root = config.wormhole.as_ref().and_then(|own| wormhole::check_user(own).err());
    checks.warn(as_root.map(|error| {
        format!("started by root it would not: {}; {}", error.message(), error.advice())
    }));
    let tpm = config.wormhole.as_ref().map_or(Ok(None), wormhole::check_tpm).transpose();
    if let Some(found) = tpm {
        checks.note("wormhole's TPM", found, String::clone);
    }
}

/// Both block keys, for people.
fn block_keys(identity: &Identity) -> String {
    let keys = identity.public_keys();
    match keys.next_block {
        Some(next) => format!("{}, next {next}", keys.block),
        None => format!("{}, no next one yet: `node start` makes it", keys.block),
    }
}

/// Warns of a block key that neither the plan nor a later epoch in the data directory explains.
fn strange_key(
    identity: &Identity,
    member: Option<&Member>,
    config: &NodeConfig,
) -> Option<String> {
    let has_data = ["state", "log"].iter().any(|name| config.data_dir.join(name).exists());
    let planned = member?.block;
    (!has_data && identity.block_seed(&planned).is_none()).then(|| {
        format!(
            "the plan gives this server the block key {planned}, which its identity lacks, and \
             there is no data that tells of a later epoch: it learns from the others what was \
             agreed, and must get a new block key before it takes part"
        )
    })
}

/// Warns of an identity that cannot be written anew.
fn read_only(identity: &Path) -> Option<String> {
    let real = std::fs::canonicalize(identity).unwrap_or_else(|_| disk::plain(identity));
    let dir = disk::parent(&real);
    rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)
        .is_err()
        .then(|| format!("we cannot write into {}: {READ_ONLY}", dir.display()))
}

/// Refuses an identity that a copy of the data would contain, symbolic links followed.
fn check_apart(identity: &Path, data_dir: &Path) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| disk::plain(path));
    if real(identity).starts_with(real(data_dir)) {
        let cause = format!("{} lies in {}", identity.display(), data_dir.display());
        let hint = "move it out: whoever copies the data must not get the server's keys";
        return Err(Error::usage(cause, hint));
    }
    Ok(())
}

fn check_data_dir(dir: &Path) -> Result<()> {
    let metadata = std::fs::metadata(dir).map_err(|error| {
        Error::system("use the data directory", dir, &error)
            .hint("is its disk mounted? A new one is made with `mkdir -m 700`")
    })?;
    let refused = |exit, what: &str, hint: &str| {
        let cause = format!("cannot use the data directory {}: {what}", dir.display());
        Err(Error::new(exit, cause, hint))
    };
    if !metadata.is_dir() {
        return refused(Exit::Usage, "it is not a directory", "name a directory");
    }
    if metadata.mode() & 0o022 != 0 {
        return refused(Exit::Denied, "others can write into it", "`chmod 700` it");
    }
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if rustix::fs::access(dir, needed).is_err() {
        return refused(Exit::Denied, "we cannot write into it", "check its owner and mode");
    }
    Ok(())
}

/// Whether a server could listen at `address`; what uses it now may end `until` then.
fn check_free(name: &str, address: std::net::SocketAddr, until: Instant) -> Result<()> {
    let is_in_use = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    let mut bound = TcpListener::bind(address);
    while bound.as_ref().is_err_and(is_in_use) && Instant::now() < until {
        std::thread::sleep(LISTEN_RETRY);
        bound = TcpListener::bind(address);
    }
    bound.map(drop).map_err(|error| {
        let hint = "is the server running already? Otherwise choose another port";
        let exit = match error.kind() {
            std::io::ErrorKind::AddrInUse => Exit::Conflict,
            std::io::ErrorKind::PermissionDenied => Exit::Denied,
            _ => Exit::Failed,
        };
        Error::new(exit, format!("cannot listen at {address} ({name}): {error}"), hint)
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::files::tests::Scratch;

    #[test]
    fn an_identity_that_cannot_be_kept_is_warned_of() {
        let scratch = Scratch::new();
        let identity = scratch.path("identity.toml");
        assert_eq!(read_only(&identity), None);
        let warning = read_only(&identity.join("below")).expect("nothing can be written there");
        assert!(warning.ends_with("can ask for no new block key by itself"), "{warning}");
    }

    #[test]
    fn an_address_that_is_left_in_time_is_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let address = listener.local_addr().expect("bound");
        let within = |milliseconds| Instant::now() + Duration::from_millis(milliseconds);
        let error = check_free("peer_listen", address, within(0)).expect_err("it is in use");
        assert_eq!(error.exit(), Exit::Conflict);
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(LISTEN_RETRY * 2);
            drop(listener);
        });
        check_free("peer_listen", address, within(10_000)).expect("it was left");
        leaving.join().expect("left");
    }
}
