//! Puts what servers say into the network, and what they tell their hosts where it belongs.

use ravelin_model::BlockHeader;

use super::*;

impl Sim {
    /// Has a server's wormhole attest a block, which is durable by now.
    pub(super) fn attest(&mut self, id: ReplicaId, header: &BlockHeader) {
        let Some(host) = self.hosts.get(id.index()) else { return };
        match host.attest(header) {
            Some(attestation) => {
                self.feed(id, |server, now, out| server.on_attested(now, header, attestation, out));
            }
            None if self.options.intruders.contains_key(&id) => {}
            None => {
                let what = format!("the wormhole of correct replica {id} refused {header:?}");
                self.judge(Err(Violation::new("attestation", what)));
            }
        }
    }

    pub(super) fn letter(&self, from: ReplicaId, message: &Message) -> Letter {
        let epoch = self.hosts.get(from.index()).map_or(Epoch::FIRST, |host| host.epoch);
        match self.options.travel {
            Travel::Verified => Letter::Message(epoch, message.clone()),
            Travel::Bytes => Letter::Bytes(Arc::new(peer::encode(epoch, message))),
        }
    }

    /// Puts a letter into the network.
    pub(super) fn post(&mut self, from: ReplicaId, to: ReplicaId, letter: &Letter) {
        let Some(receiver) = self.hosts.get(to.index()) else { return };
        let life = receiver.life;
        let event = || Event::Deliver { to, life, from, letter: letter.clone() };
        if from == to {
            return self.queue.push(self.now, event());
        }
        let sender = self.hosts.get(from.index()).and_then(|host| host.server.as_ref());
        let is_first = matches!(sender, Some(Server::Intruded(intruded)) if intruded.is_first());
        let arrivals = match is_first {
            true => vec![self.network.fastest()],
            false => self.network.carry(self.now, (from, to), self.header(letter)),
        };
        for delay in arrivals {
            let is_slow = self.options.has(FaultClass::SlowVerify) && self.dice.once_in(3);
            let checking = match is_slow && self.now < self.heal {
                true => {
                    self.count(FaultClass::SlowVerify);
                    self.dice.between(1_000, 15_000)
                }
                false => self.dice.between(20, 150),
            };
            self.queue.push(self.now + delay + checking, event());
        }
    }

    /// What the network can read of a letter.
    fn header(&self, letter: &Letter) -> Option<Header> {
        let Letter::Message(_, Message::Block(block)) = letter else { return None };
        let (round, author) = (block.body.round, block.body.author);
        let is_leader = self.rule.leaders_of(round).any(|leader| leader == author);
        Some(Header { round, author, is_leader })
    }

    pub(super) fn emitted(&mut self, id: ReplicaId, event: ReplicaEvent) {
        match event {
            ReplicaEvent::ToClient(connection, message) => {
                self.send_to_client(id, connection, message);
            }
            ReplicaEvent::Archive { to, part } => {
                let are_short = self.options.has(FaultClass::ShortLogs);
                let Some(host) = self.hosts.get_mut(id.index()) else { return };
                let records = host.page(to, part, are_short);
                for answer in peer::logged(&part, records) {
                    self.post(id, to, &Letter::Bytes(Arc::new(answer.encode())));
                }
            }
            ReplicaEvent::Serve { to, request } => {
                let host = self.hosts.get(id.index());
                let Some(server) = host.and_then(|host| host.server.as_ref()) else { return };
                let part = server.replica().state_part(&request);
                let letter = self.letter(id, &part);
                self.post(id, to, &letter);
            }
            ReplicaEvent::Prunable(below) => {
                if let Some(host) = self.hosts.get_mut(id.index()) {
                    host.pruned = host.pruned.max(below);
                }
            }
            ReplicaEvent::Epoch(plan) => self.entered(id, &plan),
            ReplicaEvent::Status(status) => self.changed(id, &status),
        }
    }

    pub(super) fn send_to_client(
        &mut self,
        id: ReplicaId,
        connection: ConnectionId,
        message: ServerMessage,
    ) {
        let Some(host) = self.hosts.get(id.index()) else { return };
        let Some(client) = host.connections.get(&connection).copied() else { return };
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        let delay = self.dice.between(100, 2_000);
        let at = customer.arrival(id, false, self.now + delay);
        let message = Box::new(travelled(&self.options, message));
        self.queue.push(at, Event::ToClient { to: client, from: id, connection, message });
    }
}
