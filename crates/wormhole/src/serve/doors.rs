//! The connections of a wormhole: fixed in number, never waited for one by one.
//!
//! Every frame costs time, whatever it says: a connection that brings more than its share is not
//! listened to until it has a share again. Its payload waits in the meantime, and nobody else. The
//! control channel has a share of its own; what it cannot take at once is lost.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::clock;
use crate::attestation::ReplicaId;
use crate::core::{CONNECTIONS, Nanos};
use crate::frame::{Frame, REQUEST_BYTES};
use crate::os;

/// One frame in so much time is what a connection may bring for ever: all four together take about a
/// third of a core.
const FRAME_EVERY: Nanos = Nanos(200_000);
/// What it may bring at once after a silence: 5,000 frames.
const AT_ONCE: Nanos = Nanos(5_000 * FRAME_EVERY.0);

/// The same for all frames of the control channel: a third of a core.
const CONTROL_EVERY: Nanos = Nanos(25_000);
/// What the control channel may bring at once.
const CONTROL_AT_ONCE: Nanos = Nanos(8_000 * CONTROL_EVERY.0);

/// What is at the control channel.
pub(super) enum Heard {
    /// The frame was filled.
    Frame,
    /// Something that is no frame.
    Other,
    /// Nothing more.
    Nothing,
}

/// Wake-ups that are measured before the process agrees in real time, and how long it sleeps before each.
const WAKE_UPS: usize = 500;
const SLEEP: Nanos = Nanos::from_millis(1);

/// The sockets of the payloads, that of the control channel, and where a request to end arrives.
pub(super) struct Doors {
    connections: [Connection; CONNECTIONS],
    control: Option<Control>,
    signals: OwnedFd,
}

/// The control channel.
pub(super) struct Control {
    /// Bound to the own address.
    pub(super) socket: OwnedFd,
    pub(super) members: Vec<(ReplicaId, SocketAddr)>,
    /// When its share will be whole again.
    pub(super) whole_at: Nanos,
    /// How many frames the socket had no room for, when that was last looked at.
    pub(super) lost: u32,
}

enum Connection {
    /// With the instant at which its share will be whole again.
    Open(OwnedFd, Nanos),
    /// Gone, and the core does not know it yet.
    Lost,
    Closed,
}

/// What there is to do after a wait.
pub(super) struct Ready {
    /// Where something is to be received.
    pub(super) connections: [bool; CONNECTIONS],
    /// Whether something came from other wormholes.
    pub(super) is_control: bool,
    /// Somebody asked the process to end, or nobody is left to serve.
    pub(super) is_end: bool,
}

/// What is at a connection.
pub(super) enum Arrival {
    /// The frame was filled.
    Frame,
    /// Nothing now.
    Nothing,
    /// It is closed. Said once.
    Closed,
}

impl Doors {
    pub(super) fn new(sockets: Vec<OwnedFd>, control: Option<Control>, signals: OwnedFd) -> Self {
        let mut sockets = sockets.into_iter().map(|socket| Connection::Open(socket, Nanos(0)));
        let connections = std::array::from_fn(|_| sockets.next().unwrap_or(Connection::Closed));
        Self { connections, control, signals }
    }

    /// The descriptor of the requests to end.
    pub(super) fn signals(&self) -> RawFd {
        self.signals.as_raw_fd()
    }

    /// Waits until there is something to do or the `deadline` has come. It may end early.
    pub(super) fn wait(&mut self, now: Nanos, deadline: Option<Nanos>) -> io::Result<Ready> {
        let lost = self.connections.each_ref().map(|one| matches!(one, Connection::Lost));
        let is_empty = self.connections.iter().all(|one| matches!(one, Connection::Closed));
        if is_empty || lost.contains(&true) {
            return Ok(Ready { connections: lost, is_control: false, is_end: is_empty });
        }
        let nothing = PollFd::new(&self.signals, PollFlags::empty());
        let mut until = deadline;
        let [a, b, c, d] = self.connections.each_ref().map(|one| match one {
            Connection::Open(_, whole_at) if whole_at.since(AT_ONCE) > now => {
                let heard_from = whole_at.since(AT_ONCE);
                until = Some(until.map_or(heard_from, |until| until.min(heard_from)));
                nothing.clone()
            }
            Connection::Open(socket, _) => PollFd::new(socket, PollFlags::IN),
            Connection::Lost | Connection::Closed => nothing.clone(),
        });
        let control = match &self.control {
            Some(Control { socket, whole_at, .. }) => {
                let heard_from = whole_at.since(CONTROL_AT_ONCE);
                if heard_from > now {
                    until = Some(until.map_or(heard_from, |until| until.min(heard_from)));
                    nothing.clone()
                } else {
                    PollFd::new(socket, PollFlags::IN)
                }
            }
            None => nothing.clone(),
        };
        let mut all = [a, b, c, d, control, PollFd::new(&self.signals, PollFlags::IN)];
        let timeout = until.map(|until| Duration::from_nanos(until.since(now).0));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut all, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [connections @ .., is_control, is_end] = all.map(|one| !one.revents().is_empty());
        for (one, _) in self.connections.iter_mut().zip(connections).filter(|(_, ready)| *ready) {
            if let Connection::Open(_, whole_at) = one {
                *whole_at = now.max(*whole_at).after(FRAME_EVERY);
            }
        }
        Ok(Ready { connections, is_control, is_end })
    }

    /// By how much too late the host wakes this process, if any of many wake-ups is later than the bound.
    pub(super) fn wakes_later_than(&self, bound: Nanos) -> Option<Nanos> {
        (0..WAKE_UPS).find_map(|_| {
            let due = clock().after(SLEEP);
            let timeout = Timespec::try_from(Duration::from_nanos(SLEEP.0)).ok();
            let nothing = PollFd::new(&self.signals, PollFlags::empty());
            let _ = rustix::event::poll(&mut [nothing], timeout.as_ref());
            let late_by = clock().since(due);
            (late_by > bound).then_some(late_by)
        })
    }

    /// Takes one frame of the connection. Whatever is no frame closes it.
    pub(super) fn receive(&mut self, connection: usize, frame: &mut Frame) -> Arrival {
        let Some(place) = self.connections.get_mut(connection) else { return Arrival::Nothing };
        let socket = match place {
            Connection::Open(socket, _) => socket,
            Connection::Closed => return Arrival::Nothing,
            Connection::Lost => {
                *place = Connection::Closed;
                return Arrival::Closed;
            }
        };
        // Truncation is asked for, so that a longer message shows its length.
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        match rustix::net::recv(&*socket, frame.as_mut_slice(), flags) {
            Ok((_, REQUEST_BYTES)) => Arrival::Frame,
            Err(Errno::AGAIN | Errno::INTR) => Arrival::Nothing,
            Ok(_) | Err(_) => {
                *place = Connection::Closed;
                Arrival::Closed
            }
        }
    }

    /// Takes one frame of the control channel, if there is one. Who sent it, it says itself.
    pub(super) fn receive_control(&mut self, now: Nanos, frame: &mut Frame) -> Heard {
        let Some(control) = &mut self.control else { return Heard::Nothing };
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let received = rustix::net::recv(&control.socket, frame.as_mut_slice(), flags);
        if received == Err(Errno::AGAIN) {
            return Heard::Nothing;
        }
        // What is heard before each round costs no more than that: after a flood it is heard again at once.
        let whole_at = now.max(control.whole_at).after(CONTROL_EVERY);
        control.whole_at = whole_at.min(now.after(CONTROL_AT_ONCE).after(CONTROL_EVERY));
        if matches!(received, Ok((_, REQUEST_BYTES))) { Heard::Frame } else { Heard::Other }
    }

    /// Whether the control channel's socket had no room for a frame since this was last asked. In doubt it
    /// had none.
    pub(super) fn has_lost(&mut self) -> bool {
        let Some(control) = &mut self.control else { return false };
        let lost = os::lost_at(&control.socket);
        !lost.is_ok_and(|lost| std::mem::replace(&mut control.lost, lost) == lost)
    }

    /// Sends to another wormhole. Whatever goes wrong, it is lost: nobody waits.
    pub(super) fn send_control(&self, to: ReplicaId, frame: &Frame) {
        let Some(control) = &self.control else { return };
        let to = control.members.iter().find(|(replica, _)| *replica == to);
        if let Some((_, address)) = to {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::sendto(&control.socket, frame, flags, address);
        }
    }

    /// Sends an answer. A payload that leaves no room for it loses its connection: nobody waits.
    pub(super) fn send(&mut self, connection: usize, frame: &Frame) {
        let Some(place) = self.connections.get_mut(connection) else { return };
        let Connection::Open(socket, _) = &*place else { return };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if rustix::net::send(socket, frame, flags).is_err() {
            *place = Connection::Lost;
        }
    }
}

#[cfg(test)]
mod tests;
