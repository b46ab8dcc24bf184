//! File descriptors of a server: its own files come first, and clients get what is left.
//!
//! **Guarantee:** connections and files together stay below what the system allows this process, so
//! that no number of clients makes the log fail for want of a descriptor.

use ravelin_runtime::transport::HandshakeLimits;
use ravelin_runtime::transport::clients::ClientLimits;
use ravelin_runtime::transport::peers::HANDSHAKES_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::ADMIN_CONNECTIONS_MAX;
use crate::exit::{Error, Exit, Result};

/// Descriptors of the server's own files: 128 tables that the state store keeps open, some hundred
/// segments of the log, journals, listeners, standard streams.
pub(crate) const OWN_FILES_MAX: usize = 512;
/// Connections that one listener may have accepted, or be closing, beyond its limits for a moment.
const MARGIN: usize = 128;
/// The fewest connections of clients with which a server is of use.
const CLIENTS_MIN: usize = 16;

/// Allows this process as many files as the system lets it, and makes the limits for clients fit.
pub(crate) fn provide(wanted: ClientLimits, members: usize) -> Result<ClientLimits> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let unlimited = u64::MAX;
    let enough = u64::try_from(needed(&wanted, members)).unwrap_or(unlimited);
    let (now, most) = (current.unwrap_or(unlimited), maximum.unwrap_or(unlimited));
    let target = now.max(enough).min(most);
    let raised = target > now
        && setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum }).is_ok();
    let allowed = usize::try_from(if raised { target } else { now }).unwrap_or(usize::MAX);
    let limits = fit(wanted, members, allowed)?;
    if limits.connections_max < wanted.connections_max {
        tracing::warn!(
            open_files = allowed,
            wanted = wanted.connections_max,
            connections_max = limits.connections_max,
            "the system allows too few open files, so fewer clients may connect; raise the limit \
             (LimitNOFILE= of a systemd unit, ulimit -Hn of a shell) to at least {}",
            needed(&wanted, members)
        );
    }
    Ok(limits)
}

/// Descriptors with which a server never wants for one.
fn needed(limits: &ClientLimits, members: usize) -> usize {
    OWN_FILES_MAX
        + 2 * members
        + HANDSHAKES_MAX
        + ADMIN_CONNECTIONS_MAX
        + 2 * MARGIN
        + limits.connections_max
        + limits.strangers_max
        + limits.handshakes.total_max
}

/// The limits that `allowed` descriptors can bear: all of them, or all made smaller alike.
fn fit(wanted: ClientLimits, members: usize, allowed: usize) -> Result<ClientLimits> {
    let of_clients = wanted.connections_max + wanted.strangers_max + wanted.handshakes.total_max;
    let others = needed(&wanted, members) - of_clients;
    let left = allowed.saturating_sub(others);
    if left >= of_clients {
        return Ok(wanted);
    }
    let share = |part: usize| (part * left / of_clients.max(1)).max(1);
    let fitted = ClientLimits {
        connections_max: share(wanted.connections_max),
        strangers_max: share(wanted.strangers_max),
        handshakes: HandshakeLimits {
            total_max: share(wanted.handshakes.total_max),
            per_address_max: share(wanted.handshakes.per_address_max),
            ..wanted.handshakes
        },
        ..wanted
    };
    if fitted.connections_max < CLIENTS_MIN {
        let cause = format!(
            "the system allows {allowed} open files; this server's own files and peers need {others}"
        );
        let hint = format!(
            "raise the limit to {}: LimitNOFILE= of a systemd unit, ulimit -Hn of a shell",
            needed(&wanted, members)
        );
        return Err(Error::new(Exit::Failed, cause, hint));
    }
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_descriptors_change_nothing() {
        let wanted = ClientLimits::default();
        let fitted = fit(wanted, 4, needed(&wanted, 4)).expect("fits");
        assert_eq!(fitted.connections_max, wanted.connections_max);
        assert_eq!(fitted.handshakes.total_max, wanted.handshakes.total_max);
    }

    #[test]
    fn too_few_leave_the_servers_own_files_what_they_need() {
        let wanted = ClientLimits::default();
        for short in [1, 100, 500, 800] {
            let allowed = needed(&wanted, 4) - short;
            let fitted = fit(wanted, 4, allowed).expect("fits");
            assert!(needed(&fitted, 4) <= allowed, "{short} too few");
            assert!(fitted.connections_max < wanted.connections_max);
            assert!(fitted.strangers_max >= 1 && fitted.handshakes.per_address_max >= 1);
        }
    }

    #[test]
    fn a_server_that_could_serve_nobody_does_not_start() {
        let refused = fit(ClientLimits::default(), 4, 768).expect_err("too few");
        assert!(refused.message().contains("768 open files"), "{}", refused.message());
        assert!(refused.advice().contains("LimitNOFILE"), "{}", refused.advice());
    }
}
