//! A network for the control channels of wormholes on one host, which no payload is in.
//!
//! **Guarantee:** in a [`ControlNetwork::Private`] one the sockets reach each other and nothing else reaches
//! them: the network has no interface but its own loopback, no name, and no process in it. It is there
//! as long as one of the sockets is.
//!
//! On several hosts the network is an interface of its own, moved to such a namespace by whoever sets the
//! machines up; a socket that is bound there serves as well.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LaunchError;
use crate::os;

/// Where control channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlNetwork {
    /// In a network of their own.
    Private,
    /// On the host's loopback, which every process of the host reaches.
    Shared,
}

impl fmt::Display for ControlNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "control channels have a network of their own",
            Self::Shared => {
                "MISSING a network for control channels: whoever is on this host can see and hold up \
                 what wormholes say to each other (as root there would be one)"
            }
        })
    }
}

/// Makes `count` sockets for [`Control`](super::Control), each bound to the address beside it: in a network
/// of their own, where this process may make one, else on the host's loopback.
///
/// # Errors
/// [`LaunchError::Network`]: no socket could be made, or this thread could not return to its own network;
/// then the process must end.
pub fn control_sockets(
    count: usize,
) -> Result<(Vec<(OwnedFd, SocketAddr)>, ControlNetwork), LaunchError> {
    let private = || -> io::Result<_> {
        let own = File::open("/proc/thread-self/ns/net")?;
        if os::leave_network().is_err() {
            return Ok(None);
        }
        let sockets = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|any| os::raise_loopback(any.as_fd()))
            .and_then(|()| bound(count));
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))?;
        sockets.map(Some)
    };
    match private().map_err(LaunchError::Network)? {
        Some(sockets) => Ok((sockets, ControlNetwork::Private)),
        None => Ok((bound(count).map_err(LaunchError::Network)?, ControlNetwork::Shared)),
    }
}

fn bound(count: usize) -> io::Result<Vec<(OwnedFd, SocketAddr)>> {
    let sockets = (0..count).map(|_| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        Ok((OwnedFd::from(socket), address))
    });
    sockets.collect()
}
