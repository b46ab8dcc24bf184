//! Four servers go through two changes of a key: every order of messages and crashes.
//!
//! Some servers lie: they sign the true plan of the next epoch and a wrong one, whichever helps them
//! with whomever, and make blocks or none. The correct ones execute the end of an epoch at any time
//! after it was decided, make it durable, sign, hear the others' signatures or a plan that a quorum
//! signed, begin the next epoch, ask the others, and speak. Between any two of these steps a server
//! may crash, and loses what was not durable. What was sent may be heard at any time later, again, or
//! never; that nobody is left behind must follow from what correct servers tell again and again.
//!
//! What ends an epoch, what is signed and when that suffices is the product's own code: [`Members`],
//! [`Handover`], [`check_successor`], asked once for everything that can be heard. The order of the steps is that of
//! `crates/replication/src/replica/epochs.rs`, in which a [`Slip`] can be planted.
//!
//! Left out: ordering. That correct servers execute one end is what [`crate::decisions`] is about. An
//! end is decided once a quorum has made blocks in its epoch, and everybody can read it from logs then.

use ravelin_crypto::{
    Domain, Keyring, Registry, Scheme, SigningKey, check_successor, plan_digest, sign_handover,
};
use ravelin_model::{
    ClusterId, ClusterPlan, CommitIndex, Digest, Encode as _, FaultModel, HandoverVote, Rekey,
    ReplicaId, ServiceId, ServiceStores as _, SignedPlan, SignedRekey, Time,
};
use ravelin_replication::handover::Handover;
use ravelin_replication::members::Members;
use ravelin_replication::state::{MemoryBackend, State as Store};
use stateright::{Model, Property};

use crate::keys::Keys;

/// Servers, the liars last.
const SERVERS: usize = 4;
/// Epochs, of which the last one does not end.
const EPOCHS: usize = 3;

/// A step that a server takes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// None.
    None,
    /// It signs that the epoch is over before that is durable.
    SignsBeforeDurable,
    /// It begins the next epoch on the others' word, without having executed the end of this one.
    BeginsUnended,
    /// It signs and goes on making blocks in the epoch.
    SpeaksOn,
    /// It serves nobody who is still in an epoch that it left.
    LeavesOthers,
}

/// What is signed: the plan that the order gave, or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plan {
    /// The one that correct servers execute.
    Right,
    /// The liars'.
    Wrong,
}

const PLANS: [Plan; 2] = [Plan::Right, Plan::Wrong];

/// A correct server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Its epoch, which is durable.
    epoch: u8,
    /// Whether the end of it is durable.
    has_ended: bool,
    /// Whether it has executed that end; what follows is lost with power.
    has_executed: bool,
    /// Signatures that it heard.
    heard: Heard,
    /// The plan that follows, once it knows it with enough signatures.
    known: Option<Plan>,
    /// Whether it makes blocks.
    speaks: bool,
    /// Whether it saw what cannot be, and stopped.
    is_halted: bool,
}

/// The group at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The liars' places stay as they are.
    servers: [Server; SERVERS],
    /// Which correct servers ever signed the end of each epoch.
    signed: [[bool; SERVERS]; EPOCHS],
    /// Which ever made blocks in it.
    spoke: [[bool; SERVERS]; EPOCHS],
    /// The plans that anybody held with enough signatures, by the epoch that they follow.
    in_force: [[bool; 2]; EPOCHS],
    crashes: u8,
    /// Whether one made blocks in an epoch of which it had signed the end.
    spoke_after_end: bool,
    /// Whether one spoke in an epoch whose beginning it did not hold.
    spoke_without_state: bool,
}

/// What happens to the correct server of this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It executes the end of its epoch.
    Execute(usize),
    /// That becomes durable, and it signs.
    Sign(usize),
    /// It hears the signature of another.
    Hear(usize, usize, Plan),
    /// It hears of the next epoch's plan with all the signatures that there are.
    Learn(usize, Plan),
    /// It begins the next epoch.
    Begin(usize),
    /// Others answered its question, and it makes blocks.
    Speak(usize),
    /// It crashes and starts again.
    Crash(usize),
}

impl Step {
    fn server(self) -> usize {
        match self {
            Self::Execute(at) | Self::Sign(at) | Self::Begin(at) | Self::Speak(at) => at,
            Self::Crash(at) | Self::Hear(at, ..) | Self::Learn(at, _) => at,
        }
    }
}

/// The model.
pub struct Epochs {
    liars: usize,
    crashes_max: u8,
    slip: Slip,
    /// What the product's code says.
    rules: Vec<Rules>,
}

/// What the product's code says at the end of an epoch, to everything that can be heard.
struct Rules {
    quorum: usize,
    /// For each server and all that it can have heard: the plan that is in force by that.
    complete: Vec<Option<Plan>>,
    /// For each server, all that it can have heard, and one signature more: the plan put in force.
    taken: Vec<Option<Plan>>,
    /// For each plan and set of signers: whether a member of the epoch believes it.
    believed: Vec<bool>,
}

type Heard = [Option<Plan>; SERVERS];

/// One more than the last number of something heard.
const HEARD: usize = 3usize.pow(SERVERS as u32);

fn number(at: usize, heard: &Heard) -> usize {
    let digit = |plan: &Option<Plan>| plan.map_or(0, |plan| 1 + plan as usize);
    heard.iter().fold(at, |number, plan| number * 3 + digit(plan))
}

fn heard(number: usize) -> Heard {
    let digit = |place: usize| number / 3usize.pow((SERVERS - 1 - place) as u32) % 3;
    std::array::from_fn(|place| [None, Some(Plan::Right), Some(Plan::Wrong)][digit(place)])
}

/// An epoch's end, for the product's code.
struct Ending {
    scheme: Scheme,
    keyring: Keyring,
    keys: Vec<SigningKey>,
    plan: ClusterPlan,
    /// The plan that follows, and the liars' instead.
    next: [ClusterPlan; 2],
}

impl Ending {
    fn vote(&self, server: usize, plan: Plan) -> HandoverVote {
        let digest = plan_digest(&self.next[plan as usize]);
        HandoverVote {
            replica: id(server),
            epoch: self.keyring.epoch(),
            commit: CommitIndex(0),
            plan: digest,
            signature: sign_handover(&digest, &self.keys[server]),
        }
    }

    fn which(&self, signed: &SignedPlan) -> Plan {
        if signed.plan == self.next[0] { Plan::Right } else { Plan::Wrong }
    }

    /// The handover of `at` after it heard that much, and the plan if that is enough.
    fn handover(&self, at: usize, heard: &Heard) -> (Handover, Option<Plan>) {
        let own = (id(at), &self.keys[at]);
        let next = self.next[Plan::Right as usize].clone();
        let mut handover = Handover::new(&self.keyring, own, CommitIndex(0), next);
        let mut complete = handover.take(&self.keyring, &handover.vote());
        for (from, plan) in heard.iter().enumerate() {
            if let Some(plan) = plan {
                complete = complete.or(handover.take(&self.keyring, &self.vote(from, *plan)));
            }
        }
        (handover, complete.map(|signed| self.which(&signed)))
    }

    /// Whether a member believes `plan`, signed by those in `signers`.
    fn is_believed(&self, plan: Plan, signers: usize) -> bool {
        let signers = (0..SERVERS).filter(|server| signers >> server & 1 == 1);
        let signatures = signers
            .map(|server| (self.keys[server].public(), self.vote(server, plan).signature))
            .collect();
        let signed = SignedPlan { plan: self.next[plan as usize].clone(), signatures };
        check_successor(&self.plan, &signed, &self.scheme).is_ok()
    }

    fn rules(&self) -> Rules {
        let mut rules = Rules {
            quorum: self.keyring.group().quorum(),
            complete: vec![],
            taken: vec![],
            believed: vec![],
        };
        for (at, heard) in (0..SERVERS).flat_map(|at| (0..HEARD).map(move |it| (at, heard(it)))) {
            rules.complete.push(self.handover(at, &heard).1);
            for (from, plan) in (0..SERVERS).flat_map(|from| PLANS.map(|plan| (from, plan))) {
                let (mut handover, _) = self.handover(at, &heard);
                let complete = handover.take(&self.keyring, &self.vote(from, plan));
                rules.taken.push(complete.map(|signed| self.which(&signed)));
            }
        }
        for plan in PLANS {
            rules.believed.extend((0..1 << SERVERS).map(|set| self.is_believed(plan, set)));
        }
        rules
    }
}

impl Rules {
    fn complete(&self, at: usize, heard: &Heard) -> Option<Plan> {
        self.complete[number(at, heard)]
    }

    fn taken(&self, at: usize, heard: &Heard, (from, plan): (usize, Plan)) -> Option<Plan> {
        self.taken[(number(at, heard) * SERVERS + from) * PLANS.len() + plan as usize]
    }

    fn is_believed(&self, plan: Plan, signers: usize) -> bool {
        self.believed[((plan as usize) << SERVERS) + signers]
    }
}

/// The ends of all epochs: in each, the last server orders another key.
///
/// # Panics
/// If the product does not carry out that order.
fn endings() -> Vec<Ending> {
    let registry = Registry::default();
    let mut plan = Keys::plan(&registry, SERVERS as u16, 1, FaultModel::Arbitrary);
    let cluster = ClusterId(plan_digest(&plan));
    let scheme = Scheme::Simulated(registry.clone());
    let mut store = Store::open(Box::new(MemoryBackend::new()));
    let mut endings = vec![];
    for turn in 0..EPOCHS as u8 {
        let signed = SignedPlan { plan: plan.clone(), signatures: vec![] };
        let keyring = Keyring::new(cluster, &signed, scheme.clone()).expect("a sound plan");
        let rekey = Rekey {
            cluster,
            incarnation: plan.incarnation,
            epoch: plan.epoch,
            member: id(3),
            block: key(&registry, 4 + turn, 3).public(),
            instance: None,
        };
        let possession = key(&registry, 4 + turn, 3).sign(Domain::Rekey, &rekey.encode());
        let signature = key(&registry, 2, 3).sign(Domain::Rekey, &rekey.encode());
        let mut members = Members::new(keyring.clone(), plan.clone(), None);
        let now = Time(3_600_000_000 * (1 + u64::from(turn)));
        let store = store.of(ServiceId::MEMBERS);
        assert!(
            members.order(now, store, &SignedRekey { rekey, signature, possession }),
            "a fitting order"
        );
        let next = [1, 2].map(|state| {
            let mut next = members.successor().expect("it was ordered").clone();
            next.previous.as_mut().expect("it follows").state = Digest([state; 32]);
            next
        });
        let keys = (0..SERVERS).map(|server| match (turn, server) {
            (1.., 3) => key(&registry, 3 + turn, server),
            _ => key(&registry, 1, server),
        });
        let (keys, following) = (keys.collect(), next[0].clone());
        endings.push(Ending { scheme: scheme.clone(), keyring, keys, plan, next });
        plan = following;
    }
    endings
}

impl Epochs {
    /// All runs with so many liars and at most so many crashes.
    #[must_use]
    pub fn new(liars: usize, crashes_max: u8, slip: Slip) -> Self {
        let rules = endings().iter().map(Ending::rules).collect();
        Self { liars, crashes_max, slip, rules }
    }

    fn correct(&self) -> usize {
        SERVERS - self.liars
    }

    /// Whether `server`'s signature to `plan` exists.
    fn is_signed(&self, state: &State, epoch: usize, server: usize, plan: Plan) -> bool {
        server >= self.correct() || plan == Plan::Right && state.signed[epoch][server]
    }

    /// All who signed `plan` at the end of `epoch`, as bits.
    fn signers(&self, state: &State, epoch: usize, plan: Plan) -> usize {
        let signers = (0..SERVERS).filter(|server| self.is_signed(state, epoch, *server, plan));
        signers.fold(0, |set, server| set | 1 << server)
    }

    /// What follows from the step, if anything does; `helped`: the liars do whatever helps.
    fn follow(&self, state: &State, step: Step, helped: bool) -> Option<State> {
        let mut next = *state;
        match step {
            Step::Execute(at) => self.execute(&mut next, at)?,
            Step::Sign(at) => self.sign(&mut next, at)?,
            Step::Hear(at, from, plan) => self.hear(&mut next, at, (from, plan))?,
            Step::Learn(at, plan) => self.learn(&mut next, at, plan, helped)?,
            Step::Begin(at) => self.begin(&mut next, at)?,
            Step::Speak(at) => self.speak(&mut next, at, helped)?,
            Step::Crash(at) => self.crash(&mut next, at)?,
        }
        (next != *state).then_some(next)
    }

    fn execute(&self, state: &mut State, at: usize) -> Option<()> {
        let epoch = usize::from(state.servers[at].epoch);
        let heard = state.spoke[epoch].iter().filter(|spoke| **spoke).count() + self.liars;
        let is_decided = heard >= self.rules[epoch].quorum;
        let server = &mut state.servers[at];
        if server.has_executed
            || server.has_ended
            || usize::from(server.epoch) + 1 == EPOCHS
            || !is_decided
        {
            return None;
        }
        server.has_executed = true;
        server.speaks = false;
        if self.slip == Slip::SignsBeforeDurable {
            state.signed[epoch][at] = true;
        }
        Some(())
    }

    fn sign(&self, state: &mut State, at: usize) -> Option<()> {
        let server = &mut state.servers[at];
        if !server.has_executed || server.has_ended {
            return None;
        }
        server.has_ended = true;
        state.signed[usize::from(server.epoch)][at] = true;
        self.ended(state, at);
        Some(())
    }

    /// `on_end` of the product: compares what it knows with what it executed.
    fn ended(&self, state: &mut State, at: usize) {
        let server = &mut state.servers[at];
        let epoch = usize::from(server.epoch);
        let complete = self.rules[epoch].complete(at, &server.heard);
        server.is_halted |= server.known == Some(Plan::Wrong);
        server.known = server.known.or(complete);
        note(&mut state.in_force[epoch], complete);
    }

    fn hear(&self, state: &mut State, at: usize, (from, plan): (usize, Plan)) -> Option<()> {
        let epoch = usize::from(state.servers[at].epoch);
        if from == at || epoch + 1 == EPOCHS || !self.is_signed(state, epoch, from, plan) {
            return None;
        }
        let server = &mut state.servers[at];
        if !server.has_ended {
            server.heard[from] = Some(plan);
            return Some(());
        }
        let complete = self.rules[epoch].taken(at, &server.heard, (from, plan));
        if plan == Plan::Right {
            server.heard[from] = Some(plan);
        }
        server.known = server.known.or(complete);
        note(&mut state.in_force[epoch], complete);
        Some(())
    }

    fn learn(&self, state: &mut State, at: usize, plan: Plan, helped: bool) -> Option<()> {
        let epoch = usize::from(state.servers[at].epoch);
        let is_served = self.slip != Slip::LeavesOthers
            && state.correct_epochs(self.correct()).any(|other| other > epoch);
        let is_told = helped && self.liars > 0 || plan == Plan::Right && is_served;
        if epoch + 1 == EPOCHS || state.servers[at].known.is_some() || !is_told {
            return None;
        }
        let signers = self.signers(state, epoch, plan);
        if !self.rules[epoch].is_believed(plan, signers) {
            return None;
        }
        note(&mut state.in_force[epoch], Some(plan));
        let server = &mut state.servers[at];
        match server.has_ended && plan == Plan::Wrong {
            true => server.is_halted = true,
            false => server.known = Some(plan),
        }
        Some(())
    }

    fn begin(&self, state: &mut State, at: usize) -> Option<()> {
        let server = &mut state.servers[at];
        server.known?;
        if !server.has_ended && self.slip != Slip::BeginsUnended {
            return None;
        }
        let holds_state = server.has_ended;
        *server = Server { epoch: server.epoch + 1, ..Server::default() };
        state.spoke_without_state |= !holds_state;
        Some(())
    }

    fn speak(&self, state: &mut State, at: usize, helped: bool) -> Option<()> {
        let server = &state.servers[at];
        let epoch = usize::from(server.epoch);
        let others =
            state.correct_epochs(self.correct()).filter(|other| *other == epoch).count() - 1;
        let answers = others + if helped { self.liars } else { 0 };
        let needed = self.rules[epoch].quorum - 1;
        let has_left = server.has_ended || server.has_executed;
        if server.speaks || has_left && self.slip != Slip::SpeaksOn || answers < needed {
            return None;
        }
        state.spoke_after_end |= state.signed[epoch][at];
        state.spoke[epoch][at] = true;
        state.servers[at].speaks = true;
        Some(())
    }

    fn crash(&self, state: &mut State, at: usize) -> Option<()> {
        if state.crashes == self.crashes_max {
            return None;
        }
        state.crashes += 1;
        let server = &mut state.servers[at];
        let Server { epoch, has_ended, .. } = *server;
        *server = Server { epoch, has_ended, ..Server::default() };
        if has_ended {
            self.ended(state, at);
        }
        Some(())
    }

    fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        (0..self.correct()).flat_map(|at| {
            let heard =
                (0..SERVERS).flat_map(move |from| PLANS.map(|plan| Step::Hear(at, from, plan)));
            let learnt = PLANS.map(|plan| Step::Learn(at, plan));
            [Step::Execute(at), Step::Sign(at), Step::Begin(at), Step::Speak(at), Step::Crash(at)]
                .into_iter()
                .chain(learnt)
                .chain(heard)
        })
    }

    /// Whether the correct servers can do no more by themselves, with what is told again and again.
    fn is_at_rest(&self, state: &State) -> bool {
        self.steps().all(|step| match step {
            Step::Crash(_) => true,
            Step::Hear(at, from, _) if !self.is_telling(state, from, at) => true,
            step => self.follow(state, step, false).is_none(),
        })
    }

    /// Whether `from` is still in the epoch of `at` and tells everybody that it is over.
    fn is_telling(&self, state: &State, from: usize, at: usize) -> bool {
        let (teller, hearer) = (&state.servers[from], &state.servers[at]);
        from < self.correct() && teller.epoch == hearer.epoch && teller.has_ended
    }

    fn is_arrived(&self, state: &State) -> bool {
        let correct = state.servers.iter().take(self.correct());
        correct.into_iter().all(|server| usize::from(server.epoch) + 1 == EPOCHS && server.speaks)
    }

    /// The same state with the first three servers in their order, if those are the correct ones.
    #[must_use]
    pub fn representative(state: &State) -> State {
        const ORDERS: [[usize; SERVERS]; 6] =
            [[0, 1, 2, 3], [0, 2, 1, 3], [1, 0, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3], [2, 1, 0, 3]];
        ORDERS.iter().map(|order| state.reordered(order)).min().expect("there are orders")
    }
}

impl State {
    fn correct_epochs(&self, correct: usize) -> impl Iterator<Item = usize> {
        self.servers.iter().take(correct).map(|server| usize::from(server.epoch))
    }

    fn reordered(&self, order: &[usize; SERVERS]) -> Self {
        let server = |place: usize| {
            let server = self.servers[order[place]];
            Server { heard: order.map(|from| server.heard[from]), ..server }
        };
        Self {
            servers: std::array::from_fn(server),
            signed: self.signed.map(|signed| order.map(|from| signed[from])),
            spoke: self.spoke.map(|spoke| order.map(|from| spoke[from])),
            ..*self
        }
    }
}

impl Model for Epochs {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let is_up = |at: usize| !state.servers[at].is_halted;
        actions.extend(self.steps().filter(|step| is_up(step.server())));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.follow(state, step, true)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one plan follows an epoch, the right one", |_, state: &State| {
                state.in_force.iter().all(|plans| !plans[Plan::Wrong as usize])
            }),
            Property::always("no correct server stops", |_, state: &State| {
                state.servers.iter().all(|server| !server.is_halted)
            }),
            Property::always("nobody speaks in an epoch after its end", |_, state: &State| {
                !state.spoke_after_end
            }),
            Property::always("nobody begins without the state", |_, state: &State| {
                !state.spoke_without_state
            }),
            Property::always("nobody is left behind", |model: &Self, state: &State| {
                model.liars > 1 || !model.is_at_rest(state) || model.is_arrived(state)
            }),
            Property::sometimes("all are in the last epoch", |model: &Self, state: &State| {
                model.is_arrived(state)
            }),
            Property::sometimes("a crash between end and beginning", |_, state: &State| {
                state.crashes > 0 && state.servers.iter().any(|server| server.has_ended)
            }),
        ]
    }
}

fn note(in_force: &mut [bool; 2], plan: Option<Plan>) {
    if let Some(plan) = plan {
        in_force[plan as usize] = true;
    }
}

fn id(server: usize) -> ReplicaId {
    ReplicaId(server as u16)
}

/// A key; of kind 1 a first one for blocks, of 2 an identity, above 3 a later one for blocks.
fn key(registry: &Registry, kind: u8, server: usize) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = server as u8;
    SigningKey::simulated(&seed, registry)
}
