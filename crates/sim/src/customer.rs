//! One client of the simulated cluster: its session, its script, and what it waits for.

use std::collections::BTreeMap;

use ravelin_client::ClientAction;
use ravelin_client::{Event, Outcome, Session, SessionConfig, Ticket};
use ravelin_model::requests::kv::{KvReply, KvRequest};
use ravelin_model::{Decode as _, Encode as _, Operation, PublicKey, ReplicaId, ServiceId, Time};
use ravelin_replication::ConnectionId;

use crate::checker::{History, Order, Violation};
use crate::clock::Clock;
use crate::dice::Dice;
use crate::network::Micros;
use crate::options::Options;
use crate::workload::Workload;
use crate::world::World;

/// Submissions of one client under way at once.
const UNDER_WAY_MAX: usize = 3;
/// Operations in one envelope.
const TOGETHER_MAX: u64 = 3;

/// A client.
pub(crate) struct Customer {
    pub(crate) index: u16,
    pub(crate) key: PublicKey,
    pub(crate) session: Session,
    pub(crate) clock: Clock,
    pub(crate) links: BTreeMap<ReplicaId, ConnectionId>,
    /// When its timer rings.
    pub(crate) timer: Option<Micros>,
    /// When it has thought of something new.
    pub(crate) next_work: Micros,
    workload: Workload,
    dice: Dice,
    /// By ticket: the numbers of its operations in the history, and when they were asked.
    waiting: BTreeMap<Ticket, (Micros, Vec<usize>)>,
    under_way_max: usize,
    think: Micros,
    /// When the last message on a connection arrives; `true` towards the server.
    arrivals: BTreeMap<(ReplicaId, bool), Micros>,
}

impl Customer {
    pub(crate) fn new(options: &Options, world: &World, index: u16) -> Self {
        let mut dice = Dice::new(options.seed ^ u64::from(index) << 40, "customer");
        let key = world.client_key(index);
        let public = key.public();
        let config = SessionConfig::new(dice.bytes());
        Self {
            index,
            key: public,
            session: Session::new(world.keyring.clone(), world.plan.clone(), key, config),
            clock: Clock::new(options, &format!("client {index}")),
            links: BTreeMap::new(),
            timer: None,
            next_work: 0,
            workload: Workload::new(options.seed, index),
            under_way_max: usize::try_from(dice.between(1, UNDER_WAY_MAX as u64)).unwrap_or(1),
            think: dice.between(1_000, 30_000),
            dice,
            waiting: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    /// Whether everything that it asked for is answered.
    pub(crate) fn is_served(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when the oldest unanswered question waits.
    pub(crate) fn waits_since(&self) -> Option<Micros> {
        self.waiting.values().map(|(since, _)| *since).min()
    }

    /// Asks for something, if it is time to and there is room.
    pub(crate) fn work(
        &mut self,
        now: Micros,
        history: &mut History,
        order: &mut Order,
        out: &mut Vec<ClientAction>,
    ) {
        let is_ready = self.session.id().is_some() && self.waiting.len() < self.under_way_max;
        if !is_ready || now < self.next_work {
            return;
        }
        self.next_work = now + self.dice.below(2 * self.think);
        let shown = self.clock.show(now);
        let together = if self.dice.once_in(4) { self.dice.between(2, TOGETHER_MAX) } else { 1 };
        let requests: Vec<KvRequest> = (0..together).map(|_| self.workload.draw()).collect();
        for request in requests.iter().filter(|request| !is_read(request)) {
            order.ask(&self.key, &request.encode());
        }
        let asked = match requests.as_slice() {
            [only @ KvRequest::Get { .. }] if !self.dice.once_in(5) => {
                self.session.read(shown, ServiceId::KV, only.encode(), out)
            }
            all => {
                let operation = |request: &KvRequest| Operation {
                    service: ServiceId::KV,
                    request: request.encode(),
                };
                self.session.submit(shown, all.iter().map(operation).collect(), out)
            }
        };
        if let Ok(ticket) = asked {
            let client = u32::from(self.index);
            let numbers =
                requests.into_iter().map(|request| history.ask(client, now, request)).collect();
            self.waiting.insert(ticket, (now, numbers));
        }
    }

    /// Hears from its session. Returns how long the answered waited, if something was answered.
    ///
    /// # Errors
    /// A [`Violation`] if it hears what nobody should hear.
    pub(crate) fn hear(
        &mut self,
        now: Micros,
        event: Event,
        history: &mut History,
        order: &mut Order,
    ) -> Result<Option<Micros>, Violation> {
        match event {
            Event::Answered { ticket, results } => {
                let outcomes = results.into_iter().map(|voted| voted.outcome).collect();
                self.settle(now, ticket, outcomes, history).map(Some)
            }
            Event::Read { ticket, outcome, .. } => {
                self.settle(now, ticket, vec![outcome], history).map(Some)
            }
            Event::Unanswered { ticket, why } => {
                self.waiting.remove(&ticket);
                let what = format!("client {}: {ticket:?} unanswered: {why:?}", self.index);
                Err(Violation::new("unanswered", what))
            }
            Event::Lost { refusal } | Event::Refused { refusal } => {
                let what = format!("client {} lost its session: {refusal:?}", self.index);
                Err(Violation::new("session", what))
            }
            Event::Accused { replica, misbehaviour } => {
                order.on_accusation(replica, &misbehaviour)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn settle(
        &mut self,
        now: Micros,
        ticket: Ticket,
        outcomes: Vec<Outcome>,
        history: &mut History,
    ) -> Result<Micros, Violation> {
        let Some((since, numbers)) = self.waiting.remove(&ticket) else { return Ok(0) };
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            let Outcome::Done(bytes) = &outcome else {
                let what = format!("client {}: {outcome:?} to a good request", self.index);
                return Err(Violation::new("refused", what));
            };
            let reply = KvReply::decode("reply", bytes).map_err(|_| {
                Violation::new("refused", format!("client {}: no reply: {bytes:?}", self.index))
            })?;
            if let Some(asked) = history.operations().get(number) {
                self.workload.learn(&asked.request, &reply);
            }
            history.answer(number, now, reply);
        }
        Ok(now.saturating_sub(since))
    }

    /// When a message of a connection arrives that would take `delay`: after all before it.
    pub(crate) fn arrival(&mut self, replica: ReplicaId, to_server: bool, at: Micros) -> Micros {
        let last = self.arrivals.entry((replica, to_server)).or_default();
        *last = at.max(*last + 1);
        *last
    }

    /// When it wants to be woken, at the latest.
    pub(crate) fn deadline(&self, now: Micros, is_working: bool) -> Option<Micros> {
        let session = self.session.next_deadline().map(|at: Time| self.clock.when(now, at));
        let has_room = is_working && self.waiting.len() < self.under_way_max;
        let work = (has_room && self.session.id().is_some()).then(|| self.next_work.max(now + 1));
        session.into_iter().chain(work).min()
    }
}

fn is_read(request: &KvRequest) -> bool {
    matches!(request, KvRequest::Get { .. })
}
