//! Connected clients: who they are, which sessions they speak for, and what they watch.
//!
//! Bounded: sessions and watches of a connection, bytes of the change feed. A watch that asks for
//! changes no longer kept is told the oldest position that it may ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ravelin_model::wire::{ChangeItem, ServerMessage};
use ravelin_model::{Position, PublicKey, ServiceId, SessionId};

/// Sessions that one connection may speak for.
pub const ATTACHED_SESSIONS_MAX: usize = 64;
/// Watches of one connection.
pub const WATCHES_MAX: usize = 64;
/// Bytes of changes kept for watches that come late.
pub const FEED_BYTES_MAX: usize = 8 << 20;
/// Changes in one message to a watcher.
const ITEMS_MAX: usize = 256;
/// Bytes of values in one message to a watcher, beyond its first item.
const ITEM_BYTES_MAX: usize = 1 << 20;

/// Names one connection of one client at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// All connections, and the recent changes.
#[derive(Debug)]
pub struct Clients {
    connections: BTreeMap<ConnectionId, Connection>,
    feed: VecDeque<(ServiceId, ChangeItem)>,
    feed_bytes: usize,
    /// Everything after this position is in the feed.
    feed_from: Position,
}

#[derive(Debug)]
struct Connection {
    key: PublicKey,
    sessions: BTreeSet<SessionId>,
    watches: BTreeMap<u64, Watch>,
}

#[derive(Debug)]
struct Watch {
    service: ServiceId,
    prefix: Vec<u8>,
}

impl Clients {
    /// Nobody is connected; changes after `position` will be kept.
    #[must_use]
    pub fn new(position: Position) -> Self {
        Self {
            connections: BTreeMap::new(),
            feed: VecDeque::new(),
            feed_bytes: 0,
            feed_from: position,
        }
    }

    /// A client connected and proved that it holds `key`.
    pub fn open(&mut self, connection: ConnectionId, key: PublicKey) {
        let fresh = Connection { key, sessions: BTreeSet::new(), watches: BTreeMap::new() };
        self.connections.insert(connection, fresh);
    }

    /// A connection ended.
    pub fn close(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// Whose connection it is.
    #[must_use]
    pub fn key(&self, connection: ConnectionId) -> Option<PublicKey> {
        self.connections.get(&connection).map(|known| known.key)
    }

    /// Answers for `session` go to this connection from now on. Beyond the limit the oldest session
    /// gives way.
    pub fn attach(&mut self, connection: ConnectionId, session: SessionId) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.sessions.insert(session);
            if known.sessions.len() > ATTACHED_SESSIONS_MAX {
                known.sessions.pop_first();
            }
        }
    }

    /// The connections that want the answers for `session` of `client`; those for an opening go to
    /// all of the client's.
    pub fn of<'a>(
        &'a self,
        client: &'a PublicKey,
        session: SessionId,
    ) -> impl Iterator<Item = ConnectionId> + 'a {
        self.connections
            .iter()
            .filter(move |(_, known)| {
                known.key == *client
                    && (session == SessionId(0) || known.sessions.contains(&session))
            })
            .map(|(connection, _)| *connection)
    }

    /// Begins a watch: what is kept since `from`, in messages of bounded size. Once begun, changes
    /// arrive by [`Clients::on_changes`].
    pub fn watch(
        &mut self,
        connection: ConnectionId,
        id: u64,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
        last: Position,
    ) -> Vec<ServerMessage> {
        let Some(known) = self.connections.get_mut(&connection) else { return Vec::new() };
        if from <= self.feed_from && from != Position(0) || known.watches.len() >= WATCHES_MAX {
            let oldest = Position(self.feed_from.0 + 1);
            return vec![ServerMessage::Compacted { id, oldest }];
        }
        let watch = Watch { service, prefix };
        let items = self.feed.iter().filter(|(_, item)| item.position >= from && from.0 > 0);
        let items = items.filter(|entry| watch.wants(entry)).map(|(_, item)| item.clone());
        let messages = in_pieces(id, items.collect(), last);
        known.watches.insert(id, watch);
        messages
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, connection: ConnectionId, id: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.watches.remove(&id);
        }
    }

    /// Keeps the changes of a commit and says what watchers are to be told.
    pub fn on_changes(
        &mut self,
        changes: Vec<(ServiceId, ChangeItem)>,
        last: Position,
    ) -> Vec<(ConnectionId, ServerMessage)> {
        let mut told = Vec::new();
        if changes.is_empty() {
            return told;
        }
        for (connection, known) in &self.connections {
            for (id, watch) in &known.watches {
                let items = changes.iter().filter(|entry| watch.wants(entry));
                let items: Vec<_> = items.map(|(_, item)| item.clone()).collect();
                if !items.is_empty() {
                    let messages = in_pieces(*id, items, last);
                    told.extend(messages.into_iter().map(|message| (*connection, message)));
                }
            }
        }
        self.keep(changes);
        told
    }

    fn keep(&mut self, changes: Vec<(ServiceId, ChangeItem)>) {
        for entry in changes {
            self.feed_bytes += weight(&entry.1);
            self.feed.push_back(entry);
        }
        while self.feed_bytes > FEED_BYTES_MAX
            && let Some((_, oldest)) = self.feed.pop_front()
        {
            self.feed_bytes -= weight(&oldest);
            self.feed_from = self.feed_from.max(oldest.position);
        }
    }
}

impl Watch {
    fn wants(&self, (service, item): &(ServiceId, ChangeItem)) -> bool {
        *service == self.service && item.change.key.starts_with(&self.prefix)
    }
}

fn weight(item: &ChangeItem) -> usize {
    64 + item.change.key.len() + item.change.value.as_ref().map_or(0, Vec::len)
}

/// Splits items into messages of bounded size; only the last one says that all is told.
fn in_pieces(id: u64, items: Vec<ChangeItem>, last: Position) -> Vec<ServerMessage> {
    let mut pieces: Vec<Vec<ChangeItem>> = vec![Vec::new()];
    let mut bytes = 0;
    for item in items {
        let is_full = pieces.last().is_some_and(|piece| {
            piece.len() >= ITEMS_MAX
                || (!piece.is_empty() && bytes + weight(&item) > ITEM_BYTES_MAX)
        });
        if is_full {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += weight(&item);
        if let Some(piece) = pieces.last_mut() {
            piece.push(item);
        }
    }
    let count = pieces.len();
    let through = |index: usize, piece: &[ChangeItem]| {
        if index + 1 == count {
            return last;
        }
        let told = piece.last().map_or(0, |item| item.position.0);
        Position(told.saturating_sub(1)) // the next piece may go on within that position
    };
    pieces
        .into_iter()
        .enumerate()
        .map(|(index, items)| {
            let through = through(index, &items);
            ServerMessage::Changes { id, through, items }
        })
        .collect()
}
