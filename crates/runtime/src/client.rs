//! Drives a client's core over links to all servers.

use std::sync::Arc;

use ravelin_model::{ReplicaId, Time};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::transport::PeerEvent;
use crate::transport::connect::Link;

/// Commands that wait for a client's task.
pub const COMMANDS_MAX: usize = 1024;

/// A client's sans-IO core, as its driver sees it.
pub trait ClientCore: Send + 'static {
    /// What the core tells its caller.
    type Event: Send + 'static;

    /// Takes one message of a server.
    fn on_frame(
        &mut self,
        now: Time,
        from: ReplicaId,
        bytes: &[u8],
        out: &mut ClientOut<Self::Event>,
    );

    /// The link to a server is up.
    fn on_connected(&mut self, now: Time, server: ReplicaId, out: &mut ClientOut<Self::Event>);

    /// The link to a server is down.
    fn on_disconnected(&mut self, now: Time, server: ReplicaId, out: &mut ClientOut<Self::Event>);

    /// Takes the passing of time.
    fn on_time(&mut self, now: Time, out: &mut ClientOut<Self::Event>);

    /// When [`ClientCore::on_time`] should be called at the latest.
    fn next_deadline(&self) -> Option<Time>;
}

/// What a core wants done, in order.
#[derive(Debug)]
pub struct ClientOut<E> {
    /// Bytes for servers.
    pub sends: Vec<(ReplicaId, Arc<[u8]>)>,
    /// News for the caller.
    pub events: Vec<E>,
}

impl<E> Default for ClientOut<E> {
    fn default() -> Self {
        Self { sends: Vec::new(), events: Vec::new() }
    }
}

/// Something to do with a core, in its own task.
pub type Command<C> =
    Box<dyn FnOnce(&mut C, Time, &mut ClientOut<<C as ClientCore>::Event>) + Send>;

/// Runs `core` until the last sender of commands is gone, or `deliver` says stop.
///
/// `links`: one a server, with their shared queue of events. `deliver` is called for each event, in
/// order, and returns whether to go on.
pub async fn run<C: ClientCore>(
    mut core: C,
    links: Vec<(ReplicaId, Link)>,
    mut network: mpsc::Receiver<PeerEvent>,
    mut commands: mpsc::Receiver<Command<C>>,
    mut deliver: impl FnMut(C::Event) -> bool,
) {
    let clock = Clock::start();
    let mut out = ClientOut::default();
    loop {
        let pause = core.next_deadline().map(|time| clock.until(time));
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => command(&mut core, clock.now(), &mut out),
                None => return,
            },
            Some(event) = network.recv() => on_network(&mut core, &clock, event, &mut out),
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        core.on_time(clock.now(), &mut out);
        for (server, bytes) in out.sends.drain(..) {
            let link = links.iter().find(|(id, _)| *id == server);
            if let Some((_, link)) = link {
                link.send(bytes);
            }
        }
        for event in out.events.drain(..) {
            if !deliver(event) {
                return;
            }
        }
    }
}

fn on_network<C: ClientCore>(
    core: &mut C,
    clock: &Clock,
    event: PeerEvent,
    out: &mut ClientOut<C::Event>,
) {
    let now = clock.now();
    match event {
        PeerEvent::Connected(server) => core.on_connected(now, server, out),
        PeerEvent::KeyShared(..) => {} // of who is dialed there is one
        PeerEvent::Disconnected(server) => core.on_disconnected(now, server, out),
        PeerEvent::Frame { from, bytes } => core.on_frame(now, from, &bytes, out),
    }
}
