//! Watches: subscribing, and handing out what members agree on.

use ravelin_model::wire::ChangeItem;

use super::*;
use crate::limits::{BUSY_HOLD_MAX, WATCHES_MAX};
use crate::watch::Lack;

impl Session {
    /// Follows the changes of `service` at keys that begin with `prefix`, from a position on, until
    /// [`Session::unwatch`] or [`Event::Compacted`]. Needs no open session.
    ///
    /// # Errors
    /// [`Misuse::TooMany`], [`Misuse::TooLarge`].
    pub fn watch(
        &mut self,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
        out: &mut Vec<ClientAction>,
    ) -> Result<Ticket, Misuse> {
        if self.watches.len() >= WATCHES_MAX {
            return Err(Misuse::TooMany { kind: "watches", max: WATCHES_MAX });
        }
        sending::size_of_envelope(&[Operation { service, request: prefix.clone() }])?;
        let ticket = self.take_ticket();
        self.watches.insert(ticket, Watch::new(service, prefix, from));
        let members: Vec<_> = self.peers.connected().collect();
        for replica in members {
            self.subscribe(ticket, replica, out);
        }
        Ok(ticket)
    }

    /// Ends a watch: no event of it follows.
    ///
    /// # Errors
    /// [`Misuse::NoSuchTicket`].
    pub fn unwatch(&mut self, ticket: Ticket, out: &mut Vec<ClientAction>) -> Result<(), Misuse> {
        let watch = self.watches.remove(&ticket).ok_or(Misuse::NoSuchTicket { ticket })?;
        Self::unsubscribe_all(&watch, out);
        Ok(())
    }

    /// Up to where a watch has told everything: a later watch goes on after it.
    #[must_use]
    pub fn watched_through(&self, ticket: Ticket) -> Option<Position> {
        self.watches.get(&ticket).map(Watch::through)
    }

    pub(super) fn on_changes(
        &mut self,
        from: ReplicaId,
        id: u64,
        through: Position,
        items: Vec<ChangeItem>,
        out: &mut Vec<ClientAction>,
    ) {
        let group = self.group();
        let Some((&ticket, watch)) = self.subscribed(from, id) else { return };
        let step = watch.on_changes(from, through, items, group);
        let through = watch.through();
        let again: Vec<_> = watch.caught_up().into_iter().chain(watch.returning()).collect();
        for replica in step.liars {
            out.push(ClientAction::Deliver(Event::Contradicted { replica, ticket }));
        }
        if !step.items.is_empty() {
            let items = step.items;
            out.push(ClientAction::Deliver(Event::Changed { ticket, items, through }));
        }
        for replica in again {
            self.subscribe(ticket, replica, out);
        }
    }

    pub(super) fn on_compacted(
        &mut self,
        from: ReplicaId,
        id: u64,
        oldest: Position,
        out: &mut Vec<ClientAction>,
    ) {
        let group = self.group();
        let Some((&ticket, watch)) = self.subscribed(from, id) else { return };
        let oldest = match watch.on_compacted(from, oldest, group) {
            Lack::Compacted(oldest) => oldest,
            Lack::Ask(others) => {
                for replica in others {
                    self.subscribe(ticket, replica, out);
                }
                return;
            }
        };
        if let Some(watch) = self.watches.remove(&ticket) {
            Self::unsubscribe_all(&watch, out);
        }
        out.push(ClientAction::Deliver(Event::Compacted { ticket, oldest }));
    }

    /// Takes it that `from` will not begin the subscription `id` now: it is asked again after a rest.
    pub(super) fn on_watch_refused(
        &mut self,
        now: Time,
        from: ReplicaId,
        id: u64,
        retry_after_ms: u32,
    ) {
        if let Some((_, watch)) = self.subscribed(from, id) {
            let rest = Duration::from_millis(u64::from(retry_after_ms)).min(BUSY_HOLD_MAX);
            watch.postpone(from, now.after(rest));
        }
    }

    /// Subscribes where the rest is over.
    pub(super) fn resume_watches(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        let rested = |(ticket, watch): (&Ticket, &Watch)| {
            watch.rested(now).map(|replica| (*ticket, replica)).collect::<Vec<_>>()
        };
        let rested: Vec<_> = self.watches.iter().flat_map(rested).collect();
        for (ticket, replica) in rested {
            self.subscribe(ticket, replica, out);
        }
    }

    /// Subscribes all watches at a member that connected.
    pub(super) fn watch_at(&mut self, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        let tickets: Vec<_> = self.watches.keys().copied().collect();
        for ticket in tickets {
            self.subscribe(ticket, replica, out);
        }
    }

    /// Forgets the subscriptions that ended with a connection.
    pub(super) fn unwatch_at(&mut self, replica: ReplicaId) {
        for watch in self.watches.values_mut() {
            watch.disconnect(replica);
        }
    }

    /// The watch to which `id` is the subscription at `replica`.
    fn subscribed(&mut self, replica: ReplicaId, id: u64) -> Option<(&Ticket, &mut Watch)> {
        self.watches.iter_mut().find(|(_, watch)| watch.is_subscription(replica, id))
    }

    /// Subscribes at `replica`, in place of an earlier subscription there.
    fn subscribe(&mut self, ticket: Ticket, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        let id = self.take_ticket().0;
        let Some(watch) = self.watches.get_mut(&ticket) else { return };
        if let Some(id) = watch.unsubscribe(replica) {
            out.push(ClientAction::Send(replica, ClientMessage::Unwatch { id }));
        }
        watch.subscribe(replica, id);
        let (service, prefix, from) = (watch.service, watch.prefix.clone(), watch.next());
        out.push(ClientAction::Send(replica, ClientMessage::Watch { id, service, prefix, from }));
    }

    fn unsubscribe_all(watch: &Watch, out: &mut Vec<ClientAction>) {
        for (replica, id) in watch.subscriptions() {
            out.push(ClientAction::Send(replica, ClientMessage::Unwatch { id }));
        }
    }
}
