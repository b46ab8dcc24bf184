//! The connections of a wormhole: fixed in number, never waited for one by one.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::core::CONNECTIONS;
use crate::frame::{Frame, REQUEST_BYTES};

/// The sockets of the payloads, and where a request to end arrives.
pub(super) struct Doors {
    connections: [Connection; CONNECTIONS],
    signals: OwnedFd,
}

enum Connection {
    Open(OwnedFd),
    /// Gone, and the core does not know it yet.
    Lost,
    Closed,
}

/// What there is to do after a wait.
pub(super) struct Ready {
    /// Where something is to be received.
    pub(super) connections: [bool; CONNECTIONS],
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
    pub(super) fn new(sockets: Vec<OwnedFd>, signals: OwnedFd) -> Self {
        let mut sockets = sockets.into_iter().map(Connection::Open);
        let connections = std::array::from_fn(|_| sockets.next().unwrap_or(Connection::Closed));
        Self { connections, signals }
    }

    /// The descriptor of the requests to end.
    pub(super) fn signals(&self) -> RawFd {
        self.signals.as_raw_fd()
    }

    /// Waits until there is something to do, or for `timeout`.
    pub(super) fn wait(&self, timeout: Option<&Timespec>) -> io::Result<Ready> {
        let lost = self.connections.each_ref().map(|one| matches!(one, Connection::Lost));
        let is_empty = self.connections.iter().all(|one| matches!(one, Connection::Closed));
        if is_empty || lost.contains(&true) {
            return Ok(Ready { connections: lost, is_end: is_empty });
        }
        let nothing = PollFd::new(&self.signals, PollFlags::empty());
        let [a, b, c, d] = self.connections.each_ref().map(|one| match one {
            Connection::Open(socket) => PollFd::new(socket, PollFlags::IN),
            Connection::Lost | Connection::Closed => nothing.clone(),
        });
        let mut all = [a, b, c, d, PollFd::new(&self.signals, PollFlags::IN)];
        match rustix::event::poll(&mut all, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [connections @ .., signals] = all.map(|one| !one.revents().is_empty());
        Ok(Ready { connections, is_end: signals })
    }

    /// Takes one frame of the connection. Whatever is no frame closes it.
    pub(super) fn receive(&mut self, connection: usize, frame: &mut Frame) -> Arrival {
        let Some(place) = self.connections.get_mut(connection) else { return Arrival::Nothing };
        let socket = match place {
            Connection::Open(socket) => socket,
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

    /// Sends an answer. A payload that leaves no room for it loses its connection: nobody waits.
    pub(super) fn send(&mut self, connection: usize, frame: &Frame) {
        let Some(place) = self.connections.get_mut(connection) else { return };
        let Connection::Open(socket) = &*place else { return };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if rustix::net::send(socket, frame, flags).is_err() {
            *place = Connection::Lost;
        }
    }
}
