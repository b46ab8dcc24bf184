//! Relays in front of all servers, so that the connections of one can be cut.
//!
//! The plan names the relays' addresses, so every connection between servers and from clients goes
//! through one. Who dials a server is read from the kernel's table of sockets: a relay serves nobody
//! at a server's peer address whom it does not recognise as one of the cluster's servers.
//!
//! **Guarantee:** while a gate is [`Gate::Closed`], no connection of its server exists, in either
//! direction; while it passes one way, no byte passes the other way.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ravelin_model::ReplicaId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster_dir::{Front, LocalCluster, free_listeners};
use crate::exit::{Error, Exit, Result};
use crate::processes::Processes;

/// Bytes that a relay takes up at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What passes between one server and everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everything.
    Open,
    /// Nothing: its connections are closed, and new ones are refused.
    Closed,
    /// What it says, but nothing that is said to it.
    OutOnly,
    /// What is said to it, but nothing that it says.
    InOnly,
}

impl Gate {
    fn lets_out(self) -> bool {
        matches!(self, Self::Open | Self::OutOnly)
    }

    fn lets_in(self) -> bool {
        matches!(self, Self::Open | Self::InOnly)
    }
}

/// Listeners in front of servers that are yet to be made.
pub(super) struct Fronts(Vec<[TcpListener; 2]>);

impl Fronts {
    /// Listens in front of `count` servers.
    pub(super) fn listen(count: u16) -> Result<Self> {
        let mut listeners = free_listeners(2 * usize::from(count))?.into_iter();
        let mut pairs = Vec::new();
        while let (Some(peer), Some(client)) = (listeners.next(), listeners.next()) {
            pairs.push([peer, client]);
        }
        Ok(Self(pairs))
    }

    /// Where they are, for the plan.
    pub(super) fn addresses(&self) -> Result<Vec<Front>> {
        let address = |[peer, client]: &[TcpListener; 2]| {
            Ok(Front { peer: peer.local_addr()?, client: client.local_addr()? })
        };
        self.0.iter().map(address).collect::<std::io::Result<_>>().map_err(unusable)
    }
}

fn unusable(error: std::io::Error) -> Error {
    Error::caused(Exit::Failed, error, "check the limit of open files").context("cannot relay")
}

/// Relays at work; they end when this is dropped.
pub(super) struct Relays {
    gates: Vec<watch::Sender<Gate>>,
    _tasks: JoinSet<()>,
}

impl Relays {
    /// Relays from `fronts` to the servers of `cluster`.
    pub(super) fn start(fronts: Fronts, cluster: &Arc<LocalCluster>) -> Result<Self> {
        let gates: Vec<_> = fronts.0.iter().map(|_| watch::Sender::new(Gate::Open)).collect();
        let mut tasks = JoinSet::new();
        for (([peer, client], server), gate) in
            fronts.0.into_iter().zip(&cluster.servers).zip(&gates)
        {
            let recognise = Recognise {
                cluster: Arc::clone(cluster),
                gates: gates.iter().map(watch::Sender::subscribe).collect(),
            };
            let doors = [
                (peer, server.config.peer_listen, Some(recognise)),
                (client, server.config.client_listen, None),
            ];
            for (listener, target, recognise) in doors {
                listener.set_nonblocking(true).map_err(unusable)?;
                let listener = tokio::net::TcpListener::from_std(listener).map_err(unusable)?;
                let door = Door { target, gate: gate.subscribe(), recognise };
                tasks.spawn(door.serve(listener));
            }
        }
        Ok(Self { gates, _tasks: tasks })
    }

    /// None: servers are reached where they listen.
    pub(super) fn none() -> Self {
        Self { gates: Vec::new(), _tasks: JoinSet::new() }
    }

    /// Says what passes between `server` and everybody else from now on.
    pub(super) fn set(&self, server: ReplicaId, to: Gate) {
        if let Some(gate) = self.gates.get(server.index()) {
            gate.send_replace(to);
        }
    }
}

/// One relay: a listener in front of one listener of a server.
struct Door {
    target: SocketAddr,
    gate: watch::Receiver<Gate>,
    /// How to know who dials; `None`: all who do are clients.
    recognise: Option<Recognise>,
}

impl Door {
    async fn serve(self, listener: tokio::net::TcpListener) {
        let mut carried = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, dialer)) = accepted else {
                        // Out of files, most likely: those of ended connections come back.
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    };
                    let (target, gate) = (self.target, self.gate.clone());
                    let recognise = self.recognise.clone();
                    carried.spawn(async move {
                        let dialer_gate = match recognise {
                            None => None,
                            Some(recognise) => match recognise.gate_of(dialer, &stream).await {
                                Some(gate) => Some(gate),
                                None => return,
                            },
                        };
                        carry(stream, target, Passage { dialer: dialer_gate, dialed: gate }).await;
                    });
                }
                Some(_) = carried.join_next() => {}
            }
        }
    }
}

/// Knows servers by their sockets.
#[derive(Clone)]
struct Recognise {
    cluster: Arc<LocalCluster>,
    gates: Vec<watch::Receiver<Gate>>,
}

impl Recognise {
    /// The gate of the server that dialed.
    async fn gate_of(
        self,
        dialer: SocketAddr,
        stream: &TcpStream,
    ) -> Option<watch::Receiver<Gate>> {
        let own = stream.local_addr().ok()?;
        let Self { cluster, gates } = self;
        let holder = move || Processes::of(&cluster).ok()?.holder(dialer, own);
        let server = tokio::task::spawn_blocking(holder).await.ok()??;
        gates.into_iter().nth(server.index())
    }
}

/// The gates that a connection passes.
#[derive(Clone)]
struct Passage {
    /// None: a client.
    dialer: Option<watch::Receiver<Gate>>,
    dialed: watch::Receiver<Gate>,
}

impl Passage {
    /// Waits until bytes may pass from the dialer to the dialed, or the other way.
    async fn opens(&mut self, is_to_dialed: bool) {
        let passes =
            |gate: &Gate, is_in: bool| if is_in { gate.lets_in() } else { gate.lets_out() };
        loop {
            let at_dialed = self.dialed.wait_for(|gate| passes(gate, is_to_dialed)).await.is_ok();
            let Some(dialer) = &mut self.dialer else { return ended_unless(at_dialed).await };
            let at_dialer = dialer.wait_for(|gate| passes(gate, !is_to_dialed)).await.is_ok();
            ended_unless(at_dialed && at_dialer).await;
            if passes(&self.dialed.borrow(), is_to_dialed) {
                return;
            }
        }
    }

    /// Waits until the connection must be closed.
    async fn closes(mut self) {
        let is_closed = |gate: &Gate| *gate == Gate::Closed;
        let dialed = self.dialed.wait_for(is_closed);
        match &mut self.dialer {
            None => drop(dialed.await),
            Some(dialer) => tokio::select! {
                _ = dialed => {}
                _ = dialer.wait_for(is_closed) => {}
            },
        }
    }
}

/// Waits for ever if the relays have ended: their tasks are about to be dropped.
async fn ended_unless(they_stand: bool) {
    if !they_stand {
        std::future::pending().await
    }
}

/// Carries one connection until an end closes it or a gate does.
async fn carry(near: TcpStream, target: SocketAddr, passage: Passage) {
    let closed = passage.clone().closes();
    let work = async move {
        let Ok(far) = TcpStream::connect(target).await else { return };
        if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
            return;
        }
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        tokio::select! {
            () = pump(near_in, far_out, passage.clone(), true) => {}
            () = pump(far_in, near_out, passage, false) => {}
        }
    };
    tokio::select! {
        biased;
        () = closed => {}
        () = work => {}
    }
}

/// Moves bytes one way while the gates let them pass; otherwise they stay where they are.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passage: Passage,
    is_to_dialed: bool,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        passage.opens(is_to_dialed).await;
        let Ok(count @ 1..) = from.read(&mut chunk).await else { return };
        passage.opens(is_to_dialed).await;
        let Some(read) = chunk.get(..count) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
