//! Connected clients: who they are, which sessions they speak for, and what they watch.
//!
//! **Guarantee:** answers go to connections of the client that asked, and to nobody else; a watch is
//! told every change from its position on, in order, each once, in pieces of bounded size, or is told
//! that it must begin anew. Bounded: sessions and watches of a connection, bytes of the change feed,
//! bytes told to one client between two commits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ravelin_model::limits::KV_KEY_BYTES_MAX;
use ravelin_model::wire::{ChangeItem, ServerMessage};
use ravelin_model::{Position, PublicKey, Refusal, ServiceId, SessionId};

use crate::state::ENTRY_WORK;

/// Sessions that one connection may speak for.
pub const ATTACHED_SESSIONS_MAX: usize = 64;
/// Watches of one connection.
pub const WATCHES_MAX: usize = 64;
/// Bytes of a watch's prefix: a key of a service, with its tag.
pub const WATCH_PREFIX_BYTES_MAX: usize = KV_KEY_BYTES_MAX + 64;
/// Bytes of changes kept for watches that come late.
pub const FEED_BYTES_MAX: usize = 4 << 20;
/// Bytes of changes told to one client, over all its watches, between two commits: what waits to be
/// sent on one connection. A watch that would exceed it ends with [`ServerMessage::Compacted`]; the
/// whole feed always fits.
pub const TOLD_BYTES_MAX: usize = 8 << 20;
/// What looking at a recent change counts as.
const ITEM_WORK: usize = 64;
/// Changes in one message to a watcher.
const ITEMS_MAX: usize = 256;
/// Bytes of values in one message to a watcher, beyond its first item.
const ITEM_BYTES_MAX: usize = 1 << 20;

/// Names one connection of one client at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a watch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The name that the client gave it.
    pub id: u64,
    /// The service.
    pub service: ServiceId,
    /// Beginning of the keys.
    pub prefix: Vec<u8>,
    /// The first position wanted; 0 for whatever comes from now on.
    pub from: Position,
}

/// All connections, and the recent changes.
#[derive(Debug)]
pub struct Clients {
    connections: BTreeMap<ConnectionId, Connection>,
    by_key: BTreeMap<PublicKey, Client>,
    feed: VecDeque<(ServiceId, ChangeItem)>,
    feed_bytes: usize,
    /// Everything after this position is in the feed.
    feed_from: Position,
}

#[derive(Debug, Default)]
struct Client {
    connections: BTreeSet<ConnectionId>,
    /// Bytes told since the last commit.
    told_bytes: usize,
}

#[derive(Debug)]
struct Connection {
    key: PublicKey,
    sessions: BTreeSet<SessionId>,
    watches: BTreeMap<u64, WatchRequest>,
}

impl Clients {
    /// Nobody is connected; changes after `position` will be kept.
    #[must_use]
    pub fn new(position: Position) -> Self {
        Self {
            connections: BTreeMap::new(),
            by_key: BTreeMap::new(),
            feed: VecDeque::new(),
            feed_bytes: 0,
            feed_from: position,
        }
    }

    /// A client connected and proved that it holds `key`.
    pub fn open(&mut self, connection: ConnectionId, key: PublicKey) {
        self.close(connection);
        let fresh = Connection { key, sessions: BTreeSet::new(), watches: BTreeMap::new() };
        self.connections.insert(connection, fresh);
        self.by_key.entry(key).or_default().connections.insert(connection);
    }

    /// A connection ended.
    pub fn close(&mut self, connection: ConnectionId) {
        let Some(Connection { key, .. }) = self.connections.remove(&connection) else { return };
        let Some(client) = self.by_key.get_mut(&key) else { return };
        client.connections.remove(&connection);
        if client.connections.is_empty() {
            self.by_key.remove(&key);
        }
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
    pub fn of(
        &self,
        client: &PublicKey,
        session: SessionId,
    ) -> impl Iterator<Item = ConnectionId> + '_ {
        let connections = self.by_key.get(client).into_iter().flat_map(|known| &known.connections);
        connections.copied().filter(move |connection| {
            let known = self.connections.get(connection);
            session == SessionId(0) || known.is_some_and(|known| known.sessions.contains(&session))
        })
    }

    /// This replica went on from a later position without what changed until then: all watches end.
    pub fn jump(&mut self, position: Position) -> Vec<(ConnectionId, ServerMessage)> {
        self.feed.clear();
        (self.feed_bytes, self.feed_from) = (0, position);
        let mut told = Vec::new();
        for (connection, known) in &mut self.connections {
            let ended = std::mem::take(&mut known.watches).into_keys();
            let oldest = next(position);
            let compacted = |id| (*connection, ServerMessage::Compacted { id, oldest });
            told.extend(ended.map(compacted));
        }
        told
    }

    /// Work of beginning a watch, as in [`State::take_work`](crate::state::State::take_work).
    #[must_use]
    pub fn work_of(&self, watch: &WatchRequest) -> usize {
        if watch.is_live() {
            return ENTRY_WORK;
        }
        let kept = self.feed.iter().filter(|entry| watch.wants(entry));
        let told: usize = kept.map(|(_, item)| weight(item)).sum();
        ENTRY_WORK + self.feed.len() * ITEM_WORK + told
    }

    /// The end of a watch: it must begin anew with what the feed still has.
    fn compacted(&self, id: u64) -> ServerMessage {
        ServerMessage::Compacted { id, oldest: next(self.feed_from) }
    }

    /// Begins a watch: what is kept from its position on, in messages of bounded size. Once begun,
    /// changes arrive by [`Clients::on_commit`]. `last`: the last position executed.
    pub fn watch(
        &mut self,
        connection: ConnectionId,
        watch: WatchRequest,
        last: Position,
    ) -> Vec<ServerMessage> {
        let Some(known) = self.connections.get_mut(&connection) else { return Vec::new() };
        let id = watch.id;
        known.watches.remove(&id);
        if known.watches.len() >= WATCHES_MAX || watch.prefix.len() > WATCH_PREFIX_BYTES_MAX {
            return vec![denied(id, Refusal::TooLarge)];
        }
        let is_live = watch.is_live();
        if watch.from <= self.feed_from && !is_live {
            return vec![self.compacted(id)];
        }
        let kept = self.feed.iter().filter(|entry| !is_live && watch.wants(entry));
        let items: Vec<_> = kept.map(|(_, item)| item).collect();
        let told = self.by_key.entry(known.key).or_default();
        if !told.may_hear(&items) {
            return vec![self.compacted(id)];
        }
        let messages = in_pieces(id, items.into_iter().cloned(), last);
        known.watches.insert(id, watch);
        messages
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, connection: ConnectionId, id: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.watches.remove(&id);
        }
    }

    /// Keeps the changes of a commit and says what watchers are to be told. Watches of those who may
    /// no longer see the service end. `last`: the commit's last position.
    pub fn on_commit(
        &mut self,
        changes: Vec<(ServiceId, ChangeItem)>,
        last: Position,
        may_see: impl Fn(ServiceId, &PublicKey) -> bool,
    ) -> Vec<(ConnectionId, ServerMessage)> {
        self.by_key.values_mut().for_each(|client| client.told_bytes = 0);
        let mut told = Vec::new();
        if changes.is_empty() {
            return told;
        }
        for (connection, known) in &mut self.connections {
            let client = self.by_key.entry(known.key).or_default();
            known.watches.retain(|id, watch| {
                let items = changes.iter().filter(|entry| watch.wants(entry));
                let items: Vec<_> = items.map(|(_, item)| item).collect();
                if items.is_empty() {
                    return true;
                }
                if !may_see(watch.service, &known.key) {
                    told.push((*connection, denied(*id, Refusal::UnknownClient)));
                    return false;
                }
                if !client.may_hear(&items) {
                    let oldest = next(self.feed_from);
                    told.push((*connection, ServerMessage::Compacted { id: *id, oldest }));
                    return false;
                }
                let pieces = in_pieces(*id, items.into_iter().cloned(), last);
                told.extend(pieces.into_iter().map(|message| (*connection, message)));
                true
            });
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

impl Client {
    /// Counts the items against what the client may be told before the next commit.
    fn may_hear(&mut self, items: &[&ChangeItem]) -> bool {
        let bytes: usize = items.iter().map(|item| weight(item)).sum();
        let fits = self.told_bytes + bytes <= TOLD_BYTES_MAX;
        self.told_bytes += if fits { bytes } else { 0 };
        fits
    }
}

impl WatchRequest {
    /// Whether only what comes from now on is wanted.
    fn is_live(&self) -> bool {
        self.from == Position(0)
    }

    fn wants(&self, (service, item): &(ServiceId, ChangeItem)) -> bool {
        *service == self.service
            && item.position >= self.from
            && item.change.key.starts_with(&self.prefix)
    }
}

fn denied(id: u64, refusal: Refusal) -> ServerMessage {
    ServerMessage::Denied { session: SessionId(0), first: id, refusal }
}

fn next(position: Position) -> Position {
    Position(position.0.saturating_add(1))
}

fn weight(item: &ChangeItem) -> usize {
    64 + item.change.key.len() + item.change.value.as_ref().map_or(0, Vec::len)
}

/// Splits items into messages of bounded size; only the last one says that all is told.
fn in_pieces(
    id: u64,
    items: impl Iterator<Item = ChangeItem>,
    last: Position,
) -> Vec<ServerMessage> {
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

#[cfg(test)]
mod tests;
