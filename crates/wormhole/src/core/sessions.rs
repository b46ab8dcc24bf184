//! The entities: who talks to the wormhole, and what each of them holds there.
//!
//! **Guarantee:** an entity is found only through the connection on which it said `hello`; it
//! reaches nothing but its own slots; and its share of time and what it planned stay at its place
//! when it goes, so that a new `hello` gives nobody a second share.

use std::array;

use super::budget::{Budget, ENTITY, STRANGERS, WRITES};
use super::slots::Slots;
use super::{
    ACTIONS_PER_ENTITY, ARMED_PER_ENTITY, CONNECTIONS, DURATIONS_PER_ENTITY,
    ENTITIES_PER_CONNECTION,
};
use crate::frame::{EntityId, ExecCall, Nanos, Outcome, Sequence, Tag};
use crate::keys::SessionKeys;

/// One entity's session. Its keys erase themselves when it ends.
pub(crate) struct Session {
    pub(crate) eid: EntityId,
    pub(crate) keys: SessionKeys,
    /// The last number that was accepted.
    pub(crate) sequence: Sequence,
    /// When each measurement began.
    pub(crate) durations: Slots<Nanos, DURATIONS_PER_ENTITY>,
    pub(crate) armed: Slots<Armed, ARMED_PER_ENTITY>,
}

/// A deadline.
pub(crate) struct Armed {
    pub(crate) at: Nanos,
    pub(crate) after: Nanos,
}

/// An action, and what became of it.
pub(crate) struct Planned {
    /// Who may ask.
    pub(crate) eid: EntityId,
    pub(crate) call: ExecCall,
    pub(crate) outcome: Outcome,
}

impl Session {
    pub(crate) fn new(eid: EntityId, keys: SessionKeys) -> Self {
        Self { eid, keys, sequence: Sequence(0), durations: Slots::new(), armed: Slots::new() }
    }
}

/// Where an entity can be, and what outlives it there.
pub(crate) struct Place {
    /// Its share of time.
    pub(crate) budget: Budget,
    /// What was planned is a promise: nobody takes it back by ending a session or a connection.
    pub(crate) actions: Slots<Planned, ACTIONS_PER_ENTITY>,
    pub(crate) session: Option<Session>,
}

/// One connection: its entities, and the shares that these have in common.
pub(crate) struct Connection {
    /// For `hello`s, and for what nobody authenticated.
    pub(crate) strangers: Budget,
    /// For attestations that must be durable.
    pub(crate) attestations: Budget,
    /// For plans to lock, which must be durable too.
    pub(crate) locks: Budget,
    pub(crate) places: [Place; ENTITIES_PER_CONNECTION],
}

impl Connection {
    fn new() -> Self {
        let place = |_| Place { budget: Budget::new(ENTITY), actions: Slots::new(), session: None };
        let [attestations, locks] = [Budget::new(WRITES), Budget::new(WRITES)];
        let places = array::from_fn(place);
        Self { strangers: Budget::new(STRANGERS), attestations, locks, places }
    }

    /// Gives a session a free place, or that of the oldest: who gave one up could not say so.
    pub(crate) fn open(&mut self, session: Session) {
        let age = |place: &&mut Place| place.session.as_ref().map(|session| session.eid.0);
        if let Some(place) = self.places.iter_mut().min_by_key(age) {
            place.session = Some(session);
        }
    }
}

/// All connections.
pub(crate) struct Sessions([Connection; CONNECTIONS]);

impl Sessions {
    pub(crate) fn new() -> Self {
        Self(array::from_fn(|_| Connection::new()))
    }

    pub(crate) fn connection(&mut self, connection: u8) -> Option<&mut Connection> {
        self.0.get_mut(usize::from(connection))
    }

    /// The place of an entity of this connection.
    pub(crate) fn place(&mut self, connection: u8, eid: EntityId) -> Option<&mut Place> {
        let places = &mut self.connection(connection)?.places;
        places
            .iter_mut()
            .find(|place| place.session.as_ref().is_some_and(|session| session.eid == eid))
    }

    /// The number of an entity's place, counted over all connections.
    pub(crate) fn number(&self, connection: u8, eid: EntityId) -> Option<usize> {
        let connection = usize::from(connection);
        let places = &self.0.get(connection)?.places;
        let is_there = |place: &Place| place.session.as_ref().is_some_and(|one| one.eid == eid);
        Some(connection * ENTITIES_PER_CONNECTION + places.iter().position(is_there)?)
    }

    /// Ends every session of a connection.
    pub(crate) fn close(&mut self, connection: u8) {
        if let Some(connection) = self.connection(connection) {
            for place in &mut connection.places {
                place.session = None;
            }
        }
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> u8 {
        let places = self.0.iter().flat_map(|connection| &connection.places);
        u8::try_from(places.flat_map(|place| &place.session).count()).unwrap_or(u8::MAX)
    }

    pub(crate) fn planned(&self) -> impl Iterator<Item = (Tag, &Planned)> {
        let places = self.0.iter().flat_map(|connection| &connection.places);
        places.flat_map(|place| place.actions.iter())
    }

    pub(crate) fn planned_mut(&mut self) -> impl Iterator<Item = (Tag, &mut Planned)> {
        let places = self.0.iter_mut().flat_map(|connection| &mut connection.places);
        places.flat_map(|place| place.actions.iter_mut())
    }
}
