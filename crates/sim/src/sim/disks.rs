//! When what servers write is durable, and what they lose when power goes.

use super::*;

impl Sim {
    /// Starts a sync of what was appended, unless one runs.
    pub(super) fn sync(&mut self, id: ReplicaId) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        if host.disk.begin_sync() {
            let is_slow = self.options.has(FaultClass::SlowDisk) && self.now < self.heal;
            let takes = match is_slow && self.dice.once_in(4) {
                true => {
                    *self.faults.entry(FaultClass::SlowDisk).or_default() += 1;
                    self.dice.between(5_000, 60_000)
                }
                false => self.dice.between(100, 400),
            };
            self.queue.push(self.now + takes, Event::Synced(id, host.life));
        }
    }

    /// A sync ended: what waited for it shows.
    pub(super) fn synced(&mut self, id: ReplicaId, life: u64) {
        let Some(host) = self.hosts.get_mut(id.index()).filter(|host| host.life == life) else {
            return;
        };
        host.disk.finish_sync();
        self.inspect(id);
        self.let_out(id);
        self.sync(id);
    }

    /// Power goes, for `down`.
    pub(super) fn crash(&mut self, id: ReplicaId, down: Micros) {
        let is_torn = self.options.has(FaultClass::TornDisk);
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        if host.server.is_none() {
            return;
        }
        if is_torn {
            *self.faults.entry(FaultClass::TornDisk).or_default() += 1;
        }
        self.trace.note(self.now, b'x', (id.0, 0), &[]);
        host.crash(&self.options, &mut self.dice, is_torn);
        self.queue.push(self.now + down, Event::Start(id, host.life));
        for (connection, client) in std::mem::take(&mut host.connections) {
            let at = self.now + self.dice.between(500, 50_000);
            self.queue.push(at, Event::Lost(client, id, connection));
        }
    }
}
