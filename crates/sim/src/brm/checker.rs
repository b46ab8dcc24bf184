//! What must hold of every run, by the names that the paper gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ravelin_model::ttcb::Entity;
use ravelin_multicast::brm::{Header, Message};

use crate::checker::Violation;

/// Everything that is judged.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    /// Who follows the protocol.
    honest: BTreeSet<Entity>,
    /// Of those, whose wormhole has stopped.
    stopped: BTreeSet<Entity>,
    /// Of those, whose wormhole is told no decisions.
    untold: BTreeSet<Entity>,
    /// What honest processes multicast, and whether the wormholes could decide on it.
    multicast: BTreeMap<Header, (Arc<Message>, bool)>,
    /// Multicasts of which their sender was told that nobody delivers them.
    ended: BTreeSet<Header>,
    /// Messages by process, in the order of delivery.
    delivered: BTreeMap<Entity, Vec<Arc<Message>>>,
    /// Copies of honest processes to honest ones: sent, and arrived as they were sent.
    copies: BTreeMap<(Entity, Entity, Header), (u32, u32)>,
}

impl Checker {
    /// Nothing happened yet; these follow the protocol.
    #[must_use]
    pub fn new(honest: impl IntoIterator<Item = Entity>) -> Self {
        Self { honest: honest.into_iter().collect(), ..Self::default() }
    }

    /// Whether it follows the protocol.
    #[must_use]
    pub fn is_honest(&self, entity: Entity) -> bool {
        self.honest.contains(&entity)
    }

    /// Whether its wormhole has stopped.
    #[must_use]
    pub fn is_stopped(&self, entity: Entity) -> bool {
        self.stopped.contains(&entity)
    }

    /// A wormhole stops.
    pub fn on_stopped(&mut self, entity: Entity) {
        self.stopped.insert(entity);
    }

    /// A wormhole is told no decisions, so that its process learns too late.
    pub fn on_untold(&mut self, entity: Entity) {
        self.untold.insert(entity);
    }

    /// An honest process multicasts; `is_timely`: its proposal reaches enough wormholes by `tstart`.
    pub fn on_multicast(&mut self, message: Arc<Message>, is_timely: bool) {
        self.multicast.insert(message.header.clone(), (message, is_timely));
    }

    /// An honest process sends a copy to an honest one.
    pub fn on_sent(&mut self, from: Entity, to: Entity, header: &Header) {
        self.copies.entry((from, to, header.clone())).or_default().0 += 1;
    }

    /// Such a copy arrives as it was sent.
    pub fn on_arrived(&mut self, from: Entity, to: Entity, header: &Header) {
        self.copies.entry((from, to, header.clone())).or_default().1 += 1;
    }

    /// An honest process delivers.
    pub fn on_delivered(&mut self, at: Entity, message: Arc<Message>) {
        self.delivered.entry(at).or_default().push(message);
    }

    /// An honest process says that its multicast has ended without a delivery.
    pub fn on_ended(&mut self, header: Header) {
        self.ended.insert(header);
    }

    /// Too few wormholes run for any decision: no multicast must be delivered.
    pub fn owe_nothing(&mut self) {
        self.multicast.values_mut().for_each(|(_, is_timely)| *is_timely = false);
    }

    /// Who is correct: follows the protocol, has a running wormhole that is told decisions, and got at least
    /// one of `od + 1` copies from each that sent it so many.
    #[must_use]
    pub fn correct(&self, od: u16) -> BTreeSet<Entity> {
        let is_cut_off = |(sent, arrived): &(u32, u32)| *sent > u32::from(od) && *arrived == 0;
        let cut_off = self.copies.iter().filter(|(_, counts)| is_cut_off(counts));
        let cut_off: BTreeSet<Entity> = cut_off.map(|((_, to, _), _)| *to).collect();
        let failures = [&self.stopped, &self.untold, &cut_off];
        let failed = |entity: &&Entity| failures.iter().any(|of| of.contains(*entity));
        self.honest.iter().filter(|entity| !failed(entity)).copied().collect()
    }

    /// Deliveries of all honest processes.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.delivered.values().map(|messages| messages.len() as u64).sum()
    }

    /// Multicasts of correct processes on which the wormholes could decide.
    #[must_use]
    pub fn demanded(&self, od: u16) -> u64 {
        self.owed(&self.correct(od)).count() as u64
    }

    fn owed<'a>(&'a self, correct: &'a BTreeSet<Entity>) -> impl Iterator<Item = &'a Arc<Message>> {
        let is_owed = |(message, is_timely): &&(Arc<Message>, bool)| {
            *is_timely && message.header.sender().is_some_and(|it| correct.contains(&it))
        };
        self.multicast.values().filter(is_owed).map(|(message, _)| message)
    }

    /// Judges a run that is over.
    ///
    /// # Errors
    /// The first [`Violation`] found, by name.
    pub fn judge(&self, od: u16) -> Result<(), Violation> {
        self.judged(od).into_iter().try_for_each(|(_, judged)| judged)
    }

    /// What became of each promise in a run that is over, by name.
    pub fn judged(&self, od: u16) -> [(&'static str, Result<(), Violation>); 3] {
        let correct = self.correct(od);
        [
            ("integrity", self.integrity()),
            ("agreement", self.agreement(&correct).and_then(|()| self.ended_is_the_end(&correct))),
            ("validity", self.validity(&correct)),
        ]
    }

    /// Nobody honest delivers twice, as a stranger, or what an honest sender did not multicast.
    fn integrity(&self) -> Result<(), Violation> {
        for (at, messages) in &self.delivered {
            let mut seen = BTreeSet::new();
            for message in messages {
                let Message { header, .. } = &**message;
                let complain = |what| Err(violation("integrity", *at, header, what));
                if !seen.insert(header) {
                    return complain("delivered it twice");
                }
                if !header.elist.contains(at) {
                    return complain("is not in its group");
                }
                let is_of_honest = header.sender().is_some_and(|it| self.honest.contains(&it));
                let was_said = || self.multicast.get(header).map(|(said, _)| said) == Some(message);
                if is_of_honest && !was_said() {
                    return complain("delivered what its sender did not multicast");
                }
            }
        }
        Ok(())
    }

    fn at(&self, at: Entity, header: &Header) -> Option<&Arc<Message>> {
        self.delivered.get(&at)?.iter().find(|message| message.header == *header)
    }

    /// What a correct process delivers, all correct ones of the group do.
    fn agreement(&self, correct: &BTreeSet<Entity>) -> Result<(), Violation> {
        let by_correct = self.delivered.iter().filter(|(at, _)| correct.contains(at));
        for message in by_correct.flat_map(|(_, messages)| messages) {
            let Message { header, .. } = &**message;
            for other in header.elist.iter().filter(|it| correct.contains(it)) {
                match self.at(*other, header) {
                    Some(same) if same == message => {}
                    Some(_) => {
                        let what = "delivered another message than others";
                        return Err(violation("agreement", *other, header, what));
                    }
                    None => {
                        let what = "did not deliver what others did";
                        return Err(violation("agreement", *other, header, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// What a sender calls ended, no correct process delivers.
    fn ended_is_the_end(&self, correct: &BTreeSet<Entity>) -> Result<(), Violation> {
        for header in &self.ended {
            if let Some(at) = correct.iter().find(|at| self.at(**at, header).is_some()) {
                let what = "delivered what its sender was told to have ended";
                return Err(violation("agreement", *at, header, what));
            }
        }
        Ok(())
    }

    /// What a correct process multicasts, some correct process delivers.
    fn validity(&self, correct: &BTreeSet<Entity>) -> Result<(), Violation> {
        for message in self.owed(correct) {
            let Message { header, .. } = &**message;
            if !correct.iter().any(|at| self.at(*at, header).is_some()) {
                let Some(sender) = header.sender() else { continue };
                let what = "multicast what nobody correct delivered";
                return Err(violation("validity", sender, header, what));
            }
        }
        Ok(())
    }
}

fn violation(kind: &'static str, at: Entity, header: &Header, what: &str) -> Violation {
    let sender = header.sender().map_or_else(|| "nobody".to_owned(), |it| it.replica.to_string());
    let what =
        format!("process {} {what}: sender {sender}, tstart {}", at.replica, header.tstart.0);
    Violation::new(kind, what)
}

#[cfg(test)]
mod tests;
