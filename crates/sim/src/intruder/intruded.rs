//! A replica in the hands of an intruder, with the interface of a replica.

use ravelin_model::{
    Action, Actions, Block, BlockHeader, Decode as _, LogEntry, Protocol as _, ReplicaId, Round,
    Signature, Suspicion, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::{ClientInput, ConnectionId, Event, Replica};

use super::{Intruder, Means, Scene, Shift};

/// What an intruded server does: what a replica may ask for, and what no replica would.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Like a correct replica's. A `Send` to the server itself comes back to it as a message.
    Act(Action<Message, Event>),
    /// These bytes to one replica, whatever they are.
    Bytes(ReplicaId, Vec<u8>),
}

/// The rounds of its own blocks in which a server is intruded; before and after, it is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Once its replica has made the block of this round.
    pub from: Round,
    /// Until it has made this one.
    pub until: Round,
}

impl Window {
    /// From now on and for good.
    pub const ALWAYS: Self = Self { from: Round(0), until: Round(u64::MAX) };
}

/// A [`Replica`] and those who have taken over its server. Without intruders it is transparent.
pub struct Intruded {
    replica: Replica,
    means: Means,
    intruders: Vec<Box<dyn Intruder>>,
    window: Window,
    shift: Shift,
}

impl Intruded {
    /// `replica` in the hands of `intruders`, who act within `window`.
    #[must_use]
    pub fn new(
        replica: Replica,
        means: Means,
        intruders: Vec<Box<dyn Intruder>>,
        window: Window,
    ) -> Self {
        let mut intruded = Self {
            replica,
            means,
            intruders: Vec::new(),
            window: Window::ALWAYS,
            shift: Shift::None,
        };
        intruded.take_over(intruders, window);
        intruded
    }

    /// Puts other intruders in charge; none gives the server back to its replica.
    pub fn take_over(&mut self, intruders: Vec<Box<dyn Intruder>>, window: Window) {
        self.shift = intruders
            .iter()
            .map(|intruder| intruder.shift())
            .find(|shift| *shift != Shift::None)
            .unwrap_or_default();
        self.intruders = intruders;
        self.window = window;
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// How often each intruder did what no correct server does.
    pub fn acts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.means.acts.iter().map(|(name, count)| (*name, *count))
    }

    /// The intruders in charge.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.intruders.iter().map(|intruder| intruder.name())
    }

    /// Whether an intruder would like its messages to arrive before everybody else's.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_active() && self.intruders.iter().any(|intruder| intruder.is_first())
    }

    /// As [`Replica::add_key`].
    pub fn add_key(&mut self, key: std::sync::Arc<ravelin_crypto::SigningKey>) {
        self.replica.add_key(key);
    }

    /// As [`Replica::resume`].
    pub fn resume(&mut self, now: Time, out: &mut Vec<Deed>) {
        let mut actions = Vec::new();
        self.replica.resume(self.told(now), &mut actions);
        self.pass(now, actions, out);
    }

    /// As [`Replica::on_message`](ravelin_model::Protocol::on_message).
    pub fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: Message,
        out: &mut Vec<Deed>,
    ) {
        let mut message = Some(message);
        self.each(now, out, |intruder, scene| {
            message = message.take().and_then(|message| intruder.on_message(scene, from, message));
        });
        let mut actions = Vec::new();
        if let Some(message) = message {
            self.serve_crafted(now, from, &message, out);
            self.replica.on_message(self.told(now), from, message, &mut actions);
        }
        self.pass(now, actions, out);
    }

    /// As [`Replica::on_time`](ravelin_model::Protocol::on_time).
    pub fn on_time(&mut self, now: Time, out: &mut Vec<Deed>) {
        let mut actions = Vec::new();
        self.replica.on_time(self.told(now), &mut actions);
        self.pass(now, actions, out);
    }

    /// As [`Replica::next_deadline`](ravelin_model::Protocol::next_deadline).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let core = self.replica.next_deadline().map(|deadline| self.untold(deadline));
        let put_off = self.means.later.keys().next().map(|(time, _)| *time);
        let active = self.intruders.iter().filter(|_| self.is_active());
        let theirs = active.filter_map(|intruder| intruder.next_deadline());
        core.into_iter().chain(put_off).chain(theirs).min()
    }

    /// As [`Replica::on_attested`].
    pub fn on_attested(
        &mut self,
        now: Time,
        header: &BlockHeader,
        attestation: Signature,
        out: &mut Vec<Deed>,
    ) {
        self.means.draft = None;
        let mut actions = Vec::new();
        self.replica.on_attested(self.told(now), header, attestation, &mut actions);
        self.pass(now, actions, out);
    }

    /// As [`Replica::on_client_opened`].
    pub fn on_client_opened(&mut self, connection: ConnectionId, key: ravelin_model::PublicKey) {
        self.means.clients.insert(connection, key);
        self.replica.on_client_opened(connection, key);
    }

    /// As [`Replica::on_client_closed`].
    pub fn on_client_closed(&mut self, connection: ConnectionId) {
        self.means.clients.remove(&connection);
        self.replica.on_client_closed(connection);
    }

    /// As [`Replica::on_client`].
    pub fn on_client(
        &mut self,
        now: Time,
        connection: ConnectionId,
        input: ClientInput,
        out: &mut Vec<Deed>,
    ) {
        let mut input = Some(input);
        self.each(now, out, |intruder, scene| {
            input = input.take().and_then(|input| intruder.on_client(scene, connection, input));
        });
        let mut actions = Vec::new();
        if let Some(input) = input {
            self.replica.on_client(self.told(now), connection, input, &mut actions);
        }
        self.pass(now, actions, out);
    }

    /// As [`Replica::take_urgent`].
    pub fn take_urgent(&mut self) -> bool {
        self.replica.take_urgent()
    }

    /// As [`Replica::settle`].
    pub fn settle(&mut self, is_urgent: bool) {
        self.replica.settle(is_urgent);
    }

    /// As [`Replica::close`].
    pub fn close(&mut self) {
        self.replica.close();
    }

    /// As [`Replica::on_suspicion`].
    pub fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Vec<Deed>) {
        let mut actions = Vec::new();
        self.replica.on_suspicion(who, suspicion, &mut actions);
        out.extend(actions.into_iter().map(Deed::Act));
    }

    fn is_active(&self) -> bool {
        let round = self.replica.ordering().round();
        round >= self.window.from && round < self.window.until || self.means.makes_blocks
    }

    fn told(&self, now: Time) -> Time {
        match self.shift {
            Shift::None => now,
            Shift::Past(span) => Time(now.0.saturating_sub(micros(span))),
            Shift::Future(span) => now.after(span),
        }
    }

    fn untold(&self, told: Time) -> Time {
        match self.shift {
            Shift::None => told,
            Shift::Past(span) => told.after(span),
            Shift::Future(span) => Time(told.0.saturating_sub(micros(span))),
        }
    }

    /// Gives each intruder its say, if they act now.
    fn each(
        &mut self,
        now: Time,
        out: &mut Vec<Deed>,
        mut say: impl FnMut(&mut dyn Intruder, &mut Scene<'_>),
    ) {
        if !self.is_active() {
            return;
        }
        for intruder in &mut self.intruders {
            let (core, means, name) = (&self.replica, &mut self.means, intruder.name());
            say(intruder.as_mut(), &mut Scene { now, core, means, name, out });
        }
    }

    /// Hands out what the intruder made itself, when others fetch it.
    fn serve_crafted(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: &Message,
        out: &mut Vec<Deed>,
    ) {
        let Message::Fetch(wanted) = message else { return };
        let found: Vec<_> =
            wanted.iter().filter_map(|chain| self.means.crafted(&chain.tip)).cloned().collect();
        let Some(name) = self.names().next() else { return };
        let (core, means) = (&self.replica, &mut self.means);
        let mut scene = Scene { now, core, means, name, out };
        for block in &found {
            scene.send_block(from, block);
        }
    }

    /// Leads what the replica wants past all intruders, and lets each have its turn.
    fn pass(&mut self, now: Time, actions: Actions<Replica>, out: &mut Vec<Deed>) {
        self.means.follow(&self.replica);
        let is_active = self.is_active();
        let mut deeds: Vec<Deed> =
            actions.into_iter().flat_map(|action| self.in_single_steps(action)).collect();
        for intruder in self.intruders.iter_mut().filter(|_| is_active) {
            let (core, means, name) = (&self.replica, &mut self.means, intruder.name());
            let mut next = Vec::with_capacity(deeds.len());
            let mut scene = Scene { now, core, means, name, out: &mut next };
            for deed in deeds {
                if is_to_itself(&deed, scene.means.own) {
                    scene.let_pass(deed);
                } else {
                    intruder.on_deed(&mut scene, deed);
                }
            }
            intruder.on_turn(&mut scene);
            deeds = next;
        }
        out.extend(deeds.into_iter().filter(|deed| !self.is_withheld(deed)));
        while let Some(entry) = self.means.later.first_entry()
            && entry.key().0 <= now
        {
            out.push(entry.remove());
        }
    }

    /// Takes broadcasts apart, so that intruders decide for each recipient. Remembers the replica's
    /// own newest block.
    fn in_single_steps(&mut self, action: Action<Message, Event>) -> Vec<Deed> {
        if let Action::Persist(LogEntry::Draft(record)) = &action {
            let draft = Block::decode("recorded draft", &record.bytes).ok();
            self.means.draft = draft.map(|draft| draft.body);
        }
        if self.means.makes_blocks && self.is_own_record(&action) {
            return Vec::new(); // what its replica would have said is never shown to laggards either
        }
        if self.means.makes_blocks && matches!(action, Action::Attest(_)) {
            return Vec::new(); // the counter is the intruder's now
        }
        let Action::Broadcast(message) = action else { return vec![Deed::Act(action)] };
        if let Message::Block(block) = &message
            && block.body.author == self.means.own
        {
            if self.means.makes_blocks {
                return Vec::new(); // the intruder makes the blocks now
            }
            self.means.last = Some(block.clone());
        }
        let members = self.means.keyring.group().members();
        members.map(|to| Deed::Act(Action::Send(to, message.clone()))).collect()
    }

    /// Whether the replica asks to keep a block of its own.
    fn is_own_record(&self, action: &Action<Message, Event>) -> bool {
        match action {
            Action::Persist(LogEntry::Whole(record)) => {
                Block::author_in(&record.bytes) == Some(self.means.own)
            }
            Action::Persist(LogEntry::Draft(_) | LogEntry::Attested { .. }) => true,
            _ => false,
        }
    }

    /// Whether the deed hands out a block that is being hidden.
    fn is_withheld(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Act(Action::Send(to, Message::Block(block))) => {
                *to != self.means.own && self.means.is_hidden(&block.reference())
            }
            _ => false,
        }
    }
}

fn is_to_itself(deed: &Deed, own: ReplicaId) -> bool {
    match deed {
        Deed::Act(Action::Send(to, _)) | Deed::Bytes(to, _) => *to == own,
        Deed::Act(Action::Persist(_)) => true,
        Deed::Act(_) => false,
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
